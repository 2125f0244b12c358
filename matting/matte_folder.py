"""Mattes a folder of images: reading, computing and writing overlap, and a failure costs only its image."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from dataloader.image_file import (
    IMAGE_EXTENSIONS,
    ImageFileError,
    Photo,
    by_stem,
    find_partner,
    list_images,
    other_files,
    read_grey,
    read_image,
    read_photo,
)
from matting.cutout import refined_alpha
from matting.cutout_files import NO_CUTOUT_FILES, CutoutFiles, write_cutout_files
from utils.batching import batches_of_equal
from utils.device import batch_or_one_by_one, is_out_of_memory
from utils.distributed import ALONE, World
from utils.errors import one_line, printable
from utils.file_writing import check_writable, write_png
from utils.preprocessing import Matte, alpha_to_uint8, size_text, trimap_labels, unknown_share
from utils.processes import in_advance
from utils.progress_bar import ProgressBar, batch_name

if TYPE_CHECKING:  # the ONNX demo runs without PyTorch
    from matting.coarse_to_fine import CoarseToFine
    from matting.ensemble import Ensemble
    from matting.onnx_predictor import OnnxMatting
    from matting.predictor import Matting

    Predictor = Matting | OnnxMatting | CoarseToFine | Ensemble

LARGE = 4_000_000  # pixels of an image that is announced where no bar is shown
NEAR_REMARK = ", near attention (--attention exact: slower)"  # in the line of an image
OFFSET_SUFFIXES = {"_offset1": "an offset picture", "_offset2": "an offset picture"}

# Errors are passed along in place of their image and reported in order.


class Job(NamedTuple):
    """An image to matte."""

    path: Path
    image: np.ndarray  # (H, W, 3) uint8 RGB
    trimap: np.ndarray  # (H, W) uint8
    unknown_share: float  # of the trimap
    photo: Photo | None  # if cut-outs are wanted


class MatteResult(NamedTuple):
    """An image and its matte."""

    job: Job
    matte: Matte
    seconds: float
    attention: str  # "exact" or "near"


def matte_folder(matting: Predictor, image_dir: Path, trimap_dir: Path, output: Path, batch_size: int = 1,
                 world: World = ALONE, extra: CutoutFiles = NO_CUTOUT_FILES, refine: bool = False) -> tuple[int, int]:
    """Mattes this process's share of a folder's images and reports on each.

    Reading, computing and writing overlap; a failure costs only its image.

    Args:
        batch_size: most images of one size that are computed at once.
        extra: the cut-outs and composites to write as well.
        refine: write mattes as `matting.cutout.refined_alpha` refines them, which needs PyMatting.

    Returns:
        The number of mattes written, and of images in this process's share.

    Raises:
        ImageFileError: if a folder is missing or has no images.
        OSError: if the output folder cannot be written to.
    """
    images, trimaps = list_images(image_dir), by_stem(list_images(trimap_dir))
    check_writable(output)
    share = images[world.rank::world.size]
    read = partial(read_job, trimaps=trimaps, trimap_dir=trimap_dir, with_photo=bool(extra.suffixes),
                   clashes=output_clashes(images, OFFSET_SUFFIXES | extra.suffixes))
    bar = ProgressBar(len(share), "matting", shown=world.is_main)
    outcomes, written = SimpleQueue(), 0

    def write(result: MatteResult | ImageFileError) -> None:
        outcomes.put(write_result(result, output, extra, refine))

    def tell() -> None:
        """Prints lines about what has been written; also while the next image is computed, which may take minutes."""
        nonlocal written
        while not outcomes.empty():
            outcome = outcomes.get()
            failed = isinstance(outcome, ImageFileError)
            bar.write(f"failed: {outcome}" if failed else outcome, file=sys.stderr if failed else sys.stdout)
            bar.update()
            written += not failed

    for path in other_files(image_dir) if world.is_main else ():
        bar.write(f"skipped: {printable(str(path))}: not one of {', '.join(IMAGE_EXTENSIONS)}", file=sys.stderr)
    with bar, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        jobs = in_advance(reader, read, share, ahead=batch_size + 1)
        results = (result for batch in batches_of_equal(jobs, image_size, batch_size)
                   for result in predict_jobs(matting, batch, bar, tell))
        for _ in in_advance(writer, write, results, ahead=1):
            tell()
    return written, len(share)


def output_clashes(images: list[Path], suffixes: dict[str, str]) -> dict[Path, str]:
    """The images whose output files would overwrite another image's, with the reason.

    Args:
        suffixes: endings of additional output files, and what they are called in messages.
    """
    stems = by_stem(images)
    clashes = {path: f"the matte of {paths[0].name}" for paths in stems.values() for path in paths[1:]}
    for stem, paths in stems.items():
        for suffix, kind in suffixes.items():
            for path in stems.get(stem + suffix, ()):
                clashes.setdefault(path, f"{kind} of {paths[0].name}")
    return clashes


def read_job(path: Path, trimaps: dict[str, list[Path]], trimap_dir: Path, clashes: dict[Path, str],
             with_photo: bool) -> Job | ImageFileError:
    """Reads an image and its trimap; rejected if its output names clash with another image's."""
    try:
        if path in clashes:
            return ImageFileError(f"{path}: would be written over {clashes[path]}; rename one")
        trimap_path = find_partner(path, trimaps.get(path.stem, []), "trimap", trimap_dir)
        photo = read_photo(path) if with_photo else None
        image, trimap = photo.image if photo else read_image(path), read_grey(trimap_path)
        job = Job(path, image, trimap, unknown_share(trimap_labels(trimap)), photo)
        check_pair(image, trimap, path, trimap_path)
    except ImageFileError as error:
        return error
    return job


