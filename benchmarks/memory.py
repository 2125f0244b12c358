"""Peak memory of this process."""

import resource

import torch


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: of the GPU's memory by torch, or of the machine's by the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
