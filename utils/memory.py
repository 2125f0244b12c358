"""How much memory there is to compute with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what needs PyTorch is imported where it is used
    import torch

CPU_LIMIT = 4 * 2**30
GPU_SHARE = 0.8  # of what is free; the rest is for fragmentation, and for what convolutions need to work


def default_memory_limit(device: torch.device) -> int:
    """Bytes that an image may take where nothing else is said."""
    if device.type == "cuda":
        import torch

        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(GPU_SHARE * (torch.cuda.mem_get_info(device)[0] + unused))
    return min(CPU_LIMIT, available_memory() // 2)


def available_memory() -> int:
    """Bytes of main memory that programs can have without swapping; all there is where the system does not tell."""
    try:
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
