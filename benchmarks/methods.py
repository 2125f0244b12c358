"""Compares errors of checkpoints and of PyMatting's methods on one folder of test images.

    python tools/make_generated_data.py --foregrounds 0 --backgrounds 0 --tests 32
    python benchmarks/methods.py --data data/generated/test \\
        --checkpoint checkpoints/gca-free-light/gca-free-light.pth

Prints mean SAD, MSE, Grad and Conn over the images, and seconds per image. Images on which a method fails, as it can
if almost nothing is known, are excluded for all methods and counted; so are unreadable files, and then the exit status
is 1. A checkpoint that does not store its architecture needs --config, unless it has the published one.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("methods.py: loading PyTorch", file=sys.stderr)

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import read_grey, read_image
from dataloader.image_folders import find_test_images
from evaluation.metrics import matting_errors
from matting.predictor import Matting
from utils.arguments import any_path
from utils.config import architecture, load_config
from utils.errors import InputError
from utils.preprocessing import alpha_to_uint8
from utils.program import program
from utils.progress_bar import in_steps

# PyMatting's: closed form, KNN, large kernel, learning based, random walk.
METHODS = ("cf", "knn", "lkm", "lbdm", "rw")

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def pymatting_method(name: str) -> Method:
    """PyMatting's `estimate_alpha_NAME`, for an 8-bit image and trimap.

    Raises:
        InputError: if PyMatting is not installed.
    """
    try:
        import pymatting
    except ImportError as error:
        raise InputError(f"PyMatting cannot be imported ({error}): pip install pymatting, or use an empty --methods"
                         ) from None

    estimate = getattr(pymatting, f"estimate_alpha_{name}")
    return lambda image, trimap: np.clip(estimate(image / 255, trimap / 255), 0, 1)


def labels(checkpoints: list[Path]) -> list[str]:
    """A label for each checkpoint: its stem, or its whole path if the stem is not unique."""
    names = Counter([*(path.stem for path in checkpoints), *METHODS])
    return [path.stem if names[path.stem] == 1 else str(path) for path in checkpoints]


def warm_up(method: Method) -> None:
    """Calls a method on a small image, so that compilation and loading on first use are not timed."""
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    method(image, np.repeat(np.uint8([0, 128, 255]), 16)[None].repeat(48, axis=0))


def compare(methods: dict[str, Method], folder: Path) -> tuple[dict[str, np.ndarray], list[ValueError]]:
    """The four errors and seconds (images, 5) by method, and the errors of images that were left out.

    Raises:
        ImageFileError: as `find_test_images` does.
    """
    rows, failed = {name: [] for name in methods}, []
    triples = find_test_images(*(folder / part for part in ("merged", "alpha", "trimap")))
    for method in methods.values():
        warm_up(method)
    for triple in in_steps(triples, len(triples), "matting"):
        try:
            image, truth, trimap = read_image(triple.image), read_grey(triple.alpha), read_grey(triple.trimap)
            row = {name: timed_errors(method, image, truth, trimap) for name, method in methods.items()}
        except ValueError as error:
            print(f"{triple.image}: left out ({error})", file=sys.stderr)
            failed.append(error)
            continue
        for name, values in row.items():
            rows[name].append(values)
    return {name: np.array(values) for name, values in rows.items()}, failed


def timed_errors(method: Method, image: np.ndarray, truth: np.ndarray, trimap: np.ndarray) -> tuple[float, ...]:
    start = time.perf_counter()
    alpha = method(image, trimap)
    seconds = time.perf_counter() - start
    return *matting_errors(alpha_to_uint8(np.asarray(alpha, np.float32)), truth, trimap), seconds


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare checkpoints with PyMatting's methods.")
    parser.add_argument("--data", type=any_path, default=Path("data/generated/test"), metavar="DIR",
                        help="folder with merged/, alpha/ and trimap/ (default: %(default)s)")
    parser.add_argument("--checkpoint", type=any_path, nargs="*", default=[], metavar="FILE",
                        help="checkpoints to compare")
    parser.add_argument("--config", nargs="*", default=[], metavar="FILE",
                        help="configurations of the first checkpoints, in the same order (default: the architecture "
                             "stored in each file, else the published network)")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="default: all")
    args = parser.parse_args()
    if len(args.config) > len(args.checkpoint):
        parser.error(f"{len(args.config)} configurations for {len(args.checkpoint)} checkpoints")
    if not args.checkpoint and not args.methods:
        parser.error("nothing to compare: give --checkpoint or --methods")
    return args


@program
def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(1)  # like PyMatting's solvers
    methods = {name: Matting.from_checkpoint(path, **architecture(load_config(config)), border=32) for name, path,
               config in zip_longest(labels(args.checkpoint), args.checkpoint, args.config)}
    methods |= {name: pymatting_method(name) for name in args.methods}
    results, failed = compare(methods, args.data)
    count = len(next(iter(results.values())))
    if not count:
        raise InputError(f"{args.data}: no images to compare: all {len(failed)} were left out")
    print(f"{'method':24} {'SAD':>8} {'MSE':>8} {'Grad':>8} {'Conn':>8} {'s/image':>8}")
    for name, values in results.items():
        sad, mse, grad, conn, seconds = values.mean(axis=0)
        print(f"{name:24} {sad:8.2f} {mse:8.4f} {grad:8.2f} {conn:8.2f} {seconds:8.2f}")
    print(f"means of {count} images" + (f"; {len(failed)} left out" if failed else ""))
    return 1 if any(isinstance(error, InputError) for error in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
