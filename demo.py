"""Turns a folder of images and a folder of trimaps into alpha mattes.

    python demo.py --config=config/gca-free-light.toml \\
        --checkpoint=checkpoints/gca-free-light/gca-free-light.pth \\
        --image-dir=demo/input_lowres --trimap-dir=demo/trimap_lowres/Trimap3 --output=demo/pred/Trimap3

These are the defaults. For each image NAME.* the folder OUTPUT/<version>_<checkpoint> receives
NAME.png, the alpha matte, and NAME_offset1.png and NAME_offset2.png: where each place of the image
found its nearest likeness, as optical-flow colours. On request (--cutout, --background) also
NAME_cutout.png, the subject as RGBA, and NAME_composite.png, the subject before another background.

    python demo.py --onnx=gca.onnx --image-dir=...

needs no PyTorch, and writes no offset pictures. tools/export_onnx.py makes such files.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from dataloader.image_file import (
    IMAGE_EXTENSIONS,
    ImageFileError,
    find_partner,
    list_images,
    other_files,
    read_grey,
    read_image,
)
from matting.cutout_files import NO_CUTOUT_FILES, CutoutFiles, add_cutout_arguments, cutout_files, write_cutout_files
from matting.ensemble import Ensemble
from matting.onnx_predictor import OnnxMatting
from matting.options import add_matting_arguments, chosen_network
from utils.arguments import positive_float, positive_int
from utils.device import as_memory_allows, is_out_of_memory
from utils.errors import InputError, one_line
from utils.files import write_png
from utils.preprocessing import UNKNOWN, Matte, alpha_to_uint8, size_text, trimap_labels
from utils.processes import in_advance
from utils.world import ALONE, World

if TYPE_CHECKING:  # what needs PyTorch is imported where it is used
    import torch
    from easydict import EasyDict

    from matting.predictor import Matting

    Predictor = Matting | OnnxMatting | Ensemble

RANDOM_WEIGHTS = "random-weights"
OFFSETS = {"_offset1": "an offset picture", "_offset2": "an offset picture"}  # ends of file names, what the files are
ONLY_WITH_PYTORCH = ("config", "set", "device", "precision", "memory_limit", "compile")  # arguments

# An ImageFileError goes through these steps in the place of the image that it concerns, to be reported in its turn.


class Job(NamedTuple):
    """An image to matte."""

    path: Path
    image: np.ndarray  # (H, W, 3) uint8 RGB
    trimap: np.ndarray  # (H, W) uint8


class Result(NamedTuple):
    """An image and its matte."""

    job: Job
    matte: Matte
    seconds: float


def read_job(path: Path, images: list[Path], trimaps: list[Path], trimap_dir: Path,
             kinds: dict[str, str]) -> Job | ImageFileError:
    """One of the `images`, with its trimap; refused where its matte would be a picture of another, of these kinds."""
    try:
        first = next(other for other in images if other.stem == path.stem)
        if path != first:
            return ImageFileError(f"{path}: would be written over the matte of {first.name}; rename one")
        for other in images:
            for suffix, kind in kinds.items():
                if path.stem == other.stem + suffix:
                    return ImageFileError(f"{path}: would be written over {kind} of {other.name}; rename one")
        trimap_path = find_partner(path, trimaps, "trimap", trimap_dir)
        job = Job(path, read_image(path), read_grey(trimap_path))
        check_pair(job, trimap_path)
    except ImageFileError as error:
        return error
    return job


def check_pair(job: Job, trimap_path: Path) -> None:
    """Raises ImageFileError where image and trimap do not fit each other."""
    size, trimap_size = job.image.shape[:2], job.trimap.shape
    if size != trimap_size:
        turned = " (the image after the rotation its EXIF data asks for)" if size == trimap_size[::-1] else ""
        raise ImageFileError(f"{trimap_path}: the trimap is {size_text(job.trimap)}, "
                             f"but {job.path.name} is {size_text(job.image)}{turned}")
    brightest = job.trimap.max()
    if 0 < brightest < 85:
        raise ImageFileError(f"{trimap_path}: no trimap: its brightest value is {brightest}; "
                             "expected about 0 (background), 128 (unknown) and 255 (foreground)")


def grouped(jobs: Iterable[Job | ImageFileError], batch_size: int) -> Iterator[list[Job | ImageFileError]]:
    """Neighbours of one size together, at most `batch_size` of them; errors alone."""
    group = []
    for job in jobs:
        if group and not (len(group) < batch_size and size_of(job) == size_of(group[0]) and isinstance(job, Job)):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def size_of(job: Job | ImageFileError) -> tuple[int, int] | None:
    return job.trimap.shape if isinstance(job, Job) else None


def predict_group(matting: Matting | OnnxMatting, jobs: list[Job | ImageFileError]) -> list[Result | ImageFileError]:
    """The mattes of a group; an error for an image that memory does not suffice for."""
    if isinstance(jobs[0], ImageFileError):
        return jobs
    start = time.perf_counter()
    mattes = as_memory_allows(matting.predict_batch, [(job.image, job.trimap) for job in jobs])
    seconds = (time.perf_counter() - start) / len(jobs)
    return [Result(job, matte, seconds) if matte else
            ImageFileError(f"{job.path}: not enough memory on {matting.device} for {size_text(job.image)} pixels")
            for job, matte in zip(jobs, mattes, strict=True)]


def write_result(result: Result | ImageFileError, folder: Path, extra: CutoutFiles) -> str | ImageFileError:
    """Writes NAME.png, the offset pictures of a network with attention, and what else is wanted; returns a line."""
    if isinstance(result, ImageFileError):
        return result
    (path, image, trimap), matte, seconds = result
    if not np.isfinite(matte.alpha).all():
        return ImageFileError(f"{path}: the network gave no numbers; try --precision fp32")
    try:
        for i, (offset, scale) in enumerate(zip(matte.offsets, matte.scales, strict=True), start=1):
            from utils.pictures import offset_picture

            write_png(folder / f"{path.stem}_offset{i}.png", offset_picture(offset, scale))
        write_png(folder / f"{path.stem}.png", alpha_to_uint8(matte.alpha))
        write_cutout_files(path, matte.alpha, folder, extra)
    except ImageFileError as error:
        return error
    except OSError as error:
        return ImageFileError(f"{path}: its matte cannot be written ({error})")
    except (MemoryError, ValueError, cv2.error) as error:
        if is_out_of_memory(error):
            return ImageFileError(f"{path}: not enough memory for the pictures of {size_text(image)} pixels")
        return ImageFileError(f"{path}: its pictures cannot be made ({one_line(error)})")
    unknown = (trimap_labels(trimap) == UNKNOWN).mean()
    remark = "" if unknown else " (the trimap decides every pixel)"
    return f"{path.name}: {size_text(image)}, {unknown:.1%} unknown, {seconds:.2f} s{remark}"


def matte_folder(matting: Predictor, image_dir: Path, trimap_dir: Path, output: Path, batch_size: int = 1,
                 world: World = ALONE, extra: CutoutFiles = NO_CUTOUT_FILES) -> tuple[int, int]:
    """Mattes this process's share of a folder's images, whatever happens to the others, and reports on each.

    Reading, computing and writing go on at the same time.

    Args:
        batch_size: most images of one size that are computed at once.
        extra: the cut-outs and composites to write as well.

    Returns:
        The number of mattes written, and of images in this process's share.

    Raises:
        ImageFileError: if a folder is missing or without images.
    """
    images, trimaps = list_images(image_dir), list_images(trimap_dir)
    share = images[world.rank::world.size]
    read = partial(read_job, images=images, trimaps=trimaps, trimap_dir=trimap_dir, kinds=OFFSETS | extra.kinds)
    write = partial(write_result, folder=output, extra=extra)
    bar = tqdm(total=len(share), unit="image", disable=None if world.is_main else True)
    for path in other_files(image_dir) if world.is_main else ():
        bar.write(f"skipped: {path}: not one of {', '.join(IMAGE_EXTENSIONS)}", file=sys.stderr)
    written = 0
    with bar, ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        jobs = in_advance(reader, read, share, ahead=batch_size + 1)
        results = (result for group in grouped(jobs, batch_size) for result in predict_group(matting, group))
        for outcome in in_advance(writer, write, results, ahead=1):
            failed = isinstance(outcome, ImageFileError)
            bar.write(f"failed: {outcome}" if failed else outcome, file=sys.stderr if failed else sys.stdout)
            bar.update()
            written += not failed
    return written, len(share)


def build_matting(config: EasyDict, checkpoint: Path | None, device: torch.device | None, **options) -> Matting:
    """The predictor of a configuration, with a checkpoint's weights or (None) random ones; options as it takes them."""
    import torch

    from matting.predictor import Matting
    from networks import build_network
    from utils.checkpoint import load_network
    from utils.config import architecture

    if checkpoint is not None:
        return Matting(load_network(checkpoint, **architecture(config)), device, **options)
    torch.manual_seed(0)
    return Matting(build_network(**architecture(config)), device, **options)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate alpha mattes for a folder of images with trimaps.")
    weights = add_matting_arguments(parser)
    weights.add_argument("--onnx", type=Path, metavar="FILE",
                         help="a network of tools/export_onnx.py instead, computed by ONNX Runtime on the CPU")
    parser.add_argument("--image-dir", type=Path, metavar="DIR", default=Path("demo/input_lowres"),
                        help="folder of images (default: %(default)s)")
    parser.add_argument("--trimap-dir", type=Path, metavar="DIR", default=Path("demo/trimap_lowres/Trimap3"),
                        help="folder of trimaps named as the images (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("demo/pred/Trimap3"),
                        help="folder to which a folder of mattes is written (default: %(default)s)")
    parser.add_argument("--batch", type=positive_int, default=1, metavar="N",
                        help="compute up to N images of one size at once, worthwhile on a GPU (default: %(default)s)")
    add_cutout_arguments(parser)
    parser.add_argument("--compile", action="store_true",
                        help="compile the network with torch.compile: worthwhile for many images only")
    parser.add_argument("--flip", action="store_true", help="average with the matte of the mirrored image")
    parser.add_argument("--scales", type=positive_float, nargs="+", default=[1.0], metavar="FACTOR",
                        help="average the mattes of the image resized by these factors, such as 1 0.75")
    args = parser.parse_args()
    unusable = [name for name in ONLY_WITH_PYTORCH if getattr(args, name) != parser.get_default(name)]
    if args.onnx and unusable:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unusable)
        parser.error(f"argument --onnx: not allowed with {options}")
    return args


