"""Draws a small data set in the Adobe layout, to try training and testing with.

    python tools/make_sample_data.py --output data/sample

Soft-edged shapes with strands of hair, before coloured gradients and textures: enough to see a network
learn in minutes, not to matte photographs. The same seed draws the same files.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.composite_test_set import composite
from utils.arguments import positive_int
from utils.files import write_png

SUPERSAMPLING = 2
STRANDS = (40, 160)  # fewest and most of a shape
TRIMAP_KERNEL = 15


def draw_alpha(rng: np.random.Generator, size: int) -> np.ndarray:
    """A soft-edged shape with strands of hair growing out of it, (size, size) uint8."""
    large = size * SUPERSAMPLING
    angles = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    waves = sum(rng.normal(0, 0.06) * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    radius = large * rng.uniform(0.2, 0.3) * (1 + waves)
    outline = large / 2 + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    alpha = np.zeros((large, large), np.uint8)
    for _ in range(rng.integers(*STRANDS)):
        root = rng.integers(len(angles))
        draw_strand(rng, alpha, outline[root], angles[root] + rng.normal(0, 0.5), length=large * rng.uniform(0.05, 0.2))
    cv2.fillPoly(alpha, [outline.round().astype(np.int32)], 255, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.5, 4) * SUPERSAMPLING / 2)
    return cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)


def draw_strand(rng: np.random.Generator, alpha: np.ndarray, root: np.ndarray, angle: float, length: float) -> None:
    """A curled line from `root` in direction `angle`."""
    steps = np.linspace(0, 1, 12)
    directions = angle + rng.normal(0, 1.2) * steps
    path = root + np.cumsum(np.stack([np.cos(directions), np.sin(directions)], axis=1) * length / len(steps), axis=0)
    cv2.polylines(alpha, [path.round().astype(np.int32)], False, int(rng.integers(120, 256)), rng.integers(1, 4),
                  cv2.LINE_AA)


def draw_colours(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colours that change slowly around one that is drawn, with a little texture, (height, width, 3) uint8 RGB."""
    around = rng.uniform(30, 225, 3)
    slow = cv2.resize(rng.normal(0, 25, (4, 4, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    texture = cv2.resize(rng.normal(0, rng.uniform(0, 12), (height // 3, width // 3, 3)), (width, height))
    return (around + slow + texture).clip(0, 255).astype(np.uint8)


def make(output: Path, foregrounds: int, backgrounds: int, tests: int, size: int, seed: int) -> None:
    """Writes train/{fg,alpha,bg} and test/{merged,alpha,trimap} below `output`."""
    rng = np.random.default_rng(seed)
    for i in tqdm(range(foregrounds), "foregrounds", disable=None):
        write_png(output / "train" / "alpha" / f"{i:03d}.png", draw_alpha(rng, size))
        write_png(output / "train" / "fg" / f"{i:03d}.png", draw_colours(rng, size, size))
    for i in tqdm(range(backgrounds), "backgrounds", disable=None):
        write_png(output / "train" / "bg" / f"{i:03d}.png", draw_colours(rng, size, size))
    for i in tqdm(range(tests), "test images", disable=None):
        height = int(size * rng.uniform(0.7, 1))
        alpha = draw_alpha(rng, size)[:height]
        merged = composite(draw_colours(rng, height, size), draw_colours(rng, height, size), alpha)
        write_png(output / "test" / "merged" / f"{i:03d}.png", merged)
        write_png(output / "test" / "alpha" / f"{i:03d}.png", alpha)
        write_png(output / "test" / "trimap" / f"{i:03d}.png", trimap_of(alpha))


def trimap_of(alpha: np.ndarray) -> np.ndarray:
    """Unknown wherever alpha within 15 x 15 pixels is not all 0 or all 1."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (TRIMAP_KERNEL, TRIMAP_KERNEL))
    trimap = np.full_like(alpha, 128)
    trimap[cv2.erode((alpha == 255).astype(np.uint8), kernel) == 1] = 255
    trimap[cv2.dilate(alpha, kernel) == 0] = 0
    return trimap


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Draw a small data set to try training with.")
    parser.add_argument("--output", type=Path, default=Path("data/sample"), help="folder (default: %(default)s)")
    parser.add_argument("--foregrounds", type=positive_int, default=32, help="default: %(default)s")
    parser.add_argument("--backgrounds", type=positive_int, default=64, help="default: %(default)s")
    parser.add_argument("--tests", type=positive_int, default=12, help="default: %(default)s")
    parser.add_argument("--size", type=positive_int, default=256,
                        help="side in pixels, at least 64 (default: %(default)s)")
    parser.add_argument("--seed", type=positive_int, default=1, help="default: %(default)s")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    try:
        make(args.output, args.foregrounds, args.backgrounds, args.tests, max(64, args.size), args.seed)
    except OSError as error:
        print(f"make_sample_data.py: {args.output}: cannot be written to ({error.strerror or error})", file=sys.stderr)
        return 1
    print(f"{args.output}: {args.foregrounds} foregrounds, {args.backgrounds} backgrounds, {args.tests} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
