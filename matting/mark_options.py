"""How users mark the subject of a photo on the command line: a rectangle, or strokes in a picture."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from dataloader.image_file import ImageFileError, read_alpha, read_grey
from matting.proposals import Proposal, RectangleBox, Report, propose
from matting.trimaps import WIDTHS
from utils.arguments import any_path
from utils.device import is_out_of_memory
from utils.errors import one_line

if TYPE_CHECKING:
    from matting.predictor import Matting

AUTO = "auto"


class Rectangle(NamedTuple):
    """Left, top, right and bottom, each in pixels or as a share of the photo's width or height."""

    sides: tuple[float, ...]
    shares: tuple[bool, ...]
    text: str  # as the user wrote it

    def box(self, height: int, width: int) -> RectangleBox:
        """In pixels of a photo.

        Raises:
            ValueError: if it contains none of the photo.
        """
        sizes = (width, height, width, height)
        left, top, right, bottom = (
            round(side * size) if share else round(side)
            for side, share, size in zip(self.sides, self.shares, sizes, strict=True))
        if left >= min(right, width) or top >= min(bottom, height):
            raise ValueError(f"the rectangle {self.text} contains none of the {width} x {height} "
                             "pixels; expected LEFT,TOP,RIGHT,BOTTOM")
        return left, top, right, bottom


def rectangle(text: str) -> Rectangle | str:
    """Argument type: `AUTO`, or four numbers, in pixels or as shares such as 10%."""
    if text.strip() == AUTO:
        return AUTO
    text = text.replace(" ", "")
    parts = text.split(",")
    if len(parts) != 4 or not all(re.fullmatch(r"\d{1,9}(\.\d{1,9})?%?", part, re.ASCII) for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a rectangle; expected LEFT,TOP,RIGHT,BOTTOM in pixels or "
                                         f"as shares such as 10%,5%,90%,100%, or {AUTO}")
    shares = tuple(part.endswith("%") for part in parts)
    return Rectangle(tuple(float(part.rstrip("%")) / (100 if share else 1)
                           for part, share in zip(parts, shares, strict=True)), shares, text)


def add_mark_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --rectangle, --scribbles, --width and --hair; returns the exclusive group of the first two."""
    marks = parser.add_mutually_exclusive_group()
    marks.add_argument("--rectangle", type=rectangle, metavar="LEFT,TOP,RIGHT,BOTTOM",
                       help="the whole subject is in this rectangle, in pixels or as shares of the photo's sides such "
                            f"as 10%%,5%%,90%%,100%%; {AUTO}: anywhere but in the photo's rim")
    marks.add_argument("--scribbles", type=any_path, metavar="FILE",
                       help="an image of the photo's size that marks examples of the subject with white strokes and "
                            "of the background with black ones; the rest is grey or transparent")
    parser.add_argument("--width", choices=WIDTHS, default="medium",
                        help="width of the unknown band, as in alphamatting.com's trimaps: 1, 1.4 or 2 %% of the "
                             "image's longer side on each side of the outline (default: %(default)s)")
    parser.add_argument("--hair", action="store_true", help="widen the band where the photo has strands of hair or fur")
    return marks


def read_scribbles(path: Path) -> np.ndarray:
    """White and black strokes on a grey or transparent background, (H, W) uint8, for `propose`."""
    scribbles, alpha = read_grey(path), read_alpha(path)
    if alpha is not None:
        scribbles[alpha < 128] = 128
    return scribbles


def propose_for(path: Path, image: np.ndarray, args: argparse.Namespace, matting: Matting | None,
                report: Report = lambda share, text: None) -> Proposal:
    """The proposal for a photo (H, W, 3) uint8 RGB that was read from `path`, by the options of `add_mark_arguments`.

    Raises:
        ImageFileError: if the strokes cannot be read, or no subject is found.
    """
    scribbles = read_scribbles(args.scribbles) if args.scribbles else None
    height, width = image.shape[:2]
    try:
        box = args.rectangle.box(height, width) if isinstance(args.rectangle, Rectangle) else None
        proposal = propose(image, box, scribbles, matting, args.width, args.hair, report)
    except (ValueError, cv2.error) as error:
        if is_out_of_memory(error):
            raise
        raise ImageFileError(f"{path}: {one_line(error)}") from None
    if box is not None and (box[2] > width or box[3] > height):
        proposal.remarks.insert(0, f"The rectangle {args.rectangle.text} exceeds the {width} x {height} pixels; "
                                   "only the part inside counts.")
    return proposal
