"""Cut-out and composite files, and their command-line options."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.image_file import Photo, read_colours
from matting.cutout import (
    COARSE_PIXELS,
    DEFAULT_METHOD,
    CutoutError,
    blurred_background,
    check_pymatting,
    compose_onto,
    covering,
    estimate_layers,
    to_depth,
    with_alpha,
)
from utils.file_writing import write_png

BLUR = "blur"


class CutoutFiles(NamedTuple):
    """Which files to write."""

    cutout: bool  # NAME_cutout.png
    background: np.ndarray | str | None  # for NAME_composite.png, from `read_background`
    method: str  # of foreground estimation

    @property
    def suffixes(self) -> dict[str, str]:
        """Endings of the file names, and what the files are called in messages."""
        return ({"_cutout": "the cut-out"} if self.cutout else {}) | (
            {} if self.background is None else {"_composite": "the composite"})


NO_CUTOUT_FILES = CutoutFiles(False, None, DEFAULT_METHOD)


def add_cutout_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --cutout and --background, the arguments of `cutout_files`."""
    parser.add_argument("--cutout", nargs="?", const=DEFAULT_METHOD, choices=COARSE_PIXELS, metavar="METHOD",
                        help="also write NAME_cutout.png, the subject as RGBA with foreground colours "
                             "estimated by METHOD: robust (default), which corrects errors of the matte as well; ml, "
                             "multi-level, or cf, closed-form (slow), which keep to the matte")
    parser.add_argument("--background", metavar="FILE|#RRGGBB|blur",
                        help="also write NAME_composite.png, the subject over an image (scaled to cover the "
                             "frame), a colour, or its own background blurred")


def cutout_files(method: str | None, background: str | None) -> CutoutFiles:
    """The files that the two options ask for; reads a background image.

    Raises:
        CutoutError: for an invalid colour, or if PyMatting is not installed.
        ImageFileError: if a background file is missing or unreadable.
    """
    if method is None and background is None:
        return NO_CUTOUT_FILES
    check_pymatting()
    return CutoutFiles(method is not None, None if background is None else read_background(background),
                       method or DEFAULT_METHOD)


def read_background(text: str) -> np.ndarray | str:
    """A background by its description: "blur" unchanged, "#rrggbb" as (3,) uint8, a file as (H, W, 3) uint8 or uint16.

    Raises:
        CutoutError, ImageFileError: as `cutout_files`.
    """
    if text == BLUR:
        return text
    if not text:
        raise CutoutError("--background is empty; expected a file, #rrggbb or blur")
    if text.startswith("#") and not Path(text).exists():
        if not re.fullmatch("#[0-9a-fA-F]{6}", text):
            raise CutoutError(f"{text}: not a colour; expected #rrggbb, such as #00b140")
        return np.frombuffer(bytes.fromhex(text[1:]), np.uint8)
    if not Path(text).exists():
        raise CutoutError(f"{text}: no such file; a background is a file, a colour such as #00b140, or blur")
    return read_colours(text)


def background_for(image: np.ndarray, alpha: np.ndarray, background: np.ndarray | str) -> np.ndarray:
    """The result of `read_background` as `compose_onto` takes it, for a photo (H, W, 3) and its alpha (H, W)."""
    if isinstance(background, str):
        return blurred_background(image, alpha)
    return to_depth(background if background.ndim == 1 else covering(background, *alpha.shape), image.dtype)


def write_cutout_files(stem: Path, photo: Photo, alpha: np.ndarray, wanted: CutoutFiles) -> None:
    """Writes STEM_cutout.png and STEM_composite.png if wanted, in the photo's depth and with its ICC profile.

    Both have the alpha of `matting.cutout.estimate_layers`.

    Args:
        stem: folder and beginning of the file names.
        alpha: (H, W) in 0..1, of the photo's size.

    Raises:
        OSError: if a file cannot be written.
    """
    foreground, alpha = estimate_layers(photo.colours, alpha, wanted.method)
    if wanted.background is not None:
        composite = compose_onto(foreground, alpha, background_for(photo.colours, alpha, wanted.background))
        write_png(f"{stem}_composite.png", composite, photo.profile)
    if wanted.cutout:
        write_png(f"{stem}_cutout.png", with_alpha(foreground, alpha), photo.profile)
