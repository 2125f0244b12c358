"""One training sample: random parameters are drawn first, then only the crop is rendered.

`draw_sample` and `render_sample` implement the published steps (Li and Lu, AAAI 2020) in a different order.
Resizing and the affine map become one matrix, so that a resized foreground is resampled once instead of two
or three times; its pixels lie within about one of where repeated resampling puts them.
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
    EROSION_REACH,
    Layer,
    choose_in_trimap,
    choose_window,
    covers_all,
    resize_window,
    warp_window,
)
from utils.boxes import Box

PLAIN_KERNEL_SIZE = 15  # without augmentation: the middle of the random sizes
ENLARGEMENT = 1.1  # shorter side, in crop sides, to which images smaller than a crop are enlarged

Cutout = tuple[np.ndarray, np.ndarray]  # pixels (H, W, 4) uint8 RGBA and their block labels


class SampleDraws(NamedTuple):
    """The random parameters of a sample, except its crop, which depends on the pixels."""

    second: int | None  # index of the foreground below the first
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
    """Random parameters for a first foreground of this (height, width)."""
    second = int(rng.integers(foreground_count)) if rng.random() < SECOND_FOREGROUND_SHARE else None
    canvas = (SMALL_SIDE, SMALL_SIDE) if rng.random() < SMALL_SHARE else size
    return SampleDraws(second, canvas, rounded_matrix(draw_affine(rng, *canvas)), draw_kernel_sizes(rng),
                       draw_filters(rng, random_interp), draw_jitter(rng))


def plain_sample(size: tuple[int, int]) -> SampleDraws:
    """Parameters without augmentation: the foreground unchanged, with a trimap of medium width."""
    return SampleDraws(None, size, np.eye(2, 3), (PLAIN_KERNEL_SIZE, PLAIN_KERNEL_SIZE), Filters(), None)


def place_layers(draws: SampleDraws, cutouts: list[Cutout]) -> list[Layer]:
    """The foregrounds on the canvas, the upper one first; the second is dropped if both would be opaque everywhere."""
    if len(cutouts) > 1 and covers_all(cutouts[0][0][..., 3], cutouts[1][0][..., 3]):
        cutouts = cutouts[:1]
    return [Layer(pixels, labels, rounded_matrix(compose_matrices(resize_matrix(draws.canvas, pixels.shape[:2]),
                                                                  draws.affine))) for pixels, labels in cutouts]


def render_sample(draws: SampleDraws, cutouts: list[Cutout], background: np.ndarray, crop_size: int,
                  rng: np.random.Generator | None) -> Sample:
    """Renders the sample with the drawn parameters.

    Args:
        cutouts: the first foreground and, if drawn, the second.
        background: (h, w, 3) uint8.
        rng: draws the crop; None takes the one nearest to the centre, see `choose_window`.
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
    """Colours (H, W, 3), alpha and trimap (H, W) of a window of the rendered canvas.

    Returns:
        Colours uint8, or float32 with two foregrounds; alpha float32; labels uint8.
    """
    region = window.grown(EROSION_REACH, *draws.canvas)
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
    """For a canvas smaller than a crop: its enlarged size, a window, and the window's colours, alpha and trimap.

    As published, the trimap is computed before enlarging. The whole canvas is rendered, since it is small. Alpha is
    always enlarged with nearest neighbour, like the trimap, so that known pixels stay known.
    """
    ratio = ENLARGEMENT * crop_size / min(draws.canvas)
    size = tuple(max(int(side * ratio), crop_size) for side in draws.canvas)
    colours, alpha, trimap = render_window(draws, layers, Box(0, draws.canvas[0], 0, draws.canvas[1]))
    colours = np.clip(cv2.resize(colours, size[::-1], interpolation=draws.filters.colours), 0, 255)
    alpha, trimap = (cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST) for image in (alpha, trimap))
    window = choose_in_trimap(trimap, crop_size, rng)
    return size, window, colours[window.slices], alpha[window.slices], trimap[window.slices]
