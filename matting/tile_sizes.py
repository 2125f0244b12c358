"""Sizes and margins of tiles, for `matting.tiling` and `matting.onnx_tiling`. Needs no PyTorch."""

import cv2
import numpy as np

CELL = 8  # tiles consist of cells of 8 x 8 pixels, one position at 1/8 each

# Margins of a tile for the receptive field of each step, in positions of its input.
STEM_MARGIN = 4  # from the image to 1/4 and the guidance, in cells: 29 pixels at top and left, 26 at bottom and right
QUARTER_MARGIN = 5  # from 1/8 to 1/4
HALF_MARGIN = 3  # from 1/4 to 1/2
ALPHA_MARGIN = 2  # from 1/2 to alpha

# Bytes per cell in single precision at the published width, measured and rounded up.
TILE_BYTES = 40_000  # of a tile: peak of its steps
WHOLE_BYTES = 2_500  # of the image: held while tiles or attention are computed
COLOUR_TILE_BYTES, COLOUR_WHOLE_BYTES = 12_000, 1_700  # additional with colour samples
LEAST_WORKING = 2**25  # bytes for tiles and attention; with less, tiles are hardly more than their margins
LARGEST_CPU_TILE = 6_000  # cells; on CPUs larger tiles take more memory and are no faster


def needed_queries(wanted: np.ndarray) -> np.ndarray:
    """The queries (H/16, W/16) bool of the decoder's attention on which alpha in the wanted cells (H/8, W/8) depends.

    Those whose patches, 4 x 4 positions at 1/8, reach one of them or its margin.
    """
    side = 2 * QUARTER_MARGIN + 1
    reached = cv2.dilate(wanted.astype(np.uint8), np.ones((side, side), np.uint8))
    return cv2.dilate(reached, np.ones((4, 4), np.uint8), anchor=(1, 1))[::2, ::2] > 0


def working_memory(memory_limit: int, n: int, height: int, width: int, has_colours: bool = False) -> int:
    """Bytes for tiles and attention, for a batch of n with features at 1/8 of height x width; at least `LEAST_WORKING`.

    The features at 1/8 and below are always held whole.
    """
    return max(LEAST_WORKING, memory_limit - n * height * width * (WHOLE_BYTES + has_colours * COLOUR_WHOLE_BYTES))
