"""Speed of compositing the merged test images: the data set's own per-pixel loop compared with the tool.

    python benchmarks/composite.py

One core, compositing only: without decoding, enlarging and writing, which both need. Both process the same pixels, and
their results are compared.
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.composition_1k import merge_colours
from utils.program import program

REPEATS = 5


def per_pixel_loop(foreground: Image.Image, background: Image.Image, alpha: Image.Image) -> Image.Image:
    """Compositing as in the data set's program; modifies `background`."""
    front, merged, matte = foreground.load(), background.load(), alpha.load()
    for y in range(alpha.height):
        for x in range(alpha.width):
            a = matte[x, y] / 255
            if a >= 1:
                merged[x, y] = front[x, y]
            elif a > 0:
                red = int(a * front[x, y][0] + (1 - a) * merged[x, y][0])
                green = int(a * front[x, y][1] + (1 - a) * merged[x, y][1])
                blue = int(a * front[x, y][2] + (1 - a) * merged[x, y][2])
                merged[x, y] = red, green, blue
    return background


def example_mattes(size: int) -> dict[str, np.ndarray]:
    """Alphas (size, size) with many and with few values between 0 and 255."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    inside = 0.33 - np.hypot(y, x)
    return {"all pixels mixed (glass)": np.random.default_rng(0).integers(1, 255, (size, size), np.uint8),
            "soft edge (fur)": (np.clip(inside / 0.1 + 0.5, 0, 1) * 255).astype(np.uint8),
            "hard edge": np.where(inside > 0, 255, 0).astype(np.uint8)}


def seconds(function, *arguments) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, np.asarray(result)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Time the compositing of merged test images.")
    parser.add_argument("--size", type=int, default=1024, help="height and width in pixels (default: %(default)s)")
    size = parser.parse_args().size
    cv2.setNumThreads(1)
    foreground, background = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), np.uint8)
    megapixels = size * size / 1e6
    print(f"{'seconds per megapixel':26} {'loop':>8} {'tool':>8} {'ratio':>8}")
    for name, alpha in example_mattes(size).items():
        slow, expected = min((seconds(per_pixel_loop, *map(Image.fromarray, (foreground, background, alpha)))
                              for _ in range(2)), key=lambda run: run[0])
        fast, merged = min((seconds(merge_colours, foreground, background, alpha) for _ in range(REPEATS)),
                           key=lambda run: run[0])
        if not np.array_equal(merged, expected):
            sys.exit(f"{name}: the results differ")
        print(f"{name:26} {slow / megapixels:8.3f} {fast / megapixels:8.4f} {slow / fast:7.0f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
