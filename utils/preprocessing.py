"""Pre- and postprocessing in NumPy: trimap labels, padding, normalisation, the final alpha."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from utils.boxes import Box

BACKGROUND, UNKNOWN, FOREGROUND = 0, 1, 2
STRIDE = 32  # the network's input height and width are multiples of this
BORDER = 32  # pixels of reflection padding in the published demo

MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]  # ImageNet's, of RGB in 0..1
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


Picture = np.ndarray | Image.Image
Pair = tuple[Picture, Picture]  # image and trimap


class Matte(NamedTuple):
    """Result of a predictor."""

    alpha: np.ndarray  # (H, W) float32 in 0..1; exactly 0 and 1 where the trimap is known
    offsets: tuple[np.ndarray, ...]  # per attention block, (2, h, w) int64, on the padded image at 1/16, if wanted
    scales: tuple[np.ndarray, ...]  # likewise, (2,) float32: scales of unknown and known keys


def as_pair(image: Picture, trimap: Picture) -> tuple[np.ndarray, np.ndarray]:
    """The arguments of `predict` as arrays, as `predict_batch` takes them."""
    return as_array(image, "RGB"), as_array(trimap, "L")


def as_array(image: Picture, mode: str) -> np.ndarray:
    """A Pillow image as uint8 array in `mode` (RGB or L), EXIF orientation applied; arrays are returned unchanged.

    Raises:
        ValueError: for Pillow images of more than 8 bits, and what is neither.
    """
    if isinstance(image, np.ndarray):
        return image
    if not isinstance(image, Image.Image):
        raise ValueError(f"{type(image).__name__} given for an image or trimap; expected an array or a Pillow image")
    if image.mode[0] in "IF":
        raise ValueError(f"a Pillow image of mode {image.mode}; expected 8 bits, such as RGB or L")
    return np.asarray(ImageOps.exif_transpose(image).convert(mode))


def checked_labels(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
    """The labels of (image, trimap) pairs of one size, each (H, W) as in `trimap_labels`.

    Args:
        pairs: images (H, W, 3) uint8 RGB and trimaps (H, W) uint8.

    Raises:
        ValueError: for other shapes or dtypes, and if sizes differ.
    """
    for image, trimap in pairs:
        _check(image, trimap)
    sizes = {trimap.shape for _, trimap in pairs}
    if len(sizes) > 1:
        raise ValueError(f"the images of a batch have {len(sizes)} sizes; expected one")
    return [trimap_labels(trimap) for _, trimap in pairs]


def trimap_labels(trimap: np.ndarray) -> np.ndarray:
    """Grey values as labels (H, W) uint8: `BACKGROUND` below 85, `FOREGROUND` from 170, `UNKNOWN` between.

    The thresholds tolerate JPEG noise and anti-aliased edges.
    """
    return np.add(trimap >= 85, trimap >= 170, dtype=np.uint8)


def trimap_grey(labels: np.ndarray) -> np.ndarray:
    """Labels as grey values 0, 128 and 255, (H, W) uint8."""
    return np.array([0, 128, 255], np.uint8)[labels]


def set_known(alpha: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sets alpha (H, W) to exactly 0 and 1 where labels (H, W) are known, in place; returns it."""
    alpha[labels == BACKGROUND] = 0
    alpha[labels == FOREGROUND] = 1
    return alpha


def unknown_share(labels: np.ndarray) -> float:
    """The unknown part of all pixels, 0..1."""
    return float((labels == UNKNOWN).mean())


def padding(height: int, width: int, border: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Padding (top, bottom), (left, right): a border, and up to a multiple of `STRIDE` at the bottom and right."""
    return (border, border + -height % STRIDE), (border, border + -width % STRIDE)


class PaddedArray:
    """An array (H, W, ...) as if padded by reflection, of which no padded copy is held."""

    def __init__(self, array: np.ndarray, pad: tuple[tuple[int, int], tuple[int, int]]):
        self.array = array
        self.rows, self.columns = (np.pad(np.arange(side), ends, mode="reflect")
                                   for side, ends in zip(array.shape, pad, strict=False))

    def part(self, box: Box) -> np.ndarray:
        """A copy of the part (h, w, ...) in a box of the padded array."""
        rows, columns = self.rows[box.top:box.bottom], self.columns[box.left:box.right]
        top, left = rows.min(), columns.min()
        part = self.array[top:rows.max() + 1, left:columns.max() + 1]
        return part.take(rows - top, axis=0).take(columns - left, axis=1)

    def every(self, step: int) -> np.ndarray:
        """Every step-th row and column of the padded array."""
        return self.array[np.ix_(self.rows[::step], self.columns[::step])]


def normalised_planes(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB as (3, H, W) float32, normalised by ImageNet's mean and standard deviation."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)
    planes /= 255
    planes -= MEAN
    planes /= DEVIATION
    return planes


def trimap_planes(labels: np.ndarray, channels: int) -> np.ndarray:
    """Labels (H, W) encoded for the network, float32: one-hot (3, H, W), or (1, H, W) holding 0, 1, 2."""
    if channels == 1:
        return labels[None].astype(np.float32)
    return np.stack([labels == label for label in (BACKGROUND, UNKNOWN, FOREGROUND)]).astype(np.float32)


def finished_alpha(alpha: np.ndarray, labels: np.ndarray, border: int) -> np.ndarray:
    """Alpha of a padded image, cropped to the labels' (H, W) and clipped to 0..1, with known pixels set."""
    height, width = labels.shape
    alpha = alpha[border:border + height, border:border + width].copy()
    alpha[~np.isfinite(alpha)] = np.nan
    return set_known(alpha.clip(0, 1, out=alpha), labels)


def alpha_to_uint8(alpha: np.ndarray) -> np.ndarray:
    """Alpha in 0..1 as 8-bit grey, truncated as the published program does."""
    return (alpha * 255).astype(np.uint8)


def size_text(image: np.ndarray) -> str:
    """"WIDTH x HEIGHT" of an image."""
    return f"{image.shape[1]} x {image.shape[0]}"


def _check(image: np.ndarray, trimap: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W, 3)")
    if trimap.ndim != 2 or trimap.dtype != np.uint8:
        raise ValueError(f"trimap is {trimap.dtype} of shape {trimap.shape}; expected uint8 of shape (H, W)")
    if image.shape[:2] != trimap.shape:
        raise ValueError(f"trimap is {size_text(trimap)}, but the image is {size_text(image)} (width x height)")
    if not image.size:
        raise ValueError("the image has no pixels")
