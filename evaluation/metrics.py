"""The four matting errors, equal to those of the MATLAB code of Deep Image Matting.

Proposed by Rhemann et al., "A perceptually motivated online benchmark for image matting" (CVPR 2009);
papers report them as computed by the code of Xu et al., "Deep Image Matting" (CVPR 2017). All four are
over the pixels where the trimap is exactly 128. SAD, Grad and Conn are in thousands.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

UNKNOWN_GREY = 128
TRIMAP_VALUES = (0, UNKNOWN_GREY, 255)

GRADIENT_SIGMA = 1.4
GRADIENT_CUTOFF = 0.01
CONNECTIVITY_THRESHOLDS = np.arange(1, 11, dtype=np.float32) / np.float32(10)
CONNECTIVITY_SLACK = np.float32(0.15)
STRIP_ROWS = 64  # few enough for a core's cache


class Errors(NamedTuple):
    """Smaller is better; the paper's network has 35.28, 0.0091, 16.92 and 32.53 on Composition-1K."""

    sad: float
    mse: float
    grad: float | None  # None: not computed
    conn: float | None


def matting_errors(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray, fast: bool = False,
                   names: Sequence[str] = ("prediction", "alpha", "trimap")) -> Errors:
    """The errors of a predicted alpha matte.

    Args:
        prediction, truth: (H, W) uint8, alpha times 255.
        trimap: (H, W) uint8 holding 0, 128 and 255 only, with at least one 128.
        fast: only SAD and MSE.
        names: of the three images, for messages.

    Raises:
        ValueError: for other types, differing shapes, other values in the trimap, or no unknown pixels.
    """
    check_inputs(prediction, truth, trimap, names)
    unknown = trimap == UNKNOWN_GREY
    prediction, truth = (image.astype(np.float32) / np.float32(255) for image in (prediction, truth))
    return Errors(sad(prediction, truth, unknown), mse(prediction, truth, unknown),
                  None if fast else gradient_error(prediction, truth, unknown),
                  None if fast else connectivity_error(prediction, truth, unknown))


def check_inputs(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray,
                 names: Sequence[str] = ("prediction", "alpha", "trimap")) -> None:
    """Raises ValueError if `matting_errors` is undefined; the message refers to the images by `names`."""
    for name, image in zip(names, (prediction, truth, trimap), strict=True):
        if image.dtype != np.uint8 or image.ndim != 2:
            raise ValueError(f"{name} is {image.dtype} of shape {image.shape}; expected uint8 of shape (H, W)")
        if image.shape != truth.shape:
            raise ValueError(f"{name} is {image.shape[1]} x {image.shape[0]}, but {names[1]} is "
                             f"{truth.shape[1]} x {truth.shape[0]} (width x height)")
    if sum(np.count_nonzero(trimap == value) for value in TRIMAP_VALUES) < trimap.size:
        strange = [str(value) for value in np.unique(trimap) if value not in TRIMAP_VALUES]
        raise ValueError(f"{names[2]} contains {len(strange)} value{'s'[len(strange) == 1:]} other than 0, 128 and "
                         "255: "
                         f"{', '.join(strange[:5])}{', ...' if len(strange) > 5 else ''}")
    if not (trimap == UNKNOWN_GREY).any():
        raise ValueError(f"{names[2]} has no unknown pixels (128)")


