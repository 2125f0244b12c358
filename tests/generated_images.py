"""Small foregrounds, alphas and backgrounds, made on the spot."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 3) uint8, smooth."""
    coarse = rng.integers(0, 256, (max(height // 24, 2), max(width // 24, 2), 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def figure(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Alpha (H, W) uint8: discs with soft edges, and hairs."""
    alpha = np.zeros((height, width), np.uint8)
    for _ in range(3):
        middle = (rng.uniform(0.2, 0.8, 2) * (width, height)).astype(int).tolist()
        radius = int(rng.uniform(0.08, 0.25) * min(height, width))
        cv2.circle(alpha, middle, radius, 255, -1)
        alpha = cv2.GaussianBlur(alpha, (0, 0), 1.5)
        for angle in rng.uniform(0, 2 * np.pi, 12):
            end = middle + 1.6 * radius * np.array([np.cos(angle), np.sin(angle)])
            cv2.line(alpha, middle, end.astype(int).tolist(), 255, 1, cv2.LINE_AA)
    return alpha


def cutout(seed: int, height: int, width: int) -> np.ndarray:
    """(H, W, 4) uint8 RGBA."""
    rng = np.random.default_rng(seed)
    return np.dstack([texture(rng, height, width), figure(rng, height, width)])


def write_training_set(folder: Path, foregrounds: int = 3, backgrounds: int = 6) -> Path:
    """Writes fg/*.png of 120 x 160 and more, alpha/*.png and bg/*.jpg of 90 x 130."""
    for name in ("fg", "alpha", "bg"):
        (folder / name).mkdir(parents=True)
    for i in range(foregrounds):
        pixels = cutout(i, 120 + 8 * i, 160)
        Image.fromarray(pixels[..., :3]).save(folder / "fg" / f"f{i}.png")
        Image.fromarray(pixels[..., 3]).save(folder / "alpha" / f"f{i}.png")
    for i in range(backgrounds):
        Image.fromarray(texture(np.random.default_rng(100 + i), 90, 130)).save(folder / "bg" / f"b{i}.jpg", quality=95)
    return folder


def layers(dtype=np.uint8, height: int = 90, width: int = 120) -> tuple[np.ndarray, ...]:
    """An image, its alpha (a soft disc), its foreground (reds) and its background (greens)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = ((0.35 * height - np.hypot(y - height / 2, x - width / 2)) / (0.2 * height) + 0.5).clip(0, 1)
    maximum = np.iinfo(dtype).max
    foreground = np.dstack([0.8 + 0.2 * x / width, 0.2 * y / height, np.full_like(x, 0.1)])
    background = np.dstack([0.1 * x / width, 0.6 + 0.4 * y / height, np.full_like(x, 0.3)])
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return (np.rint(image * maximum).astype(dtype), alpha.astype(np.float32),
            *(np.rint(layer * maximum).astype(dtype) for layer in (foreground, background)))
