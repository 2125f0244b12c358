"""Generates trimaps from masks, cut-outs, a rectangle or scribbles.

    python tools/make_trimap.py masks --width medium --output trimaps
    python tools/make_trimap.py masks --erode 2% --dilate 20 --hair --image-dir photos --overlay check
    python tools/make_trimap.py photo.jpg --rectangle 120,40,900,1000
    python tools/make_trimap.py photo.jpg --scribbles strokes.png

The source is a file or a folder: masks (black background, white foreground, grey between), images with an alpha channel
or, with --rectangle or --scribbles, one photo. The trimap is written to OUTPUT/NAME.png: 0 background, 128 unknown, 255
foreground.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError, find_partner, list_images, read_alpha, read_grey, read_image
from matting.trimaps import (
    WIDTHS,
    band_width,
    mask_from_rectangle,
    mask_from_scribbles,
    overlay,
    subject_size,
    trimap_from_mask,
    widen_at_hair,
)
from utils.arguments import any_path
from utils.errors import one_line, printable
from utils.file_writing import write_png
from utils.preprocessing import size_text
from utils.program import program

HAIR_REACH = 3  # multiple of the band's outer half


class Length(NamedTuple):
    """A length in pixels, or as a share of the subject's size."""

    value: float
    is_share: bool

    def pixels(self, mask: np.ndarray) -> float:
        return self.value * subject_size(mask) if self.is_share else self.value


