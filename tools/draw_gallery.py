"""Draws every family of generated alphas into one image: name, composited drawing and alpha.

    python tools/draw_gallery.py --output gallery.jpg --photographs data/photographs/train
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.augment import composite
from dataloader.image_file import list_images
from dataloader.synthetic.drawing import Family
from dataloader.synthetic.items import DrawnBackground, surface_chooser
from dataloader.synthetic.objects import FAMILIES, HELD_OUT, object_colours
from utils.arguments import any_path, positive_int, whole_number
from utils.file_writing import write_jpeg
from utils.program import announce, program
from utils.visualisation import as_rgb

SIDE = 384  # pixels at which families are drawn
COLUMNS = 11
QUALITY = 88  # of JPEG files
GAP, CAPTION = 6, 22  # pixels


def tile(family: Family, side: int, seed: int, photographs: tuple[Path, ...]) -> np.ndarray:
    """A family's name, drawing over a background and alpha, from top to bottom, (H, side, 3) uint8."""
    rng = np.random.default_rng(seed)
    drawing = family(rng, SIDE)
    colours = object_colours(rng, family, drawing, surface_chooser(photographs, SIDE))
    background = cv2.resize(DrawnBackground(seed, seed, SIDE, photographs).read(), (SIDE, SIDE))
    seen = composite(np.float32(colours), np.float32(background), drawing.alpha / np.float32(255))
    pictures = [cv2.resize(as_rgb(picture), (side, side), interpolation=cv2.INTER_AREA)
                for picture in (seen.astype(np.uint8), drawing.alpha)]
    caption = np.full((CAPTION, side, 3), 255, np.uint8)
    name = family.__name__.replace("_", " ") + (" (held out)" if family in HELD_OUT else "")
    cv2.putText(caption, name, (2, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([caption, *pictures])


def gallery(side: int, seed: int, photographs: tuple[Path, ...]) -> np.ndarray:
    """Tiles of all families, (H, W, 3) uint8."""
    tiles = [tile(family, side, seed + i, photographs) for i, family in enumerate(FAMILIES + HELD_OUT)]
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % COLUMNS)
    padded = [np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for picture in tiles]
    return np.vstack([np.hstack(padded[first:first + COLUMNS]) for first in range(0, len(padded), COLUMNS)])


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Draw all families of generated alphas into one image.")
    parser.add_argument("--output", type=any_path, default=Path("gallery.jpg"), help="default: %(default)s")
    parser.add_argument("--photographs", type=any_path, metavar="DIR", help="folder of photographs for colours")
    parser.add_argument("--side", type=positive_int, default=136, help="drawing side in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number, default=0, help="default: %(default)s")
    args = parser.parse_args()
    announce("draw_gallery.py", f"{len(FAMILIES) + len(HELD_OUT)} families")
    picture = gallery(args.side, args.seed, tuple(list_images(args.photographs)) if args.photographs else ())
    write_jpeg(args.output, picture, QUALITY)
    print(f"{args.output}: {len(FAMILIES)} families and {len(HELD_OUT)} held out")
    return 0


if __name__ == "__main__":
    sys.exit(main())
