"""Cuts the subject out of a photo, out of several, or out of all in a folder, in one step.

    python cutout_photo.py photo.jpg
    python cutout_photo.py photos --background blur
    python cutout_photo.py photo.jpg --rectangle 10%,5%,90%,100% --hair
    python cutout_photo.py photo.jpg --trimap cutouts/photo_trimap.png

For each photo NAME.* the folder OUTPUT receives NAME_cutout.png, the subject on a transparent background, and
NAME_composite.png, the subject on another one; and what they were made from: NAME_trimap.png, where black is
background, white subject and grey to be estimated, NAME_check.png, the photo tinted by it (subject green, unknown
yellow, background red), and NAME_matte.png, the opacity of every pixel. If the check is wrong, mark the subject with
--rectangle or --scribbles, or mend the trimap in an image editor and hand it over with --trimap.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dataloader.image_file import ImageFileError, by_stem, list_images
from matting.cutout import DEFAULT_METHOD, check_pymatting
from matting.cutout_files import CutoutFiles, read_background
from matting.mark_options import AUTO, Rectangle, add_mark_arguments
from matting.options import add_matting_arguments, build_predictor, chosen_network, for_large_images
from matting.photo_cutouts import SUFFIXES, cut_out_photo
from utils.arguments import any_path
from utils.device import usable_device
from utils.errors import printable
from utils.file_writing import check_writable
from utils.program import announce, program
from utils.progress_bar import ProgressBar

if TYPE_CHECKING:
    from matting.predictor import Matting

WHITE = "#ffffff"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Cut the subject out of photos in one step.")
    parser.add_argument("sources", type=any_path, nargs="+", metavar="PHOTO", help="a photo, or a folder of photos")
    marks = add_mark_arguments(parser)
    marks.add_argument("--trimap", type=any_path, metavar="FILE",
                       help="take this trimap instead of proposing one; for several photos, a folder of trimaps of "
                            "the same names")
    parser.add_argument("--background", metavar="FILE|#RRGGBB|blur", default=WHITE,
                        help="of the composite: an image (scaled to cover the frame), a colour, or the photo's own "
                             "background blurred (default: white)")
    parser.add_argument("--output", type=any_path, metavar="DIR", default=Path("cutouts"),
                        help="output folder (default: %(default)s)")
    add_matting_arguments(parser)
    return parser.parse_args()


def check(args: argparse.Namespace) -> list[Path]:
    """The photos.

    Raises:
        ImageFileError: if options conflict, results would be written among the photos, or there are none.
    """
    for given in filter(None, (*args.sources, args.scribbles, args.trimap)):
        if not given.exists():
            raise ImageFileError(f"{given}: no such file")
    folders = {(source if source.is_dir() else source.parent).resolve() for source in args.sources}
    if args.output.resolve() in folders:
        raise ImageFileError(f"{args.output}: is the photos' folder; choose another --output")
    photos = [path for source in args.sources for path in (list_images(source) if source.is_dir() else [source])]
    written = {(args.output / f"{path.stem}{suffix}.png").resolve() for path in photos for suffix in SUFFIXES}
    for given in filter(None, (args.scribbles, args.trimap, Path(args.background))):
        if given.resolve() in written and not (given is args.trimap and given.stem.endswith("_trimap")):
            raise ImageFileError(f"{given}: would be overwritten; move it, or choose another --output")
    if photos == args.sources[:1]:
        return photos
    several = f"{args.sources[0]}: is a folder" if len(args.sources) == 1 else f"{len(args.sources)} photos are given"
    if args.scribbles:
        raise ImageFileError(f"{several}; --scribbles needs a single photo")
    if isinstance(args.rectangle, Rectangle) and not all(args.rectangle.shares):
        raise ImageFileError(f"{several}; --rectangle needs shares such as 10%,5%,90%,100%, or {AUTO}")
    if args.trimap and not args.trimap.is_dir():
        raise ImageFileError(f"{args.trimap}: not a folder; expected one with a trimap for each photo")
    return photos


def run(photos: list[Path], matting: Matting, wanted: CutoutFiles, args: argparse.Namespace) -> int:
    """Cuts out the photos and reports on each; returns how many could not be."""
    trimaps = list_images(args.trimap) if args.trimap and args.trimap.is_dir() else None
    first = {paths[0] for paths in by_stem(photos).values()}
    failures = 0
    with ProgressBar(len(photos), "cutting out", unit="photo") as bar:
        for path in photos:
            try:
                if path not in first:
                    raise ImageFileError(f"{path}: another photo has the same name but for the extension; rename one")
                bar.write(cut_out_photo(path, matting, wanted, args, trimaps, bar))
            except ImageFileError as error:
                bar.write(f"failed: {error}", file=sys.stderr)
                failures += 1
            bar.update()
    return failures


@program
def main() -> int:
    args = parse_arguments()
    photos, start = check(args), time.perf_counter()
    announce("cutout_photo.py", f"{len(photos)} photo{'s' * (len(photos) != 1)}: "
                                f"{', '.join(map(str, args.sources[:3]))}{', ...' * (len(args.sources) > 3)}")
    check_pymatting()
    wanted = CutoutFiles(True, read_background(args.background), DEFAULT_METHOD)
    check_writable(args.output)
    config, checkpoint = chosen_network(args)
    matting = build_predictor(config, checkpoint, usable_device(args.device), precision=args.precision,
                              memory_limit=args.memory_limit, attention=args.attention, offsets=False)
    matting = for_large_images(matting, checkpoint, args.coarse_to_fine)
    failures = run(photos, matting, wanted, args)
    kinds = f"/NAME{', NAME'.join(f'{suffix}.png' for suffix in SUFFIXES)}" if failures < len(photos) else ""
    print(f"{len(photos) - failures} of {len(photos)} cut-outs in {time.perf_counter() - start:.1f} s: "
          f"{printable(str(args.output))}{kinds}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
