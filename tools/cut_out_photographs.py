"""Cuts subjects (animals, flowers, objects) out of photographs along hand-drawn outlines.

    python tools/cut_out_photographs.py --photographs data/photographs/train data/further/photographs \\
        --output data/subjects

`outlines.toml` beside this file marks, by photograph file name, where the subject certainly is and certainly is not.
For the resulting trimap, alpha is the mean of the network's and PyMatting's closed-form matte, snapped to 0 or 1 where
it is close, and colours are estimated as for any cut-out. The subject is written to OUTPUT/NAME.png as RGBA; where the
photograph's frame cuts it off, it ends in a straight edge. Existing cut-outs are kept, even if their outline has
changed. A photograph that is not found, or whose outline leaves no foreground or background, is reported and skipped.

An outline's coordinates are thousandths of the photograph's width and height, x and y alternating; `band` and the first
number of each strand are thousandths of its longer side. Numbers in lists are integers.

    ["owl.jpg"]
    band = 8                                           # unknown on each side of every boundary
    foreground = [[350, 10, 650, 20, 640, 980]]        # polygons
    background = [[480, 900, 520, 900, 500, 960]]      # polygons: holes in it
    unknown = [[340, 0, 660, 0, 500, 60]]              # polygons: fluff, hair
    strands = [[12, 300, 400, 220, 380, 180, 420]]     # width, then a line: whiskers, single hairs, stalks
"""

from __future__ import annotations

import argparse
import io
import sys
from collections import Counter
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import toml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import read_image
from matting.cutout import check_pymatting, estimate_foreground, with_alpha
from matting.options import add_device_argument, add_network_arguments, build_predictor, chosen_network
from utils.arguments import any_path
from utils.device import usable_device
from utils.errors import InputError, one_line
from utils.file_writing import write_png
from utils.program import announce, program
from utils.progress_bar import ProgressBar

if TYPE_CHECKING:
    from matting.predictor import Matting

OUTLINES = Path(__file__).with_name("outlines.toml")
BLACK, GREY, WHITE = 0, 128, 255  # background, unknown, foreground of a trimap
UNITS = 1000  # per width and per height
SHIFT = 4  # fractional bits of OpenCV's coordinates
CLEAR = 0.03  # alpha this close to 0 or 1 is snapped: a veil would follow the subject onto every background


class Outline(NamedTuple):
    """Where a photograph's subject is; polygons and lines are arrays (n, 2) of x and y in 0..1."""

    band: float = 0.008
    foreground: tuple[np.ndarray, ...] = ()
    background: tuple[np.ndarray, ...] = ()
    unknown: tuple[np.ndarray, ...] = ()
    strands: tuple[tuple[float, np.ndarray], ...] = ()


def read_outlines(path: Path) -> dict[str, Outline]:
    """Reads the outlines of a file, by photograph file name.

    Raises:
        InputError: if the file cannot be read, or an entry is malformed.
    """
    try:
        entries = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror.lower()}") from None
    except (ValueError, IndexError) as error:  # both are raised by toml
        raise InputError(f"{path}: {one_line(error)}") from None
    outlines = {}
    for name, entry in entries.items():
        try:
            outlines[name] = _outline(entry)
        except ValueError as error:
            raise InputError(f"{path}: {name}: {error}") from None
    stems = Counter(Path(name).stem for name in outlines)
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        raise InputError(f"{path}: two photographs are named {twice[0]}; their cut-outs would overwrite each other")
    return outlines


def _outline(entry: object) -> Outline:
    """Parses an entry; raises ValueError if it is malformed."""
    if not isinstance(entry, dict):
        raise ValueError("not a table of polygons")
    unexpected = set(entry) - set(Outline._fields)
    if unexpected:
        raise ValueError(f"unknown key {sorted(unexpected)[0]}; expected one of {', '.join(Outline._fields)}; a "
                         "photograph's name has a dot and must be in quotes")
    if not entry.get("foreground"):
        raise ValueError("no foreground; expected at least one polygon")
    band = entry.get("band", UNITS * Outline().band)
    if isinstance(band, bool) or not isinstance(band, int | float) or not 0 <= band <= UNITS:
        raise ValueError(f"band is {band!r}; expected a number in thousandths")
    lists = {kind: [_numbers(kind, number, each) for number, each in enumerate(_listed(kind, entry.get(kind, [])), 1)]
             for kind in Outline._fields[1:]}
    strands = tuple((line[0] / UNITS, _points("strands", number, line[1:], 2))
                    for number, line in enumerate(lists.pop("strands"), 1))
    polygons = {kind: tuple(_points(kind, number, each, 3) for number, each in enumerate(each_kind, 1))
                for kind, each_kind in lists.items()}
    return Outline(band / UNITS, **polygons, strands=strands)


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _listed(kind: str, value: object) -> list:
    if not isinstance(value, list):
        raise ValueError(f"{kind} is {value!r}; expected a list of lists")
    return value


def _numbers(kind: str, number: int, value: object) -> list[int]:
    if not isinstance(value, list) or not value or not all(map(_is_whole, value)):
        raise ValueError(f"{kind}, number {number}, is not a list of integers; expected a list of such lists")
    return value


def _points(kind: str, number: int, numbers: list[int], least: int) -> np.ndarray:
    if len(numbers) % 2 or len(numbers) < 2 * least:
        raise ValueError(f"{kind}, number {number}, has {len(numbers)} coordinates; expected x and y of at least "
                         f"{least} points")
    return np.array(numbers, np.float64).reshape(-1, 2) / UNITS


def draw_trimap(outline: Outline, height: int, width: int) -> np.ndarray:
    """Draws an outline's trimap (height, width) uint8: 0, 128 and 255; lines are at least one pixel wide."""
    longest = max(height, width)
    trimap = np.full((height, width), BLACK, np.uint8)

    def fill(polygons: tuple[np.ndarray, ...], value: int) -> None:
        for polygon in polygons:
            cv2.fillPoly(trimap, [_fixed_point(polygon, height, width)], value, shift=SHIFT)

    def stroke(line: np.ndarray, share: float, closed: bool) -> None:
        cv2.polylines(trimap, [_fixed_point(line, height, width)], closed, GREY, max(1, round(share * longest)),
                      shift=SHIFT)

    fill(outline.foreground, WHITE)
    fill(outline.background, BLACK)
    for polygon in chain(outline.foreground, outline.background):
        stroke(polygon, 2 * outline.band, closed=True)
    fill(outline.unknown, GREY)
    for share, line in outline.strands:
        stroke(line, share, closed=False)
    return trimap


def _fixed_point(points: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.round((points * (width, height) - 0.5) * 2**SHIFT).astype(np.int32)


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


def check_both_known(path: Path, trimap: np.ndarray) -> None:
    """Raises InputError if a photograph's trimap has no known foreground or no known background."""
    for value, side in ((WHITE, "foreground"), (BLACK, "background")):
        if value not in trimap:
            raise InputError(f"{path}: its outline leaves no {side}")


def find_photograph(name: str, folders: list[Path]) -> Path:
    """The file of that name in the first folder that has one.

    Raises:
        InputError: if none has.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{name}: not found in {', '.join(map(str, folders))}")


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
    failed = 0
    with ProgressBar(len(outlines), "cutting out", "photograph") as bar:
        for name, outline in outlines.items():
            try:
                make_cutout(matting, name, outline, args)
            except InputError as error:
                failed += 1
                bar.write(f"cut_out_photographs.py: {error}", sys.stderr)
            bar.update()
    print(f"{args.output}: {len(outlines) - failed} of {len(outlines)} cut-outs")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
