"""Turns a folder of images and a folder of trimaps into alpha mattes.

    python demo.py --config=config/gca-dist-all-data.toml \\
        --checkpoint=checkpoints/gca-dist-all-data/gca-dist-all-data.pth \\
        --image-dir=demo/input_lowres --trimap-dir=demo/trimap_lowres/Trimap3 --output=demo/pred/Trimap3

These are the defaults. For each image NAME.* the folder OUTPUT/<version>_<checkpoint> receives
NAME.png, the alpha matte, and NAME_offset1.png and NAME_offset2.png: where each place of the image
found its nearest likeness, as optical-flow colours. On request (--cutout, --background) also
NAME_cutout.png, the subject as RGBA, and NAME_composite.png, the subject before another background.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from easydict import EasyDict
from tqdm import tqdm

from cutout import CutoutError
from dataloader.image_file import (
    IMAGE_EXTENSIONS,
    ImageFileError,
    find_partner,
    list_images,
    other_files,
    read_grey,
    read_image,
)
from inference import UNKNOWN, Matte, Matting, alpha_to_uint8, size_text, trimap_labels
from networks import build_network
from utils.arguments import memory_size, positive_int
from utils.checkpoint import DEFAULT_CHECKPOINT, CheckpointError, load_network
from utils.config import ConfigError, add_config_arguments, architecture, load_config
from utils.cutout_files import NO_CUTOUT_FILES, CutoutFiles, add_cutout_arguments, cutout_files, write_cutout_files
from utils.device import as_memory_allows, device_argument
from utils.distributed import ALONE, World, gather, join_world, leave_world
from utils.files import write_png
from utils.pictures import offset_picture
from utils.precision import AUTOCAST
from utils.processes import in_advance

RANDOM_WEIGHTS = "random-weights"
OFFSETS = {"_offset1": "an offset picture", "_offset2": "an offset picture"}  # ends of file names, what the files are

MISSING_CHECKPOINT = """\
{program}: {path}: no such file
  The published weights are a download of their authors' (see checkpoints/README.md for which file goes where):
  https://github.com/Yaoyi-Li/GCA-Matting, "Models". Save gca-dist-all-data.pth under the path above,
  or name another file with --checkpoint.
  To try the program without weights: python {program} --random-weights (the mattes will be meaningless)."""


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


def predict_group(matting: Matting, jobs: list[Job | ImageFileError]) -> list[Result | ImageFileError]:
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
    try:
        for i, (offset, scale) in enumerate(zip(matte.offsets, matte.scales, strict=True), start=1):
            write_png(folder / f"{path.stem}_offset{i}.png", offset_picture(offset, scale))
        write_png(folder / f"{path.stem}.png", alpha_to_uint8(matte.alpha))
        write_cutout_files(path, matte.alpha, folder, extra)
    except ImageFileError as error:
        return error
    except MemoryError:
        return ImageFileError(f"{path}: not enough memory for the pictures of {size_text(image)} pixels")
    except OSError as error:
        return ImageFileError(f"{path}: its matte cannot be written ({error})")
    unknown = (trimap_labels(trimap) == UNKNOWN).mean()
    remark = "" if unknown else " (the trimap decides every pixel)"
    return f"{path.name}: {size_text(image)}, {unknown:.1%} unknown, {seconds:.2f} s{remark}"


def matte_folder(matting: Matting, image_dir: Path, trimap_dir: Path, output: Path, batch_size: int = 1,
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
    if checkpoint is not None:
        return Matting(load_network(checkpoint, **architecture(config)), device, **options)
    torch.manual_seed(0)
    return Matting(build_network(**architecture(config)), device, **options)


def add_matting_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that say which network computes, and where and how."""
    add_config_arguments(parser, default="config/gca-dist-all-data.toml")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE", default=DEFAULT_CHECKPOINT,
                         help="the network's weights (default: %(default)s)")
    weights.add_argument("--random-weights", action="store_true",
                         help="try the program without a checkpoint; the mattes are meaningless")
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu or cuda:1 (default: CUDA where there is one)")
    parser.add_argument("--precision", choices=AUTOCAST, default="fp32",
                        help="arithmetic; tf32, bf16 and fp16 are faster on GPUs and less exact (default: %(default)s)")
    parser.add_argument("--memory-limit", type=memory_size, metavar="SIZE",
                        help="memory for an image besides the network, about, such as 4GB "
                             "(default: most of what is free on a GPU, up to 4 GiB on the CPU)")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate alpha mattes for a folder of images with trimaps.")
    add_matting_arguments(parser)
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
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    checkpoint = None if args.random_weights else args.checkpoint
    if checkpoint is not None and not checkpoint.exists():
        print(MISSING_CHECKPOINT.format(program="demo.py", path=checkpoint), file=sys.stderr)
        return 1
    try:
        config = load_config(args.config, args.set)
        world = join_world(args.device)
        if checkpoint is None and world.is_main:
            print("RANDOM WEIGHTS: the mattes show that the program runs, nothing else")
        return run(args, config, checkpoint, world)
    except (ConfigError, CheckpointError, ImageFileError, CutoutError) as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo.py: interrupted; the mattes written so far are whole", file=sys.stderr)
        return 130


def run(args: argparse.Namespace, config: EasyDict, checkpoint: Path | None, world: World) -> int:
    """Mattes the folder and prints a summary; returns the exit status, the same for all processes."""
    start = time.perf_counter()
    extra = cutout_files(args.cutout, args.background)
    output = args.output / f"{config.version}_{checkpoint.name if checkpoint else RANDOM_WEIGHTS}"
    matting = build_matting(config, checkpoint, world.device, precision=args.precision,
                            memory_limit=args.memory_limit, compile=args.compile)
    counts = gather(world, matte_folder(matting, args.image_dir, args.trimap_dir, output, args.batch, world, extra))
    written, count = (sum(column) for column in zip(*counts, strict=True))
    if world.is_main:
        print(f"{written} of {count} mattes in {time.perf_counter() - start:.1f} s on {matting.device}: {output}")
    leave_world(world)
    return 0 if written == count else 1


if __name__ == "__main__":
    sys.exit(main())
