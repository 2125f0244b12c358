"""Compares proposed trimaps with GrabCut's, where the true alpha is known.

    python benchmarks/proposal_errors.py
    python benchmarks/proposal_errors.py --image-dir IMAGES --alpha-dir ALPHAS --per-image --csv errors.csv

GrabCut, "rectangle" and "with network" are given the bounding box of the true alpha, 2 % of the longer side wider on
each side; "photo only" is like "with network", but is given no rectangle. Columns: shares of all pixels that are
wrongly said to be subject, or background, and that are unknown; SAD / 1000 over all pixels of the matte that the
network computes from the trimap; CPU seconds of the proposal. Where no subject is found, or GrabCut has nothing outside
the rectangle, everything is unknown.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey, read_image
from matting.grabcut import GRABCUT_SIDE, grab_cut, without_specks
from matting.options import add_device_argument, add_network_arguments, build_predictor, chosen_network
from matting.proposals import RectangleBox, propose
from matting.trimaps import reduced, trimap_of_width
from utils.arguments import any_path
from utils.device import usable_device
from utils.file_writing import atomic_path
from utils.preprocessing import size_text
from utils.program import announce, program
from utils.progress_bar import in_steps

if TYPE_CHECKING:
    from matting.predictor import Matting

METHODS = ("GrabCut", "rectangle", "with network", "photo only")
COLUMNS = ("wrong subject", "wrong background", "unknown", "SAD", "seconds")
TRANSPARENT, OPAQUE = 0.05, 0.95  # alpha up to which, and from which, a pixel may be called sure
MARGIN = 0.02  # of the rectangle, as a share of the image's longer side
WIDTH = "medium"  # of the unknown band

Propose = Callable[[np.ndarray, RectangleBox], np.ndarray]


def rectangle_around(alpha: np.ndarray) -> RectangleBox:
    """Left, top, right and bottom of what an alpha (H, W) in 0..1 shows, with a margin, clipped to the image.

    Raises:
        ValueError: if it shows nothing.
    """
    rows, columns = (np.flatnonzero((alpha > TRANSPARENT).any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        raise ValueError(f"shows nothing: no alpha is above {TRANSPARENT}")
    height, width = alpha.shape
    margin = round(MARGIN * max(height, width))
    return (max(0, int(columns[0]) - margin), max(0, int(rows[0]) - margin),
            min(width, int(columns[-1]) + 1 + margin), min(height, int(rows[-1]) + 1 + margin))


def by_grab_cut(image: np.ndarray, box: RectangleBox) -> np.ndarray:
    """The trimap (H, W) uint8 by GrabCut alone, for an image (H, W, 3) uint8; all unknown if nothing is outside."""
    left, top, right, bottom = box
    labels = np.full(image.shape[:2], cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    if not (labels == cv2.GC_BGD).any():
        return np.full(labels.shape, 128, np.uint8)
    small, _ = reduced(image, GRABCUT_SIDE)
    found = without_specks(grab_cut(small, cv2.resize(labels, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)))
    mask = cv2.resize(found.astype(np.uint8) * 255, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return trimap_of_width(np.where(mask >= 128, 255, 0).astype(np.uint8), WIDTH)


def by_proposal(image: np.ndarray, box: RectangleBox, matting: Matting | None, boxed: bool) -> np.ndarray:
    """The proposed trimap (H, W) uint8; all unknown if there is none.

    Args:
        matting: the network, if it is asked.
        boxed: whether the box is given.
    """
    try:
        return propose(image, box if boxed else None, matting=matting, width=WIDTH).trimap
    except ValueError:
        return np.full(image.shape[:2], 128, np.uint8)


def methods(names: list[str], matting: Matting) -> dict[str, Propose]:
    """The named ways to propose a trimap from an image and a box, of `METHODS`."""
    known = {"GrabCut": by_grab_cut, "rectangle": partial(by_proposal, matting=None, boxed=True),
             "with network": partial(by_proposal, matting=matting, boxed=True),
             "photo only": partial(by_proposal, matting=matting, boxed=False)}
    return {name: known[name] for name in names}


def errors_of(trimap: np.ndarray, alpha: np.ndarray, image: np.ndarray, matting: Matting) -> tuple[float, ...]:
    """The first four of `COLUMNS`: a trimap (H, W) uint8 against the true alpha (H, W) in 0..1."""
    sad = np.abs(matting(image, trimap) - alpha).sum(dtype=np.float64) / 1000
    return (float(((trimap == 255) & (alpha < OPAQUE)).mean()), float(((trimap == 0) & (alpha > TRANSPARENT)).mean()),
            float((trimap == 128).mean()), float(sad))


def compare(images: list[Path], alphas: list[Path], folder: Path, proposals: dict[str, Propose],
            matting: Matting) -> np.ndarray:
    """`COLUMNS` by image and method, (images, methods, 5).

    Raises:
        ImageFileError: if a file cannot be read, an image lacks an alpha of its size, or an alpha shows nothing.
    """
    rows = []
    for path in in_steps(images, len(images), "proposing"):
        image, truth = read_image(path), find_partner(path, alphas, "alpha", folder)
        alpha = read_grey(truth).astype(np.float32) / 255
        if alpha.shape != image.shape[:2]:
            raise ImageFileError(f"{truth}: the alpha is {size_text(alpha)}, but its image is {size_text(image)}")
        try:
            box = rectangle_around(alpha)
        except ValueError as error:
            raise ImageFileError(f"{truth}: {error}") from None
        row = []
        for proposed in proposals.values():
            start = time.process_time()
            trimap = proposed(image, box)
            seconds = time.process_time() - start
            row.append((*errors_of(trimap, alpha, image, matting), seconds))
        rows.append(row)
    return np.array(rows)


def print_table(title: str, names: list[str], values: np.ndarray) -> None:
    """Values (methods, 5) of `COLUMNS`."""
    print(f"{title[:24]:24} {'wrong subject':>14} {'wrong backgr.':>14} {'unknown':>8} {'SAD':>8} {'CPU s':>7}")
    for name, (subject, background, unknown, sad, seconds) in zip(names, values, strict=True):
        print(f"{name:24} {subject:14.1%} {background:14.1%} {unknown:8.1%} {sad:8.2f} {seconds:7.2f}")


def write_csv(path: Path, images: list[Path], names: list[str], values: np.ndarray) -> None:
    """One line per image and method; values (images, methods, 5)."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "method", *COLUMNS))
        for image, rows in zip(images, values, strict=True):
            writer.writerows((image.name, name, *(f"{value:.6g}" for value in row))
                             for name, row in zip(names, rows, strict=True))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare proposed trimaps with GrabCut's.")
    parser.add_argument("--image-dir", type=any_path, default=Path("demo/generated/merged"), metavar="DIR",
                        help="folder of images (default: %(default)s)")
    parser.add_argument("--alpha-dir", type=any_path, default=Path("demo/generated/alpha"), metavar="DIR",
                        help="folder of their true alphas, of the same names (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="default: all")
    parser.add_argument("--per-image", action="store_true", help="also print a table for each image")
    parser.add_argument("--csv", type=any_path, metavar="FILE", help="also write a line for each image and method")
    add_network_arguments(parser)
    add_device_argument(parser)
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    images, alphas = list_images(args.image_dir), list_images(args.alpha_dir)
    announce("proposal_errors.py", f"{len(images)} images: {args.image_dir}")
    matting = build_predictor(*chosen_network(args), usable_device(args.device))
    values = compare(images, alphas, args.alpha_dir, methods(args.methods, matting), matting)
    if args.per_image:
        for path, rows in zip(images, values, strict=True):
            print_table(path.name, args.methods, rows)
    print_table(f"mean of {len(images)} images", args.methods, values.mean(axis=0))
    if args.csv:
        write_csv(args.csv, images, args.methods, values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
