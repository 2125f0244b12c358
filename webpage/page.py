"""What the web page does between its widgets: files and strokes become trimaps, mattes become pictures and files.

Images are (H, W, 3) uint8 RGB, trimaps (H, W) uint8 with 0 (background), 128 (unknown) and 255 (foreground).
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from PIL import Image

from dataloader.folders import read_alpha
from dataloader.image_file import ImageFileError, read_grey, read_image, read_photo
from matting.cutout import compose_onto, estimate_foreground, to_depth, with_alpha
from matting.cutout_files import background_for
from matting.predictor import UNKNOWN, Matte, Matting, alpha_to_uint8, size_text, trimap_labels
from matting.trimaps import WIDTHS, mask_from_rectangle, mask_from_scribbles, trimap_from_mask
from utils.files import write_png
from utils.pictures import panel
from utils.preprocessing import BORDER

DISPLAY_SIDE = 1024  # pixels of the longer side of what the browser gets
BRUSHES = {"Subject": ("#22c55e", 255), "Uncertain edge": ("#facc15", 128), "Background": ("#ef4444", 0)}
# their colours, and the levels of the trimap that these stand for
OPAQUE = 40  # of 255, from which on a pixel counts as painted
NEAR_GREY = 10  # levels around 128 that count as a trimap's unknown
LOOKS = 120  # lines in a picture of attention, about
CELL = 16  # pixels of the padded image for each place that attention compares
FILES = ("alpha", "cutout", "composite", "trimap")  # to download
SQUARE = 16  # pixels of a square of the checkerboard
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")  # as Pillow calls those that can be uploaded

Content = TypeVar("Content")


class Result(NamedTuple):
    """A matte and what belongs to it."""

    trimap: np.ndarray
    alpha: np.ndarray  # (H, W) float32 in 0..1
    foreground: np.ndarray  # (H, W, 3) uint8 or uint16 as the photo's file
    profile: bytes | None  # ICC profile of its colours
    looks: np.ndarray | None  # picture of what attention looked at; None for a network without


def open_photo(path: Path, max_pixels: int) -> np.ndarray:
    """The image of an uploaded file.

    Raises:
        ImageFileError: if it cannot be read or has more than `max_pixels`; names the file without its folder.
    """
    _check_pixels(path, max_pixels)
    return _by_name(read_image, path)


def open_background(path: Path, max_pixels: int) -> np.ndarray:
    """The colours of an uploaded file in their own depth, (H, W, 3) uint8 or uint16; errors as in `open_photo`."""
    _check_pixels(path, max_pixels)
    return _by_name(read_photo, path).colours


def open_trimap(path: Path, image: np.ndarray, width: str) -> np.ndarray:
    """The trimap of an uploaded file: a trimap itself, or made from a mask, a matte or an image with alpha channel.

    Args:
        width: of the unknown band around a mask, a key of `WIDTHS`.

    Raises:
        ImageFileError: if it cannot be read, or is not of the image's size.
    """
    _check_pixels(path, counted_pixels(*image.shape[:2]))
    alpha = _by_name(read_alpha, path)
    grey = _by_name(read_grey, path) if alpha is None else alpha
    if grey.shape != image.shape[:2]:
        raise ImageFileError(f"{path.name}: {size_text(grey)} pixels, but the photo is {size_text(image)}")
    if alpha is None and is_trimap(grey):
        return np.array([0, 128, 255], np.uint8)[trimap_labels(grey)]
    return from_mask(grey, width)


def _check_pixels(path: Path, most: int) -> None:
    """Raises ImageFileError where the file's head promises more, before they take memory, or is of no known kind."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path.name}: too many pixels; expected at most {most / 1e6:.3g} million") from None
    except (OSError, SyntaxError, ValueError):  # which OpenCV might read, of any size
        raise ImageFileError(f"{path.name}: cannot be decoded; expected a PNG, JPEG, WebP, TIFF or BMP file") from None
    if counted_pixels(height, width) > most:
        padded = "" if min(height, width) >= 2 * BORDER else ", with what is added around thin photos"
        raise ImageFileError(f"{path.name}: {width} x {height} pixels{padded}; "
                             f"expected at most {most / 1e6:.3g} million")


def counted_pixels(height: int, width: int) -> int:
    """The pixels of an image; of a thin one at least as many as the network gets besides, for its border."""
    return max(height, 2 * BORDER) * max(width, 2 * BORDER)


