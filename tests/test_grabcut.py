"""Masks by GrabCut, from strokes and from labels."""

import cv2
import numpy as np
import pytest
from trimap_pictures import disc, photo

from matting.grabcut import grab_cut, mask_from_scribbles, without_specks


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return ((mask == 255) & (truth == 255)).sum() / ((mask == 255) | (truth == 255)).sum()


@pytest.mark.parametrize("size", [200, 1600])
def test_mask_from_scribbles(size):
    image, truth = photo(size), disc(size, size / 4)
    scribbles = np.full((size, size), 128, np.uint8)
    cv2.line(scribbles, (size // 2, size // 2), (size // 2 + size // 6, size // 2), 255, 1)
    cv2.line(scribbles, (5, 5), (size - 5, 10), 0, 1)
    scribbles[size // 2, size // 2 + 2] = 0
    mask = mask_from_scribbles(image, scribbles)
    assert np.unique(mask).tolist() == [0, 255]
    assert overlap(mask, truth) > 0.98
    assert mask[size // 2, size // 2 + 2] == 0
    assert np.array_equal(mask_from_scribbles(image, scribbles), mask)


def test_all_or_nothing_stays_as_it_is():
    """GrabCut itself refuses labels of one kind."""
    image = photo(40)
    assert grab_cut(image, np.full((40, 40), cv2.GC_PR_FGD)).all()
    assert not grab_cut(image, np.full((40, 40), cv2.GC_BGD)).any()


def test_specks_and_pinholes_go():
    """Of a square of 80 x 80: a dot beside it, and a pinhole; a large hole stays."""
    subject = np.zeros((200, 200), bool)
    subject[60:140, 60:140], subject[20:24, 20:24] = True, True
    subject[70:74, 70:74], subject[100:120, 100:120] = False, False
    clean = without_specks(subject)
    assert not clean[22, 22]
    assert clean[72, 72]
    assert not clean[110, 110]


def test_refused_scribbles():
    scribbles = np.full((200, 200), 128, np.uint8)
    with pytest.raises(ValueError, match="no white strokes"):
        mask_from_scribbles(photo(200), scribbles)
    scribbles[3:5] = 255
    with pytest.raises(ValueError, match="no black strokes"):
        mask_from_scribbles(photo(200), scribbles)
    with pytest.raises(ValueError, match="the scribbles are 200 x 100, but the image is 200 x 200"):
        mask_from_scribbles(photo(200), scribbles[:100])


def test_strokes_that_vanish_where_grabcut_reduces_the_photo():
    """In every 10 x 10 pixels that become one, there is more black than white."""
    image, scribbles = np.zeros((10, 10_000, 3), np.uint8), np.full((10, 10_000), 128, np.uint8)
    scribbles[:, 5000:5010], scribbles[5, 5005] = 0, 255
    with pytest.raises(ValueError, match=r"the white strokes vanish under the black ones .* 1000 x 1 pixels"):
        mask_from_scribbles(image, scribbles)
