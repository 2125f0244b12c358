"""Composites the merged images of Composition-1K, pixel-identical to those of the data set's own program.

    python tools/composite_test_set.py --fg-dir FG --alpha-dir ALPHA --bg-dir VOC2012/JPEGImages --output MERGED \\
        --fg-names test_fg_names.txt --bg-names test_bg_names.txt

Other test sets, of one's own RGBA cut-outs, their alphas named like the merged images:

    python tools/composite_test_set.py --fg-dir CUTOUTS --bg-dir BACKGROUNDS --output MERGED --alpha-output ALPHAS \\
        --backgrounds-per-foreground 5

The data set's name files assign backgrounds to foregrounds: foreground NAME with index i (from 0) is composited onto
backgrounds 20 i to 20 i + 19 as NAME_0.png ... NAME_19.png. Run again after an interruption, the same command writes
only the missing images.
"""

import argparse
import os
import sys
from collections import Counter
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.composition_1k import enlarge_to_cover, merge_colours, read_rgb
from dataloader.image_file import ImageFileError, find_partner, list_images, read_alpha, read_rgba
from utils.arguments import any_path, positive_int
from utils.file_writing import write_png
from utils.processes import process_pool
from utils.program import announce, program
from utils.progress_bar import in_steps

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


class Merge(NamedTuple):
    """The input files and the output files of one merged image."""

    foreground: Path
    alpha: Path | None  # None: the alpha channel of `foreground`
    background: Path
    output: Path
    alpha_output: Path | None  # a copy of its alpha, if wanted