def main() -> int:
    args = parse_arguments()
    try:
        if args.onnx:
            return run_onnx(args)
        check_torch()
        return run(args)
    except InputError as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo.py: interrupted; the mattes written so far are whole", file=sys.stderr)
        return 130


def check_torch() -> None:
    """Raises InputError where PyTorch is not installed."""
    try:
        import torch  # noqa: F401  only to see
    except ModuleNotFoundError:
        raise InputError("PyTorch is not installed: pip install -r requirements.txt, or use --onnx") from None


def run(args: argparse.Namespace) -> int:
    """Mattes the folder with a checkpoint; returns the exit status, the same for all processes."""
    from utils.distributed import gather, join_world, leave_world

    config, checkpoint = chosen_network(args)
    world = join_world(args.device)
    if checkpoint is None and world.is_main:
        print("RANDOM WEIGHTS: the mattes show that the program runs, nothing else")
    start = time.perf_counter()
    extra = cutout_files(args.cutout, args.background)
    output = args.output / f"{config.version}_{checkpoint.name if checkpoint else RANDOM_WEIGHTS}"
    matting = build_matting(config, checkpoint, world.device, precision=args.precision,
                            memory_limit=args.memory_limit, compile=args.compile)
    counts = gather(world, matte_folder(averaged(args, matting), args.image_dir, args.trimap_dir, output, args.batch,
                                        world, extra))
    status = summary(counts, start, matting, output, world)
    leave_world(world)
    return status


def run_onnx(args: argparse.Namespace) -> int:
    """As `run`, by ONNX Runtime in one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--onnx computes in one process, on all cores; start it without torchrun")
    start = time.perf_counter()
    extra = cutout_files(args.cutout, args.background)
    matting = OnnxMatting(args.onnx)
    output = args.output / f"{matting.version}_{args.onnx.name}"
    counts = [matte_folder(averaged(args, matting), args.image_dir, args.trimap_dir, output, args.batch, extra=extra)]
    return summary(counts, start, matting, output, ALONE)


def averaged(args: argparse.Namespace, matting: Matting | OnnxMatting) -> Predictor:
    """The predictor that --flip and --scales ask for."""
    return Ensemble(matting, args.flip, args.scales) if args.flip or args.scales != [1.0] else matting


def summary(counts: list[tuple[int, int]], start: float, matting: Predictor, output: Path, world: World) -> int:
    """Prints how many mattes the processes have written of how many; returns the exit status."""
    written, count = (sum(column) for column in zip(*counts, strict=True))
    if world.is_main:
        print(f"{written} of {count} mattes in {time.perf_counter() - start:.1f} s on {matting.device}: {output}")
    return 0 if written == count else 1


if __name__ == "__main__":
    sys.exit(main())
