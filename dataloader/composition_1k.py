"""Composites of Composition-1K, identical to those of the dataset's own program."""

from math import ceil
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from dataloader.image_file import ImageFileError, pillow_errors

OPACITY = np.arange(256) / 255
TRANSPARENCY = 1 - OPACITY
BAND_PIXELS = 8000  # per band, so that their double-precision products stay in the CPU cache


def merge_colours(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """int(a f + (1 - a) b) with a = alpha / 255, per pixel and channel.

    Computed in double precision, as in the dataset's program: if the exact sum is an integer, rounding can
    leave it just below, and int() then gives one less. Integer arithmetic would not reproduce this.

    Args:
        foreground: (H, W, 3) uint8.
        background: (H, W, 3) uint8.
        alpha: (H, W) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    merged = background.copy()
    cv2.copyTo(foreground, cv2.inRange(alpha, 255, 255), merged)
    mixed = cv2.inRange(alpha, 1, 254)
    rows = max(1, BAND_PIXELS // alpha.shape[1])
    for top in range(0, len(alpha), rows):
        left, first, width, height = cv2.boundingRect(mixed[top:top + rows])
        if width:
            box = slice(top + first, top + first + height), slice(left, left + width)
            alphas = cv2.cvtColor(alpha[box], cv2.COLOR_GRAY2RGB)
            total = cv2.LUT(alphas, OPACITY)
            total *= foreground[box]
            behind = cv2.LUT(alphas, TRANSPARENCY)
            behind *= background[box]
            total += behind
            merged[box] = total
    return merged


def enlarge_to_cover(background: Image.Image, width: int, height: int) -> Image.Image:
    """The top left width x height pixels of the background, enlarged first if it is smaller."""
    ratio = max(width / background.width, height / background.height)
    if ratio > 1:
        size = ceil(background.width * ratio), ceil(background.height * ratio)
        background = background.resize(size, Image.Resampling.BICUBIC)
    return background.crop((0, 0, width, height))


def read_rgb(path: Path) -> Image.Image:
    """An image as the dataset's program reads it: with Pillow, EXIF orientation ignored, alpha dropped.

    Raises:
        ImageFileError: if the file is missing, damaged or has more than 8 bits per channel.
    """
    with pillow_errors(path), Image.open(path) as image:
        mode, colours = image.mode, image.convert("RGB")
    if mode.startswith(("I", "F")):
        raise ImageFileError(f"{path}: more than 8 bits per channel (Pillow mode {mode}); expected 8")
    return colours
