"""One process or many: rank, world size and device, and collective operations.

PyTorch is imported only where needed: the ONNX demo, a world of one, runs without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from utils.device import default_device

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class World(NamedTuple):
    """Rank, world size and device of this process."""

    rank: int
    size: int
    device: torch.device | None  # None if nothing is computed with PyTorch

    @property
    def is_main(self) -> bool:
        return self.rank == 0


ALONE = World(0, 1, None)


def join_world(device: torch.device | None = None, local_rank: int | None = None) -> World:
    """Joins the process group of torchrun or torch.distributed.launch, if started by one of them.

    Args:
        device: default: the GPU of this local rank, or the CPU.
        local_rank: default: the environment variable LOCAL_RANK. Old launchers pass it as an argument instead.
    """
    import torch
    import torch.distributed as dist

    size = int(os.environ.get("WORLD_SIZE", "1"))
    local_rank = int(os.environ.get("LOCAL_RANK", local_rank or 0))
    device = device or default_device()
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank if size > 1 else torch.cuda.current_device())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=30))
        return World(dist.get_rank(), dist.get_world_size(), device)
    return World(0, 1, device)


def leave_world(world: World) -> None:
    """Destroys the process group, if there is one."""
    if world.size > 1:
        import torch.distributed as dist

        dist.destroy_process_group()


def all_reduce_sum(world: World, values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    if world.size > 1:
        import torch.distributed as dist

        dist.all_reduce(values)
    return values


def broadcast_from_main(world: World, tensors: Iterable[Tensor]) -> None:
    """Overwrites the tensors of all processes with those of rank 0."""
    if world.size > 1:
        import torch.distributed as dist

        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def all_gather(world: World, value: object) -> list:
    """The values of all processes, by rank."""
    if world.size == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * world.size
    dist.all_gather_object(values, value)
    return values


def barrier(world: World) -> None:
    """Waits for all processes."""
    if world.size > 1:
        import torch.distributed as dist

        dist.barrier()
