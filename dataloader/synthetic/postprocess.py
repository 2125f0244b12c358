"""Final steps on the crop of a synthetic sample: defocus, camera effects and hand-drawn trimaps."""

import cv2
import numpy as np

from dataloader.augment import LARGEST_KERNEL, composite, make_trimap
from dataloader.sample import Sample
from dataloader.synthetic.camera import photograph
from dataloader.synthetic.colours import defocus_background, near_colours
from dataloader.synthetic.trimap_styles import redraw_trimap
from utils.preprocessing import UNKNOWN

DEFOCUSED_SHARE = 0.35  # share of samples with a defocused background
NEAR_SHARE = 0.25  # share of samples with foreground colours near the background's
WIDEST_BAND = 4  # the largest erosion kernel in small crops is their side divided by this
PLAIN_DISTANCE = 90  # minimum distance between plain colours, in RGB 0..255
_PLAIN_CELLS = 3


def postprocess(rng: np.random.Generator, sample: Sample, plain_share: float = 0.0) -> Sample:
    """Recomposites the sample with camera effects and redraws its trimap in a hand-drawn style.

    Args:
        plain_share: share of samples in plain, distinct colours instead, from which a network first learns to
            infer opacity from colour.
    """
    sample = sample._replace(trimap=fitting_trimap(rng, sample))
    if rng.random() < plain_share:
        return plain_colours(rng, sample)
    sample = composite_as_photograph(rng, sample)
    return sample._replace(trimap=redraw_trimap(rng, sample.trimap))


def fitting_trimap(rng: np.random.Generator, sample: Sample) -> np.ndarray:
    """The sample's trimap; regenerated narrower in small crops, and tight if everything is unknown.

    An unknown region without known pixels nearby is ambiguous: there is nothing to learn from it.
    """
    trimap = sample.trimap
    widest = trimap.shape[0] // WIDEST_BAND
    if widest < LARGEST_KERNEL:
        trimap = make_trimap(sample.alpha, rng.integers(1, widest + 1, size=2).tolist())
    return trimap if (trimap != UNKNOWN).any() else make_trimap(sample.alpha, (1, 1))


def composite_as_photograph(rng: np.random.Generator, sample: Sample) -> Sample:
    """Composites the sample in 8 bits with camera effects, sometimes with a defocused background or similar colours."""
    foreground, background = _to_uint8(sample.foreground), _to_uint8(sample.background)
    if rng.random() < DEFOCUSED_SHARE:
        background = defocus_background(rng, background)
    if rng.random() < NEAR_SHARE:
        foreground = near_colours(rng, foreground, background)
    image = photograph(rng, cv2.blendLinear(foreground, background, sample.alpha, 1 - sample.alpha))
    return sample._replace(image=image, foreground=foreground, background=background)


def plain_colours(rng: np.random.Generator, sample: Sample) -> Sample:
    """The sample in nearly uniform colours that differ clearly between foreground and background."""
    while True:
        middles = rng.uniform(20, 235, (2, 3))
        if np.linalg.norm(middles[0] - middles[1]) >= PLAIN_DISTANCE:
            break
    size = sample.alpha.shape[::-1]
    foreground, background = (
        cv2.resize(np.float32(middle + rng.normal(0, 12, (_PLAIN_CELLS, _PLAIN_CELLS, 3))), size).clip(0, 255)
        for middle in middles)
    return sample._replace(image=composite(foreground, background, sample.alpha), foreground=foreground,
                           background=background)


def _to_uint8(colours: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(colours)  # saturates; nothing is below 0
