"""Where to compute, and what it looks like when memory runs out there. PyTorch is loaded where it is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2

if TYPE_CHECKING:
    import torch


def default_device() -> torch.device:
    """CUDA where there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_argument(text: str) -> torch.device:
    """A device named on the command line; for argparse, which reports the error's line."""
    try:
        import torch

        torch.zeros(1, device=text).item()
        return torch.device(text)
    except (ImportError, RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise argparse.ArgumentTypeError(f"{text!r} cannot be used here ({reason})") from None


def as_memory_allows(function: Callable[[list], list], items: list) -> list:
    """function(items), which gives a result for each; where memory does not suffice for all, for one at a time.

    Returns:
        The results, None for an item that is too large by itself.
    """
    try:
        return function(items)
    except (RuntimeError, MemoryError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
    if len(items) == 1:
        return [None]
    return [result for item in items for result in as_memory_allows(function, [item])]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out, on the CPU or on an accelerator."""
    torch = sys.modules.get("torch")  # none: then the error is not torch's
    kinds = (MemoryError, torch.OutOfMemoryError) if torch else MemoryError
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
