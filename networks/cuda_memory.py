"""Free memory of a CUDA device."""

import torch


def free_cuda_memory(device: torch.device) -> int:
    """Bytes available to new tensors: free memory, and what PyTorch's allocator has reserved but not used."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
