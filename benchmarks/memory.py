"""Peak memory of this process."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # methods without a network are measured without PyTorch
    import torch


def peak_memory(device: torch.device | None = None) -> int:
    """Peak bytes so far: GPU memory allocated by PyTorch, or RAM of the whole process; 0 where it is not known."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:  # on Linux, where getrusage also counts what the process was before it became this program
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])
    except (OSError, TypeError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
