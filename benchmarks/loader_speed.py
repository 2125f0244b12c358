"""Training samples per second on one core: computed from whole images, and only for the crop.

    python -m benchmarks.loader_speed --samples 40

Foregrounds are 1500 x 2000 (height x width), backgrounds 480 x 640, all generated. The versions alternate, with the
same samples and random draws. "Cached": foregrounds are decoded beforehand.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("loader_speed.py: loading PyTorch", file=sys.stderr)

import cv2
import numpy as np
import torch

from benchmarks.whole_image_pipeline import oracle_sample
from dataloader.cache import decode_cached
from dataloader.dataset import TrainingData, to_tensors
from dataloader.image_folders import Background, Foreground, find_backgrounds, find_foregrounds
from dataloader.sample import draw_sample
from utils.program import program

FOREGROUNDS, BACKGROUNDS = 6, 8
FOREGROUND_SIZE, BACKGROUND_SIZE = (1500, 2000), (480, 640)


def texture(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8 with coarse and fine structure, which compresses like photographs."""
    image = sum(weight * cv2.resize(rng.standard_normal((size[0] // step, size[1] // step, 3), dtype=np.float32),
                                    size[::-1], interpolation=cv2.INTER_CUBIC)
                for step, weight in ((200, 40), (20, 20), (4, 6), (1, 1.5)))
    return np.clip(128 + image, 0, 255).astype(np.uint8)


def figure(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Alpha (H, W) uint8: a body with a soft edge and hairs."""
    alpha = np.zeros(size, np.uint8)
    middle = np.array(size[::-1]) / 2
    cv2.ellipse(alpha, middle.astype(int).tolist(), (size[1] // 5, size[0] // 3), 0, 0, 360, 255, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 4)
    for angle in rng.uniform(0, 2 * np.pi, 600):
        direction = np.array([np.cos(angle), np.sin(angle)])
        start = middle + direction * (size[1] // 5, size[0] // 3)
        end = start + (direction + rng.normal(0, 0.3, 2)) * rng.uniform(30, 160)
        cv2.line(alpha, start.astype(int).tolist(), end.astype(int).tolist(), 200, 1, cv2.LINE_AA)
    return alpha


def write_images(folder: Path, rng: np.random.Generator) -> tuple[list[Foreground], list[Path]]:
    """Writes PNG foregrounds and alphas and JPEG backgrounds."""
    for name in ("fg", "alpha", "bg"):
        (folder / name).mkdir()
    for i in range(FOREGROUNDS):
        cv2.imwrite(str(folder / "fg" / f"{i}.png"), texture(rng, FOREGROUND_SIZE))
        cv2.imwrite(str(folder / "alpha" / f"{i}.png"), figure(rng, FOREGROUND_SIZE))
    for i in range(BACKGROUNDS):
        cv2.imwrite(str(folder / "bg" / f"{i}.jpg"), texture(rng, BACKGROUND_SIZE))
    return find_foregrounds(folder / "fg", folder / "alpha"), find_backgrounds(folder / "bg")


def whole_image_sample(data: TrainingData, epoch: int, index: int) -> dict[str, torch.Tensor]:
    """The sample `data[epoch, index]`, computed from whole images."""

    def read(number: int) -> np.ndarray:
        foreground = data.foregrounds[number]
        return decode_cached(foreground, data.cache)[0] if data.cache else foreground.read()

    rng = np.random.default_rng((data.seed, epoch, index))
    pixels = [read(index % len(data.foregrounds))]
    draws = draw_sample(rng, pixels[0].shape[:2], len(data.foregrounds), data.random_interp)
    if draws.second is not None:
        pixels.append(read(draws.second))
    crop = oracle_sample(draws, pixels, data.backgrounds[index].read(), data.crop_size, rng)
    return to_tensors(crop, data.trimap_channel, data.with_layers)


def measure(foregrounds: list[Foreground], backgrounds: list[Background], cache: Path,
            samples: int) -> dict[str, float]:
    """CPU seconds per sample, by version."""
    plain = TrainingData(foregrounds, backgrounds, with_layers=False)
    cached = TrainingData(foregrounds, backgrounds, cache=cache, with_layers=False)
    for foreground in foregrounds:
        decode_cached(foreground, cache)

    def crop_sample(data: TrainingData, epoch: int, index: int) -> dict[str, torch.Tensor]:
        return data[epoch, index]

    versions = {"whole image": (whole_image_sample, plain), "whole image, cached": (whole_image_sample, cached),
                "crop only": (crop_sample, plain), "crop only, cached": (crop_sample, cached)}
    seconds = dict.fromkeys(versions, 0.0)
    for number in range(-2, samples):  # two warm-up rounds
        for name, (make, data) in versions.items():
            start = time.process_time()
            make(data, *divmod(number + 2, BACKGROUNDS))
            if number >= 0:
                seconds[name] += (time.process_time() - start) / samples
    return seconds


@program
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40, help="samples per version (default: %(default)s)")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder), np.random.default_rng(0))
        seconds = measure(*images, Path(folder) / "cache", args.samples)
    slowest = seconds["whole image"]
    print(f"{'':20} {'ms/sample':>10} {'samples/s':>10} {'ratio':>7}")
    for name, each in seconds.items():
        print(f"{name:20} {each * 1000:10.1f} {1 / each:10.1f} {slowest / each:7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
