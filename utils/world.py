"""This process among those that work together. Free of PyTorch, unlike `utils.distributed`, which makes them meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch


class World(NamedTuple):
    """This process among those that work together; rank 0 of size 1 when it is alone."""

    rank: int
    size: int
    device: torch.device | None  # None where nothing is computed with PyTorch

    @property
    def is_main(self) -> bool:
        return self.rank == 0


ALONE = World(0, 1, None)
