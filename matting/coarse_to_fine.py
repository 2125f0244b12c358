"""Large images from coarse to fine: what is plain in the downscaled image is known when the next size is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from matting.rescaling import part_of, rescaled
from utils.preprocessing import (
    BACKGROUND,
    FOREGROUND,
    UNKNOWN,
    Matte,
    Pair,
    Picture,
    as_pair,
    checked_labels,
    trimap_grey,
    trimap_labels,
)
from utils.progress_bar import Report

if TYPE_CHECKING:
    import torch

    from matting.onnx_predictor import OnnxMatting
    from matting.predictor import Matting

LARGE = 900  # pixels of the longer side up to which an image is left to the predictor
LEAST_QUARTER = 425  # pixels of the longer side of a version of a quarter; below, one of half is the only other one
LARGEST_START = 500  # pixels of the longer side of the smallest of the others, at most
PLAIN = 0.02  # alpha this close to 0 or 1 may become known
MARGIN = 2  # pixels around one, in the version where it is found, that have to be as plain


class CoarseToFine:
    """A predictor like `matting.predictor.Matting` for images larger than what its network was trained with.

    In such an image unknown bands are hundreds of pixels wide and structures coarse; there a network answers with a
    grey veil. Here it sees the image reduced first (`scales_for`). Unknown pixels whose alpha in it
    is plainly 0 or 1, around them too, and which are connected through others like them to known pixels of their kind,
    are known in the next larger version, and so on up to the full size; their alpha is exactly 0 or 1 in the end.
    Images of up to `LARGE` pixels, and those without known or without unknown ones, are left to the predictor.

    Args:
        matting: the predictor of each version.
    """

    def __init__(self, matting: Matting | OnnxMatting):
        self.matting = matting

    @property
    def device(self) -> torch.device | str:
        """That of the predictor, as all that follows."""
        return self.matting.device

    @property
    def precision(self) -> str:
        return self.matting.precision

    @property
    def border(self) -> int:
        return self.matting.border

    def __call__(self, image: Picture, trimap: Picture) -> np.ndarray:
        """Alpha (H, W) float32 in 0..1; arguments and errors as in `Matting.predict`."""
        (pair,), _ = self._narrowed([as_pair(image, trimap)], lambda done, total: None)
        return self.matting(*pair)

    def attention_for(self, height: int, width: int) -> str:
        """As `Matting.attention_for`, of the full size."""
        return self.matting.attention_for(height, width)

    def predict(self, image: Picture, trimap: Picture, report: Report = lambda done, total: None) -> Matte:
        """Alpha, and the full size's attention offsets; arguments and errors as in `Matting.predict`."""
        return self.predict_batch([(image, trimap)], report)[0]

    def predict_batch(self, pairs: list[Pair], report: Report = lambda done, total: None) -> list[Matte]:
        """`predict` for several images of one size."""
        if not pairs:
            return []
        pairs, rest = self._narrowed([as_pair(*pair) for pair in pairs], report)
        return self.matting.predict_batch(pairs, rest)

    def _narrowed(self, pairs: list[tuple[np.ndarray, np.ndarray]],
                  report: Report) -> tuple[list[tuple[np.ndarray, np.ndarray]], Report]:
        """The pairs with trimaps in which what smaller versions find plain is known, and the report for the full size.

        Images that are left to the predictor keep their trimaps. Errors as in `Matting.predict_batch`.
        """
        labels = checked_labels(pairs)
        scales = scales_for(*labels[0].shape) if any(map(_can_spread, labels)) else (1.0,)
        shares = [scale**2 for scale in scales]
        decided = [np.full((1, 1), UNKNOWN, np.uint8)] * len(pairs)  # nothing yet
        for number, scale in enumerate(scales[:-1]):
            versions = [rescaled(*pair, scale) for pair in pairs]
            given = [trimap_labels(trimap) for _, trimap in versions]
            narrowed = list(map(with_known, given, decided))
            mattes = self.matting.predict_batch(
                [(image, trimap_grey(known)) for (image, _), known in zip(versions, narrowed, strict=True)],
                part_of(report, shares, number))
            plain = [plain_labels(matte.alpha, known) for matte, known in zip(mattes, narrowed, strict=True)]
            decided = [np.where(before == UNKNOWN, after, UNKNOWN) for before, after in zip(given, plain, strict=True)]
        if len(scales) > 1:
            pairs = [(image, trimap_grey(with_known(whole, known)))
                     for (image, _), whole, known in zip(pairs, labels, decided, strict=True)]
        return pairs, part_of(report, shares, len(scales) - 1)


def scales_for(height: int, width: int) -> tuple[float, ...]:
    """The scales at which an image is computed, the smallest first; the last is 1.

    Half, for images of less than 4 `LEAST_QUARTER` pixels; for larger ones from at most `LARGEST_START` pixels in steps
    of two up to a quarter.
    """
    longer, shorter = max(height, width), min(height, width)
    if longer <= LARGE:
        return (1.0,)
    if longer / 4 < LEAST_QUARTER:
        return (0.5, 1.0) if shorter >= 2 else (1.0,)
    scales, scale = [1.0], 0.25
    while longer * scales[0] > LARGEST_START and shorter * scale >= 1:
        scales.insert(0, scale)
        scale /= 2
    return tuple(scales)


def _can_spread(labels: np.ndarray) -> bool:
    """Whether there are unknown pixels, and known ones."""
    return 0 < np.count_nonzero(labels == UNKNOWN) < labels.size


def plain_labels(alpha: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels (H, W) in which unknown pixels that an alpha (H, W) in 0..1 plainly decides are known."""
    alpha = np.nan_to_num(alpha, nan=0.5)
    around = np.ones((2 * MARGIN + 1, 2 * MARGIN + 1), np.uint8)
    unknown, result = labels == UNKNOWN, labels.copy()
    for kind, plain in ((BACKGROUND, cv2.dilate(alpha, around) < PLAIN),
                        (FOREGROUND, cv2.erode(alpha, around) > 1 - PLAIN)):
        known = labels == kind
        _, parts = cv2.connectedComponents((plain & unknown | known).view(np.uint8), connectivity=4)
        attached = np.zeros(parts.max() + 1, bool)
        attached[parts[known]] = True
        attached[0] = False
        result[attached[parts] & unknown] = kind
    return result


def with_known(labels: np.ndarray, smaller: np.ndarray) -> np.ndarray:
    """Labels (H, W), where unknown those of a smaller version (h, w), which are `UNKNOWN` where it decided nothing."""
    enlarged = cv2.resize(smaller, labels.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return np.where(labels == UNKNOWN, enlarged, labels)
