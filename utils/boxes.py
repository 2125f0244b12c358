"""Rectangles of a grid, and covering cells of a grid with few of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # boxes are also used without PyTorch
    from torch import Tensor

SMALLEST = 4  # boxes of at most this height and width are not split
MARGIN_COST = 6  # extra rows and columns that a box costs, measured with tiled inference


class Box(NamedTuple):
    """Rows top to bottom and columns left to right of a grid, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of these rows and columns in an array."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def of(self, x: Tensor) -> Tensor:
        """This part of a tensor (..., H, W)."""
        return x[(..., *self.slices)]

    def grown(self, margin: int, height: int, width: int) -> Box:
        """With a margin on each side, clipped to a grid of this height and width."""
        return Box(max(0, self.top - margin), min(height, self.bottom + margin),
                   max(0, self.left - margin), min(width, self.right + margin))

    def times(self, factor: int) -> Box:
        """The same area on a grid finer by this factor."""
        return Box(*(factor * side for side in self))

    def seen_from(self, outer: Box) -> Box:
        """Relative to the top left corner of `outer`."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)

    def overlap(self, other: Box) -> Box | None:
        """The common part; None if there is none."""
        common = Box(max(self.top, other.top), min(self.bottom, other.bottom),
                     max(self.left, other.left), min(self.right, other.right))
        return common if common.height > 0 and common.width > 0 else None

    def halves(self) -> tuple[Box, Box]:
        """Two halves, splitting the longer side."""
        if self.height >= self.width:
            middle = (self.top + self.bottom) // 2
            return self._replace(bottom=middle), self._replace(top=middle)
        middle = (self.left + self.right) // 2
        return self._replace(right=middle), self._replace(left=middle)


def cover(wanted: np.ndarray, limit: int, margin: int = 0, within: Box | None = None) -> list[Box]:
    """Disjoint boxes that cover the wanted cells of a grid at low cost.

    Halves the bounding box recursively, and keeps only the splits that reduce the cost.

    Args:
        wanted: (H, W) bool.
        limit: most cells of a box with its margin on all sides; boxes of `SMALLEST` may exceed it.
        within: the part of the grid to cover; default: all of it.
    """
    box = bounding_box(wanted, within or Box(0, wanted.shape[0], 0, wanted.shape[1]))
    if box is None:
        return []
    if max(box.height, box.width) <= SMALLEST:
        return [box]
    parts = [part for half in box.halves() for part in cover(wanted, limit, margin, half)]
    fits = (box.height + 2 * margin) * (box.width + 2 * margin) <= limit
    return [box] if fits and _cost(box) <= sum(map(_cost, parts)) else parts


def bounding_box(wanted: np.ndarray, within: Box) -> Box | None:
    """The smallest box with the wanted cells of a part of a grid (H, W) bool; None if there are none."""
    part = wanted[within.slices]
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not rows.size:
        return None
    return Box(within.top + int(rows[0]), within.top + int(rows[-1]) + 1,
               within.left + int(columns[0]), within.left + int(columns[-1]) + 1)


def _cost(box: Box) -> int:
    return (box.height + MARGIN_COST) * (box.width + MARGIN_COST)
