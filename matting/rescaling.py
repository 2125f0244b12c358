"""Images and trimaps at another scale, for predictors that look at several versions of an image."""

from collections.abc import Sequence

import cv2
import numpy as np

from utils.device import available_memory
from utils.preprocessing import UNKNOWN, trimap_labels
from utils.progress_bar import Report

BYTES_PER_PIXEL = 20  # of a rescaled image, its trimap and alpha, with padding, besides the network


def rescaled(image: np.ndarray, trimap: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and its trimap (H, W) with sides times `scale`, at least 1; what is partly unknown is unknown.

    Raises:
        MemoryError: if the result would not fit into the memory that is free.
    """
    if scale == 1:
        return image, trimap
    size = tuple(max(1, round(side * scale)) for side in trimap.shape[::-1])
    if size[0] * size[1] * BYTES_PER_PIXEL > available_memory():
        raise MemoryError(f"not enough memory for {size[0]} x {size[1]} pixels, scaled by {scale:g}")
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(trimap, size, interpolation=cv2.INTER_NEAREST)
    unknown = (trimap_labels(trimap) == UNKNOWN).astype(np.float32)
    resized[cv2.resize(unknown, size, interpolation=cv2.INTER_AREA) > 0] = 128  # keeps thin bands
    return cv2.resize(image, size, interpolation=smooth), resized


def part_of(report: Report, shares: Sequence[float], number: int) -> Report:
    """What reports a version's tiles as a part of all versions', of which each takes its share of the work."""
    before, own, after = sum(shares[:number]), shares[number], sum(shares[number + 1:])

    def report_part(done: int, total: int) -> None:
        first, rest = round(total * before / own), round(total * after / own)
        report(first + done, first + total + rest)

    return report_part
