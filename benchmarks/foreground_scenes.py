"""Composites whose foreground colours are known, for measuring how well they are recovered from the composite."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dataloader.augment import make_trimap
from dataloader.synthetic import strands
from dataloader.synthetic.colours import apply_shade, defocus_background
from dataloader.synthetic.drawing import noise
from dataloader.synthetic.items import DrawnBackground, DrawnForeground, random_stream
from dataloader.synthetic.objects import FAMILIES, HELD_OUT
from dataloader.synthetic.photographs import read_cutout
from utils.preprocessing import trimap_grey

SEED = 3 * 10**9  # beyond those of training and test sets
NOISE = 1.5  # standard deviation of the composites' noise, in levels
KERNELS = (0.03, 0.09)  # range of the trimaps' erosion kernel sizes, as shares of the side
LIGHT = np.array([(240, 236, 226), (226, 204, 166), (206, 178, 138), (214, 212, 208)], np.float32)
DARK = np.array([(30, 24, 22), (62, 42, 30), (36, 34, 36)], np.float32)
GREENS = np.array([(10, 24, 12), (52, 84, 40)], np.float32)  # shade and light of foliage
WALLS = np.array([(186, 190, 196), (238, 236, 230)], np.float32)
COATS = (strands.fur, strands.long_hair, strands.curly_hair, strands.fur, strands.whiskers, strands.feathers)


class Scene(NamedTuple):
    """A composite of which everything is known."""

    image: np.ndarray  # (S, S, 3) uint8 RGB
    trimap: np.ndarray  # (S, S) uint8 of 0, 128, 255
    alpha: np.ndarray  # (S, S) float32 in 0..1
    foreground: np.ndarray  # (S, S, 3) float32 in 0..255


def light_fur(number: int, size: int) -> Scene:
    """Light fur and hair before dark green foliage."""
    return _coat(number, size, LIGHT, GREENS)


def dark_hair(number: int, size: int) -> Scene:
    """Dark fur and hair before a light wall."""
    return _coat(number, size, DARK, WALLS)


def any_subject(number: int, size: int) -> Scene:
    """Any generated foreground before any generated background; every other one of a family held out of training."""
    pixels = DrawnForeground(SEED, number, size, families=HELD_OUT if number % 2 else FAMILIES).read()
    background = cv2.resize(DrawnBackground(SEED, number, size).read(), (size, size), interpolation=cv2.INTER_AREA)
    return _composite(random_stream(SEED, 2, number), pixels, background)


def cutout_scene(path: Path, size: int) -> Scene:
    """A file with an alpha channel, reduced to a size, before any generated background."""
    pixels = read_cutout(path)
    number = sum(path.name.encode())
    alpha = pixels[..., 3:].astype(np.float32)
    scaled = [cv2.resize(x, (size, size), interpolation=cv2.INTER_AREA)
              for x in (pixels[..., :3] * alpha, alpha)]
    colours = scaled[0] / np.maximum(scaled[1], 1e-3)[..., None]
    background = cv2.resize(DrawnBackground(SEED, number, size).read(), (size, size), interpolation=cv2.INTER_AREA)
    return _composite(random_stream(SEED, 3, number), np.dstack([colours, scaled[1]]), background)


GENERATED: dict[str, Callable[[int, int], Scene]] = {
    "light fur, dark green": light_fur, "dark hair, light wall": dark_hair, "any": any_subject}


def _coat(number: int, size: int, coats: np.ndarray, surroundings: np.ndarray) -> Scene:
    rng = random_stream(SEED, len(coats), number)
    drawing = COATS[number % len(COATS)](rng, size)
    small = coats[rng.integers(len(coats))] + rng.normal(0, 14, (5, 5, 1)) + rng.normal(0, 4, (5, 5, 3))
    coat = cv2.resize(small.clip(0, 255).astype(np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)
    share = (0.5 + 0.5 * noise(rng, size, rng.uniform(10, 60), 3)).clip(0, 1)[..., None]
    behind = surroundings[0] + share * (surroundings[1] - surroundings[0])
    behind = defocus_background(rng, behind.clip(0, 255).astype(np.uint8))
    return _composite(rng, np.dstack([apply_shade(coat, drawing.shade), drawing.alpha]), behind)


def _composite(rng: np.random.Generator, pixels: np.ndarray, background: np.ndarray) -> Scene:
    """The scene of RGBA pixels before a background (S, S, 3), with noise."""
    colours = pixels[..., :3].astype(np.float32)
    alpha = (pixels[..., 3] / np.float32(255)).clip(0, 1).astype(np.float32)
    image = alpha[..., None] * colours + (1 - alpha[..., None]) * background
    image = np.rint(image + rng.normal(0, NOISE, image.shape)).clip(0, 255).astype(np.uint8)
    kernels = [max(1, round(len(alpha) * rng.uniform(*KERNELS))) for _ in range(2)]
    return Scene(image, trimap_grey(make_trimap(alpha, kernels)), alpha, colours)
