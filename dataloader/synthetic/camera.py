"""Camera and file-format effects on a composite: one small function each; `photograph` applies a random subset.

Images are (H, W, 3) RGB in 0..255, uint8 unless stated to be float32.
"""

from functools import lru_cache

import cv2
import numpy as np

UNTOUCHED_SHARE = 0.45  # share of images that get only faint noise
_NOISE_SIDE = 640  # of the noise tile, in pixels


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The image with random effects of light, lens, sensor, processing and compression, uint8.

    Args:
        image: float32 or uint8.
    """
    if image.dtype != np.uint8:
        image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < UNTOUCHED_SHARE:
        return with_noise(rng, image, rng.uniform(0, 2))
    if rng.random() < 0.6:
        image = developed(image, gains=np.exp(rng.normal(0, 0.08, 3)), exposure=rng.normal(0, 0.15),
                          contrast=rng.normal(0, 0.25))
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.1))
    if rng.random() < 0.7:
        image = with_noise(rng, image, rng.gamma(1.3, 1.9), blotches=rng.random() < 0.3)
    if rng.random() < 0.2:
        image = resampled(image, rng.uniform(0.5, 1))
    if rng.random() < 0.25:
        image = sharpened(image, rng.uniform(0.2, 1.2))
    chance = rng.random()
    if chance < 0.4:
        image = compressed(image, ".jpg", int(rng.integers(40, 99)))
    elif chance < 0.45:
        image = compressed(image, ".webp", int(rng.integers(40, 96)))
    return image


def developed(image: np.ndarray, gains: np.ndarray, exposure: float, contrast: float) -> np.ndarray:
    """Applies white balance, exposure and a tone curve.

    Args:
        gains: (3,), factors on linear light.
        exposure: in stops.
        contrast: 0 leaves tones unchanged; 1 doubles the slope of the tone curve at its middle, -1 halves it.
    """
    light = (np.arange(256) / 255) ** 2.2 * gains[:, None] * 2**exposure
    tones = np.clip(light, 0, 1) ** (1 / 2.2)
    slope = 2**contrast
    curved = tones**slope / np.maximum(tones**slope + (1 - tones) ** slope, 1e-6)
    return cv2.LUT(image, np.rint(curved.T * 255).astype(np.uint8)[None])


def with_noise(rng: np.random.Generator, image: np.ndarray, deviation: float, blotches: bool = False) -> np.ndarray:
    """Adds sensor noise that grows with brightness.

    Args:
        deviation: standard deviation of the noise at mid grey, in grey levels.
        blotches: noise with a grain of several pixels, as left by denoising.
    """
    height, width = image.shape[:2]
    grain = noise_tile()
    if blotches:
        small = _patch(rng, grain, -(-height // 2), -(-width // 2))
        patch = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        patch = _patch(rng, grain, height, width)
    strength = rng.choice((-1, 1)) * deviation * (0.5 + np.sqrt(np.arange(256) / 255)) / (0.5 + 0.5**0.5)
    weights = cv2.LUT(image, np.float32(strength))
    return cv2.add(image, cv2.multiply(patch, weights), dtype=cv2.CV_8U)


@lru_cache(1)
def noise_tile() -> np.ndarray:
    """Fixed Gaussian noise (640, 640, 3) float32; redrawing it would cost as much as all other effects together."""
    return np.random.default_rng(0).standard_normal((_NOISE_SIDE, _NOISE_SIDE, 3), np.float32)


def resampled(image: np.ndarray, factor: float) -> np.ndarray:
    """Downsamples by a factor and upsamples again."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, round(width * factor)), max(1, round(height * factor))),
                       interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def sharpened(image: np.ndarray, amount: float) -> np.ndarray:
    """Unsharp masking with a sigma of one pixel."""
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), 1.0), -amount, 0)


def compressed(image: np.ndarray, kind: str, quality: int) -> np.ndarray:
    """Encodes and decodes the image in a lossy format, ".jpg" or ".webp"."""
    flag = cv2.IMWRITE_JPEG_QUALITY if kind == ".jpg" else cv2.IMWRITE_WEBP_QUALITY
    _, data = cv2.imencode(kind, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [flag, quality])
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _patch(rng: np.random.Generator, tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """A random crop of the tile, which is repeated if it is too small."""
    top, left = (int(rng.integers(max(1, _NOISE_SIDE - side + 1))) for side in (height, width))
    if max(height, width) > _NOISE_SIDE:
        tile = np.tile(tile, (-(-height // _NOISE_SIDE), -(-width // _NOISE_SIDE), 1))
    return tile[top:top + height, left:left + width]
