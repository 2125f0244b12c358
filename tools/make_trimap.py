"""Generates trimaps from masks, cut-outs, a rectangle or scribbles.

    python tools/make_trimap.py masks --width medium --output trimaps
    python tools/make_trimap.py masks --erode 2% --dilate 20 --hair --image-dir photos --overlay check
    python tools/make_trimap.py photo.jpg --rectangle auto
    python tools/make_trimap.py photo.jpg --rectangle 10%,5%,90%,100% --hair --overlay check
    python tools/make_trimap.py photo.jpg --scribbles strokes.png

The source is a file or a folder: masks (black background, white foreground, grey between), images with an alpha channel
or, with --rectangle or --scribbles, one photo. The trimap is written to OUTPUT/NAME.png: 0 background, 128 unknown, 255
foreground. With --rectangle, the network and the subject's outline as found without it have to agree.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError, find_partner, list_images, read_alpha, read_grey, read_image
from matting.mark_options import add_mark_arguments, propose_for
from matting.options import add_device_argument, add_network_arguments, build_predictor, chosen_network
from matting.proposals import HAIR_REACH
from matting.trimaps import band_width, overlay, subject_size, trimap_from_mask, widen_at_hair
from utils.arguments import any_path
from utils.device import is_out_of_memory, usable_device
from utils.errors import printable
from utils.file_writing import write_png
from utils.preprocessing import size_text
from utils.program import announce, program
from utils.progress_bar import ProgressBar

if TYPE_CHECKING:
    from matting.predictor import Matting

PHOTO_SHARE = 0.5  # of unknown pixels, from which a picture may be no mask


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


def trimap_from_source(path: Path, image: np.ndarray | None, args: argparse.Namespace) -> np.ndarray:
    """The trimap (H, W) uint8 of a mask or of an image with alpha.

    Args:
        image: the photo, (H, W, 3) uint8 RGB; needed for --hair.
    """
    mask = read_mask(path)
    if image is not None and image.shape[:2] != mask.shape:
        raise ImageFileError(f"{path}: the mask is {size_text(mask)}, but its image is {size_text(image)}")
    band = band_width(mask, args.width)
    erode, dilate = (given.pixels(mask) if given else band for given in (args.erode, args.dilate))
    trimap = trimap_from_mask(mask, erode, dilate)
    return widen_at_hair(trimap, image, HAIR_REACH * max(1, dilate)) if args.hair else trimap


def remarks_on_mask(trimap: np.ndarray) -> list[str]:
    """What is suspicious about the trimap (H, W) uint8 of a mask."""
    unknown = float((trimap == 128).mean())
    if unknown > PHOTO_SHARE:
        return [f"{unknown:.0%} of it is unknown; if it is a photo and no mask, add --rectangle auto."]
    return [] if (trimap == 255).any() else ["No foreground is left; reduce --erode."]


def write_trimap(path: Path, sources: list[Path], images: list[Path], args: argparse.Namespace,
                 matting: Matting | None) -> str:
    """Writes the trimap of a source, and its overlay if requested; returns a line of summary, and remarks.

    Args:
        sources: all sources; of those with the same stem only the first is processed.
        images: the photos of `args.image_dir`, if given.
        matting: the network, for --rectangle.

    Raises:
        ImageFileError: if the trimap cannot be computed or written.
    """
    first = next(other for other in sources if other.stem == path.stem)
    if path != first:
        raise ImageFileError(f"{path}: would overwrite the trimap of {first.name}; rename one")
    image, remarks = None, []
    if is_marked(args) or args.hair or args.overlay:
        image = read_image(find_partner(path, images, "image", args.image_dir) if args.image_dir else path)
    try:
        if is_marked(args):
            trimap, remarks = propose_for(path, image, args, matting)
        else:
            trimap = trimap_from_source(path, image, args)
            remarks = remarks_on_mask(trimap)
    except (MemoryError, RuntimeError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageFileError(f"{path}: not enough memory for its trimap") from None
    try:
        write_png(args.output / f"{path.stem}.png", trimap)
        if args.overlay:
            write_png(args.overlay / f"{path.stem}.png", overlay(image, trimap))
    except OSError as error:
        raise ImageFileError(f"{path}: its trimap cannot be written ({error})") from None
    line = f"{printable(path.name)}: {size_text(trimap)}, {(trimap == 128).mean():.1%} unknown"
    return "\n".join([line, *(f"  check: {remark}" for remark in remarks)])


def is_marked(args: argparse.Namespace) -> bool:
    """Whether sources are photos, with a mark."""
    return bool(args.rectangle or args.scribbles)


def check(args: argparse.Namespace) -> None:
    """Raises ImageFileError if options conflict, or results would overwrite given files."""
    if args.scribbles and args.source.is_dir():
        raise ImageFileError(f"{args.source}: is a folder; --scribbles needs a single photo")
    if is_marked(args) and (args.erode or args.dilate):
        raise ImageFileError(f"{args.source}: --erode and --dilate are for masks; choose a --width")
    if args.hair and not is_marked(args) and not args.image_dir:
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
    add_mark_arguments(parser)
    parser.add_argument("--erode", type=length, metavar="LENGTH",
                        help="band width inside the outline instead: pixels such as 10, or a share such as 2%% of the "
                             "longer side of the subject's bounding box")
    parser.add_argument("--dilate", type=length, metavar="LENGTH", help="band width outside the outline, likewise")
    parser.add_argument("--image-dir", type=any_path, metavar="DIR", help="folder of photos, named like the masks")
    parser.add_argument("--overlay", type=any_path, metavar="DIR",
                        help="folder for images to check: subject tinted green, unknown yellow, background red")
    add_network_arguments(parser)
    add_device_argument(parser)
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    failures = 0
    check(args)
    sources = list_images(args.source) if args.source.is_dir() else [args.source]
    images = list_images(args.image_dir) if args.image_dir else []
    announce("make_trimap.py", f"sources of trimaps: {len(sources)}: {args.source}")
    matting = build_predictor(*chosen_network(args), usable_device(args.device)) if args.rectangle else None
    with ProgressBar(len(sources), "making trimaps", unit="trimap") as bar:
        for path in sources:
            try:
                bar.write(write_trimap(path, sources, images, args, matting))
            except ImageFileError as error:
                bar.write(f"failed: {error}", file=sys.stderr)
                failures += 1
            bar.update()
    print(f"{len(sources) - failures} of {len(sources)} trimaps: {args.output}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
