"""Chooses a sample's crop before warping, and warps only that crop.

The *canvas* is the image that whole-image processing would produce: of the first foreground's size, or
640 x 640. Crops are centred on its unknown pixels, whose positions would be known only after warping and
eroding alpha. `choose_window` therefore uses rejection sampling: a map of 4 x 4 blocks, computed once per
alpha, shows where unknown pixels can be; one of these positions is drawn, and the trimap computed for that
pixel only; if the pixel is known, another is drawn. Accepted positions are distributed exactly as draws from
all unknown pixels.
"""

from typing import NamedTuple

import cv2
import numpy as np

from dataloader.augment import LARGEST_KERNEL, compose_matrices, ellipse, joint_alpha, make_trimap
from utils.boxes import Box
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

BLOCK = 4  # side of the labelled blocks, in pixels
SPACING = 4  # spacing of possible crop centres, in pixels
EROSION_REACH = LARGEST_KERNEL // 2  # reach of the erosion, in pixels
FEWEST_UNKNOWN = 10  # with fewer possible centres, any crop is accepted
TRIES = 200  # drawn centres before any crop is accepted
FILTER_REACH = {cv2.INTER_NEAREST: 0, cv2.INTER_LINEAR: 1, cv2.INTER_CUBIC: 2, cv2.INTER_LANCZOS4: 4}  # in pixels


class Layer(NamedTuple):
    """A foreground and its placement on the canvas."""

    pixels: np.ndarray  # (h, w, 4) uint8 RGBA
    labels: np.ndarray  # `block_labels` of its alpha
    matrix: np.ndarray  # (2, 3), maps canvas pixels to its own


def warp_window(image: np.ndarray, matrix: np.ndarray, window: Box, resampling: int) -> np.ndarray:
    """A window of an image warped by a matrix; 0 outside the image."""
    return cv2.warpAffine(image, _moved(matrix, window), (window.width, window.height),
                          flags=resampling | cv2.WARP_INVERSE_MAP)


def resize_window(image: np.ndarray, size: tuple[int, int], window: Box, resampling: int) -> np.ndarray:
    """A window of an image resized to `size` (height, width), displaced by less than a pixel.

    Only the part of the image inside the window is resized, starting at a whole pixel.
    """
    reach = FILTER_REACH[resampling]
    rows, row_scale, top = _source_range(image.shape[0], size[0], window.top, window.height, reach)
    columns, column_scale, left = _source_range(image.shape[1], size[1], window.left, window.width, reach)
    resized = cv2.resize(image[rows, columns], None, fx=column_scale, fy=row_scale, interpolation=resampling)
    return resized[top:top + window.height, left:left + window.width]


def _source_range(source: int, target: int, start: int, length: int, reach: int) -> tuple[slice, float, int]:
    """The source pixels of a target range, the scale factor, and the start of the range in the resized result."""
    step = source / target
    first = max(int(start * step) - reach - 1, 0)
    last = min(int(np.ceil((start + length) * step)) + reach + 1, source)
    return slice(first, last), target / source, int(start - first / step)


def layers_alpha(layers: list[Layer], window: Box, resampling: int) -> np.ndarray:
    """Joint alpha (H, W) float32 of all layers in a window."""
    return joint_alpha([warp_window(layer.pixels, layer.matrix, window, resampling)[..., 3] for layer in layers])


def block_labels(alpha: np.ndarray) -> np.ndarray:
    """Labels of the 4 x 4 blocks of an 8-bit alpha (H, W): FOREGROUND if all 255, BACKGROUND if all 0, else UNKNOWN.

    Alpha is padded with 0 to whole blocks. The result is (ceil(H / 4), ceil(W / 4)) uint8.
    """
    square = np.ones((BLOCK, BLOCK), np.uint8)
    lowest, highest = (change(alpha, square, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0)
                       [::BLOCK, ::BLOCK] for change in (cv2.erode, cv2.dilate))
    return np.where(lowest == 255, FOREGROUND, np.where(highest == 0, BACKGROUND, UNKNOWN)).astype(np.uint8)


