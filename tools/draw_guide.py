"""Draws the pictures of docs/cutouts.md, of the README and of the weights' card from the included photographs.

    python tools/draw_guide.py --output docs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import list_images, read_grey, read_image
from matting.cutout import compose_onto, estimate_layers, refined_alpha
from matting.mark_options import rectangle
from matting.options import add_device_argument, add_network_arguments, build_predictor, chosen_network
from matting.proposals import propose
from matting.trimaps import overlay
from utils.arguments import any_path
from utils.device import usable_device
from utils.file_writing import write_jpeg
from utils.preprocessing import alpha_to_uint8
from utils.program import announce, program
from utils.visualisation import panel
from webpage.results import checkerboard

if TYPE_CHECKING:
    from matting.predictor import Matting

DEMO = Path(__file__).resolve().parents[1] / "demo"
PHOTOGRAPHS, TRIMAPS = DEMO / "input_lowres", DEMO / "trimap_lowres" / "Trimap3"
HEIGHT, CAPTION = 270, 26  # pixels of the pictures, and of the lines below them
ALL = "free_mattes"  # the picture of all samples
ALL_HEIGHT, GAP = 190, 6  # pixels of its rows, and between them
QUALITY = 86  # of JPEG files
FRAME = (255, 255, 255)  # colour of rectangles
WHITE, GREEN = (255, 255, 255), (0, 177, 64)


class Stroke(NamedTuple):
    """A line painted into a trimap."""

    level: int  # 0 background, 128 unknown, 255 subject
    width: float  # as a share of the photo's width
    points: tuple[tuple[float, float], ...]  # shares of the photo's width and height


class Step(NamedTuple):
    """A picture and what stands below it."""

    caption: str
    shows: str  # "photo", "trimap" or "result"
    rectangle: str = "auto"
    hair: bool = False
    strokes: tuple[Stroke, ...] = ()
    background: tuple[int, int, int] = WHITE


WOMAN, CUP, CAT = "2%,0,74%,100%", "11%,4%,83%,98%", "4%,0,85%,100%"
IN_CUP = (Stroke(255, 0.09, ((0.35, 0.27), (0.42, 0.20), (0.52, 0.19), (0.61, 0.25))),)
MENDED = (Stroke(255, 0.09, ((0.39, 0.45), (0.44, 0.51), (0.50, 0.51), (0.53, 0.48))),
          Stroke(0, 0.10, ((0.03, 0.20), (0.14, 0.45))), Stroke(0, 0.06, ((0.73, 0.74), (0.98, 0.80))))
WHOLE, WHISKERS = (0, 0, 1, 1), (0.05, 0.45, 0.6, 1)
PICTURES = {  # the photograph, the part of it that is shown (left, top, right, bottom as shares), and the steps
    "guide_first": ("rocket", WHOLE, (
        Step("photo", "photo"), Step("proposal", "trimap"), Step("on white", "result"),
        Step("on a colour", "result", background=(240, 170, 60)))),
    "own_photo": ("coffee", WHOLE, (
        Step("photo", "photo"), Step("first proposal: much is yellow", "trimap"),
        Step("a rectangle; inside the cup painted green", "trimap", CUP, strokes=IN_CUP),
        Step("on white", "result", CUP, strokes=IN_CUP))),
    "guide_painted": ("astronaut", WHOLE, (
        Step("proposal: flag, no collar", "trimap", WOMAN), Step("its result", "result", WOMAN),
        Step("three strokes painted", "trimap", WOMAN, strokes=MENDED),
        Step("on white", "result", WOMAN, strokes=MENDED))),
    "guide_hair": ("cat", WHISKERS, (
        Step("plain edge", "trimap", CAT), Step("its result", "result", CAT),
        Step("with hair", "trimap", CAT, hair=True), Step("its result", "result", CAT, hair=True))),
}


def mended_trimap(image: np.ndarray, step: Step, matting: Matting) -> np.ndarray:
    """The trimap (H, W) uint8 of a step: the proposal, painted over."""
    height, width = image.shape[:2]
    box = None if step.rectangle == "auto" else rectangle(step.rectangle).box(height, width)
    trimap = propose(image, box, matting=matting, hair=step.hair).trimap
    for level, share, points in step.strokes:
        cv2.polylines(trimap, [np.int32(np.multiply(points, (width, height)))], False, level, round(share * width))
    return trimap


def shown(image: np.ndarray, step: Step, matting: Matting) -> np.ndarray:
    """The picture (H, W, 3) uint8 of a step, of the photo's size."""
    if step.shows == "photo":
        return image
    trimap = mended_trimap(image, step, matting)
    if step.shows == "result":
        colours, alpha = estimate_layers(image, matting(image, trimap))
        return compose_onto(colours, alpha, np.array(step.background, np.uint8))
    picture = overlay(image, trimap)
    if step.rectangle != "auto":
        left, top, right, bottom = rectangle(step.rectangle).box(*image.shape[:2])
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), FRAME, 2)
    return picture


def cropped(picture: np.ndarray, part: tuple[float, ...]) -> np.ndarray:
    """The part of a picture (H, W, 3) from left to right and top to bottom, as shares of its sides."""
    height, width = picture.shape[:2]
    left, top, right, bottom = (round(share * side) for share, side in zip(part, 2 * (width, height), strict=True))
    return picture[top:bottom, left:right]


def with_caption(picture: np.ndarray, caption: str) -> np.ndarray:
    """A picture (H, W, 3), `HEIGHT` high, above its caption on white."""
    picture = panel([picture], HEIGHT)
    line = np.full((CAPTION, picture.shape[1], 3), 255, np.uint8)
    cv2.putText(line, caption, (2, CAPTION - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([picture, line])


def all_samples(matting: Matting) -> np.ndarray:
    """For each sample: photo, trimap, matte, cut-out and composite, (H, W, 3) uint8."""
    rows = []
    for path in list_images(PHOTOGRAPHS):
        image, trimap = read_image(path), read_grey(TRIMAPS / path.name)
        matte = matting(image, trimap)
        colours, alpha = estimate_layers(image, matte)
        on = [compose_onto(colours, alpha, background) for background in (
            checkerboard(*alpha.shape), np.array(GREEN, np.uint8))]
        rows.append(panel([image, trimap, alpha_to_uint8(refined_alpha(image, matte)), *on], ALL_HEIGHT))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return np.vstack(padded)[:-GAP]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw the pictures of the guide to cut-outs.")
    parser.add_argument("--output", type=any_path, default=Path("docs"), metavar="DIR", help="default: %(default)s")
    add_network_arguments(parser)
    add_device_argument(parser)
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("draw_guide.py", f"{len(PICTURES) + 1} pictures")
    matting = build_predictor(*chosen_network(args), usable_device(args.device))
    for name, (photo, part, steps) in tqdm(PICTURES.items(), unit="picture", disable=None):
        image = read_image(PHOTOGRAPHS / f"{photo}.png")
        parts = [with_caption(cropped(shown(image, step, matting), part), step.caption) for step in steps]
        write_jpeg(args.output / f"{name}.jpg", panel(parts, HEIGHT + CAPTION), QUALITY)
    write_jpeg(args.output / f"{ALL}.jpg", all_samples(matting), QUALITY)
    print(f"{args.output}: {', '.join(f'{name}.jpg' for name in (*PICTURES, ALL))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
