"""Files that visitors upload: photo, background, trimap. Messages name files without their folder."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from dataloader.image_file import ImageFileError, Photo, read_alpha, read_colours, read_grey, read_photo
from matting.trimaps import trimap_of_width
from utils.preprocessing import BORDER, size_text, trimap_grey, trimap_labels

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # by Pillow's names
NEAR_GREY = 10  # levels around 128 that count as a trimap's unknown

Content = TypeVar("Content")


def open_photo(path: Path, max_pixels: int) -> Photo:
    """An uploaded photo.

    Raises:
        ImageFileError: if it is unreadable or has more than `max_pixels`.
    """
    check_pixels(path, max_pixels)
    return _without_folder(read_photo, path)


def open_background(path: Path, max_pixels: int) -> np.ndarray:
    """An uploaded background, (H, W, 3) uint8 or uint16 RGB; errors as in `open_photo`."""
    check_pixels(path, max_pixels)
    return _without_folder(read_colours, path)


def open_trimap(path: Path, image: np.ndarray, width: str) -> np.ndarray:
    """An uploaded trimap, or one computed from a mask, a matte or an image with alpha; (H, W) uint8 of 0, 128, 255.

    Args:
        width: of the unknown band around a mask, a key of `WIDTHS`.

    Raises:
        ImageFileError: if it is unreadable, or not of the image's size.
    """
    check_pixels(path, counted_pixels(*image.shape[:2]))
    alpha = _without_folder(read_alpha, path)
    grey = _without_folder(read_grey, path) if alpha is None else alpha
    if grey.shape != image.shape[:2]:
        raise ImageFileError(f"{path.name}: {size_text(grey)} pixels, but the photo is {size_text(image)}")
    if alpha is None and is_trimap(grey):
        return trimap_grey(trimap_labels(grey))
    return trimap_of_width(grey, width)


def check_pixels(path: Path, most: int) -> int:
    """The pixels of an image file as its header declares them, counted as in `counted_pixels`.

    Raises:
        ImageFileError: if there are more than `most`, or the format is unknown.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path.name}: too many pixels; expected at most {most / 1e6:.3g} million") from None
    except (OSError, SyntaxError, ValueError):  # OpenCV might read it, at any size
        raise ImageFileError(f"{path.name}: cannot be decoded; expected a PNG, JPEG, WebP, TIFF or BMP file") from None
    pixels = counted_pixels(height, width)
    if pixels > most:
        padded = "" if min(height, width) >= 2 * BORDER else ", including the padding of thin photos"
        raise ImageFileError(f"{path.name}: {width} x {height} pixels{padded}; "
                             f"expected at most {most / 1e6:.3g} million")
    return pixels


def counted_pixels(height: int, width: int) -> int:
    """The pixels of an image; thin ones count with the padding that the predictor adds."""
    return max(height, 2 * BORDER) * max(width, 2 * BORDER)


def is_trimap(grey: np.ndarray) -> bool:
    """Whether most pixels between black and white are middle grey, which is rare in soft masks."""
    distance = np.abs(grey.astype(np.int16) - 128)
    between = int((distance < 128 - NEAR_GREY).sum())
    return bool((distance <= NEAR_GREY).sum() > between / 2)


def _without_folder(read: Callable[[Path], Content], path: Path) -> Content:
    """read(path), whose errors do not show visitors the folder."""
    try:
        return read(path)
    except ImageFileError as error:
        raise ImageFileError(str(error).replace(str(path), path.name)) from None