def _by_name(read: Callable[[Path], Content], path: Path) -> Content:
    """read(path), whose error does not show visitors the folder."""
    try:
        return read(path)
    except ImageFileError as error:
        raise ImageFileError(str(error).replace(str(path), path.name)) from None


def is_trimap(grey: np.ndarray) -> bool:
    """Whether most of what is neither black nor white is middle grey, which in a soft mask is rare."""
    distance = np.abs(grey.astype(np.int16) - 128)
    between = int((distance < 128 - NEAR_GREY).sum())
    return bool((distance <= NEAR_GREY).sum() > between / 2)


def from_mask(mask: np.ndarray, width: str) -> np.ndarray:
    """The trimap of a mask (H, W) uint8, with an unknown band of a width of `WIDTHS`."""
    band = WIDTHS[width] * max(mask.shape)
    return trimap_from_mask(mask, band, band)


def display_copy(image: np.ndarray) -> np.ndarray:
    """A picture (H, W) or (H, W, C), its longer side reduced to 1024 pixels where it is larger."""
    factor = DISPLAY_SIDE / max(image.shape[:2])
    if factor >= 1:
        return image
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def stroke_levels(layers: list[np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What is painted, at the image's size: the trimap's levels (H, W) uint8, and where there are strokes, bool.

    Args:
        layers: (h, w, 4) uint8 RGBA from the brush, the uppermost last; colours nearest to those of `BRUSHES` count.
        shape: of the image.
    """
    levels, painted = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    colours = [np.float32(list(bytes.fromhex(colour[1:]))) for colour, _ in BRUSHES.values()]
    meanings = np.array([level for _, level in BRUSHES.values()], np.uint8)
    for layer in layers:
        opaque = layer[..., 3] >= OPAQUE
        distances = [np.linalg.norm(layer[..., :3] - colour, axis=2) for colour in colours]
        nearest = meanings[np.argmin(distances, axis=0)]
        opaque, nearest = (cv2.resize(x, shape[::-1], interpolation=cv2.INTER_NEAREST)
                           for x in (opaque.astype(np.uint8), nearest))
        levels[opaque == 1], painted[opaque == 1] = nearest[opaque == 1], True
    return levels, painted


def painted_over(trimap: np.ndarray | None, layers: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """A trimap with strokes over it; without one, all that is not painted is background.

    Raises:
        ValueError: if nothing is left that could be matted.
    """
    levels, painted = stroke_levels(layers, shape)
    if trimap is not None:
        levels = np.where(painted, levels, trimap)
    if not levels.any():
        raise ValueError("The trimap is empty: paint the subject and its uncertain edge, or load a trimap.")
    return levels


def trimap_text(trimap: np.ndarray) -> str:
    """How much of the photo is what, in words."""
    return f"Trimap: {(trimap == 255).mean():.0%} subject, {(trimap == 128).mean():.0%} uncertain"


def propose(image: np.ndarray, layers: list[np.ndarray], width: str, rectangle: bool = True) -> np.ndarray:
    """A trimap from a few strokes, with GrabCut.

    Args:
        rectangle: the rectangle around all strokes holds the subject; else they are examples of it and the background.

    Raises:
        ValueError: where there are no strokes, or they mark too little or too much.
    """
    levels, painted = stroke_levels(layers, image.shape[:2])
    if not painted.any():
        raise ValueError("Nothing is painted: draw a line across the subject, from corner to corner.")
    if not rectangle:
        scribbles = np.where(painted, levels, 128).astype(np.uint8)
        if not ((scribbles == 0).any() and (scribbles == 255).any()):
            raise ValueError("Strokes of both kinds are needed: some on the subject and some on the background.")
        return from_mask(mask_from_scribbles(image, scribbles), width)
    left, top, across, down = cv2.boundingRect(painted.astype(np.uint8))
    mask = mask_from_rectangle(image, (left, top, left + across, top + down))
    if not mask.any():
        raise ValueError("No subject was found in the rectangle: draw it larger, or mark subject and background.")
    return from_mask(mask, width)


def matte_photo(matting: Matting, path: Path, image: np.ndarray, trimap: np.ndarray,
                report: Callable[[float, str], object]) -> Result:
    """The matte of a photo, and its subject's colours.

    Args:
        path: the photo's file, for colours in their own depth.
        report: is told the share of the work that is done, and what comes next.
    """
    report(0.05, "Estimating the matte")
    matte = matting.predict(image, trimap)
    report(0.7, "Estimating the subject's colours")
    colours, profile = read_photo(path)
    foreground = estimate_foreground(colours, matte.alpha)
    report(0.9, "Making the pictures")
    return Result(trimap, matte.alpha, foreground, profile, looks(image, trimap, matte, matting.border))


def composite(path: Path, result: Result, background: np.ndarray | str) -> np.ndarray:
    """The subject before a background, as `matting.cutout_files.read_background` returns it; in the photo's depth."""
    # Only the blurred photo needs the photo: a colour or a picture just takes its size and depth.
    image = read_photo(path).colours if isinstance(background, str) else result.foreground
    return compose_onto(result.foreground, result.alpha, background_for(image, result.alpha, background))


def hex_colour(text: str) -> str:
    """A colour of the browser's, as #rrggbb: from "rgba(1, 2, 3, 1)", whose numbers may have decimals, or itself.

    Raises:
        ValueError: for other text.
    """
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return text
    match = re.match(r"rgba?\(([\d.]+), *([\d.]+), *([\d.]+)", text)
    if not match:
        raise ValueError(f"{text!r} is no colour")
    return "#" + "".join(f"{min(255, round(float(level))):02x}" for level in match.groups())


def checkerboard(height: int, width: int) -> np.ndarray:
    """White and light grey squares, (height, width, 3) uint8."""
    rows, columns = np.ogrid[:height, :width]
    light = (rows // SQUARE + columns // SQUARE) % 2 == 0
    return np.where(light[..., None], 255, 204).astype(np.uint8).repeat(3, axis=2)


def on_checkerboard(result: Result) -> np.ndarray:
    """The cut-out as it is shown, reduced for display."""
    foreground, alpha = display_copy(to_depth(result.foreground, np.uint8)), display_copy(result.alpha)
    return compose_onto(foreground, alpha.clip(0, 1), checkerboard(*alpha.shape))


def looks(image: np.ndarray, trimap: np.ndarray, matte: Matte, border: int) -> np.ndarray | None:
    """The photo, dimmed, with lines from unknown places to where these looked; once for each attention block.

    A line's colour is that of its direction; a dot marks the place looked at.

    Args:
        matte: of `Matting.predict`, by a predictor with this border.
    """
    unknown = trimap_labels(trimap) == UNKNOWN
    small = display_copy(image)
    pictures = [_looks(small, unknown, offset, border) for offset in matte.offsets]
    return panel(pictures, len(small)) if pictures else None


def _looks(picture: np.ndarray, unknown: np.ndarray, offset: np.ndarray, border: int) -> np.ndarray:
    height, width = unknown.shape
    picture, factor = picture // 3, picture.shape[1] / width
    rows, columns = (CELL * np.arange(side) + CELL // 2 - border for side in offset.shape[1:])
    inside = unknown[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    inside &= ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
    places = np.argwhere(inside)
    thickness = max(1, round(max(picture.shape) / 500))
    for row, column in places[::max(1, round(len(places) / LOOKS))]:
        key = offset[:, row, column] + np.array(offset.shape[1:]) // 2
        line = np.array([[columns[column], rows[row]], [CELL * key[1] + CELL // 2 - border,
                                                        CELL * key[0] + CELL // 2 - border]])
        start, end = np.rint(line * factor).astype(int).clip(-1, max(picture.shape)).tolist()
        angle = np.degrees(np.arctan2(end[1] - start[1], end[0] - start[0])) % 360
        colour = cv2.cvtColor(np.uint8([[[angle / 2, 200, 255]]]), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        cv2.line(picture, start, end, colour, thickness, cv2.LINE_AA)
        cv2.circle(picture, end, 3 * thickness, colour, -1, cv2.LINE_AA)
    return picture


def write_files(folder: Path, name: str, result: Result, final: np.ndarray,
                kinds: tuple[str, ...] = FILES) -> list[Path]:
    """Writes pictures as PNG and returns their paths.

    Args:
        name: what their names begin with.
        final: the composite, as `composite` gives it.
        kinds: which, of `FILES`.
    """
    paths = [folder / f"{name}_{kind}.png" for kind in kinds]
    for path, kind in zip(paths, kinds, strict=True):
        if kind == "alpha":
            write_png(path, alpha_to_uint8(result.alpha))
        elif kind == "cutout":
            write_png(path, with_alpha(result.foreground, result.alpha), result.profile)
        elif kind == "composite":
            write_png(path, final, result.profile)
        else:
            write_png(path, result.trimap)
    return paths
