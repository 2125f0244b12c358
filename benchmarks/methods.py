"""Errors of a checkpoint beside PyMatting's methods, on one folder of test images, in one run.

    python tools/make_generated_data.py --foregrounds 0 --backgrounds 0 --tests 32
    python benchmarks/methods.py --data data/generated/test \\
        --checkpoint checkpoints/gca-free-light/gca-free-light.pth --config config/gca-free-light.toml

Prints SAD, MSE, Grad and Conn, means over the images, and the seconds that an image takes. Images on which a
method fails, as it can where almost nothing is known, are left out for all methods and counted.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.folders import find_test_images
from dataloader.image_file import read_grey, read_image
from inference import Matting, alpha_to_uint8
from utils.config import architecture, load_config
from utils.metrics import matting_errors

# Of PyMatting: closed form, KNN, large kernel, learning based, random walk.
METHODS = ("cf", "knn", "lkm", "lbdm", "rw")

Method = Callable[[np.ndarray, np.ndarray], np.ndarray]


def pymatting_method(name: str) -> Method:
    """One of PyMatting's `estimate_alpha_...`, on 8-bit image and trimap."""
    import pymatting

    estimate = getattr(pymatting, f"estimate_alpha_{name}")
    return lambda image, trimap: np.clip(estimate(image / 255, trimap / 255), 0, 1)


def compare(methods: dict[str, Method], folder: Path) -> tuple[dict[str, np.ndarray], int]:
    """For each method (images, 5): the four errors and seconds. And the number of images that were left out."""
    rows, failed = {name: [] for name in methods}, 0
    for triple in tqdm(find_test_images(*(folder / part for part in ("merged", "alpha", "trimap"))), unit="image",
                       disable=None):
        image, truth, trimap = read_image(triple.image), read_grey(triple.alpha), read_grey(triple.trimap)
        try:
            row = {name: timed_errors(method, image, truth, trimap) for name, method in methods.items()}
        except ValueError as error:
            tqdm.write(f"{triple.image}: left out ({error})", file=sys.stderr)
            failed += 1
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
    parser = argparse.ArgumentParser(description="Compare a checkpoint with PyMatting's methods.")
    parser.add_argument("--data", type=Path, default=Path("data/generated/test"), metavar="DIR",
                        help="folder with merged/, alpha/ and trimap/ (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], metavar="FILE", help="any number of them")
    parser.add_argument("--config", nargs="*", default=[], metavar="FILE",
                        help="the checkpoints' configurations, in the same order")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), help="default: all")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    methods = {path.stem: Matting.from_checkpoint(path, **architecture(load_config(config)), border=32)
               for path, config in zip(args.checkpoint, args.config, strict=True)}
    methods |= {name: pymatting_method(name) for name in args.methods}
    torch.set_num_threads(1)  # as PyMatting's solvers
    results, failed = compare(methods, args.data)
    print(f"{'method':24} {'SAD':>8} {'MSE':>8} {'Grad':>8} {'Conn':>8} {'s/image':>8}")
    for name, values in results.items():
        sad, mse, grad, conn, seconds = values.mean(axis=0)
        print(f"{name:24} {sad:8.2f} {mse:8.4f} {grad:8.2f} {conn:8.2f} {seconds:8.2f}")
    print(f"means of {len(next(iter(results.values())))} images" + (f"; {failed} left out" if failed else ""))


if __name__ == "__main__":
    main()