def covers_all(alpha: np.ndarray, other: np.ndarray) -> bool:
    """Whether two stacked alphas, 8-bit (H, W), the second resized to the first, are 255 everywhere."""
    corners = np.maximum(alpha[::alpha.shape[0] - 1 or 1, ::alpha.shape[1] - 1 or 1],
                         other[::other.shape[0] - 1 or 1, ::other.shape[1] - 1 or 1])
    if corners.min() < 255:  # nearly always; the full test is 20 times as much work
        return False
    other = cv2.resize(other, alpha.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return bool(np.maximum(alpha, other).min() == 255)


def choose_window(layers: list[Layer], canvas: tuple[int, int], kernel_sizes: tuple[int, int], crop_size: int,
                  resampling: int, rng: np.random.Generator | None) -> Box:
    """A crop around a random unknown pixel.

    Centres lie on a grid of 4 pixels, at least half a crop from the canvas border. Falls back to `any_window` if
    fewer than 10 pixels of the grid can be unknown, or if none of 200 drawn ones is.

    Args:
        canvas: height and width, each at least `crop_size`.
        rng: None takes the unknown pixel nearest to the canvas centre, or the centre crop.
    """
    half = crop_size // 2
    grid = possibly_unknown(layers, canvas, kernel_sizes, resampling)
    grid = grid[half // SPACING:(canvas[0] - half) // SPACING + 1, half // SPACING:(canvas[1] - half) // SPACING + 1]
    corners = np.flatnonzero(grid)
    if len(corners) >= FEWEST_UNKNOWN:
        for corner in _in_turn(corners, grid.shape, rng):
            row, column = divmod(int(corner), grid.shape[1])
            window = _square(row * SPACING, column * SPACING, crop_size)
            if _is_unknown(layers, canvas, window.top + half, window.left + half, kernel_sizes, resampling):
                return window
    return any_window(canvas, crop_size, rng)


def any_window(canvas: tuple[int, int], crop_size: int, rng: np.random.Generator | None) -> Box:
    """A crop drawn from the whole canvas; without a generator the centre crop."""
    spare = np.array(canvas) - crop_size
    top, left = spare // 2 if rng is None else rng.integers(spare + 1)
    return _square(int(top), int(left), crop_size)


def choose_in_trimap(trimap: np.ndarray, crop_size: int, rng: np.random.Generator | None) -> Box:
    """`choose_window` given the trimap of the whole canvas, (H, W) labels."""
    half = crop_size // 2
    height, width = trimap.shape
    grid = trimap[half:height - half + 1:SPACING, half:width - half + 1:SPACING] == UNKNOWN
    corners = np.flatnonzero(grid)
    if len(corners) < FEWEST_UNKNOWN:
        return any_window(trimap.shape, crop_size, rng)
    row, column = divmod(int(_in_turn(corners, grid.shape, rng)[0]), grid.shape[1])
    return _square(row * SPACING, column * SPACING, crop_size)


def _in_turn(corners: np.ndarray, shape: tuple[int, int], rng: np.random.Generator | None) -> np.ndarray:
    """Up to 200 crop corners to try: drawn with replacement, or those nearest to the grid centre."""
    if rng is not None:
        return corners[rng.integers(len(corners), size=TRIES)]
    rows, columns = np.divmod(corners, shape[1])
    distance = np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2)
    return corners[np.argsort(distance, kind="stable")[:TRIES]]


def _is_unknown(layers: list[Layer], canvas: tuple[int, int], row: int, column: int, kernel_sizes: tuple[int, int],
                resampling: int) -> bool:
    region = _square(row, column, 1).grown(EROSION_REACH, *canvas)
    trimap = make_trimap(layers_alpha(layers, region, resampling), kernel_sizes)
    return trimap[row - region.top, column - region.left] == UNKNOWN


def possibly_unknown(layers: list[Layer], canvas: tuple[int, int], kernel_sizes: tuple[int, int],
                     resampling: int) -> np.ndarray:
    """Which pixels of the canvas, on a grid of 4, can be unknown: (ceil(H / 4), ceil(W / 4)) bool.

    Includes every unknown grid pixel further than a kernel from the border, and some known ones, since whole
    blocks are tested.
    """
    size = tuple(-(-side // SPACING) for side in canvas)
    maps = [_known_cells(layer, size, FILTER_REACH[resampling]) for layer in layers]
    foreground = np.maximum.reduce([known for known, _ in maps])
    background = np.minimum.reduce([known for _, known in maps])
    known = [cv2.erode(region, _grid_kernel(kernel)) for region, kernel in zip((foreground, background), kernel_sizes,
                                                                              strict=True)]
    return (known[0] | known[1]) == 0


def _known_cells(layer: Layer, size: tuple[int, int], reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Grid points of the canvas around which a layer is opaque, or transparent, within half a grid step.

    That is, all source pixels within the reach of the filter lie in blocks with that label.
    """
    spread = np.abs(layer.matrix[:, :2]).sum(axis=1) * SPACING / 2 + reach + 1
    columns, rows = np.ceil(spread / BLOCK).astype(int)
    around = np.ones((2 * rows + 1, 2 * columns + 1), np.uint8)
    # Padded, because points outside the foreground can have opaque pixels around them.
    labels = cv2.copyMakeBorder(layer.labels, rows, rows, columns, columns, cv2.BORDER_CONSTANT, value=BACKGROUND)
    middle = 0.5 / BLOCK - 0.5
    to_blocks = np.array([[1 / BLOCK, 0, middle + columns], [0, 1 / BLOCK, middle + rows]])
    from_grid = np.array([[SPACING, 0, 0], [0, SPACING, 0]], float)
    matrix = compose_matrices(to_blocks, compose_matrices(layer.matrix, from_grid))
    known = []
    for label, outside in ((FOREGROUND, 0), (BACKGROUND, 1)):
        region = cv2.erode((labels == label).view(np.uint8), around,
                           borderType=cv2.BORDER_CONSTANT, borderValue=outside)
        known.append(cv2.warpAffine(region, matrix, size[::-1], flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
                                    borderMode=cv2.BORDER_CONSTANT, borderValue=outside))
    return known[0], known[1]


def _grid_kernel(kernel_size: int) -> np.ndarray:
    """An elliptic kernel on the grid: each of its pixels rounded to the nearest grid step."""
    offsets = np.argwhere(ellipse(kernel_size)) - kernel_size // 2
    steps = np.rint(offsets / SPACING).astype(int)
    reach = np.abs(steps).max()
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    kernel[tuple((steps + reach).T)] = 1
    return kernel


def _square(top: int, left: int, side: int) -> Box:
    return Box(top, top + side, left, left + side)


def _moved(matrix: np.ndarray, window: Box) -> np.ndarray:
    """The matrix for a canvas whose origin is the top left corner of the window."""
    return compose_matrices(matrix, np.array([[1, 0, window.left], [0, 1, window.top]], float))
