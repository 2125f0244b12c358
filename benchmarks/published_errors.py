"""The four errors in the published Python formulation: the baseline of a benchmark.

Whole images, one process, NumPy, SciPy and scikit-image; gradients by convolution with two-dimensional kernels, a
labelling of the whole image per threshold. Details in which the published programs differ, such as the kernels' size,
follow `evaluation.metrics`. Only of several largest components the first one is found in row-major order.
"""

from itertools import pairwise

import numpy as np
from scipy.ndimage import convolve
from skimage.measure import label

from evaluation.metrics import Errors

SIGMA, HALF_SIZE = 1.4, 4
STEP, SLACK = 0.1, 0.15


def published_errors(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray) -> Errors:
    """The four errors; arguments as in `evaluation.metrics.matting_errors`, not checked."""
    prediction, truth = prediction / 255.0, truth / 255.0
    unknown = trimap == 128
    difference = np.abs(prediction - truth)
    return Errors(np.sum(difference * unknown) / 1000, np.sum(difference**2 * unknown) / np.sum(unknown),
                  gradient_error(prediction, truth, unknown), connectivity_error(prediction, truth, unknown))


def gradient_error(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """In thousands; (H, W) float64 in 0..1, and a mask."""
    difference = _gradient_magnitude(_stretched(prediction)) - _gradient_magnitude(_stretched(truth))
    return np.sum(difference**2 * unknown) / 1000


def _stretched(image: np.ndarray) -> np.ndarray:
    low, high = image.min(), image.max()
    return (image - low) / (high - low) if high > low else image


def _gradient_magnitude(image: np.ndarray) -> np.ndarray:
    x = np.arange(-HALF_SIZE, HALF_SIZE + 1)
    smooth = np.exp(-x**2 / (2 * SIGMA**2))
    kernel = np.outer(smooth, -x * smooth)
    kernel /= np.sqrt(np.sum(kernel**2))
    along_x = convolve(image, kernel, mode="nearest")
    along_y = convolve(image, kernel.T, mode="nearest")
    return np.sqrt(along_x**2 + along_y**2)


def connectivity_error(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """In thousands; arguments as in `gradient_error`."""
    thresholds = np.arange(11) * STEP
    level = -np.ones_like(truth)
    for below, threshold in pairwise(thresholds):
        # Without the tolerance, 0.6 = 153 / 255 would not reach 6 * 0.1 in double precision.
        both = (prediction >= threshold - 1e-9) & (truth >= threshold - 1e-9)
        subject = _largest_component(both)
        level[(level == -1) & ~subject] = below
    level[level == -1] = 1
    difference = _connectedness(prediction - level) - _connectedness(truth - level)
    return np.sum(np.abs(difference) * unknown) / 1000


def _largest_component(mask: np.ndarray) -> np.ndarray:
    labels = label(mask, connectivity=1)
    if labels.max() == 0:
        return np.zeros_like(mask)
    return labels == np.argmax(np.bincount(labels.flat)[1:]) + 1


def _connectedness(distance: np.ndarray) -> np.ndarray:
    return 1 - distance * (distance >= SLACK - 1e-9)
