"""One process or many: rank, world size and device, and collective operations.

PyTorch is imported only where needed: the ONNX demo, a world of one, runs without it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from utils.device import default_device
from utils.errors import InputError, one_line, system_reason

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

    Raises:
        InputError: if the launcher's environment variables are missing or invalid, or connecting fails.
    """
    import torch
    import torch.distributed as dist

    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_launcher()
    size = world_size()
    local_rank = _environment_number("LOCAL_RANK", max(0, local_rank or 0))
    device = device or default_device()
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", local_rank if size > 1 else torch.cuda.current_device())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if size > 1:
        backend = "nccl" if device.type == "cuda" else "gloo"
        try:
            dist.init_process_group(backend, timeout=timedelta(minutes=30))
        except (ValueError, RuntimeError) as error:
            raise InputError(f"the processes cannot connect: {one_line(error)}") from None
        return World(dist.get_rank(), dist.get_world_size(), device)
    return World(0, 1, device)


def end_with_launcher() -> None:
    """Sends SIGTERM to this process when torchrun, or torch.distributed.launch, is gone.

    A launcher that was killed cannot stop its processes. They would wait for each other, or train on beside the run
    that resumes theirs.

    Raises:
        InputError: if it is gone already.
    """
    launcher = os.getppid()
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":  # the launcher has listened since before this process
        address = os.environ.get("MASTER_ADDR", ""), _environment_number("MASTER_PORT", 0, high=65535)
        try:
            socket.create_connection(address, timeout=60).close()
        except OSError as error:
            raise InputError(f"the launcher does not answer at {address[0]}:{address[1]} ({system_reason(error)})"
                             ) from None

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def world_size() -> int:
    """The number of processes that the launcher's environment variables announce; InputError if they do not fit."""
    size = _environment_number("WORLD_SIZE", 1, low=1)
    if size > 1:
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise InputError(f"WORLD_SIZE is {size}, but {', '.join(missing)} not set; start the program with "
                             "torchrun, or unset WORLD_SIZE")
        _environment_number("RANK", 0, high=size - 1)
        _environment_number("MASTER_PORT", 0, high=65535)
    return size


def _environment_number(name: str, default: int, low: int = 0, high: int | None = None) -> int:
    text = os.environ.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) < low or (high is not None and int(text) > high):
        limit = f"at least {low}" if high is None else f"{low} to {high}"
        raise InputError(f"the environment variable {name} is {text!r}; expected a number of {limit}")
    return int(text)


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
