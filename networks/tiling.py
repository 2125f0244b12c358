"""A whole image through a network in tiles: memory stays bounded, work follows the unknown region.

What the network computes at 1/8 of the image's size and below depends on the whole image, by depth
and by attention, and is computed for all of it. What lies before it (the stem) and after it (three
steps up to alpha) sees only a small surrounding, so it is computed tile by tile, each tile with a
margin, and after it only where alpha is wanted. The tiles' results are those of the whole image to
rounding: at the borders of the image tiles end as the image does, so that padding acts there alone.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from networks.matting import MattingNetwork, MattingOutput, matting_output

CELL = 8  # tiles consist of cells of this many pixels squared, one position at 1/8

# How far beyond a tile results depend on what comes in, in positions of the step's input.
STEM_MARGIN = 4  # cells; 29 pixels to the left and top, 26 to the right and bottom
QUARTER_MARGIN = 5  # from 1/8 to 1/4
HALF_MARGIN = 3  # from 1/4 to 1/2
ALPHA_MARGIN = 2  # from 1/2 to alpha

SMALLEST_TILE = 4  # cells; smaller ones are hardly more than their margins
TILE_OVERHEAD = 4  # cells on each axis that a tile's margins and calls cost, besides its own


class Box(NamedTuple):
    """Rows top to bottom and columns left to right of a grid, ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def of(self, x: Tensor) -> Tensor:
        """This part of a tensor (..., H, W)."""
        return x[(..., *self.slices)]

    def grown(self, margin: int, within: Tensor) -> "Box":
        """With a margin, as far as a tensor (..., H, W) reaches."""
        height, width = within.shape[-2:]
        return Box(max(0, self.top - margin), min(height, self.bottom + margin),
                   max(0, self.left - margin), min(width, self.right + margin))

    def times(self, factor: int) -> "Box":
        """The same place on a grid this many times as fine."""
        return Box(*(factor * side for side in self))

    def seen_from(self, outer: "Box") -> "Box":
        """This box on a grid that starts where `outer` does."""
        return Box(self.top - outer.top, self.bottom - outer.top, self.left - outer.left, self.right - outer.left)
