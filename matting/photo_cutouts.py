"""From a photo alone to its cut-out: proposal, matte, files."""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dataloader.image_file import ImageFileError, find_partner, read_grey, read_photo
from matting.cutout_files import CutoutFiles, write_cutout_files
from matting.mark_options import propose_for
from matting.matte_folder import NEAR_REMARK, check_pair
from matting.proposals import Proposal
from matting.trimaps import overlay
from utils.device import is_out_of_memory
from utils.errors import one_line, printable
from utils.file_writing import write_png
from utils.preprocessing import alpha_to_uint8, size_text, trimap_grey, trimap_labels

if TYPE_CHECKING:
    from matting.predictor import Matting
    from utils.progress_bar import ProgressBar

LAST_EARLIER = 999  # trimaps kept for a photo
SUFFIXES = ("_cutout", "_composite", "_matte", "_trimap", "_check")  # of the files, before .png


def cut_out_photo(path: Path, matting: Matting, wanted: CutoutFiles, args: argparse.Namespace,
                  trimaps: list[Path] | None, bar: ProgressBar) -> str:
    """Writes the files of a photo; returns a line of summary, and remarks.

    Args:
        wanted: composite and method of the colours.
        args: `output`, `trimap`, and the options of `matting.mark_options`.
        trimaps: the files of the folder `args.trimap`; None if it is a file, or not given.

    Raises:
        ImageFileError: if the photo cannot be read or cut out, or a file cannot be written.
    """
    start, photo = time.perf_counter(), read_photo(path)
    image, size, name = photo.image, size_text(photo.image), printable(path.name)
    bar.note(f"{name}: {size}, begun")
    try:
        if args.trimap:
            given = args.trimap if trimaps is None else find_partner(path, trimaps, "trimap", args.trimap)
            proposal = Proposal(read_trimap(given, image, path), [])
        else:
            proposal = propose_for(path, image, args, matting, lambda _, text: bar.step(f"{name}: {text.lower()}"))
            given = None
        alpha = matting.predict(image, proposal.trimap, partial(bar.within, name)).alpha
        if not np.isfinite(alpha).all():
            raise ImageFileError(f"{path}: the network's output contains NaN or Inf; its weights may be damaged")
        stem = args.output / path.stem
        pictures = {"_trimap": proposal.trimap, "_check": overlay(image, proposal.trimap),
                    "_matte": alpha_to_uint8(alpha)}
        kept = keep_earlier(Path(f"{stem}_trimap.png"), proposal.trimap, given)
        for suffix, picture in pictures.items():
            target = Path(f"{stem}{suffix}.png")
            if given is None or target.resolve() != given.resolve():  # what the user painted stays as it is
                write_png(target, picture)
        bar.step(f"{name}: estimating the subject's colours")
        write_cutout_files(stem, photo, alpha, wanted)
    except OSError as error:
        raise ImageFileError(f"{path}: its output cannot be written ({error})") from None
    except ImageFileError:
        raise
    except (MemoryError, RuntimeError, ValueError, cv2.error) as error:
        if is_out_of_memory(error):
            raise ImageFileError(f"{path}: not enough memory for {size} pixels") from None
        if isinstance(error, RuntimeError):
            raise
        raise ImageFileError(f"{path}: cannot be cut out ({one_line(error)})") from None
    share = float((proposal.trimap == 128).mean())
    line = f"{name}: {size}, {share:.1%} unknown, {time.perf_counter() - start:.1f} s"
    line += NEAR_REMARK * (share > 0 and matting.attention_for(*image.shape[:2]) == "near")
    notes = [f"  the earlier trimap is now {printable(kept.name)}"] if kept else []
    return "\n".join([line, *(f"  check: {remark}" for remark in proposal.remarks), *notes])


def keep_earlier(target: Path, trimap: np.ndarray, given: Path | None) -> Path | None:
    """Renames an earlier trimap that is about to be replaced by another one, which a user may have painted.

    Args:
        given: the user's own trimap, which stays where it is.

    Returns:
        The new path, if there was one.

    Raises:
        ImageFileError: if too many are kept already.
    """
    if not target.is_file() or (given is not None and given.resolve() == target.resolve()):
        return None
    earlier = cv2.imread(str(target), cv2.IMREAD_UNCHANGED)
    if earlier is not None and np.array_equal(earlier, trimap):
        return None
    names = (f"{target.stem}_earlier{number or ''}.png" for number in (0, *range(2, LAST_EARLIER + 1)))
    free = next((path for path in map(target.with_name, names) if not path.exists()), None)
    if free is None:
        raise ImageFileError(f"{target}: {LAST_EARLIER} earlier trimaps are kept beside it; remove some")
    return target.rename(free)


def read_trimap(path: Path, image: np.ndarray, photo: Path) -> np.ndarray:
    """A trimap (H, W) uint8 of 0, 128 and 255 for an image read from `photo`.

    Raises:
        ImageFileError: if it is unreadable, of another size, or no trimap.
    """
    trimap = read_grey(path)
    check_pair(image, trimap, photo, path)
    return trimap_grey(trimap_labels(trimap))
