"""Blurred edges: defocus, spatially varying blur, motion blur."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import noise


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs an image (S, S) of any dtype, sigma in pixels; wide blurs are computed at a lower resolution."""
    size = image.shape[0]
    small = max(8, size // max(1, int(sigma / 2)))
    if small >= size:
        return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    reduced = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    reduced = cv2.GaussianBlur(reduced, (0, 0), sigma * small / size, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(reduced, (size, size), interpolation=cv2.INTER_LINEAR)


def mix_by_noise(rng: np.random.Generator, sharp: np.ndarray, soft: np.ndarray) -> np.ndarray:
    """Blends two images (S, S) uint8, weighted by smooth noise that reaches 0 and 1 in places."""
    share = noise(rng, 64, rng.uniform(40, 100)) * 0.7 + 0.5
    share = cv2.resize(np.clip(share, 0, 1), sharp.shape[::-1])
    return cv2.blendLinear(sharp, soft, 1 - share, share)


def focused(rng: np.random.Generator, alpha: np.ndarray) -> np.ndarray:
    """Random focus of an alpha (S, S) uint8 with fine structures: mostly sharp, else blurred entirely or in places."""
    chance = rng.random()
    if chance < 0.55:
        return alpha
    soft = gaussian_blur(alpha, rng.uniform(0.4, 0.4 + alpha.shape[0] / 200))
    return soft if chance < 0.7 else mix_by_noise(rng, alpha, soft)


def motion_blur(rng: np.random.Generator, alpha: np.ndarray, length: float) -> np.ndarray:
    """Motion blur of an alpha (S, S) uint8 over about `length` pixels, along a line or along arcs around a pivot."""
    size = alpha.shape[0]
    doublings = max(1, int(np.ceil(np.log2(length))))  # 2 ** doublings exposures, less than a pixel apart
    heading = rng.uniform(0, 2 * np.pi)
    turn = rng.normal(0, 1) * length / size if rng.random() < 0.5 else 0
    pivot = rng.uniform(0, size, 2)
    image = alpha.astype(np.float32)
    for i in range(doublings):
        share = 2.0 ** (i - doublings)
        motion = cv2.getRotationMatrix2D(tuple(pivot.tolist()), np.degrees(turn * share), 1)
        motion[:, 2] += np.array([np.cos(heading), np.sin(heading)]) * length * share
        image += cv2.warpAffine(image, motion, (size, size), borderMode=cv2.BORDER_REPLICATE)
        image /= 2
    return np.rint(image).astype(np.uint8)
