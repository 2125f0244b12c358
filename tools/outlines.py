"""Hand-drawn outlines of photographs' subjects, by file name; outlines.toml beside this file has them.

An outline's coordinates are thousandths of the photograph's width and height, x and y alternating; `band` and the first
number of each strand are thousandths of its longer side. Numbers in lists are integers.

    ["owl.jpg"]
    band = 8                                           # unknown on each side of every boundary
    foreground = [[350, 10, 650, 20, 640, 980]]        # polygons
    background = [[480, 900, 520, 900, 500, 960]]      # polygons: holes in it
    unknown = [[340, 0, 660, 0, 500, 60]]              # polygons: fluff, hair
    strands = [[12, 300, 400, 220, 380, 180, 420]]     # width, then a line: whiskers, single hairs, stalks
"""

import sys
from collections import Counter
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import toml

from utils.errors import InputError, one_line
from utils.progress_bar import ProgressBar

OUTLINES = Path(__file__).with_name("outlines.toml")
BLACK, GREY, WHITE = 0, 128, 255  # background, unknown, foreground of a trimap
UNITS = 1000  # per width and per height
SHIFT = 4  # fractional bits of OpenCV's coordinates


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


def check_both_known(path: Path, trimap: np.ndarray) -> None:
    """Raises InputError if a photograph's trimap has no known foreground or no known background."""
    for value, side in ((WHITE, "foreground"), (BLACK, "background")):
        if value not in trimap:
            raise InputError(f"{path}: its outline leaves no {side}")


def _fixed_point(points: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.round((points * (width, height) - 0.5) * 2**SHIFT).astype(np.int32)


def for_each_outline(outlines: dict[str, Outline], work: Callable[[str, Outline], None], program: str,
                     doing: str) -> int:
    """Calls work(name, outline) for each photograph; reports those with an InputError, and returns how many."""
    failed = 0
    with ProgressBar(len(outlines), doing, "photograph") as bar:
        for name, outline in outlines.items():
            try:
                work(name, outline)
            except InputError as error:
                failed += 1
                bar.write(f"{program}: {error}", sys.stderr)
            bar.update()
    return failed


def find_photograph(name: str, folders: list[Path]) -> Path:
    """The file of that name in the first folder that has one.

    Raises:
        InputError: if none has.
    """
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{name}: not found in {', '.join(map(str, folders))}")
