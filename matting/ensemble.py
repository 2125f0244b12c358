"""Test-time augmentation: mattes averaged over mirrored and rescaled images; slower, often slightly better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from matting.rescaling import part_of, rescaled
from utils.preprocessing import Matte, Pair, Picture, as_pair, set_known, trimap_labels
from utils.progress_bar import Report

if TYPE_CHECKING:
    from matting.coarse_to_fine import CoarseToFine
    from matting.onnx_predictor import OnnxMatting
    from matting.predictor import Matting


class Ensemble:
    """A predictor like `matting.predictor.Matting`, whose alpha is the mean over versions of the image.

    Args:
        matting: the predictor of each version.
        flip: also predict the mirrored image.
        scales: factors on the sides; the versions at another scale are resized back.
    """

    def __init__(self, matting: Matting | OnnxMatting | CoarseToFine, flip: bool = False,
                 scales: Sequence[float] = (1.0,)):
        if not scales or min(scales) <= 0:
            raise ValueError(f"scales are {list(scales)}; expected one or more numbers above 0")
        self.matting, self.flip, self.scales = matting, flip, tuple(scales)
        self.device, self.precision = matting.device, matting.precision

    def __call__(self, image: Picture, trimap: Picture) -> np.ndarray:
        """Alpha (H, W) float32 in 0..1; arguments as in `Matting.predict`."""
        return self.predict(image, trimap).alpha

    def attention_for(self, height: int, width: int) -> str:
        """As `Matting.attention_for`, of the largest version."""
        largest = max(self.scales)
        return self.matting.attention_for(round(height * largest), round(width * largest))

    def predict(self, image: Picture, trimap: Picture,
                report: Report = lambda done, total: None) -> Matte:
        """Mean alpha, and the first version's attention offsets; arguments as in `Matting.predict`."""
        return self.predict_batch([(image, trimap)], report)[0]

    def predict_batch(self, pairs: Sequence[Pair], report: Report = lambda done, total: None) -> list[Matte]:
        """`predict` for several images of one size; `report` gets the tiles of all versions, estimated by their area"""
        pairs = [as_pair(*pair) for pair in pairs]
        mattes: list[list[Matte]] = []
        shares = np.repeat(np.square(self.scales), 1 + self.flip)
        shares = shares / shares.sum()
        for scale in self.scales:
            resized = [rescaled(*pair, scale) for pair in pairs]
            mattes.append(self.matting.predict_batch(resized, part_of(report, shares, len(mattes))))
            if self.flip:
                mirrored = self.matting.predict_batch([_mirrored(pair) for pair in resized],
                                                      part_of(report, shares, len(mattes)))
                mattes.append([matte._replace(alpha=matte.alpha[:, ::-1]) for matte in mirrored])
        return [_mean([version[i] for version in mattes], trimap) for i, (_, trimap) in enumerate(pairs)]


def _mirrored(pair: Pair) -> Pair:
    return tuple(np.ascontiguousarray(image[:, ::-1]) for image in pair)


def _mean(versions: list[Matte], trimap: np.ndarray) -> Matte:
    size = trimap.shape[::-1]
    alpha = np.mean([version.alpha if version.alpha.shape == trimap.shape else
                     cv2.resize(np.ascontiguousarray(version.alpha), size, interpolation=cv2.INTER_LINEAR)
                     for version in versions], axis=0, dtype=np.float32)
    return versions[0]._replace(alpha=set_known(alpha, trimap_labels(trimap)))
