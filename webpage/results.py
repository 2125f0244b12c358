"""The matte of a photo, and the pictures and files that show it."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dataloader.image_file import Photo
from matting.cutout import compose_onto, estimate_layers, to_depth, with_alpha
from matting.cutout_files import background_for
from matting.predictor import Matting
from utils.file_writing import write_png
from utils.preprocessing import UNKNOWN, Matte, alpha_to_uint8, trimap_labels
from utils.visualisation import panel

DISPLAY_SIDE = 1024  # pixels of the longer side of images for the browser
LINES = 120  # approximate number in an attention picture
ATTENTION_STRIDE = 16  # pixels of the padded image between the positions that attention compares
FILES = ("cutout", "composite", "matte", "trimap")  # to download
SQUARE = 16  # pixels of a checkerboard square
TILES_START, COLOURS_START, FILES_START = 0.02, 0.85, 0.93  # shares of the time for the result of a large photo
LEVEL = r"(\d{1,3}(?:\.\d{1,20})?(?:e-\d{1,3})?) *"  # of a colour, as browsers write numbers


class PageResult(NamedTuple):
    """A photo's matte and what the page needs with it."""

    trimap: np.ndarray  # (H, W) uint8 of 0, 128, 255
    alpha: np.ndarray  # (H, W) float32 in 0..1, the network's
    foreground: np.ndarray  # (H, W, 3), uint8 or uint16 like the photo's file
    cutout_alpha: np.ndarray  # (H, W) float32 in 0..1, of the foreground, from `matting.cutout.estimate_layers`
    profile: bytes | None  # ICC profile of its colours
    attention: np.ndarray | None  # picture of `attention_lines`; None for a network without attention


def matte_photo(matting: Matting, photo: Photo, trimap: np.ndarray,
                report: Callable[[float, str], object]) -> PageResult:
    """The matte of a photo, and its foreground colours.

    Args:
        report: called with the share of the work done, and what is being done.
    """
    def tiles(done: int, total: int) -> None:
        report(TILES_START + (COLOURS_START - TILES_START) * done / total, f"Finding the edge: tile {done} of {total}")

    report(TILES_START, "Finding the edge")
    matte = matting.predict(photo.image, trimap, tiles)
    report(COLOURS_START, "Cleaning the edge's colours")
    foreground, cutout_alpha = estimate_layers(photo.colours, matte.alpha)
    report(FILES_START, "Writing the files")
    return PageResult(trimap, matte.alpha, foreground, cutout_alpha, photo.profile,
                      attention_lines(photo.image, trimap, matte, matting.border))


def composite_result(photo: Photo, result: PageResult, background: np.ndarray | str) -> np.ndarray:
    """The subject before a background from `matting.cutout_files.read_background`, in the photo's depth."""
    alpha = result.cutout_alpha
    return compose_onto(result.foreground, alpha, background_for(photo.colours, alpha, background))


def display_copy(image: np.ndarray) -> np.ndarray:
    """An image (H, W) or (H, W, C), reduced so that the longer side is at most 1024 pixels."""
    factor = DISPLAY_SIDE / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def checkerboard(height: int, width: int) -> np.ndarray:
    """White and light grey squares, (height, width, 3) uint8."""
    rows, columns = np.ogrid[:height, :width]
    light = (rows // SQUARE + columns // SQUARE) % 2 == 0
    return np.where(light[..., None], 255, 204).astype(np.uint8).repeat(3, axis=2)


def on_checkerboard(result: PageResult) -> np.ndarray:
    """The cut-out on a checkerboard, reduced for display."""
    foreground, alpha = display_copy(to_depth(result.foreground, np.uint8)), display_copy(result.cutout_alpha)
    return compose_onto(foreground, alpha.clip(0, 1), checkerboard(*alpha.shape))


def attention_lines(image: np.ndarray, trimap: np.ndarray, matte: Matte, border: int) -> np.ndarray | None:
    """The photo, dimmed, with lines from undecided positions to their strongest matches; one picture per block.

    A line's colour is that of its direction; a dot marks the match.

    Args:
        matte: of a predictor with this border.
    """
    unknown = (trimap_labels(trimap) == UNKNOWN) & (matte.alpha > 0) & (matte.alpha < 1)
    small = display_copy(image)
    pictures = [_draw_lines(small, unknown, offset, border) for offset in matte.offsets]
    return panel(pictures, len(small)) if pictures else None


def _draw_lines(picture: np.ndarray, unknown: np.ndarray, offset: np.ndarray, border: int) -> np.ndarray:
    height, width = unknown.shape
    picture, factor = picture // 3, picture.shape[1] / width
    centre = ATTENTION_STRIDE // 2 - border
    rows, columns = (ATTENTION_STRIDE * np.arange(side) + centre for side in offset.shape[1:])
    inside = unknown[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    inside &= ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    positions = np.argwhere(inside)
    thickness = max(1, round(max(picture.shape) / 500))
    for row, column in positions[::max(1, round(len(positions) / LINES))]:
        key = offset[:, row, column] + np.array(offset.shape[1:]) // 2
        line = np.array([[columns[column], rows[row]], ATTENTION_STRIDE * key[::-1] + centre])
        start, end = np.rint(line * factor).astype(int).clip(-1, max(picture.shape)).tolist()
        angle = np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0])) % 360
        colour = cv2.cvtColor(np.uint8([[[angle / 2, 200, 255]]]), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        cv2.line(picture, start, end, colour, thickness, cv2.LINE_AA)
        cv2.circle(picture, end, 3 * thickness, colour, -1, cv2.LINE_AA)
    return picture


def write_files(folder: Path, name: str, result: PageResult, composite: np.ndarray,
                kinds: tuple[str, ...] = FILES) -> list[Path]:
    """Writes the files to download, FOLDER/NAME_KIND.png; returns their paths.

    Args:
        composite: result of `composite_result`.
        kinds: which of `FILES`.
    """
    contents = {"cutout": lambda: (with_alpha(result.foreground, result.cutout_alpha), result.profile),
                "composite": lambda: (composite, result.profile),
                "matte": lambda: (alpha_to_uint8(result.alpha), None),
                "trimap": lambda: (result.trimap, None)}
    paths = [folder / f"{name}_{kind}.png" for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        write_png(path, *contents[kind]())
    return paths


def hex_colour(text: str) -> str:
    """A browser's colour as #rrggbb: from "rgba(1, 2, 3, 1)", possibly with decimals, or #rrggbb itself.

    Raises:
        ValueError: for other text.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return text
    match = re.fullmatch(rf"rgba?\( *{LEVEL}, *{LEVEL}, *{LEVEL}(?:, *[\d.%e-]+ *)?\)", text, re.ASCII)
    if not match:
        raise ValueError(f"{text[:40]!r} is not a colour; expected one such as #2a6f97 or rgb(42, 111, 151)")
    return "#" + "".join(f"{min(255, round(float(level))):02x}" for level in match.groups())
