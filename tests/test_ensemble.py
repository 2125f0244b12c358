"""Test-time averaging with predictors whose answers are known."""

import numpy as np
import pytest
from PIL import Image

from matting.ensemble import Ensemble
from utils.preprocessing import Matte

TILES = 4


class LeftToRight:
    """A predictor that finds alpha to grow from 0 at the left to 1 at the right, whatever it is shown."""

    device, precision = "cpu", "fp32"

    def __init__(self):
        self.seen = []

    def predict_batch(self, pairs, report=lambda done, total: None):
        self.seen += [trimap.shape for _, trimap in pairs]
        for done in range(1, TILES + 1):
            report(done, TILES)
        return [Matte(np.tile(np.linspace(0, 1, trimap.shape[1], dtype=np.float32), (trimap.shape[0], 1)), (), ())
                for _, trimap in pairs]


IMAGE = np.zeros((20, 40, 3), np.uint8)
ALL_UNKNOWN = np.full((20, 40), 128, np.uint8)


def test_a_flip_averages_with_the_mirror_image():
    """A ramp and its mirror image are 1/2 everywhere."""
    assert np.allclose(Ensemble(LeftToRight(), flip=True)(IMAGE, ALL_UNKNOWN), 0.5)


def test_scales_are_resized_back():
    predictor = LeftToRight()
    alpha = Ensemble(predictor, scales=(1, 0.5, 1.5))(IMAGE, ALL_UNKNOWN)
    assert predictor.seen == [(20, 40), (10, 20), (30, 60)]
    assert np.abs(alpha[:, 5:-5] - np.linspace(0, 1, 40)[5:-5]).max() < 0.01


def test_progress_is_that_of_all_versions():
    """Half the sides are a quarter of the work: with a flip of both, 4 + 4 + 1 + 1 = 10 of the first's tiles."""
    reported = []
    Ensemble(LeftToRight(), flip=True, scales=(1, 0.5)).predict(IMAGE, ALL_UNKNOWN, lambda *both: reported.append(both))
    assert reported[:8] == [(done, 10) for done in range(1, 9)]
    shares = [done / total for done, total in reported]
    assert shares == sorted(shares)
    assert len(shares) == 16
    assert shares[-1] == 1


def test_known_pixels_stay_known():
    trimap = ALL_UNKNOWN.copy()
    trimap[:, :10], trimap[:, 30:] = 255, 0
    alpha = Ensemble(LeftToRight(), flip=True, scales=(1, 0.7))(IMAGE, trimap)
    assert (alpha[:, :10] == 1).all()
    assert (alpha[:, 30:] == 0).all()


def test_alone_it_changes_nothing():
    assert np.array_equal(Ensemble(LeftToRight())(IMAGE, ALL_UNKNOWN),
                          LeftToRight().predict_batch([(IMAGE, ALL_UNKNOWN)])[0].alpha)


@pytest.mark.parametrize("scales", [(), (1, 0), (-1,)])
def test_impossible_scales(scales):
    with pytest.raises(ValueError, match="scales are"):
        Ensemble(LeftToRight(), scales=scales)


def test_thin_unknown_bands_stay_unknown():
    """One unknown column in 40, at a quarter of the size: one in 10, the one that it is part of."""
    trimap = np.zeros((20, 40), np.uint8)
    trimap[:, 20:] = 255
    trimap[:, 21] = 128
    seen = []
    predictor = LeftToRight()
    predict = predictor.predict_batch
    predictor.predict_batch = lambda pairs, report: seen.extend(pairs) or predict(pairs)
    Ensemble(predictor, scales=(0.25,))(IMAGE, trimap)
    assert np.flatnonzero(seen[0][1][0] == 128).tolist() == [5]


def test_images_of_pillow():
    image, trimap = Image.fromarray(IMAGE).convert("L"), Image.fromarray(ALL_UNKNOWN)
    assert np.array_equal(Ensemble(LeftToRight())(image, trimap), Ensemble(LeftToRight())(IMAGE, ALL_UNKNOWN))
