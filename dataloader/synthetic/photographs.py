"""Photographs and cut-outs as source material: decoded once per process, then cropped."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from dataloader.image_file import ImageFileError, read_image, read_rgba

KEPT_BYTES = 2**29  # cache of decoded images, per process
LONGEST_SIDE = 1280  # of cached images, in pixels
SMALLEST_PART = 0.3  # lower bound of a view, relative to the largest that fits the photograph
SURFACE_PARTS = 6  # candidates for a surface; the one closest to the drawn deviation is chosen
SURFACE_SIDES = (0.1, 0.45)  # range, as shares of the photograph's shorter side
SURFACE_DEVIATION = 20  # median of the target standard deviation of colours, RGB in 0..255
SMALLEST_SURFACE = 48  # pixels
LARGEST_SCALE = 2.5  # largest enlargement of a surface
MOST_MIRRORED = 4  # smallest side of a surface: that of the square it fills, divided by this

_kept: OrderedDict[tuple[Path, Callable], np.ndarray] = OrderedDict()


def read_photograph(path: Path) -> np.ndarray:
    """A photograph, (H, W, 3) uint8 RGB, downsampled to at most 1280 pixels; recently used ones are cached.

    Raises:
        ImageFileError: if the file cannot be read.
    """
    return _decoded(path, read_image)


def read_cutout(path: Path) -> np.ndarray:
    """The non-empty part of a cut-out, (h, w, 4) uint8 RGBA, downsampled and cached like photographs.

    Raises:
        ImageFileError: if the file cannot be read, or its alpha is constant.
    """
    return _decoded(path, _trimmed)


def _trimmed(path: Path) -> np.ndarray:
    pixels = read_rgba(path)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(pixels[..., 3]))
    lowest, highest = pixels[..., 3].min(), pixels[..., 3].max()
    if lowest == highest:
        raise ImageFileError(f"{path}: alpha is {lowest} everywhere; expected a cut-out")
    return np.ascontiguousarray(pixels[top:top + height, left:left + width])


def _decoded(path: Path, read: Callable[[Path], np.ndarray]) -> np.ndarray:
    """A file decoded by `read` and downsampled, from an LRU cache."""
    key = path, read
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    image = read(path)
    factor = LONGEST_SIDE / max(image.shape[:2])
    if factor < 1:
        image = _reduced(image, factor)
    image.flags.writeable = False
    _kept[key] = image
    while sum(each.nbytes for each in _kept.values()) > KEPT_BYTES and len(_kept) > 1:
        _kept.popitem(last=False)
    return image


def _reduced(image: np.ndarray, factor: float) -> np.ndarray:
    """Downsamples an image (H, W, 3 or 4) uint8 by `factor`; colours are averaged weighted by alpha."""
    if image.shape[2] == 3:
        return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    weight = image[..., 3:] * np.float32(1 / 255)
    seen = cv2.resize(np.dstack([image[..., :3] * weight, weight]), None, fx=factor, fy=factor,
                      interpolation=cv2.INTER_AREA)
    colours = seen[..., :3] / np.maximum(seen[..., 3:], 1e-6)
    return np.dstack([colours, 255 * seen[..., 3]]).round().clip(0, 255).astype(np.uint8)


def photograph_view(rng: np.random.Generator, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """A random part of a photograph with the aspect ratio of `height` x `width`, sometimes mirrored.

    Parts more than twice that size are downsampled to `height` x `width` pixels.
    """
    largest = min(image.shape[0] / height, image.shape[1] / width)
    factor = largest * rng.uniform(SMALLEST_PART, 1)
    rows, columns = max(1, int(height * factor)), max(1, int(width * factor))
    top, left = rng.integers(image.shape[0] - rows + 1), rng.integers(image.shape[1] - columns + 1)
    part = image[top:top + rows, left:left + columns]
    if factor > 2:
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    return part[:, ::-1] if rng.random() < 0.5 else part


def photograph_surface(rng: np.random.Generator, image: np.ndarray, size: int) -> np.ndarray:
    """A small part of a photograph as the texture of a single object, (size, size, 3) uint8.

    Whole photographs vary more in colour than objects do. Of several random parts, the one whose standard deviation is
    nearest to a random target is enlarged up to 2.5 times (small ones more) and mirrored to fill the square.
    """
    deviation = SURFACE_DEVIATION * np.exp(rng.normal(0, 0.6))
    parts = [_square_part(rng, image) for _ in range(SURFACE_PARTS)]
    part = min(parts, key=lambda part: abs(np.log(_deviation(part) / deviation)))
    side = round(part.shape[0] * LARGEST_SCALE ** rng.random())
    side = min(size, max(side, -(-size // MOST_MIRRORED)))
    resampling = cv2.INTER_AREA if side < part.shape[0] else cv2.INTER_LINEAR
    part = cv2.resize(np.ascontiguousarray(part), (side, side), interpolation=resampling)
    left, top = (int(rng.integers(size - side + 1)) for _ in range(2))
    return cv2.copyMakeBorder(part, top, size - side - top, left, size - side - left, cv2.BORDER_REFLECT)


def _deviation(part: np.ndarray) -> float:
    """Mean of the channels' standard deviations; at least 1, below which parts count as equally flat."""
    return max(1.0, cv2.meanStdDev(part)[1].mean())


def _square_part(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    shorter = min(image.shape[:2])
    side = min(shorter, max(SMALLEST_SURFACE, int(shorter * rng.uniform(*SURFACE_SIDES))))
    top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
    return image[top:top + side, left:left + side]
