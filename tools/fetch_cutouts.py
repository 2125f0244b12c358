"""Fetches cut-outs under a free licence: photographs of animals, plants and objects with alpha.

    python tools/fetch_cutouts.py --output data/cutouts

Downloads Debian's package tuxpaint-stamps-default (GPL 2) and writes the photographs in it, listed in `cutouts.csv`
beside this file, to OUTPUT as PNG files, with the origin and licence of each in OUTPUT/SOURCES.csv. They serve as
`data.cutouts`; small ones get an empty border, so that as `data.train_fg` they are not enlarged much. Run again after
an interruption, the same command writes only the missing files.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.archives import FetchError, debian, fetch, members
from utils.arguments import any_path
from utils.file_writing import atomic_path, write_png
from utils.program import announce, program, report

LIST = Path(__file__).with_name("cutouts.csv")
PACKAGE = debian("t/tuxpaint-stamps/tuxpaint-stamps-default_2022.06.04-1_all.deb",
                 "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34")
FOLDER = "usr/share/tuxpaint/stamps"
LICENCE, AUTHORS = "GPL-2.0", "Bill Kendrick and the contributors to Tux Paint"  # as debian/copyright states
LEAST_SIDE = 400  # pixels


def read_list(path: Path) -> dict[str, str]:
    """Output file names without extension, by path in the package's folder of stamps."""
    with path.open(newline="", encoding="utf-8") as file:
        return {row["original"]: row["name"] for row in csv.DictReader(file)}


def framed(data: bytes) -> np.ndarray:
    """Crops an image to its content and pads it to (s, s, 4) uint8 RGBA, s at least 400; black where alpha is 0.

    Raises:
        FetchError: if it is not an 8-bit image with alpha, or fully transparent.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # empty data
        pixels = None
    if pixels is None or pixels.dtype != np.uint8 or pixels.shape[2:] != (4,) or not pixels[..., 3].any():
        raise FetchError("not an 8-bit image with alpha")
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(pixels[..., 3]))
    pixels = cv2.cvtColor(pixels[top:top + height, left:left + width], cv2.COLOR_BGRA2RGBA)
    side = max(width, height, LEAST_SIDE)
    canvas = np.zeros((side, side, 4), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top:top + height, left:left + width] = pixels * (pixels[..., 3:] > 0)
    return canvas


def fetch_missing(wanted: dict[str, str], output: Path, cache: Path) -> list[str]:
    """Writes the missing cut-outs; returns the reasons for those that failed.

    Raises:
        FetchError: if the package cannot be downloaded or unpacked.
        OSError: if a file cannot be written.
    """
    missing = {f"{FOLDER}/{original}": output / f"{name}.png" for original, name in wanted.items()
               if not (output / f"{name}.png").is_file()}
    reasons = []
    for path, data in members(fetch(PACKAGE, cache)) if missing else ():
        file = missing.pop(path, None)
        if file is None:
            continue
        try:
            write_png(file, framed(data))
        except FetchError as error:
            reasons.append(f"{path}: {error}")
    return reasons + [f"{path}: not in the package" for path in missing]


def write_sources(wanted: dict[str, str], output: Path) -> None:
    """Writes SOURCES.csv for the existing files."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("file", "package", "version", "original", "licence", "author")]
        + [(f"{name}.png", "tuxpaint-stamps-default", PACKAGE.version, f"{FOLDER}/{original}", LICENCE, AUTHORS)
           for original, name in wanted.items() if (output / f"{name}.png").is_file()])
    with atomic_path(output / "SOURCES.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch cut-outs under a free licence.")
    parser.add_argument("--output", type=any_path, default=Path("data/cutouts"), help="folder (default: %(default)s)")
    parser.add_argument("--cache", type=any_path, help="folder for the downloaded package (default: OUTPUT/packages)")
    args = parser.parse_args()
    wanted = read_list(LIST)
    announce("fetch_cutouts.py", f"{len(wanted)} cut-outs of one package, to {args.output}")
    reasons = fetch_missing(wanted, args.output, args.cache or args.output / "packages")
    write_sources(wanted, args.output)
    for reason in reasons:
        report("fetch_cutouts.py", str(reason))
    print(f"{args.output}: {len(wanted) - len(reasons)} of {len(wanted)} cut-outs")
    return 1 if reasons else 0


if __name__ == "__main__":
    sys.exit(main())
