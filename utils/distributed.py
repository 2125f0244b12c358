"""One process or many: who this process is, and what the processes agree on."""

import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from utils.device import default_device
from utils.world import World


def join_world(device: torch.device | None = None, local_rank: int | None = None) -> World:
    """Joins the processes that torchrun or torch.distributed.launch started, if one of them did.

    Args:
        device: where to compute; by default the process's own GPU, or the CPU where there is none.
        local_rank: this process's number on its machine, where the launcher passes it as an argument
            and not in the variable LOCAL_RANK.
    """
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
    """Ends what `join_world` began."""
    if world.size > 1:
        dist.destroy_process_group()


def total(world: World, values: Tensor) -> Tensor:
    """The sum of a tensor over the processes; the tensor itself is changed."""
    if world.size > 1:
        dist.all_reduce(values)
    return values


def copy_from_main(world: World, tensors: Iterable[Tensor]) -> None:
    """Gives the tensors of all processes the values they have on rank 0."""
    if world.size > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def gather(world: World, value: object) -> list:
    """The values of all processes, in the order of their ranks."""
    if world.size == 1:
        return [value]
    values = [None] * world.size
    dist.all_gather_object(values, value)
    return values


def wait_for_all(world: World) -> None:
    """Returns when every process has come here."""
    if world.size > 1:
        dist.barrier()
