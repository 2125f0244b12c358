"""Foreground colours and alpha: the most probable ones, given an alpha that may be wrong.

A network's alpha that is somewhat too high counts part of the background as foreground: its colour leaks into the
strands. Here, colours near a pixel and the pixel's own position between them decide together with that alpha. This is
Bayesian matting (Chuang et al., A Bayesian Approach to Digital Matting, CVPR 2001) with variances common to the three
channels, colours from a first estimate of both layers, and the given alpha as the prior of alpha. Two things are
not in the paper: an alpha is the surer the nearer it is to 0 or 1, and a pixel whose colour is no mixture of the two
says less about alpha.
"""

from typing import NamedTuple

import cv2
import numpy as np

WINDOW_SHARE = 0.08  # side of the windows whose colours are averaged, as a share of the longer side
PURITY = 8  # power of a layer's share in a pixel by which the pixel counts in the averages
ALPHA_DEVIATION = 0.15  # default of `most_probable`: for composites
COLOUR_DEVIATION = 0.02  # least standard deviation of a layer's colours in a window, of 1
NOISE_DEVIATION = 0.01  # of the image, of 1
ITERATIONS = 3
_CHANNELS = ((0, 3), (3, 6), (6, 7), (7, 8))  # of the fields of `Colours` in one array


class Colours(NamedTuple):
    """What colours each layer has near each pixel."""

    foreground: np.ndarray  # (..., 3) mean, in 0..1
    background: np.ndarray
    foreground_variance: np.ndarray  # (..., 1) mean of the three channels
    background_variance: np.ndarray

    def stacked(self) -> np.ndarray:
        """(..., 8)"""
        return np.concatenate(self, axis=-1)

    @classmethod
    def unstacked(cls, planes: np.ndarray) -> "Colours":
        """The inverse of `stacked`."""
        return cls(*(planes[..., first:end] for first, end in _CHANNELS))


def nearby_colours(foreground: np.ndarray, background: np.ndarray, alpha: np.ndarray) -> Colours:
    """Mean and variance in a window around each pixel, mostly of pixels in which little of the other layer is seen.

    Args:
        foreground, background: (h, w, 3) float32 in 0..1.
        alpha: (h, w) float32 in 0..1.
    """
    window = 2 * round(WINDOW_SHARE * max(alpha.shape) / 2) + 1
    (front, front_variance), (back, back_variance) = (
        _moments(layer, share[..., None]**PURITY, window)
        for layer, share in ((foreground, alpha), (background, 1 - alpha)))
    return Colours(front, back, front_variance, back_variance)


def most_probable(image: np.ndarray, alpha: np.ndarray, near: Colours,
                  deviation: float = ALPHA_DEVIATION) -> tuple[np.ndarray, np.ndarray]:
    """Foreground (H, W, 3) in 0..1 and alpha (H, W), pixel by pixel; an alpha of 0 and 1 stays.

    Args:
        image: (H, W, 3) float32 in 0..1.
        alpha: (H, W) float32 in 0..1.
        near: of shape (H, W, ...).
        deviation: expected error of an alpha of 0.5, as a standard deviation.
    """
    alpha = alpha[..., None]
    difference = near.foreground - near.background
    contrast = _dot(difference, difference) + np.float32(1e-6)
    offset = image - near.background
    on_line = _dot(offset, difference) / contrast
    beside = offset - on_line * difference
    unexplained = _dot(beside, beside) / 2  # a variance: two of three channels are perpendicular to the line
    prior = 4 * deviation**2 * alpha * (1 - alpha)  # a variance, as of a beta distribution
    refined = alpha
    for _ in range(ITERATIONS):
        gain = prior * contrast / (prior * contrast + _variance(refined, near) + unexplained)
        refined = (alpha + gain * (on_line - alpha)).clip(0, 1)
    missing = image - refined * near.foreground - (1 - refined) * near.background
    gain = refined * near.foreground_variance / _variance(refined, near)
    return (near.foreground + gain * missing).clip(0, 1), refined[..., 0]


def _variance(alpha: np.ndarray, near: Colours) -> np.ndarray:
    """Of a channel of the image, given alpha (..., 1)."""
    return alpha**2 * near.foreground_variance + (1 - alpha)**2 * near.background_variance + NOISE_DEVIATION**2


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...c,...c->...", a, b)[..., None]


def _moments(layer: np.ndarray, weight: np.ndarray, window: int) -> tuple[np.ndarray, np.ndarray]:
    weight = weight + np.float32(1e-6)  # where a layer is not seen, all its estimates count alike
    square = (layer**2).mean(axis=-1, keepdims=True)
    sums = cv2.blur(np.concatenate([layer * weight, square * weight, weight], axis=-1), (window, window))
    mean = sums[..., :3] / sums[..., 4:]
    variance = sums[..., 3:4] / sums[..., 4:] - (mean**2).mean(axis=-1, keepdims=True)
    return mean, variance.clip(0) + np.float32(COLOUR_DEVIATION**2)
