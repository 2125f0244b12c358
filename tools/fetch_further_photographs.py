"""Fetches the further photographs and cut-outs that the shipped weights were trained with, from public repositories.

    python tools/fetch_further_photographs.py --output data/further

Downloads what docs/further_photographs.csv lists, except 16 views of held-out places, from GitHub at the listed
commits: photographs, reduced to 800 pixels, go to OUTPUT/photographs, cut-outs to OUTPUT/cutouts. Panoramas become
views to the front, right, back and left. Run again after an interruption, the same command fetches only the missing
files. Files that cannot be fetched are reported and skipped. The list states licences and authors; anyone who
redistributes photographs must credit the authors if the licence requires it.
"""

import argparse
import csv
import sys
import urllib.request
from collections.abc import Iterator
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.archives import FetchError
from tools.panoramas import perspective_view, tone_mapped
from utils.arguments import any_path
from utils.file_writing import write_jpeg, write_png
from utils.program import announce, program, report
from utils.progress_bar import in_steps

LIST = Path(__file__).resolve().parents[1] / "docs/further_photographs.csv"
BASE = "https://raw.githubusercontent.com"
LONGEST_SIDE = 800  # pixels
QUALITY = 93  # of JPEG files
VIEW_SIZE, FIELD_OF_VIEW = (336, 448), 75.0  # of panoramas
# Views of panoramas that tools/fetch_photographs.py holds out (dawn, esplanade, lobby, park). They are listed because
# the shipped weights' second training used them.
LEFT_OUT = ("pano_kiara_1_dawn_", "pano_esplanade_", "pano_st_fagans_interior_", "pano_rooitou_park_")
MOST_FAILED = 8  # in a row, as without a network connection
JOIN = " + "  # separates the paths of a cut-out's colours and alpha


class Entry(NamedTuple):
    """A row of the list."""

    name: str  # of the output file; for panoramas it ends with the view's angle
    repository: str
    path: str
    commit: str
    licence: str
    author: str

    @property
    def is_cutout(self) -> bool:
        return self.name.endswith(".png")

    def file(self, output: Path) -> Path:
        return output / ("cutouts" if self.is_cutout else "photographs") / self.name

    def urls(self, base: str) -> list[str]:
        """URLs of its files: one, or colours and alpha."""
        return [f"{base}/{self.repository}/{self.commit}/{quote(path)}" for path in self.path.split(JOIN)]


def read_list(path: Path) -> list[Entry]:
    """The entries of a list, except `LEFT_OUT`."""
    with path.open(newline="", encoding="utf-8") as file:
        return [Entry(**row) for row in csv.DictReader(file) if not row["name"].startswith(LEFT_OUT)]


@lru_cache(8)  # consecutive views share a panorama
def download(url: str) -> np.ndarray:
    """An image as decoded by OpenCV, with alpha if any: uint8, or float32 if it has a high dynamic range.

    Raises:
        FetchError: if it cannot be downloaded or decoded.
    """
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            data = response.read()
    except (OSError, HTTPException) as error:
        raise FetchError(f"{url}: {error}") from None
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        raise FetchError(f"{url}: cannot be decoded by OpenCV")
    return (image / 257).round().astype(np.uint8) if image.dtype == np.uint16 else image


def photograph(entry: Entry, base: str) -> np.ndarray:
    """A photograph or a view of a panorama, (H, W, 3) uint8 RGB.

    Raises:
        FetchError: as `download`.
    """
    image = download(*entry.urls(base))
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    image = cv2.cvtColor(np.ascontiguousarray(image[..., :3]), cv2.COLOR_BGR2RGB)
    if image.dtype == np.float32:
        angle = float(Path(entry.name).stem.rpartition("_")[2])
        return perspective_view(tone_mapped(image), angle, 0.0, FIELD_OF_VIEW, VIEW_SIZE)
    factor = LONGEST_SIDE / max(image.shape[:2])
    return image if factor >= 1 else cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def cutout(entry: Entry, base: str) -> np.ndarray:
    """A cut-out, (H, W, 4) uint8 RGBA, with its own alpha or that of a second file.

    Raises:
        FetchError: as `download`; also if there is no alpha.
    """
    urls = entry.urls(base)
    colours, alpha = download(urls[0]), download(urls[-1])
    if len(urls) == 1 and (alpha.ndim == 2 or alpha.shape[2] < 4):
        raise FetchError(f"{urls[0]}: has no alpha")
    if alpha.ndim == 3:
        alpha = alpha[..., -1 if alpha.shape[2] == 4 else 0]
    if colours.shape[:2] != alpha.shape:
        alpha = cv2.resize(alpha, colours.shape[1::-1], interpolation=cv2.INTER_AREA)
    return cv2.merge([*cv2.split(cv2.cvtColor(np.ascontiguousarray(colours[..., :3]), cv2.COLOR_BGR2RGB)), alpha])


def fetch_missing(entries: list[Entry], output: Path, base: str) -> Iterator[str]:
    """Writes the missing files; yields a reason for each failure, and gives up after 8 in a row.

    Raises:
        OSError: if a file cannot be written.
    """
    failed = 0  # in a row
    for entry in in_steps(entries, len(entries), "fetching", "file"):
        path = entry.file(output)
        if path.is_file():
            continue
        try:
            if entry.is_cutout:
                write_png(path, cutout(entry, base))
            else:
                write_jpeg(path, photograph(entry, base), QUALITY)
            failed = 0
        except FetchError as reason:
            failed += 1
            yield str(reason)
            if failed == MOST_FAILED:
                yield f"{failed} files in a row could not be fetched; giving up, run the command again later"
                return


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch the further photographs and cut-outs of the data card.")
    parser.add_argument("--output", type=any_path, default=Path("data/further"), help="folder (default: %(default)s)")
    parser.add_argument("--list", type=any_path, default=LIST, help="CSV file (default: docs/further_photographs.csv)")
    parser.add_argument("--base", default=BASE, metavar="URL", help="base of the file URLs (default: %(default)s)")
    args = parser.parse_args()
    failed, entries = False, read_list(args.list)
    announce("fetch_further_photographs.py", f"{len(entries)} files of {args.base}, to {args.output}")
    for reason in fetch_missing(entries, args.output, args.base):
        report("fetch_further_photographs.py", str(reason))
        failed = True
    there = sum(entry.file(args.output).is_file() for entry in entries)
    print(f"{args.output}: {there} of {len(entries)} files")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
