"""Tiled inference: bounded memory, and work proportional to the unknown region.

Features at 1/8 and below depend on the whole image, by depth and by attention, and are computed for all
of it. The layers before (the stem) and after (three steps up to alpha) have small receptive fields. They
are computed tile by tile, each tile with a margin; the steps after only where alpha is wanted. The result
equals that of the whole image up to rounding: only at the image's borders, where tiles end as the image
does, padding affects the result.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from matting.colour_tiles import CPU_STRIP, GPU_STRIP, with_colours
from matting.tile_sizes import (
    ALPHA_MARGIN,
    CELL,
    COLOUR_TILE_BYTES,
    HALF_MARGIN,
    LARGEST_CPU_TILE,
    QUARTER_MARGIN,
    STEM_MARGIN,
    TILE_BYTES,
    needed_queries,
)
from matting.work import ALPHA_WORK, COARSE_WORK, COLOUR_WORK, NEAR_PAIR_WORK, PAIR_WORK, STEM_WORK, Work
from networks import GuidedContextualAttention
from networks.attention_near import attend_near, keys_met
from networks.attention_tiles import unreported
from networks.encoder import PUBLISHED_CHANNELS, AttentionMaps
from networks.matting_network import MattingNetwork, MattingOutput, matting_output
from utils.boxes import Box, cover
from utils.progress_bar import Report


class Needed(NamedTuple):
    """The queries (H/16, W/16) bool that are needed of attention, no offsets then; None: all, with offsets."""

    by_encoder: Tensor | None = None
    by_decoder: Tensor | None = None


def largest_tile(working: int, n: int, device: torch.device, has_colours: bool = False) -> int:
    """The most cells of a tile with its margin for this working memory."""
    cells = working // (n * (TILE_BYTES + has_colours * COLOUR_TILE_BYTES))
    return min(cells, LARGEST_CPU_TILE) if device.type == "cpu" else cells


def run_tiled(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor, wanted: np.ndarray,
              tile_cells: int, report: Report = lambda done, total: None, offsets: bool = True) -> MattingOutput:
    """The output of `network` for an image, with alpha computed where wanted and 0 elsewhere.

    Args:
        read: returns image and trimap in a box of pixels, (N, 3 + trimap_channel, h, w).
        unknown: (N, 1, H/8, W/8), every eighth pixel of the unknown mask, 1 unknown, 0 known.
        wanted: (H/8, W/8) bool, the cells in which alpha is wanted for any image.
        tile_cells: most cells of a tile with its margin; the smallest tiles may exceed it.
        report: called as the work goes on with the number of tiles done and of all tiles, as in `matting.work`.
        offsets: whether attention's offsets are wanted. Without them less of the decoder's attention is computed.
    """
    height, width = unknown.shape[2:]
    needed = Needed() if offsets else _needed(wanted, unknown.device)
    first = cover(np.ones((height, width), bool), tile_cells, STEM_MARGIN)
    second = cover(wanted, tile_cells, QUARTER_MARGIN)
    has_colours = network.colour_channels is not None
    work = _all_work(network, height * width, has_colours, needed, second, STEM_WORK * first[0].area, report)
    if has_colours:
        most = CPU_STRIP if unknown.device.type == "cpu" else min(GPU_STRIP, CELL**2 * tile_cells)
        read = with_colours(network, read, CELL * height, CELL * width, most // len(unknown))
        work.add(COLOUR_WORK * height * width)
    quarter, eighth, attended = _coarse(network, read, unknown, needed, first, work)
    alpha = torch.zeros(len(unknown), 1, height * CELL, width * CELL, device=unknown.device)
    for tile in second:
        tile.times(CELL).of(alpha).copy_(_tile_alpha(network, read, quarter, eighth, tile))
        work.add(ALPHA_WORK * tile.area)
    return matting_output(alpha, *attended)


def _needed(wanted: np.ndarray, device: torch.device) -> Needed:
    """All queries of the encoder's attention, as everything depends on it, and some of the decoder's."""
    queries = torch.from_numpy(needed_queries(wanted)).to(device)
    return Needed(torch.ones_like(queries), queries)


def _all_work(network: MattingNetwork, cells: int, has_colours: bool, needed: Needed, second: list[Box],
              step: float, report: Report) -> Work:
    """The work of an image of so many cells, with these tiles of the second pass."""
    total = (STEM_WORK + _coarse_work(network) + COLOUR_WORK * has_colours) * cells
    total += _attention_work(network.encoder.gca, cells, needed.by_encoder)
    total += _attention_work(network.decoder.gca, cells, needed.by_decoder)
    total += ALPHA_WORK * sum(tile.area for tile in second)
    return Work(report, step, total)


def _coarse_work(network: MattingNetwork) -> float:
    """Per cell of the image."""
    return COARSE_WORK * network.encoder.layer3[0].conv1.in_channels / PUBLISHED_CHANNELS.eighth


def _attention_work(block: GuidedContextualAttention | None, cells: int, needed: Tensor | None) -> float:
    if block is None:
        return 0.0
    positions = cells // 4
    queries = positions if needed is None else int(needed.sum())
    if block.attend is attend_near:
        return NEAR_PAIR_WORK * queries * keys_met(positions)
    return PAIR_WORK * queries * positions


def _coarse(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor, needed: Needed, tiles: list[Box],
            work: Work) -> tuple[Tensor, Tensor, list[AttentionMaps | None]]:
    """The encoder's features at 1/4, the decoder's at 1/8, and the attention maps."""
    encoder, decoder = network.encoder, network.decoder
    height, width = unknown.shape[2:]
    quarter = guidance = None
    for tile in tiles:
        grown = tile.grown(STEM_MARGIN, height, width)
        full = read(grown.times(CELL))
        inner = tile.seen_from(grown)
        part = inner.times(2).of(encoder.quarter(encoder.half(full)))
        quarter = _pasted(quarter, tile.times(2), part, 2 * height, 2 * width)
        if encoder.guidance_head is not None:
            guidance = _pasted(guidance, tile, inner.of(encoder.guidance(full)), height, width)
        work.add(STEM_WORK * tile.area)
    half = _coarse_work(network) * height * width / 2
    with _reporting(encoder.gca, work, height * width, needed.by_encoder):
        features = encoder.coarse(quarter, guidance, unknown, needed.by_encoder)
    work.add(half)
    attended, unknown = features.attended, features.unknown
    eighth = decoder.above(features.bottleneck, features.sixteenth, features.eighth)
    del features  # memory for attention
    with _reporting(decoder.gca, work, height * width, needed.by_decoder):
        eighth, attended_again = decoder.refined(eighth, guidance, unknown, needed.by_decoder)
    work.add(half)
    return quarter, eighth, [attended, attended_again]


@contextmanager
def _reporting(block: GuidedContextualAttention | None, work: Work, cells: int,
               needed: Tensor | None) -> Iterator[None]:
    """Within the block, attention tells its tiles."""
    if block is None:
        yield
        return
    block.report = work.during(_attention_work(block, cells, needed))
    try:
        yield
    finally:
        block.report = unreported


def _pasted(whole: Tensor | None, box: Box, part: Tensor, height: int, width: int) -> Tensor:
    """Writes `part` (N, C, h, w) into a box of `whole` (N, C, height, width), which is allocated if None."""
    if whole is None:
        whole = torch.empty((*part.shape[:2], height, width), dtype=part.dtype, device=part.device,
                            memory_format=torch.channels_last)
    box.of(whole).copy_(part)
    return whole


def _tile_alpha(network: MattingNetwork, read: Callable[[Box], Tensor], quarter: Tensor, eighth: Tensor,
                tile: Box) -> Tensor:
    """Alpha (N, 1, h, w) of a tile of cells.

    Each step is cropped to the receptive field of the next, so that margins are cheap at fine scales.

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
    # Recomputed: for the whole image, these features would be the largest array of all.
    x = decoder.half(kept.seen_from(at_quarter).of(x), encoder.shortcut[1](encoder.half(full)))

    kept = tile.times(4).grown(ALPHA_MARGIN, 4 * height, 4 * width)
    x = decoder.alpha(kept.seen_from(at_half).of(x), encoder.shortcut[0](kept.times(2).seen_from(at_full).of(full)))
    return tile.times(CELL).seen_from(kept.times(2)).of(x)
