"""Tiled inference of a network exported in stages: `matting.tiling` in NumPy and ONNX Runtime. Needs no PyTorch."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from matting.onnx_attention import attend, query_tiles
from matting.onnx_stages import StagedNetwork
from matting.tile_sizes import ALPHA_MARGIN, CELL, HALF_MARGIN, QUARTER_MARGIN, STEM_MARGIN, needed_queries
from utils.boxes import Box, cover
from utils.preprocessing import UNKNOWN, normalised_planes, trimap_planes

ESTIMATES = 4  # channels
GRID = 4  # pixels: known colours are held for cells of 4 x 4
ESTIMATED_CELLS = 512  # of a tile of the estimates from known colours, which take much memory per pixel

Read = Callable[[Box], np.ndarray]


class Plan(NamedTuple):
    """The tiles of an image."""

    stem: list[Box]
    queries: tuple[list[Box], ...]  # of the encoder's and the decoder's attention, if any
    alpha: list[Box]

    @property
    def count(self) -> int:
        """The number of steps that are reported."""
        return len(self.stem) + sum(map(len, self.queries)) + len(self.alpha)


def planned(labels: np.ndarray, inside: np.ndarray, tile_cells: int, attention: bool, workers: int) -> Plan:
    """The tiles of a padded image.

    Args:
        labels: (H, W), sides multiples of 32.
        inside: (H, W) bool, the pixels whose alpha is wanted.
        tile_cells: most cells of a tile with its margin; the smallest tiles may exceed it.
        workers: threads of attention.
    """
    wanted = _cells(inside)
    needed = needed_queries(wanted)
    return Plan(cover(np.ones_like(wanted), tile_cells, STEM_MARGIN),
                (query_tiles(np.ones_like(needed), workers), query_tiles(needed, workers)) if attention else (),
                cover(wanted, tile_cells, QUARTER_MARGIN))


def tiled_alpha(network: StagedNetwork, image: np.ndarray, labels: np.ndarray, plan: Plan, workers: int,
                report: Callable[[], object]) -> np.ndarray:
    """Alpha (H, W) of a padded image, computed in the tiles of a plan and 0 elsewhere.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W), as in `utils.preprocessing`.
        report: called after each step of the plan.
    """
    def read(box: Box) -> np.ndarray:
        planes = normalised_planes(image[box.slices]), trimap_planes(labels[box.slices], network.trimap_channel)
        return np.concatenate(planes)[None]

    if network.colours:
        read = _with_colours(network, read, labels, plan.stem)
    quarter, eighth = _coarse(network, read, labels, plan, workers, report)
    alpha = np.zeros(labels.shape, np.float32)
    for tile in plan.alpha:
        alpha[tile.times(CELL).slices] = _tile_alpha(network, read, quarter, eighth, tile)
        report()
    return alpha


def _cells(pixels: np.ndarray) -> np.ndarray:
    """The cells (H/8, W/8) that contain any of these pixels (H, W)."""
    height, width = (side // CELL for side in pixels.shape)
    return pixels.reshape(height, CELL, width, CELL).any(axis=(1, 3))


def _with_colours(network: StagedNetwork, read: Read, labels: np.ndarray, tiles: list[Box]) -> Read:
    """`read` extended by the whole image's channels of `networks.colour_samples`."""
    height, width = labels.shape
    means = None
    for tile in tiles:
        part, = network.run("means", full=read(tile.times(CELL)))
        means = _pasted(means, tile.times(CELL // GRID), part, height // GRID, width // GRID)
    filled, samples, known = network.run("known", means=means)
    del means
    filled = np.pad(filled, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")  # interpolated between cell centres

    def colours(box: Box) -> dict[str, np.ndarray]:
        top, bottom, left, right = (side // GRID for side in box)
        return {"full": read(box), "filled": Box(top, bottom + 2, left, right + 2).of(filled), "known": known}

    estimates = np.zeros((1, ESTIMATES, height, width), np.float32)
    estimates[:, ::2] = labels - np.float32(1)  # known pixels: -1 background, 1 foreground, and no residuals
    for tile in cover(_cells(labels == UNKNOWN), ESTIMATED_CELLS):
        box = tile.times(CELL)
        box.of(estimates)[...], = network.run("estimates", samples=tile.times(CELL // GRID).of(samples), **colours(box))

    def with_colours(box: Box) -> np.ndarray:
        return network.run("colours", estimates=box.of(estimates), **colours(box))[0]

    return with_colours


def _coarse(network: StagedNetwork, read: Read, labels: np.ndarray, plan: Plan, workers: int,
            report: Callable[[], object]) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's features at 1/4 and the decoder's at 1/8."""
    height, width = (side // CELL for side in labels.shape)
    quarter = guidance = None
    for tile in plan.stem:
        grown = tile.grown(STEM_MARGIN, height, width)
        inner = tile.seen_from(grown)
        part, *guided = network.run("stem", full=read(grown.times(CELL)))
        quarter = _pasted(quarter, tile.times(2), inner.times(2).of(part), 2 * height, 2 * width)
        for features in guided:
            guidance = _pasted(guidance, tile, inner.of(features), height, width)
        report()
    if not network.attention:
        return quarter, network.run("coarse", quarter=quarter)[0]
    whole = {"guidance": guidance, "unknown": (labels[None, None, ::CELL, ::CELL] == UNKNOWN).astype(np.float32)}
    first, second = plan.queries
    prepared = network.run("before_attention", quarter=quarter, **whole)
    feature, message = _attended(network, prepared, first, workers, report)
    prepared = network.run("between_attention", coarse=feature, message=message, **whole)
    del guidance, whole, feature, message
    feature, message = _attended(network, prepared, second, workers, report)
    return quarter, network.run("after_attention", feature=feature, message=message)[0]


def _attended(network: StagedNetwork, prepared: list[np.ndarray], tiles: list[Box], workers: int,
              report: Callable[[], object]) -> tuple[np.ndarray, np.ndarray]:
    """The feature that attention refines, and its message in blocks, for the stage that adds it."""
    feature, *arguments = prepared
    return feature, attend(network, *(array[0] for array in arguments), tiles, workers, report)[None]


def _pasted(whole: np.ndarray | None, box: Box, part: np.ndarray, height: int, width: int) -> np.ndarray:
    """Writes `part` (1, C, h, w) into a box of `whole` (1, C, height, width), which is allocated if None."""
    if whole is None:
        whole = np.empty((*part.shape[:2], height, width), part.dtype)
    box.of(whole)[...] = part
    return whole


def _tile_alpha(network: StagedNetwork, read: Read, quarter: np.ndarray, eighth: np.ndarray, tile: Box) -> np.ndarray:
    """Alpha (h, w) of a tile of cells, as `matting.tiling` computes it.

    Args:
        quarter: (1, quarter, H/4, W/4), the encoder's.
        eighth: (1, eighth, H/8, W/8), the decoder's.
    """
    height, width = eighth.shape[2:]

    at_eighth = tile.grown(QUARTER_MARGIN, height, width)
    at_quarter = at_eighth.times(2)
    x, = network.run("quarter", eighth=at_eighth.of(eighth), quarter=at_quarter.of(quarter))

    kept = tile.times(2).grown(HALF_MARGIN, 2 * height, 2 * width)
    at_half, at_full = kept.times(2), kept.times(4)
    full = read(at_full)
    x, = network.run("half", features=kept.seen_from(at_quarter).of(x), full=full)

    kept = tile.times(4).grown(ALPHA_MARGIN, 4 * height, 4 * width)
    x, = network.run("alpha", features=kept.seen_from(at_half).of(x),
                     full=kept.times(2).seen_from(at_full).of(full))
    return tile.times(CELL).seen_from(kept.times(2)).of(x)[0, 0]