@lru_cache(maxsize=1)
def read_layers(foreground: Path, alpha: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Colours (H, W, 3) and alpha (H, W) of a foreground, uint8; cached for its next background.

    Raises:
        ImageFileError: if a file cannot be read, the sizes differ, or there is no alpha.
    """
    if alpha is None:
        if read_alpha(foreground) is None:
            raise ImageFileError(f"{foreground}: nothing in it is transparent; expected a cut-out with an alpha "
                                 "channel, or --alpha-dir")
        pixels = read_rgba(foreground)
        return np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3])
    colours = read_rgb(foreground)
    # Some of the data set's mattes repeat the same values in three channels.
    matte = read_rgb(alpha).getchannel(0)
    if matte.size != colours.size:
        raise ImageFileError(f"{alpha}: {matte.width} x {matte.height} pixels, but its foreground {foreground} "
                             f"has {colours.width} x {colours.height}")
    return np.asarray(colours), np.asarray(matte)


def merge_files(merge: Merge) -> None:
    """Composites one image.

    Raises:
        ImageFileError: if a file cannot be read, the sizes differ, or the image cannot be written.
    """
    colours, matte = read_layers(merge.foreground, merge.alpha)
    height, width = matte.shape
    background = enlarge_to_cover(read_rgb(merge.background), width, height)
    try:
        if merge.alpha_output is not None:
            write_png(merge.alpha_output, matte)
        write_png(merge.output, merge_colours(colours, np.asarray(background), matte))
    except OSError as error:
        # Names the folder, so that a full disk is reported once for all images.
        folder = Path(error.filename or merge.output).parent
        raise ImageFileError(f"{folder}: cannot be written to ({error.strerror or error})") from None


def named_files(folder: Path, names_file: Path | None) -> list[Path]:
    """The files of `folder` in the order of `names_file` (one name per line), or all its images sorted by name.

    Raises:
        ImageFileError: if the folder or the names file is missing or empty.
    """
    images = list_images(folder)
    if names_file is None:
        return images
    try:
        names = names_file.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ImageFileError(f"{names_file}: {error.strerror.lower()}") from None
    except UnicodeDecodeError:
        raise ImageFileError(f"{names_file}: not a text file in UTF-8") from None
    files = [folder / name.strip() for name in names if name.strip()]
    if not files:
        raise ImageFileError(f"{names_file}: no names in this file; expected one per line")
    return files


def plan(foregrounds: list[Path], backgrounds: list[Path],
         args: argparse.Namespace) -> tuple[list[Merge], dict[str, str]]:
    """Assigns backgrounds to foregrounds.

    Returns:
        The images to composite, and file name -> reason for each that cannot be.

    Raises:
        ImageFileError: if the folder of alphas is missing or empty, or two foregrounds have the same name.
    """
    stem, uses = Counter(path.stem for path in foregrounds).most_common(1)[0]
    if uses > 1:
        raise ImageFileError(f"{uses} foregrounds are named {stem}; their merged images would overwrite each other")
    alphas, per_foreground = list_images(args.alpha_dir) if args.alpha_dir else [], args.backgrounds_per_foreground
    merges, failed = [], {}
    for index, foreground in enumerate(foregrounds):
        first = index * per_foreground
        outputs = [args.output / f"{foreground.stem}_{number}.png" for number in range(per_foreground)]
        own = backgrounds[first:first + per_foreground]
        for path in outputs[len(own):]:
            failed[path.name] = (f"{foreground}: too few backgrounds: numbers {first} to {first + per_foreground - 1} "
                                 f"are needed, but there are only {len(backgrounds)}")
        try:
            alpha = find_partner(foreground, alphas, "alpha", args.alpha_dir) if args.alpha_dir else None
        except ImageFileError as error:
            failed |= {path.name: str(error) for path in outputs}
        else:
            merges += [Merge(foreground, alpha, background, path, args.alpha_output and args.alpha_output / path.name)
                       for background, path in zip(own, outputs, strict=False)]
    return merges, failed


def is_complete(path: Path | None) -> bool:
    """Whether a PNG file exists and ends with its last chunk; so is one that is not wanted, None."""
    if path is None:
        return True
    with suppress(OSError), path.open("rb") as file:
        file.seek(-len(PNG_END), os.SEEK_END)
        return file.read() == PNG_END
    return False


def merge_all(merges: list[Merge], processes: int) -> dict[str, str]:
    """Composites the images in parallel.

    Returns:
        File name -> reason for each that failed.
    """
    failed = {}
    with process_pool(processes) as pool:
        tasks = {merge.output.name: pool.submit(merge_files, merge) for merge in merges}
        for name, task in in_steps(tasks.items(), len(tasks), "merging"):
            try:
                task.result()
            except ImageFileError as error:
                failed[name] = str(error)
    return failed


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Composite the merged images of Composition-1K, or of "
                                                 "another test set.")
    parser.add_argument("--fg-dir", type=any_path, required=True, help="folder of foregrounds")
    parser.add_argument("--alpha-dir", type=any_path,
                        help="folder of alphas, named like the foregrounds (default: the foregrounds' alpha channels)")
    parser.add_argument("--bg-dir", type=any_path, required=True, help="folder of backgrounds")
    parser.add_argument("--output", type=any_path, required=True, help="folder for the merged images")
    parser.add_argument("--alpha-output", type=any_path, metavar="DIR",
                        help="folder for alphas, named like the merged images")
    parser.add_argument("--fg-names", type=any_path, metavar="FILE",
                        help="text file of foreground names, one per line (default: all of --fg-dir, sorted)")
    parser.add_argument("--bg-names", type=any_path, metavar="FILE",
                        help="text file of background names, one per line (default: all of --bg-dir, sorted)")
    parser.add_argument("--backgrounds-per-foreground", type=positive_int, default=20, metavar="N",
                        help="images per foreground (default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="rewrite images that already exist")
    parser.add_argument("--processes", type=positive_int, default=os.cpu_count(),
                        help="number of parallel processes (default: %(default)s)")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    announce("composite_test_set.py", f"foregrounds in {args.fg_dir}, backgrounds in {args.bg_dir}")
    foregrounds = named_files(args.fg_dir, args.fg_names)
    backgrounds = named_files(args.bg_dir, args.bg_names)
    needed = len(foregrounds) * args.backgrounds_per_foreground
    if len(backgrounds) > needed:
        print(f"note: {args.bg_names or args.bg_dir} has {len(backgrounds)} backgrounds; the first {needed} are used",
              file=sys.stderr)
    merges, failed = plan(foregrounds, backgrounds, args)
    missing = [merge for merge in merges
               if args.overwrite or not (is_complete(merge.output) and is_complete(merge.alpha_output))]
    refused = merge_all(missing, args.processes)
    failed |= refused
    for reason, images in Counter(failed.values()).items():
        print(f"failed: {reason} [{images} image{'s' if images > 1 else ''}]", file=sys.stderr)
    print(f"{args.output}: {len(missing) - len(refused)} merged images written, "
          f"{len(merges) - len(missing)} already there, {len(failed)} failed")
    return 1 if failed else 0


@program
def main() -> int:
    return run(parse_arguments())


if __name__ == "__main__":
    sys.exit(main())