def top_left(image: np.ndarray, multiple: int) -> np.ndarray:
    """The top left part of an image whose sides are multiples of `multiple`; a smaller side stays whole."""
    height, width = (side // multiple * multiple or side for side in image.shape[:2])
    return image[:height, :width]


def sad(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Sum of absolute differences over the unknown pixels, in thousands; (H, W) float32 in 0..1 and a mask."""
    return float(np.abs(prediction - truth)[unknown].sum(dtype=np.float64) / 1000)


def mse(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Mean squared difference over the unknown pixels."""
    return float(np.square(prediction - truth)[unknown].mean(dtype=np.float64))


def gradient_error(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Squared difference of gradient magnitudes, summed over the unknown pixels, in thousands.

    Gradients are Gaussian derivatives of the whole image, stretched to 0..1.
    """
    difference = _gradient_magnitude(prediction, unknown) - _gradient_magnitude(truth, unknown)
    return float(np.square(difference).sum() / 1000)


def _gradient_magnitude(image: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """The magnitudes at the pixels of a mask, in row-major order."""
    smooth, derivative = _gaussian_filters(GRADIENT_SIGMA, GRADIENT_CUTOFF)
    margin = len(smooth) // 2
    low, high = float(image.min()), float(image.max())
    parts = [np.empty(0)]
    for top in range(0, len(image), STRIP_ROWS):
        wanted = unknown[top:top + STRIP_ROWS]
        if wanted.any():
            first = max(0, top - margin)
            rows = _stretched(image[first:top + STRIP_ROWS + margin], low, high)
            inner = slice(top - first, top - first + len(wanted))
            along_x, along_y = (
                cv2.sepFilter2D(rows, cv2.CV_64F, *filters, borderType=cv2.BORDER_REPLICATE)[inner][wanted]
                for filters in ((derivative, smooth), (smooth, derivative)))
            parts.append(np.hypot(along_x, along_y))
    return np.concatenate(parts)


def _gaussian_filters(sigma: float, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian and its derivative, whose outer product has unit L2 norm."""
    half = int(np.ceil(sigma * np.sqrt(-2 * np.log(np.sqrt(2 * np.pi) * sigma * cutoff))))
    x = np.arange(-half, half + 1, dtype=np.float64)
    smooth = np.exp(-x**2 / (2 * sigma**2))
    derivative = -x * smooth
    return smooth / np.linalg.norm(smooth), derivative / np.linalg.norm(derivative)


def _stretched(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """The image mapped from low..high to 0..1, float64; unchanged if low is high."""
    image = image.astype(np.float64)
    return image if low == high or (low, high) == (0, 1) else (image - low) / (high - low)


def connectivity_error(prediction: np.ndarray, truth: np.ndarray, unknown: np.ndarray) -> float:
    """Absolute difference of `_connectedness`, summed over the unknown pixels, in thousands.

    A pixel's level is the highest threshold at which it is connected to the subject, the largest component of the
    pixels that reach the threshold in both mattes.
    """
    steps = _connected_steps(np.minimum(prediction, truth))[unknown]
    level = np.append(np.float32(0), CONNECTIVITY_THRESHOLDS)[steps]
    difference = _connectedness(prediction[unknown], level) - _connectedness(truth[unknown], level)
    return float(np.abs(difference).sum(dtype=np.float64) / 1000)


def _connected_steps(lowest: np.ndarray) -> np.ndarray:
    """The number of thresholds, from the lowest, up to which a pixel is in all subjects, (H, W) uint8.

    Thresholds are visited from the highest, since a pixel of one subject is in the mask of every lower threshold, and
    filling from it is much cheaper than labelling all components.

    Args:
        lowest: (H, W), the smaller of both alphas.
    """
    steps = np.zeros(lowest.shape, np.uint8)  # counted from the current threshold
    seed = None
    for threshold in CONNECTIVITY_THRESHOLDS[::-1]:
        mask = lowest >= threshold
        if not mask.any():
            continue
        if seed is None:  # a guess, mostly right
            pixels = np.flatnonzero(mask)
            seed = int(pixels[len(pixels) // 2])
        subject = _majority_component(mask, seed)
        if subject is None:
            subject = _largest_component(mask)
            seed = int(subject.argmax())
        steps += 1
        steps *= subject
    return steps


def _majority_component(mask: np.ndarray, seed: int) -> np.ndarray | None:
    """The 4-connected component with the pixel of index `seed` if it has most of the mask's pixels, otherwise None."""
    height, width = mask.shape
    filled = np.zeros((height + 2, width + 2), np.uint8)
    flags = 4 | 1 << 8 | cv2.FLOODFILL_MASK_ONLY  # 4-connected; write 1
    area, *_ = cv2.floodFill(mask.view(np.uint8), filled, (seed % width, seed // width), 0, 0, 0, flags)
    return filled[1:-1, 1:-1] if 2 * area > np.count_nonzero(mask) else None


def _connectedness(alpha: np.ndarray, level: np.ndarray) -> np.ndarray:
    """1 - (alpha - level) if alpha exceeds the level by at least `CONNECTIVITY_SLACK`, else 1."""
    distance = alpha - level
    return np.where(distance >= CONNECTIVITY_SLACK, 1 - distance, np.float32(1))


def _largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest 4-connected component; of equal ones the first in column-major order; empty for an empty mask."""
    columns_first = np.ascontiguousarray(mask.T).view(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(columns_first, connectivity=4)
    if count == 1:
        return np.zeros_like(mask)
    areas = statistics[1:, cv2.CC_STAT_AREA]
    largest = np.flatnonzero(areas == areas.max()) + 1
    if len(largest) > 1:
        first_pixel = np.isin(labels, largest).argmax()
        largest = labels.flat[first_pixel]
    return (labels == largest).T