def length(text: str) -> Length:
    """Argument type: pixels such as 10, or a share of the subject's size such as 2%."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", text.strip())
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length; expected pixels such as 10, or a share such as 2%")
    return Length(float(match[1]) / 100, True) if match[2] else Length(float(match[1]), False)


def rectangle(text: str) -> tuple[int, ...]:
    """Argument type: four integers, the corners of a rectangle."""
    if not re.fullmatch(r"\d+(,\d+){3}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a rectangle; expected LEFT,TOP,RIGHT,BOTTOM in pixels")
    return tuple(map(int, text.split(",")))


def read_mask(path: Path) -> np.ndarray:
    """Reads a mask (H, W) uint8: the alpha channel, or grey values if there is none or it is opaque.

    Raises:
        ImageFileError: if the file cannot be read, or contains no subject.
    """
    mask = read_alpha(path)
    if mask is None:
        mask = read_grey(path)
    if mask.max() < 128:
        raise ImageFileError(f"{path}: no subject: its brightest value is {mask.max()}; "
                             "expected a mask with 0 for background and 255 for foreground")
    return mask


def read_scribbles(path: Path) -> np.ndarray:
    """White and black strokes on a grey or transparent background, (H, W) uint8, for `mask_from_scribbles`."""
    scribbles, alpha = read_grey(path), read_alpha(path)
    if alpha is not None:
        scribbles[alpha < 128] = 128
    return scribbles


def find_mask(path: Path, args: argparse.Namespace) -> np.ndarray:
    """The mask (H, W) uint8 of a source, from a mask file, a rectangle or scribbles.

    Raises:
        ImageFileError: if a file cannot be read, or no subject is found.
    """
    try:
        if args.rectangle:
            mask = mask_from_rectangle(read_image(path), args.rectangle)
        elif args.scribbles:
            mask = mask_from_scribbles(read_image(path), read_scribbles(args.scribbles))
        else:
            return read_mask(path)
    except ImageFileError:
        raise
    except (ValueError, cv2.error) as error:
        raise ImageFileError(f"{path}: {one_line(error)}") from None
    if not mask.any():
        raise ImageFileError(f"{path}: no subject found; mark more of it, or use a mask")
    return mask


def write_trimap(path: Path, sources: list[Path], images: list[Path], args: argparse.Namespace) -> str:
    """Writes the trimap of a source, and its overlay if requested; returns a line of summary.

    Args:
        sources: all sources; of those with the same stem only the first is processed.
        images: the photos of `args.image_dir`, if given.

    Raises:
        ImageFileError: if the trimap cannot be computed or written.
    """
    first = next(other for other in sources if other.stem == path.stem)
    if path != first:
        raise ImageFileError(f"{path}: would overwrite the trimap of {first.name}; rename one")
    mask = find_mask(path, args)
    band = band_width(mask, args.width)
    erode, dilate = (given.pixels(mask) if given else band for given in (args.erode, args.dilate))
    trimap = trimap_from_mask(mask, erode, dilate)
    image = None
    if args.hair or args.overlay:
        image = read_image(find_partner(path, images, "image", args.image_dir) if args.image_dir else path)
        if image.shape[:2] != mask.shape:
            raise ImageFileError(f"{path}: the mask is {size_text(mask)}, but its image is {size_text(image)}")
    if args.hair:
        trimap = widen_at_hair(trimap, image, HAIR_REACH * max(1, dilate))
    try:
        write_png(args.output / f"{path.stem}.png", trimap)
        if args.overlay:
            write_png(args.overlay / f"{path.stem}.png", overlay(image, trimap))
    except OSError as error:
        raise ImageFileError(f"{path}: its trimap cannot be written ({error})") from None
    remark = "" if (trimap == 255).any() else " (no foreground left; reduce --erode)"
    return f"{printable(path.name)}: {size_text(trimap)}, {(trimap == 128).mean():.1%} unknown{remark}"


def check(args: argparse.Namespace) -> None:
    """Raises ImageFileError if options conflict, or results would overwrite given files."""
    marked = args.rectangle or args.scribbles
    if marked and args.source.is_dir():
        raise ImageFileError(f"{args.source}: is a folder; --rectangle and --scribbles need a single photo")
    if args.hair and not marked and not args.image_dir:
        raise ImageFileError(f"{args.source}: --hair needs the photos; give their folder with --image-dir")
    folder = args.source if args.source.is_dir() else args.source.parent
    taken = {given.resolve() for given in (folder, args.image_dir) if given}
    for target in filter(None, (args.output, args.overlay)):
        if target.resolve() in taken:
            raise ImageFileError(f"{target}: already an input or output folder; results would overwrite files")
        taken.add(target.resolve())
        if args.scribbles and args.scribbles.resolve() == (target / f"{args.source.stem}.png").resolve():
            raise ImageFileError(f"{args.scribbles}: would be overwritten; choose another folder than {target}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Generate trimaps from masks, cut-outs, a rectangle or scribbles.")
    parser.add_argument("source", type=any_path, help="a mask or image with alpha, a folder of these, or a photo")
    parser.add_argument("--output", type=any_path, metavar="DIR", default=Path("trimaps"),
                        help="output folder (default: %(default)s)")
    marks = parser.add_mutually_exclusive_group()
    marks.add_argument("--rectangle", type=rectangle, metavar="LEFT,TOP,RIGHT,BOTTOM",
                       help="the source is a photo with its subject inside this rectangle, in pixels")
    marks.add_argument("--scribbles", type=any_path, metavar="FILE",
                       help="the source is a photo, and this image of the same size marks foreground with white "
                            "strokes and background with black ones; the rest is grey or transparent")
    parser.add_argument("--width", choices=WIDTHS, default="medium",
                        help="width of the unknown band, as in alphamatting.com's trimaps: 1, 1.4 or 2 %% of the "
                             "image's longer side on each side of the outline (default: %(default)s)")
    parser.add_argument("--erode", type=length, metavar="LENGTH",
                        help="band width inside the outline instead: pixels such as 10, or a share such as 2%% of the "
                             "longer side of the subject's bounding box")
    parser.add_argument("--dilate", type=length, metavar="LENGTH", help="band width outside the outline, likewise")
    parser.add_argument("--hair", action="store_true",
                        help=f"widen the band to {HAIR_REACH} times --dilate where the outline looks like hair")
    parser.add_argument("--image-dir", type=any_path, metavar="DIR", help="folder of photos, named like the masks")
    parser.add_argument("--overlay", type=any_path, metavar="DIR",
                        help="folder for images to check: unknown in yellow, background darkened")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    failures = 0
    check(args)
    sources = list_images(args.source) if args.source.is_dir() else [args.source]
    images = list_images(args.image_dir) if args.image_dir else []
    for path in (bar := tqdm(sources, unit="trimap", disable=None)):
        try:
            bar.write(write_trimap(path, sources, images, args))
        except ImageFileError as error:
            bar.write(f"failed: {error}", file=sys.stderr)
            failures += 1
    print(f"{len(sources) - failures} of {len(sources)} trimaps: {args.output}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
