"""One training sample: everything random is drawn first, then only the crop is made.

`draw_sample` and `render_sample` do the published steps (Li and Lu, AAAI 2020) in another order of work.
Resizes and the affine map become one matrix, so that a foreground that is resized, too, is resampled once,
not twice or three times; its pixels then lie within about one of where repeated resampling puts them.
"""

from typing import NamedTuple

import cv2
import numpy as np

from dataloader.augment import (
    SECOND_FOREGROUND_SHARE,
    SMALL_SHARE,
    SMALL_SIDE,
    Filters,
    Jitter,
    compose_matrices,
    composite,
    draw_affine,
    draw_filters,
    draw_jitter,
    draw_kernel_sizes,
    jitter_colours,
    joint_alpha,
    make_trimap,
    resize_matrix,
    rounded_matrix,
)
from dataloader.crop import (
    MARGIN,
    Layer,
    choose_in_trimap,
    choose_window,
    covers_all,
    resize_window,
    warp_window,
)
from utils.boxes import Box

PLAIN_KERNEL_SIZE = 15  # the middle of the random sizes; without augmentation
ENLARGEMENT = 1.1  # of the crop's side: the shorter side to which images smaller than a crop are enlarged

Cutout = tuple[np.ndarray, np.ndarray]  # pixels (H, W, 4) uint8 RGBA and their block labels


class SampleDraws(NamedTuple):
    """What was drawn for a sample, but for its crop, which depends on the pixels."""

    second: int | None  # number of the foreground that goes under the first
    canvas: tuple[int, int]  # height and width after resizing
    affine: np.ndarray  # (2, 3), on the canvas
    kernel_sizes: tuple[int, int]
    filters: Filters
    jitter: Jitter | None


class Sample(NamedTuple):
    """A sample as arrays, colours float32 in 0..255."""

    image: np.ndarray  # (H, W, 3)
    trimap: np.ndarray  # (H, W) uint8 labels
    alpha: np.ndarray  # (H, W) float32 in 0..1
    foreground: np.ndarray  # (H, W, 3)
    background: np.ndarray  # (H, W, 3)


def draw_sample(rng: np.random.Generator, size: tuple[int, int], foreground_count: int,
                random_interp: bool) -> SampleDraws:
    """Everything random for a first foreground of this height and width."""
    second = int(rng.integers(foreground_count)) if rng.random() < SECOND_FOREGROUND_SHARE else None
    canvas = (SMALL_SIDE, SMALL_SIDE) if rng.random() < SMALL_SHARE else size
    return SampleDraws(second, canvas, rounded_matrix(draw_affine(rng, *canvas)), draw_kernel_sizes(rng),
                       draw_filters(rng, random_interp), draw_jitter(rng))


def plain_sample(size: tuple[int, int]) -> SampleDraws:
    """Without augmentation: the foreground as it is, with a trimap of medium width."""
    return SampleDraws(None, size, np.eye(2, 3), (PLAIN_KERNEL_SIZE, PLAIN_KERNEL_SIZE), Filters(), None)


def place_layers(draws: SampleDraws, cutouts: list[Cutout]) -> list[Layer]:
    """The foregrounds on the canvas, the upper one first; one that would leave nothing to see is left out."""
    if len(cutouts) > 1 and covers_all(cutouts[0][0][..., 3], cutouts[1][0][..., 3]):
        cutouts = cutouts[:1]
    return [Layer(pixels, labels, rounded_matrix(compose_matrices(resize_matrix(draws.canvas, pixels.shape[:2]),
                                                                  draws.affine))) for pixels, labels in cutouts]


def render_sample(draws: SampleDraws, cutouts: list[Cutout], background: np.ndarray, crop_size: int,
                  rng: np.random.Generator | None) -> Sample:
    """The sample that was drawn.

    Args:
        cutouts: the first foreground and, where one was drawn, the second.
        background: (h, w, 3) uint8.
        rng: draws the crop; None takes the one nearest to the middle, see `choose_window`.
    """
    layers = place_layers(draws, cutouts)
    if min(draws.canvas) <= crop_size:
        size, window, colours, alpha, trimap = _crop_of_enlarged(draws, layers, crop_size, rng)
    else:
        size = draws.canvas
        window = choose_window(layers, size, draws.kernel_sizes, crop_size, draws.filters.alpha, rng)
        colours, alpha, trimap = render_window(draws, layers, window)
    if draws.jitter:
        colours = jitter_colours(colours, alpha, draws.jitter)
    colours = colours.astype(np.float32, copy=False)
    background = resize_window(background, size, window, draws.filters.background).astype(np.float32)
    return Sample(composite(colours, background, alpha), trimap, alpha, colours, background)


def render_window(draws: SampleDraws, layers: list[Layer], window: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours (H, W, 3), alpha and trimap (H, W) of a window, as the whole canvas would show them there.

    Returns:
        Colours uint8, or float32 where two foregrounds lie over each other; alpha float32; labels uint8.
    """
    region = window.grown(MARGIN, *draws.canvas)
    inside = window.seen_from(region).slices
    alphas, colours = [], []
    for layer in layers:
        pixels = warp_window(layer.pixels, layer.matrix, region, draws.filters.alpha)
        alphas.append(pixels[..., 3])
        if draws.filters.colours != draws.filters.alpha:
            pixels = warp_window(layer.pixels, layer.matrix, region, draws.filters.colours)
        colours.append(cv2.cvtColor(pixels[inside], cv2.COLOR_RGBA2RGB))
    alpha = joint_alpha(alphas)
    trimap = make_trimap(alpha, draws.kernel_sizes)
    seen = [image[inside] for image in (alpha, trimap)]
    if len(layers) == 1:
        return colours[0], *seen
    upper_alpha = joint_alpha([alphas[0][inside]])
    return composite(colours[0], colours[1], upper_alpha), *seen


def _crop_of_enlarged(draws: SampleDraws, layers: list[Layer], crop_size: int, rng: np.random.Generator | None,
                      ) -> tuple[tuple[int, int], Box, np.ndarray, np.ndarray, np.ndarray]:
    """Where the canvas is smaller than a crop: its enlarged size, a window of that, and what it shows.

    As published, the trimap is made before the enlargement. The canvas is small: all of it is made. Alpha is
    enlarged as the trimap is, whatever the filter, so that known pixels stay known.
    """
    ratio = ENLARGEMENT * crop_size / min(draws.canvas)
    size = tuple(max(int(side * ratio), crop_size) for side in draws.canvas)
    colours, alpha, trimap = render_window(draws, layers, Box(0, draws.canvas[0], 0, draws.canvas[1]))
    colours = np.clip(cv2.resize(colours, size[::-1], interpolation=draws.filters.colours), 0, 255)
    alpha, trimap = (cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST) for image in (alpha, trimap))
    window = choose_in_trimap(trimap, crop_size, rng)
    return size, window, colours[window.slices], alpha[window.slices], trimap[window.slices]
