"""Cut-outs and composites as files beside a matte, as the demo's options ask for them."""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataloader.image_file import read_photo
from matting.cutout import (
    COARSE_PIXELS,
    CutoutError,
    blurred_background,
    check_pymatting,
    compose_onto,
    covering,
    estimate_foreground,
    to_depth,
    with_alpha,
)
from utils.files import write_png

BLUR = "blur"


class CutoutFiles(NamedTuple):
    """What to write."""

    cutout: bool  # NAME_cutout.png
    background: np.ndarray | str | None  # for NAME_composite.png: as `read_background` returns it
    method: str  # of estimating colours

    @property
    def kinds(self) -> dict[str, str]:
        """The ends of the files' names, and what the files are, in words."""
        return ({"_cutout": "the cut-out"} if self.cutout else {}) | (
            {} if self.background is None else {"_composite": "the composite"})


NO_CUTOUT_FILES = CutoutFiles(False, None, "ml")


def add_cutout_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --cutout and --background, whose values `cutout_files` takes."""
    parser.add_argument("--cutout", nargs="?", const="ml", choices=COARSE_PIXELS, metavar="METHOD",
                        help="also write NAME_cutout.png, the subject as RGBA without the old background's colours; "
                             "they are estimated by METHOD: ml, multi-level (default), or cf, closed-form (slow)")
    parser.add_argument("--background", metavar="FILE|#RRGGBB|blur",
                        help="also write NAME_composite.png, the subject before a picture that is scaled to cover the "
                             "frame, before a colour, or before its own background out of focus")


def cutout_files(method: str | None, background: str | None) -> CutoutFiles:
    """What the two options ask for; a background picture is read.

    Raises:
        CutoutError: for what is no colour, or where PyMatting is not installed.
        ImageFileError: for a background file that is missing or cannot be decoded.
    """
    if method is None and background is None:
        return NO_CUTOUT_FILES
    check_pymatting()
    return CutoutFiles(method is not None, None if background is None else read_background(background), method or "ml")


def read_background(text: str) -> np.ndarray | str:
    """"blur" as it is; the colour (3,) uint8 of "#rrggbb"; the picture (H, W, 3) uint8 or uint16 of a file.

    Raises as `cutout_files`.
    """
    if text == BLUR:
        return text
    if text.startswith("#") and not Path(text).exists():
        if not re.fullmatch("#[0-9a-fA-F]{6}", text):
            raise CutoutError(f"{text}: no colour; expected one as #rrggbb, such as #00b140")
        return np.frombuffer(bytes.fromhex(text[1:]), np.uint8)
    return read_photo(text).colours


def background_for(image: np.ndarray, alpha: np.ndarray, background: np.ndarray | str) -> np.ndarray:
    """What `read_background` returned as `compose_onto` takes it for a photo (H, W, 3) and its alpha (H, W)."""
    if isinstance(background, str):
        return blurred_background(image, alpha)
    return to_depth(background if background.ndim == 1 else covering(background, *alpha.shape), image.dtype)


def write_cutout_files(path: Path, alpha: np.ndarray, folder: Path, wanted: CutoutFiles) -> None:
    """Writes NAME_cutout.png and NAME_composite.png as wanted, in the photo's depth and with its ICC profile.

    Args:
        path: the photo, of the size of alpha (H, W).

    Raises:
        ImageFileError: if the photo cannot be read.
        OSError: if a file cannot be written.
    """
    if not wanted.kinds:
        return
    image, profile = read_photo(path)
    foreground = estimate_foreground(image, alpha, wanted.method)
    if wanted.background is not None:
        composite = compose_onto(foreground, alpha, background_for(image, alpha, wanted.background))
        write_png(folder / f"{path.stem}_composite.png", composite, profile)
    if wanted.cutout:
        write_png(folder / f"{path.stem}_cutout.png", with_alpha(foreground, alpha), profile)
