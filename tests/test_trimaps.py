"""Trimaps from masks, against worked-out ones, and pictures of them."""

import cv2
import numpy as np
import pytest
from trimap_pictures import disc, hairy_picture

from matting.trimaps import overlay, trimap_from_mask, widen_at_hair


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


def test_smooth_background_beyond_the_strands_stays_known():
    """Short strands, and a reach of 24 pixels beyond the band of 8."""
    image, mask = hairy_picture(tips=114)
    trimap = trimap_from_mask(mask, 6, 8)
    widened = widen_at_hair(trimap, image, 24)
    y, x = np.mgrid[:400, :400] - 200
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    right = np.abs(angle) < 60
    assert (widened[right & (radius > 109) & (radius < 112)] == 128).mean() > 0.9
    assert not widened[radius > 121].any()


def test_grass_is_no_hair():
    """What the whole background looks like does not widen the band."""
    image, mask = hairy_picture()
    noise = np.random.default_rng(0).normal(0, 30, image.shape)
    image = np.where(mask[..., None] == 255, 40, 150 + noise).clip(0, 255).astype(np.uint8)
    trimap = trimap_from_mask(mask, 6, 8)
    assert np.array_equal(widen_at_hair(trimap, image, 24), trimap)


def test_overlay():
    """Subject green, unknown yellow, background red; on black and on white alike."""
    trimap = np.array([[0, 128, 255]], np.uint8)
    red, yellow, green = ([round(0.45 * level) for level in tint] for tint in (
        (0xef, 0x44, 0x44), (0xfa, 0xcc, 0x15), (0x22, 0xc5, 0x5e)))
    assert overlay(np.zeros((1, 3, 3), np.uint8), trimap).tolist() == [[red, yellow, green]]
    white = overlay(np.full((1, 3, 3), 255, np.uint8), trimap).astype(int)
    assert np.abs(white - np.add([[red, yellow, green]], 0.55 * 255)).max() <= 1
