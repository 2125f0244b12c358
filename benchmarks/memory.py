"""Peak memory of this process."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # methods without a network are measured without PyTorch
    import torch


def peak_memory(device: torch.device | None = None) -> int:
    """Peak bytes so far: GPU memory allocated by PyTorch, or RAM of the whole process."""
    if device is not None and device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
