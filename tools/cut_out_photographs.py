"""Cuts subjects (animals, flowers, objects) out of photographs along hand-drawn outlines.

    python tools/cut_out_photographs.py --photographs data/photographs/train data/further/photographs \\
        --output data/subjects

`outlines.toml` beside this file marks where the subject certainly is and certainly is not (see outlines.py).
For the resulting trimap, alpha is the mean of the network's and PyMatting's closed-form matte, snapped to 0 or 1 where
it is close, and colours are estimated as for any cut-out. The subject is written to OUTPUT/NAME.png as RGBA; where the
photograph's frame cuts it off, it ends in a straight edge. Existing cut-outs are kept, even if their outline has
changed. A photograph that is not found, or whose outline leaves no foreground or background, is reported and skipped.
"""

from __future__ import annotations

import argparse
import io
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import read_image
from matting.cutout import check_pymatting, estimate_foreground, with_alpha
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
from utils.arguments import any_path
from utils.device import usable_device
from utils.errors import InputError, one_line
from utils.file_writing import write_png
from utils.program import announce, program

if TYPE_CHECKING:
    from matting.predictor import Matting

CLEAR = 0.03  # alpha this close to 0 or 1 is snapped: a veil would follow the subject onto every background


def cut_out_subject(matting: Matting, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Cuts the subject out of an image (H, W, 3) uint8 RGB: its bounding box, (h, w, 4) uint8 RGBA.

    Raises:
        InputError: if closed-form matting does not converge.
    """
    import pymatting

    try:
        with redirect_stdout(io.StringIO()):  # hides PyMatting's output about failed preconditioners
            closed_form = pymatting.estimate_alpha_cf(image / 255, trimap / 255)
    except ValueError as error:
        raise InputError(f"closed-form matting failed ({one_line(error)})") from None
    alpha = (matting(image, trimap) + closed_form.clip(0, 1)) / 2
    alpha = ((alpha - CLEAR) / (1 - 2 * CLEAR)).clip(0, 1).astype(np.float32)
    pixels = with_alpha(estimate_foreground(image, alpha, "ml"), alpha)
    pixels[pixels[..., 3] == 0] = 0
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(pixels[..., 3]))
    return np.ascontiguousarray(pixels[top:top + height, left:left + width])


def make_cutout(matting: Matting, name: str, outline: Outline, args: argparse.Namespace) -> None:
    """Writes a photograph's cut-out, and its trimap if requested, unless the cut-out exists.

    Raises:
        InputError: if it cannot be computed.
        OSError: if it cannot be written.
    """
    result = args.output / f"{Path(name).stem}.png"
    if result.exists():
        return
    path = find_photograph(name, args.photographs)
    image = read_image(path)
    trimap = draw_trimap(outline, *image.shape[:2])
    if args.trimaps:
        write_png(args.trimaps / result.name, trimap)
    check_both_known(path, trimap)
    try:
        pixels = cut_out_subject(matting, image, trimap)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    write_png(result, pixels)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Cut subjects out of photographs along hand-drawn outlines.")
    parser.add_argument("--photographs", type=any_path, nargs="+", required=True, metavar="FOLDER",
                        help="folders of photographs")
    parser.add_argument("--outlines", type=any_path, default=OUTLINES, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", type=any_path, default=Path("data/subjects"), help="folder (default: %(default)s)")
    parser.add_argument("--trimaps", type=any_path, metavar="FOLDER", help="also write the trimaps to this folder")
    add_network_arguments(parser)
    add_device_argument(parser)
    args = parser.parse_args()
    outlines = read_outlines(args.outlines)
    announce("cut_out_photographs.py", f"{len(outlines)} outlines of {args.outlines}")
    check_pymatting()
    config, checkpoint = chosen_network(args)
    matting = build_predictor(config, checkpoint, usable_device(args.device))
    failed = for_each_outline(outlines, lambda name, outline: make_cutout(matting, name, outline, args),
                              "cut_out_photographs.py", "cutting out")
    print(f"{args.output}: {len(outlines) - failed} of {len(outlines)} cut-outs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
