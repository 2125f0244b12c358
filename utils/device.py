"""Devices and their memory. PyTorch is imported only where needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import cv2

from utils.errors import InputError, cut, one_line

if TYPE_CHECKING:
    import torch

CPU_LIMIT = 4 * 2**30
UNKNOWN_MEMORY = 8 * 2**30  # bytes that are assumed where the system does not say
LONGEST_REASON = 200  # characters; PyTorch lists all that it could do instead
GPU_SHARE = 0.8  # of the free memory; the rest is left for fragmentation and for convolution workspaces

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_device() -> torch.device:
    """CUDA if available, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def usable_device(name: str | None) -> torch.device | None:
    """The device that the option --device names, if it does.

    Raises:
        InputError: if it cannot be used here.
    """
    if name is None:
        return None
    try:
        import torch

        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (ImportError, RuntimeError, AssertionError, NotImplementedError) as error:
        reason = one_line(error)[:LONGEST_REASON]
        raise InputError(f"--device is {cut(repr(name))}, which cannot be used here ({reason})") from None


def default_memory_limit(device: torch.device) -> int:
    """Bytes that the predictor may use by default."""
    if device.type == "cuda":
        from networks.cuda_memory import free_cuda_memory

        return int(GPU_SHARE * free_cuda_memory(device))
    return min(CPU_LIMIT, available_memory() // 2)


def available_memory() -> int:
    """Bytes of main memory available without swapping; the total, or 8 GiB, if the system does not say."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        if not hasattr(os, "sysconf"):  # on Windows
            return UNKNOWN_MEMORY
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def unless_out_of_memory(function: Callable[..., Result], *args: object) -> Result | None:
    """function(*args), or None if it ran out of memory."""
    try:
        return function(*args)
    except (RuntimeError, MemoryError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
    return None  # here, where the error no longer keeps alive what the call had allocated


def batch_or_one_by_one(function: Callable[[list[Item]], list[Result]], items: list[Item]) -> list[Result | None]:
    """function(items), one result per item; if memory runs out, one item at a time.

    Returns:
        The results, None for an item that does not fit by itself.
    """
    results = unless_out_of_memory(function, items)
    if results is not None:
        return results
    if len(items) == 1:
        return [None]
    return [result for item in items for result in batch_or_one_by_one(function, [item])]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, on the CPU or on an accelerator."""
    torch = sys.modules.get("torch")  # not loaded: then the error is not torch's
    kinds = (MemoryError, torch.OutOfMemoryError) if torch else MemoryError
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
