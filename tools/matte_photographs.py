"""Computes mattes of photographs' subjects (animals, flowers, objects) along hand-drawn outlines, to be trained on.

    python tools/matte_photographs.py --photographs data/photographs/train data/further/photographs \\
        --output data/matted

`outlines.toml` beside this file marks where the subject certainly is and certainly is not (see outlines.py). For the
resulting trimap, alpha is what `demo.py --flip` writes: the network's, averaged with that of the mirror image, refined
with the photo's colours; within a hundredth of 0 or 1 it is snapped to that. Photographs, trimaps and mattes are
OUTPUT/{image,trimap,alpha}/NAME.png, for `data.matted_image` and `data.matted_alpha`. Existing mattes are kept, even
if their outline has changed. A photograph that is not found, or whose outline leaves no foreground or background, is
reported and skipped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import read_image
from matting.cutout import check_pymatting, refined_alpha
from matting.options import add_device_argument, add_network_arguments, build_predictor, chosen_network
from tools.outlines import (
    OUTLINES,
    Outline,
    check_both_known,
    draw_trimap,
    find_photograph,
    for_each_outline,
    read_outlines,
)
from utils.arguments import any_path, positive_int
from utils.device import usable_device
from utils.file_writing import write_png
from utils.preprocessing import alpha_to_uint8
from utils.program import announce, program

if TYPE_CHECKING:
    from matting.ensemble import Ensemble

CLEAR = 0.01  # alpha this close to 0 or 1 is snapped: a faint veil would make all of it unknown in training
SIDE = 900  # pixels of the longer side


def snapped(alpha: np.ndarray) -> np.ndarray:
    """Alpha float32 in 0..1 that is exactly 0 or 1 where it is within `CLEAR` of it."""
    return np.where(alpha < CLEAR, 0, np.where(alpha > 1 - CLEAR, 1, alpha)).astype(np.float32)


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    """An image (H, W, 3) whose longer side is at most `side` pixels."""
    factor = side / max(image.shape[:2])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else image


def matte_photograph(ensemble: Ensemble, name: str, outline: Outline, args: argparse.Namespace) -> None:
    """Writes a photograph, its trimap and its matte, unless the matte exists.

    Raises:
        InputError: if it cannot be computed.
        OSError: if it cannot be written.
    """
    image_file, trimap_file, alpha_file = (args.output / kind / f"{Path(name).stem}.png"
                                           for kind in ("image", "trimap", "alpha"))
    if alpha_file.exists():
        return
    path = find_photograph(name, args.photographs)
    image = reduced(read_image(path), args.side)
    trimap = draw_trimap(outline, *image.shape[:2])
    check_both_known(path, trimap)
    alpha = snapped(refined_alpha(image, ensemble(image, trimap)))
    for file, pixels in ((image_file, image), (trimap_file, trimap), (alpha_file, alpha_to_uint8(alpha))):
        write_png(file, pixels)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Compute mattes of photographs' subjects along hand-drawn outlines.")
    parser.add_argument("--photographs", type=any_path, nargs="+", required=True, metavar="FOLDER",
                        help="folders of photographs")
    parser.add_argument("--outlines", type=any_path, default=OUTLINES, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", type=any_path, default=Path("data/matted"), help="folder (default: %(default)s)")
    parser.add_argument("--side", type=positive_int, default=SIDE,
                        help="reduce photographs whose longer side has more pixels (default: %(default)s)")
    add_network_arguments(parser)
    add_device_argument(parser)
    args = parser.parse_args()
    outlines = read_outlines(args.outlines)
    announce("matte_photographs.py", f"{len(outlines)} outlines of {args.outlines}")
    check_pymatting()
    from matting.ensemble import Ensemble  # and with it PyTorch, which takes seconds

    config, checkpoint = chosen_network(args)
    ensemble = Ensemble(build_predictor(config, checkpoint, usable_device(args.device)), flip=True)
    failed = for_each_outline(outlines, lambda name, outline: matte_photograph(ensemble, name, outline, args),
                              "matte_photographs.py", "computing mattes")
    print(f"{args.output}: {len(outlines) - failed} of {len(outlines)} mattes")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
