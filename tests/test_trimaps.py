"""Trimaps from masks, rectangles and scribbles, against worked-out ones."""

import cv2
import numpy as np
import pytest
from trimap_pictures import disc, hairy_picture, photo

from matting.trimaps import (
    mask_from_rectangle,
    mask_from_scribbles,
    overlay,
    trimap_from_mask,
    widen_at_hair,
)


def test_a_rectangle():
    """3 pixels inside and 5 outside; the frame, which the subject touches at the bottom, is no outline."""
    mask = np.zeros((40, 60), np.uint8)
    mask[15:, 20:40] = 255
    trimap = trimap_from_mask(mask, erode=3, dilate=5)
    assert (trimap == 255).nonzero()[0].min() == 18
    assert (trimap[18:, 23:37] == 255).all()
    assert (trimap == 255).sum() == 22 * 14
    assert trimap[30].tolist() == [0] * 15 + [128] * 8 + [255] * 14 + [128] * 8 + [0] * 15
    assert (trimap[:10] == 0).all()
    assert (trimap[10, 20:40] == 128).all()


def test_a_disc():
    """The band is a ring of the radii it should have, to the pixel."""
    trimap = trimap_from_mask(disc(101, 30), erode=6, dilate=9)
    y, x = np.mgrid[:101, :101] - 50
    radius = np.hypot(x, y)
    assert (trimap[radius < 23.3] == 255).all()
    assert (trimap[radius > 39.8] == 0).all()
    assert (trimap[(radius > 25) & (radius < 38.5)] == 128).all()


def test_soft_values_stay_unknown():
    mask = np.array([[0, 5, 12, 13, 100, 242, 243, 255]], np.uint8)
    assert trimap_from_mask(mask, 0, 0).tolist() == [[0, 0, 0, 128, 128, 128, 255, 255]]
    assert trimap_from_mask(mask, 1, 2).tolist() == [[0, 128, 128, 128, 128, 128, 128, 255]]


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 255), (77, 128)])
def test_masks_without_outline(value, expected):
    assert (trimap_from_mask(np.full((9, 7), value, np.uint8), 3, 3) == expected).all()


@pytest.mark.parametrize("enlarged", [1, 4])
def test_hair_widens_the_band(enlarged):
    """At the strands only; and alike in a photo four times as large."""
    image, mask = (cv2.resize(x, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_NEAREST)
                   for x in hairy_picture())
    trimap = trimap_from_mask(mask, 6 * enlarged, 8 * enlarged)
    widened = widen_at_hair(trimap, image, 24 * enlarged)
    assert set(np.unique(widened)) == {0, 128, 255}
    assert (widened[trimap == 128] == 128).all()
    y, x = (np.mgrid[:400 * enlarged, :400 * enlarged] - 200 * enlarged) / enlarged
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    at_hair = (radius > 109) & (radius < 120) & (np.abs(angle) < 60)
    assert (widened[at_hair] == 128).mean() > 0.95
    assert np.array_equal(widened[np.abs(angle) > 110], trimap[np.abs(angle) > 110])


def test_grass_is_no_hair():
    """What the whole background looks like does not widen the band."""
    image, mask = hairy_picture()
    noise = np.random.default_rng(0).normal(0, 30, image.shape)
    image = np.where(mask[..., None] == 255, 40, 150 + noise).clip(0, 255).astype(np.uint8)
    trimap = trimap_from_mask(mask, 6, 8)
    assert np.array_equal(widen_at_hair(trimap, image, 24), trimap)


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return ((mask == 255) & (truth == 255)).sum() / ((mask == 255) | (truth == 255)).sum()


@pytest.mark.parametrize("size", [200, 1600])
def test_mask_from_a_rectangle(size):
    image, truth = photo(size), disc(size, size / 4)
    mask = mask_from_rectangle(image, (size // 5, size // 5, size - size // 5, size + 10))
    assert np.unique(mask).tolist() == [0, 255]
    assert overlap(mask, truth) > 0.98


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


def test_specks_and_pinholes_go():
    """A dot of the subject's colour beside it, and one of the background's within, do not count; a hole does."""
    image = photo(200)
    background, foreground = image[:30, :30].copy(), image[80:84, 80:84].copy()
    image[73:77, 98:102], image[95:125, 85:115], image[43:47, 43:47] = background[:4, :4], background, foreground
    mask = mask_from_rectangle(image, (30, 30, 170, 170))
    assert mask[75, 100] == 255
    assert mask[45, 45] == 0
    assert mask[110, 100] == 0


@pytest.mark.parametrize(("box", "message"), [
    ((300, 0, 400, 50), "the rectangle 300,0,400,50 contains none of the 200 x 200 pixels"),
    ((50, 20, 50, 60), "contains none"),
    ((0, 0, 200, 200), "leaves too little outside"),
])
def test_refused_rectangles(box, message):
    with pytest.raises(ValueError, match=message):
        mask_from_rectangle(photo(200), box)


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


def test_overlay():
    image = np.full((1, 3, 3), 100, np.uint8)
    assert overlay(image, np.array([[0, 128, 255]], np.uint8)).tolist() == [[[25] * 3, [177, 160, 50], [100] * 3]]
