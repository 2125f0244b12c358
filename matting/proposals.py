"""A trimap proposed from a photo alone, or from a box or a few strokes."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from matting.predictor import Matting
from matting.trimaps import mask_from_rectangle, mask_from_scribbles, trimap_of_width

RectangleBox = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom excluded
AUTO_RIM = 0.03  # share of the shorter side that is background without a box


class Proposal(NamedTuple):
    """A trimap, and what is suspicious about it."""

    trimap: np.ndarray  # (H, W) uint8 of 0, 128, 255
    remarks: list[str]  # one sentence each, with advice


def propose(image: np.ndarray, box: RectangleBox | None = None, scribbles: np.ndarray | None = None,
            matting: Matting | None = None, width: str = "medium", hair: bool = False,
            report: Callable[[float, str], object] = lambda share, text: None) -> Proposal:
    """Proposes a trimap.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: contains the whole subject; default: the image less a rim.
        scribbles: (H, W) uint8, examples: 0 background, 255 subject, 128 unmarked.
        matting: refines the proposal, if given.
        width: of the unknown band, a key of `WIDTHS`.
        hair: whether to widen the band where the outline looks like hair.
        report: called with the share of the work done, and the name of the next step.

    Raises:
        ValueError: if no subject is found, or the marks do not fit the image.
    """
    report(0.0, "Finding the subject")
    if scribbles is not None:
        mask = mask_from_scribbles(image, scribbles)
    else:
        height, width_ = image.shape[:2]
        rim = max(1, round(AUTO_RIM * min(height, width_)))
        mask = mask_from_rectangle(image, box or (rim, rim, width_ - rim, height - rim))
    if not mask.any():
        raise ValueError("no subject found; mark it with a tighter box, or with strokes")
    return Proposal(trimap_of_width(mask, width), [])
