"""The queries of the decoder's attention that are computed if no offsets are wanted: those that alpha depends on."""

import cv2
import numpy as np
import pytest
from reference import reference_network
from test_predictor import random_pair

from matting import tiling
from matting.predictor import Matting
from matting.tile_sizes import needed_queries


@pytest.mark.parametrize("attention", ["exact", "near"])
def test_without_offsets_alpha_is_the_same(monkeypatch, attention):
    """Though attention is computed for fewer queries, and alpha depends on all that are."""
    network, (image, trimap) = reference_network("gca"), random_pair(300, 400)
    trimap[:200] = 255
    trimap[:, 100:] = 0
    with_offsets = Matting(network, "cpu", attention=attention)
    matte = with_offsets.predict(image, trimap)
    without = Matting(network, "cpu", attention=attention, offsets=False).predict(image, trimap)
    assert (without.offsets, without.scales) == ((), ())
    assert np.abs(without.alpha - matte.alpha).max() < 1e-5
    assert np.abs(with_offsets(image, trimap) - matte.alpha).max() < 1e-5
    monkeypatch.setattr(tiling, "needed_queries", lambda wanted: cv2.erode(needed_queries(wanted).astype(np.uint8),
                                                                           np.ones((3, 3), np.uint8)) > 0)
    assert np.abs(with_offsets(image, trimap) - matte.alpha).max() > 1e-5


def test_needed_queries_of_a_cell():
    """A cell needs 5 positions around it at 1/8; query i reaches positions 2 i - 1 to 2 i + 2."""
    wanted = np.zeros((40, 60), bool)
    wanted[20, 31] = True
    needed = needed_queries(wanted)
    assert needed.shape == (20, 30)
    assert np.argwhere(needed).min(axis=0).tolist() == [7, 12]  # 15 = 2 x 7 + 1, 26 = 2 x 12 + 2
    assert np.argwhere(needed).max(axis=0).tolist() == [13, 18]
    assert needed[7:14, 12:19].all()
