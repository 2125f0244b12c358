"""Mattes a folder of images with a folder of trimaps.

    python demo.py --config=config/gca-free.toml \\
        --checkpoint=checkpoints/gca-free/gca-free.pth \\
        --image-dir=demo/input_lowres --trimap-dir=demo/trimap_lowres/Trimap3 --output=demo/pred/Trimap3

These are the defaults. For each image NAME.* the folder OUTPUT/<version>_<checkpoint> receives
NAME.png, the alpha matte, and NAME_offset1.png and NAME_offset2.png, the attention offsets of the two
blocks: each position's strongest match, in optical-flow colours. On request (--cutout, --background)
also NAME_cutout.png, the subject as RGBA, and NAME_composite.png, the subject over another background.

    python demo.py --onnx=gca-onnx --image-dir=...

needs no PyTorch, and writes no offset pictures. tools/export_onnx.py exports networks.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dataloader.image_file import list_images
from matting.cutout import check_pymatting
from matting.cutout_files import add_cutout_arguments, cutout_files
from matting.ensemble import Ensemble
from matting.matte_folder import matte_folder
from matting.onnx_predictor import OnnxMatting
from matting.options import add_matting_arguments, build_predictor, chosen_network, for_large_images, is_included
from utils.arguments import any_path, positive_int, scale_factor
from utils.device import usable_device
from utils.distributed import ALONE, World, all_gather, join_world, leave_world, world_size
from utils.errors import InputError, printable
from utils.program import announce, program

if TYPE_CHECKING:  # the ONNX demo runs without PyTorch
    from matting.matte_folder import Predictor

RANDOM_WEIGHTS = "random-weights"
ONLY_WITH_PYTORCH = ("config", "set", "device", "precision", "memory_limit", "attention", "compile")  # arguments


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate alpha mattes for a folder of images with trimaps.")
    weights = add_matting_arguments(parser)
    weights.add_argument("--onnx", type=any_path, metavar="PATH",
                         help="network of tools/export_onnx.py, a folder or file, run by ONNX Runtime on the CPU")
    parser.add_argument("--image-dir", type=any_path, metavar="DIR", default=Path("demo/input_lowres"),
                        help="folder of images (default: %(default)s)")
    parser.add_argument("--trimap-dir", type=any_path, metavar="DIR", default=Path("demo/trimap_lowres/Trimap3"),
                        help="folder of trimaps, named like the images (default: %(default)s)")
    parser.add_argument("--output", type=any_path, metavar="DIR", default=Path("demo/pred/Trimap3"),
                        help="parent of the folder of mattes (default: %(default)s)")
    parser.add_argument("--batch", type=positive_int, default=1, metavar="N",
                        help="compute up to N images of one size at once, useful on GPUs (default: %(default)s)")
    add_cutout_arguments(parser)
    parser.add_argument("--compile", action="store_true",
                        help="compile the network with torch.compile, worthwhile only for many images")
    parser.add_argument("--flip", action="store_true", help="average with the matte of the mirrored image")
    parser.add_argument("--scales", type=scale_factor, nargs="+", default=[1.0], metavar="FACTOR",
                        help="average the mattes of the image resized by these factors, such as 1 0.75")
    parser.add_argument("--refine", action=argparse.BooleanOptionalAction,
                        help="make mattes agree better with the colours of their photos (default: only with the "
                             "included weights)")
    args = parser.parse_args()
    unusable = [name for name in ONLY_WITH_PYTORCH if getattr(args, name) != parser.get_default(name)]
    if args.onnx and unusable:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in unusable)
        parser.error(f"argument --onnx: not allowed with {options}")
    return args


@program
def main() -> int:
    args = parse_arguments()
    images, trimaps = (len(list_images(folder)) for folder in (args.image_dir, args.trimap_dir))
    announce("demo.py", f"images: {images} in {args.image_dir}; trimaps: {trimaps} in {args.trimap_dir}")
    if args.onnx:
        return run_onnx(args)
    check_torch()
    return run(args)


def check_torch() -> None:
    """Raises InputError if PyTorch is not installed."""
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise InputError("PyTorch is not installed: pip install -r requirements.txt, or use --onnx") from None


def run(args: argparse.Namespace) -> int:
    """Mattes the folder with a checkpoint; returns the exit status, the same for all processes."""
    config, checkpoint = chosen_network(args)
    world = join_world(usable_device(args.device))
    if checkpoint is None and world.is_main:
        print("RANDOM WEIGHTS: the mattes only show that the program runs")
    start = time.perf_counter()
    extra = cutout_files(args.cutout, args.background)
    refine = is_included(checkpoint) if args.refine is None else args.refine
    if refine:
        check_pymatting()
    output = args.output / f"{config.version}_{checkpoint.name if checkpoint else RANDOM_WEIGHTS}"
    matting = build_predictor(config, checkpoint, world.device, precision=args.precision,
                              memory_limit=args.memory_limit, compile=args.compile,
                              attention=args.attention)
    matting = for_large_images(matting, checkpoint, args.coarse_to_fine)
    counts = all_gather(world, matte_folder(with_averaging(args, matting), args.image_dir, args.trimap_dir, output,
                                            args.batch, world, extra, refine))
    status = summary(counts, start, matting, output, world)
    leave_world(world)
    return status


def run_onnx(args: argparse.Namespace) -> int:
    """`run` with ONNX Runtime, in one process."""
    if world_size() > 1:
        raise InputError("--onnx runs in one process, on all cores; start it without torchrun")
    start = time.perf_counter()
    extra = cutout_files(args.cutout, args.background)
    if args.refine:
        check_pymatting()
    network = OnnxMatting(args.onnx)
    matting = for_large_images(network, None, args.coarse_to_fine)
    output = args.output / f"{network.version}_{args.onnx.name}"
    counts = [matte_folder(with_averaging(args, matting), args.image_dir, args.trimap_dir, output, args.batch,
                           extra=extra, refine=bool(args.refine))]
    return summary(counts, start, matting, output, ALONE)


def with_averaging(args: argparse.Namespace, matting: Predictor) -> Predictor:
    """The predictor with the averaging that --flip and --scales ask for."""
    return Ensemble(matting, args.flip, args.scales) if args.flip or args.scales != [1.0] else matting


def summary(counts: list[tuple[int, int]], start: float, matting: Predictor, output: Path, world: World) -> int:
    """Prints how many mattes all processes have written; returns the exit status."""
    written, count = (sum(column) for column in zip(*counts, strict=True))
    if world.is_main:
        print(f"{written} of {count} mattes in {time.perf_counter() - start:.1f} s on {matting.device}: "
              f"{printable(str(output))}")
    return 0 if written == count else 1


if __name__ == "__main__":
    sys.exit(main())
