"""Sizes and margins of tiles, for `matting.tiling` and `matting.onnx_tiling`. Needs no PyTorch."""

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
LARGEST_CPU_TILE = 6_000  # cells; on CPUs larger tiles take more memory and are no faster


def working_memory(memory_limit: int, n: int, height: int, width: int, has_colours: bool = False) -> int:
    """Bytes left for tiles and attention, for a batch of n with features at 1/8 of height x width; may be 0.

    The features at 1/8 and below are always held whole.
    """
    return max(0, memory_limit - n * height * width * (WHOLE_BYTES + has_colours * COLOUR_WHOLE_BYTES))