def check_pair(image: np.ndarray, trimap: np.ndarray, path: Path, trimap_path: Path) -> None:
    """Raises ImageFileError if an image (H, W, 3) and a trimap (H, W), read from these files, do not fit."""
    size, trimap_size = image.shape[:2], trimap.shape
    if size != trimap_size:
        turned = " (the image after the rotation its EXIF data asks for)" if size == trimap_size[::-1] else ""
        raise ImageFileError(f"{trimap_path}: the trimap is {size_text(trimap)}, "
                             f"but {path.name} is {size_text(image)}{turned}")
    brightest = trimap.max()
    if 0 < brightest < 85:
        raise ImageFileError(f"{trimap_path}: not a trimap: its brightest value is {brightest}; "
                             "expected about 0 (background), 128 (unknown) and 255 (foreground)")


def image_size(job: Job | ImageFileError) -> tuple[int, int] | None:
    """Height and width; None for an error."""
    return job.trimap.shape if isinstance(job, Job) else None


def predict_jobs(matting: Predictor, jobs: list[Job | ImageFileError], bar: ProgressBar,
                 meanwhile: Callable[[], object] = lambda: None) -> Iterator[MatteResult | ImageFileError]:
    """The mattes of images of one size; an error for one that does not fit into memory or gets no finite matte.

    Args:
        meanwhile: called whenever some tiles have been computed.
    """
    if isinstance(jobs[0], ImageFileError):
        yield from jobs
        return
    start, name = time.perf_counter(), batch_name([job.path.name for job in jobs])
    if jobs[0].trimap.size * len(jobs) >= LARGE:
        bar.note(f"{name}: {size_text(jobs[0].image)}, begun")

    def report(done: int, total: int) -> None:
        meanwhile()
        bar.within(name, done, total)

    predict = partial(matting.predict_batch, report=report)
    try:
        mattes = batch_or_one_by_one(predict, [(job.image, job.trimap) for job in jobs])
    except cv2.error as error:  # such as for more than 32767 pixels on a side that are to be rescaled
        yield from (ImageFileError(f"{job.path}: its matte cannot be computed ({one_line(error)})") for job in jobs)
        return
    seconds = (time.perf_counter() - start) / len(jobs)
    for job, matte in zip(jobs, mattes, strict=True):
        if matte is None:
            yield ImageFileError(f"{job.path}: not enough memory on {matting.device} for {size_text(job.image)} pixels")
        elif not np.isfinite(matte.alpha).all():
            cause = "try --precision fp32" if matting.precision in ("bf16", "fp16") else "its weights may be damaged"
            yield ImageFileError(f"{job.path}: the network's output contains NaN or Inf; {cause}")
        else:
            yield MatteResult(job, matte, seconds, matting.attention_for(*job.trimap.shape))


def write_result(result: MatteResult | ImageFileError, folder: Path, extra: CutoutFiles,
                 refine: bool = False) -> str | ImageFileError:
    """Writes an image's output files; returns a line about it. Cut-outs are of the matte as it is without `refine`."""
    if isinstance(result, ImageFileError):
        return result
    (path, image, _, share, photo), matte, seconds, attention = result
    stem = folder / path.stem
    try:
        levels = alpha_to_uint8(refined_alpha(image, matte.alpha) if refine else matte.alpha)
        write_offsets(stem, matte)  # once nothing can fail any more but writing
        write_png(f"{stem}.png", levels)
        if photo:
            write_cutout_files(stem, photo, matte.alpha, extra)
    except OSError as error:
        return ImageFileError(f"{path}: its output cannot be written ({error})")
    except (MemoryError, ValueError, cv2.error) as error:
        if is_out_of_memory(error):
            return ImageFileError(f"{path}: not enough memory for the output of {size_text(image)} pixels")
        return ImageFileError(f"{path}: its output cannot be computed ({one_line(error)})")
    remark = NEAR_REMARK * (attention == "near") if share else " (the trimap decides every pixel)"
    return f"{printable(path.name)}: {size_text(image)}, {share:.1%} unknown, {seconds:.2f} s{remark}"


def write_offsets(stem: Path, matte: Matte) -> None:
    """Writes STEM_offset1.png, ... of a network with attention."""
    for i, (offset, scale) in enumerate(zip(matte.offsets, matte.scales, strict=True), start=1):
        from utils.visualisation import offset_picture  # needs torchvision

        write_png(f"{stem}_offset{i}.png", offset_picture(offset, scale))
