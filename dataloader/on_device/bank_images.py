"""Reading and drawing the images of the banks, in separate processes that do not need PyTorch."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dataloader.cache import decode_cached
from dataloader.image_file import ImageFileError
from dataloader.image_folders import Background, Foreground
from dataloader.synthetic.items import DrawnBackground, DrawnForeground

PLACES = 512  # crop centres kept per foreground, where its alpha is neither 0 nor 1
SOLID = 255

Picture = tuple[np.ndarray, np.ndarray]  # pixels (S, S, 4) uint8, and crop centres (PLACES, 2), x and y in pixels


def bank_foreground(item: Foreground | DrawnForeground, size: int, cache: str | Path | None = None) -> Picture:
    """A foreground for a bank, its longer side resized to `size`, and its crop centres.

    Raises:
        ImageFileError: if a file cannot be read.
    """
    pixels = np.asarray(item.read() if cache is None else decode_cached(item, cache)[0])
    pixels = fit_into_square(with_colours_everywhere(pixels), size)
    return pixels, foreground_places(pixels[..., 3])


def bank_background(item: Background | DrawnBackground, size: int) -> Picture:
    """A background for a bank: its central square resized to `size`.

    Raises:
        ImageFileError: if a file cannot be read.
    """
    image = item.read()
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    image = _resized(np.ascontiguousarray(image[top:top + side, left:left + side]), (size, size))
    return cv2.cvtColor(image, cv2.COLOR_RGB2RGBA), np.full((PLACES, 2), (size - 1) / 2)


def bank_matted(item: Foreground, size: int) -> Picture:
    """A photograph with its alpha for a bank, reduced to `size` if it is larger, and its crop centres.

    What the square has more is its mirror image.

    Raises:
        ImageFileError: if a file cannot be read.
    """
    pixels = item.read()
    pixels = _scaled(pixels, min(1, size / max(pixels.shape[:2])))
    around = _around(pixels, size)
    places = foreground_places(pixels[..., 3]) + (around[2], around[0])
    return cv2.copyMakeBorder(pixels, *around, cv2.BORDER_REFLECT), places


def read_or_error(read: Callable[..., Picture], item: object, **arguments: object) -> Picture | ImageFileError:
    """The result of `read`, or its ImageFileError: raised in a worker process, it would end the whole sequence."""
    try:
        return read(item, **arguments)
    except ImageFileError as error:
        return error


def fit_into_square(pixels: np.ndarray, size: int) -> np.ndarray:
    """RGBA (h, w, 4) centred in (size, size, 4), its longer side resized to `size`; transparent around it."""
    pixels = _scaled(pixels, size / max(pixels.shape[:2]))
    around = _around(pixels, size)
    alpha = cv2.copyMakeBorder(np.ascontiguousarray(pixels[..., 3]), *around, cv2.BORDER_CONSTANT, value=0)
    pixels = cv2.copyMakeBorder(pixels, *around, cv2.BORDER_REPLICATE)
    pixels[..., 3] = alpha
    return pixels


def foreground_places(alpha: np.ndarray) -> np.ndarray:
    """`PLACES` crop centres (x, y) of an alpha (H, W) uint8, where it is neither 0 nor 255.

    Without such pixels, those along edges are used; without edges, the image centre.
    """
    between = (alpha > 0) & (alpha < SOLID)
    if not between.any():
        solid, around = (alpha == SOLID).view(np.uint8), np.ones((3, 3), np.uint8)
        between = cv2.dilate(solid, around) != cv2.erode(solid, around)
    rows, columns = np.nonzero(between)
    if not len(rows):
        return np.full((PLACES, 2), (np.array(alpha.shape[::-1]) - 1) / 2)
    chosen = np.linspace(0, len(rows) - 1, PLACES).round().astype(int)
    return np.column_stack([columns[chosen], rows[chosen]]).astype(float)


def with_colours_everywhere(pixels: np.ndarray) -> np.ndarray:
    """RGBA (h, w, 4) uint8 whose fully transparent pixels, if all are black, get the colours of the nearest others.

    Files often are black there, which interpolation would bleed into the edges; drawings are not.
    """
    unseen = (pixels[..., 3] == 0).view(np.uint8)
    if not unseen.any() or unseen.all() or pixels[unseen > 0, :3].any():
        return pixels
    _, labels = cv2.distanceTransformWithLabels(unseen, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros(labels.max() + 1, int)
    nearest[labels[unseen == 0]] = np.flatnonzero(unseen == 0)
    filled = pixels.copy()
    filled[..., :3] = pixels[..., :3].reshape(-1, 3)[nearest[labels]]
    return filled


def _scaled(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(1, round(side * factor)) for side in pixels.shape[:2])
    return _resized(pixels, (width, height))


def _around(pixels: np.ndarray, size: int) -> tuple[int, int, int, int]:
    """What a square of `size` pixels has more than a picture in its middle: above, below, left and right."""
    height, width = pixels.shape[:2]
    top, left = (size - height) // 2, (size - width) // 2
    return top, size - height - top, left, size - width - left


def _resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pixels resized to (width, height)."""
    if pixels.shape[1::-1] == size:
        return pixels
    reduces = size[0] < pixels.shape[1]
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if reduces else cv2.INTER_LINEAR)
