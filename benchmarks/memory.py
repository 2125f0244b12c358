"""Peak memory of this process."""

import resource

import torch


def peak_memory(device: torch.device) -> int:
    """Peak bytes so far: GPU memory allocated by PyTorch, or RAM of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
