"""A whole image through a network in tiles: memory stays bounded, work follows the unknown region.

What the network computes at 1/8 of the image's size and below depends on the whole image, by depth
and by attention, and is computed for all of it. What lies before it (the stem) and after it (three
steps up to alpha) sees only a small surrounding. It is computed tile by tile, each tile with a margin;
the steps after it only where alpha is wanted. The result is that of the whole image to rounding: at
the borders of the image tiles end as the image does, and only there padding reaches the result.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from networks.colour_samples import estimates
from networks.encoder import Attended
from networks.known_colours import GRID, cell_means, known_colours
from networks.matting_network import MattingNetwork, MattingOutput, matting_output
from utils.boxes import Box, cover

CELL = 8  # tiles consist of cells of 8 x 8 pixels, which are one position at 1/8

# How far around a tile a step has to see, in positions of its input.
STEM_MARGIN = 4  # from the image to 1/4 and the guidance, in cells: 29 pixels to the top and left, 26 to the others
QUARTER_MARGIN = 5  # from 1/8 to 1/4
HALF_MARGIN = 3  # from 1/4 to 1/2
ALPHA_MARGIN = 2  # from 1/2 to alpha

# Bytes that a cell takes in single precision at the published width, measured and rounded up.
TILE_BYTES = 40_000  # of a tile, for what its steps hold at once
WHOLE_BYTES = 2_500  # of the image, for what stays while tiles or attention are computed
COLOUR_TILE_BYTES, COLOUR_WHOLE_BYTES = 12_000, 1_700  # more of both with colour samples
CPU_STRIP, GPU_STRIP = 2**16, 2**22  # pixels whose colour channels are computed at once: what caches, or memory, hold
LARGEST_CPU_TILE = 6_000  # cells; on CPUs larger tiles take more memory and no less time


def working_memory(memory_limit: int, n: int, height: int, width: int, has_colours: bool = False) -> int:
    """What a limit leaves to tiles and attention for a batch of n whose features at 1/8 are height x width; may be 0.

    The features at 1/8 and below are held whole, whatever the limit.
    """
    return max(0, memory_limit - n * height * width * (WHOLE_BYTES + has_colours * COLOUR_WHOLE_BYTES))


def largest_tile(working: int, n: int, device: torch.device, has_colours: bool = False) -> int:
    """The most cells of a tile with its margin for this working memory."""
    cells = working // (n * (TILE_BYTES + has_colours * COLOUR_TILE_BYTES))
    return min(cells, LARGEST_CPU_TILE) if device.type == "cpu" else cells


def run_tiled(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor, wanted: np.ndarray,
              tile_cells: int) -> MattingOutput:
    """What `network` returns for an image, its alpha computed where it is wanted and 0 elsewhere.

    Args:
        read: gives image and trimap in a box of pixels, (N, 3 + trimap_channel, h, w).
        unknown: (N, 1, H/8, W/8), 1 where the trimap is unknown at every eighth pixel, 0 elsewhere.
        wanted: (H/8, W/8) bool, whether alpha is wanted in these 8 x 8 pixels of any image.
        tile_cells: most cells of a tile with its margin; the smallest tiles may exceed it.
    """
    if network.colour_channels is not None:
        read = _with_colours(network, read, unknown, tile_cells)
    quarter, eighth, attended = _coarse(network, read, unknown, tile_cells)
    n, _, height, width = unknown.shape
    alpha = torch.zeros(n, 1, height * CELL, width * CELL, device=unknown.device)
    for tile in cover(wanted, tile_cells, QUARTER_MARGIN):
        tile.times(CELL).of(alpha).copy_(_tile_alpha(network, read, quarter, eighth, tile))
    return matting_output(alpha, *attended)


def _with_colours(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor,
                  tile_cells: int) -> Callable[[Box], Tensor]:
    """`read` with the channels of `networks.colour_samples` of the whole image added; arguments of `run_tiled`."""
    n, _, height, width = unknown.shape
    planes = torch.contiguous_format
    most = (CPU_STRIP if unknown.device.type == "cpu" else min(GPU_STRIP, CELL**2 * tile_cells)) // n
    strips = _strips(Box(0, CELL * height, 0, CELL * width), most)
    means = found = None
    for strip in strips:
        full = read(strip)
        part = cell_means(full[:, :3], full[:, 3:])
        means = _pasted(means, Box(*(side // GRID for side in strip)), part, 2 * height, 2 * width, planes)
    known = known_colours(means)
    del means
    for strip in strips:
        full = read(strip)
        part = estimates(full[:, :3], full[:, 3:], known.of(*strip))
        found = _pasted(found, strip, part, CELL * height, CELL * width, planes)
    known = known._replace(estimates=found)

    def with_colours(box: Box) -> Tensor:
        full = read(box)
        _, count, h, w = full.shape
        result = torch.empty((n, count + network.encoder.further_channels, h, w), dtype=full.dtype,
                             device=full.device, memory_format=torch.channels_last)
        result[:, :count] = full
        for strip in _strips(box, most):
            part = strip.seen_from(box).of(full)
            channels = network.colour_channels(part[:, :3], part[:, 3:], known.of(*strip))
            strip.seen_from(box).of(result)[:, count:] = channels
        return result

    return with_colours


def _strips(box: Box, most: int) -> list[Box]:
    """A box of pixels in strips of at most so many pixels, of `GRID` rows at least."""
    rows = max(1, most // (GRID * box.width)) * GRID
    return [box._replace(top=top, bottom=min(box.bottom, top + rows)) for top in range(box.top, box.bottom, rows)]


def _coarse(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor,
            tile_cells: int) -> tuple[Tensor, Tensor, list[Attended | None]]:
    """The encoder's features at 1/4, the decoder's at 1/8, and what the attention blocks looked at."""
    encoder = network.encoder
    height, width = unknown.shape[2:]
    quarter = guidance = None
    for tile in cover(np.ones((height, width), bool), tile_cells, STEM_MARGIN):
        grown = tile.grown(STEM_MARGIN, height, width)
        full = read(grown.times(CELL))
        inner = tile.seen_from(grown)
        part = inner.times(2).of(encoder.quarter(encoder.half(full)))
        quarter = _pasted(quarter, tile.times(2), part, 2 * height, 2 * width)
        if encoder.guidance_head is not None:
            guidance = _pasted(guidance, tile, inner.of(encoder.guidance(full)), height, width)
    features = encoder.coarse(quarter, guidance, unknown)
    eighth, attended = network.decoder.eighth(features)
    return quarter, eighth, [features.attended, attended]


def _pasted(whole: Tensor | None, box: Box, part: Tensor, height: int, width: int,
            memory_format: torch.memory_format = torch.channels_last) -> Tensor:
    """`whole` (N, C, height, width) with `part` (N, C, h, w) at a box; made for the first part."""
    if whole is None:
        whole = torch.empty((*part.shape[:2], height, width), dtype=part.dtype, device=part.device,
                            memory_format=memory_format)
    box.of(whole).copy_(part)
    return whole


def _tile_alpha(network: MattingNetwork, read: Callable[[Box], Tensor], quarter: Tensor, eighth: Tensor,
                tile: Box) -> Tensor:
    """Alpha (N, 1, h, w) of a tile of cells.

    Each step takes what the next has to see and no more, so that margins cost little at the fine scales.

    Args:
        quarter: (N, quarter, H/4, W/4), the encoder's.
        eighth: (N, eighth, H/8, W/8), the decoder's.
    """
    encoder, decoder = network.encoder, network.decoder
    height, width = eighth.shape[2:]

    at_eighth = tile.grown(QUARTER_MARGIN, height, width)
    at_quarter = at_eighth.times(2)
    x = decoder.quarter(at_eighth.of(eighth), encoder.shortcut[2](at_quarter.of(quarter)))

    kept = tile.times(2).grown(HALF_MARGIN, 2 * height, 2 * width)
    at_half, at_full = kept.times(2), kept.times(4)
    full = read(at_full)
    # Computed anew: kept for the whole image, these features would be the largest array of all.
    x = decoder.half(kept.seen_from(at_quarter).of(x), encoder.shortcut[1](encoder.half(full)))

    kept = tile.times(4).grown(ALPHA_MARGIN, 4 * height, 4 * width)
    x = decoder.alpha(kept.seen_from(at_half).of(x), encoder.shortcut[0](kept.times(2).seen_from(at_full).of(full)))
    return tile.times(CELL).seen_from(kept.times(2)).of(x)
