"""Errors of estimated foreground colours, and of alpha refined with them, on composites where both are known.

    python -m benchmarks.foreground_colours
    python -m benchmarks.foreground_colours --cutouts data/cutouts    # and on your own RGBA pictures

All figures are mean absolute differences in levels (0..255) over the pixels whose true alpha is between 0.05 and 0.95.
"white", "black" and "magenta" are composites as programs make them: estimates are given the alpha of the included free
weights, "robust" composites with the alpha that it refines. "alpha" is the error of the alpha composited with, "colour"
that of the colours, as a composite with the true alpha shows it. "exact" is the mean of the three composites if
estimates are given the true alpha.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pymatting
import torch

from benchmarks.foreground_scenes import GENERATED, Scene, cutout_scene
from dataloader.image_file import list_images
from matting.cutout import estimate_foreground, estimate_layers
from matting.predictor import Matting
from utils.arguments import any_path, image_side, positive_int
from utils.program import program

WEIGHTS = Path(__file__).parents[1] / "checkpoints" / "gca-free" / "gca-free.pth"
BACKGROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "magenta": (255, 0, 255)}
COLUMNS = ("exact", "colour", *BACKGROUNDS, "alpha", "seconds")

Method = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]  # image and alpha to colours and alpha


def of_the_project(method: str) -> Method:
    return lambda image, alpha: estimate_layers(image, alpha, method)


def of_pymatting(name: str, **options) -> Method:
    estimate = getattr(pymatting, f"estimate_foreground_{name}")
    return lambda image, alpha: (255 * estimate(image / 255, alpha, **options), alpha)


def blur_fusion(image: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021: twice, with windows of 90 and 6."""
    foreground = background = image = image / np.float32(255)
    opacity = alpha[..., None]
    for side in (90, 6):
        blur = partial(cv2.blur, ksize=(side, side))
        share = blur(alpha)[..., None]
        foreground, background = (blur(foreground * opacity) / (share + 1e-5),
                                  blur(background * (1 - opacity)) / (1 - share + 1e-5))
        foreground = (foreground + opacity * (image - opacity * foreground - (1 - opacity) * background)).clip(0, 1)
    return 255 * foreground, alpha


METHODS: dict[str, Method] = {
    "photo's colours": lambda image, alpha: (image, alpha),
    "ml": of_the_project("ml"),
    "ml, regularisation 1e-2": of_pymatting("ml", regularization=1e-2),
    "ml, gradient weight 0.1": of_pymatting("ml", regularization=1e-3, gradient_weight=0.1),
    "ml, 8 iterations": of_pymatting("ml", n_big_iterations=8),
    "cf": of_the_project("cf"),
    "blur fusion x2": blur_fusion,
    "robust, alpha as given": lambda image, alpha: (estimate_foreground(image, alpha, "robust"), alpha),
    "robust": of_the_project("robust"),
}


def errors(scene: Scene, alpha: np.ndarray, method: Method) -> np.ndarray:
    """The columns from "colour" on, (6,)."""
    start = time.process_time()  # of this process, as others may be running
    colours, opacity = method(scene.image, alpha)
    seconds = time.process_time() - start
    mixed = (scene.alpha > 0.05) & (scene.alpha < 0.95)
    truth, opacity = scene.alpha[mixed][:, None], opacity[mixed][:, None]
    colours, true_colours = colours[mixed], scene.foreground[mixed]
    differences = [truth * (colours - true_colours)]
    for background in np.array(list(BACKGROUNDS.values())):
        differences.append(opacity * (colours - background) - truth * (true_colours - background))
    return np.array([*(np.abs(each).mean() for each in differences), 255 * np.abs(opacity - truth).mean(), seconds])


def table(scenes: list[Scene], matting: Matting, methods: list[str]) -> Iterator[str]:
    """The lines of a set's table."""
    alphas = [matting(scene.image, scene.trimap) for scene in scenes]
    yield f"{'':26}" + "".join(f"{column:>9}" for column in COLUMNS)
    for name in methods:
        exact, predicted = (np.mean([errors(scene, alpha, METHODS[name])
                                     for scene, alpha in zip(scenes, given, strict=True)], axis=0)
                            for given in ([scene.alpha for scene in scenes], alphas))
        yield f"{name:26}" + "".join(f"{value:9.2f}" for value in (exact[1:4].mean(), *predicted))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Errors of foreground colours where they are known.")
    parser.add_argument("--scenes", type=positive_int, default=12, help="in each generated set (default: %(default)s)")
    parser.add_argument("--size", type=image_side, default=512, help="side in pixels (default: %(default)s)")
    parser.add_argument("--cutouts", type=any_path, metavar="DIR", help="folder of RGBA pictures, a further set")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS), metavar="METHOD",
                        help=f"default: all ({'; '.join(METHODS)})")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    matting = Matting.from_checkpoint(WEIGHTS)
    sets = {name: [draw(number, args.size) for number in range(args.scenes)] for name, draw in GENERATED.items()}
    if args.cutouts:
        sets["cut-outs"] = [cutout_scene(path, args.size) for path in list_images(args.cutouts)]
    warm_up = sets["any"][0]
    for name in args.methods:  # compiles on first use
        METHODS[name](warm_up.image[:64, :64], warm_up.alpha[:64, :64])
    for name, scenes in sets.items():
        print(f"{name}, {len(scenes)} scenes", *table(scenes, matting, args.methods), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
