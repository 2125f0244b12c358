"""A visitor's marks on a photo, as the editor hands them over: a box around the subject, and strokes of brushes."""

import base64
import binascii
from io import BytesIO
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from matting.proposals import RectangleBox

# Colours of the brushes, and the trimap levels that they paint.
BRUSHES = {"Subject": ("#22c55e", 255), "Edge": ("#facc15", 128), "Background": ("#ef4444", 0)}
OPAQUE = 128  # opacity, of 255, from which a pixel counts as painted
MARKS_SIDE = 1024  # most pixels of the strokes' longer side
LONGEST_MARKS = 900_000  # characters of the strokes' file in base64
DATA_URL = "data:image/png;base64,"
UNMARKED = 128  # among scribbles


class Marks(NamedTuple):
    """Checked marks."""

    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom as shares of the photo
    levels: np.ndarray = np.zeros((1, 1), np.uint8)  # (h, w) uint8, trimap levels where painted
    painted: np.ndarray = np.zeros((1, 1), bool)  # (h, w) bool

    def pixel_box(self, shape: tuple[int, int]) -> RectangleBox | None:
        """The box in pixels of an image of this height and width; of one pixel at least."""
        if self.box is None:
            return None
        (height, width), (left, top, right, bottom) = shape, self.box
        left, top = min(int(left * width), width - 1), min(int(top * height), height - 1)
        return left, top, max(left + 1, round(right * width)), max(top + 1, round(bottom * height))

    def strokes(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """`levels` and `painted` at an image's height and width."""
        levels, painted = (cv2.resize(x.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST)
                           for x in (self.levels, self.painted))
        return levels, painted == 1

    def scribbles(self, shape: tuple[int, int]) -> np.ndarray | None:
        """Examples for `matting.proposals.propose`, (H, W) uint8; None without strokes of subject or background."""
        levels, painted = self.strokes(shape)
        scribbles = np.where(painted, levels, UNMARKED).astype(np.uint8)
        return scribbles if (scribbles != UNMARKED).any() else None

    def over(self, trimap: np.ndarray) -> np.ndarray:
        """A trimap (H, W) uint8 with the strokes painted over it.

        Raises:
            ValueError: if the result is background only.
        """
        levels, painted = self.strokes(trimap.shape)
        levels = np.where(painted, levels, trimap)
        if not levels.any():
            raise ValueError("Nothing would be left: paint the subject, or drag a box around it and propose again.")
        return levels


def read_marks(value: object) -> Marks:
    """Marks from a request: {"box": four shares or null, "strokes": PNG as data URL or null}, or null.

    Raises:
        ValueError: for anything else, also if it is too large, before it is decoded.
    """
    if value is None:
        return Marks()
    if not isinstance(value, dict) or value.keys() != {"box", "strokes"}:
        raise ValueError("What was sent in place of marks is none; expected box and strokes")
    box, strokes = value["box"], value["strokes"]
    if box is not None and not is_box(box):
        raise ValueError("The box is none; expected left, top, right and bottom as shares of the photo")
    if strokes is None:
        return Marks(box and tuple(box))
    return Marks(box and tuple(box), *read_strokes(strokes))


def is_box(box: object) -> bool:
    """Whether this is a list of left, top, right, bottom in 0..1, each less than its opposite."""
    if not isinstance(box, list) or len(box) != 4 or not all(type(share) in (int, float) for share in box):
        return False
    left, top, right, bottom = box
    return 0 <= left < right <= 1 and 0 <= top < bottom <= 1  # false for what is not finite, too


def read_strokes(text: object) -> tuple[np.ndarray, np.ndarray]:
    """Levels and what is painted, as in `Marks`, from a PNG with an alpha channel.

    Colours count as the nearest of `BRUSHES`.

    Raises:
        ValueError: if it is none, too large, or damaged.
    """
    if not isinstance(text, str) or not text.startswith(DATA_URL):
        raise ValueError("What was sent in place of strokes is none; expected a PNG as data URL")
    if len(text) > LONGEST_MARKS:
        raise ValueError(f"The strokes have {len(text)} characters; expected at most {LONGEST_MARKS}")
    try:
        content = base64.b64decode(text[len(DATA_URL):], validate=True)
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            size = image.size
            picture = np.array(image.convert("RGBA")) if max(size) <= MARKS_SIDE else None
    except (binascii.Error, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError("The strokes cannot be decoded; expected a PNG file") from None
    if picture is None:
        raise ValueError(f"The strokes have {size[0]} x {size[1]} pixels; expected at most {MARKS_SIDE} a side")
    colours = [np.float32(list(bytes.fromhex(colour[1:]))) for colour, _ in BRUSHES.values()]
    meanings = np.array([level for _, level in BRUSHES.values()], np.uint8)
    distances = [np.linalg.norm(picture[..., :3] - colour, axis=2) for colour in colours]
    return meanings[np.argmin(distances, axis=0)], picture[..., 3] >= OPAQUE
