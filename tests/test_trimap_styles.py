"""Trimaps drawn in other ways: what is known stays right, what is unknown stays unknown."""

import cv2
import numpy as np
import pytest

from dataloader.synthetic.trimap_styles import (
    UNCHANGED_SHARE,
    brushed,
    coarse,
    redraw_trimap,
    scribbled,
    widened,
    without_islands,
)
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN


def disc(size: int = 96) -> np.ndarray:
    """A disc with an unknown rim around it and an unknown spot in it, (size, size) uint8 labels."""
    trimap = np.full((size, size), BACKGROUND, np.uint8)
    for radius, label in ((0.34, UNKNOWN), (0.26, FOREGROUND), (0.03, UNKNOWN)):
        cv2.circle(trimap, (size // 2, size // 2), int(radius * size), label, -1)
    return trimap


def halves() -> np.ndarray:
    """Foreground, a narrow unknown band, background, side by side."""
    trimap = np.full((48, 64), FOREGROUND, np.uint8)
    trimap[:, 30:33] = UNKNOWN
    trimap[:, 33:] = BACKGROUND
    return trimap


def without(label: int) -> np.ndarray:
    trimap = disc()
    trimap[trimap == label] = UNKNOWN
    return trimap


TRIMAPS = [disc(), disc(17), halves(), without(FOREGROUND), without(BACKGROUND), np.full((9, 9), UNKNOWN, np.uint8)]


@pytest.mark.parametrize("trimap", TRIMAPS, ids=["disc", "small", "halves", "no foreground", "no background", "blank"])
def test_known_is_right_however_it_is_drawn(trimap):
    before = trimap.copy()
    for seed in range(200):
        redrawn = redraw_trimap(np.random.default_rng(seed), trimap)
        assert redrawn.dtype == np.uint8
        assert ((redrawn == trimap) | (redrawn == UNKNOWN)).all()
        assert (redrawn == UNKNOWN).any()
        assert np.array_equal(redrawn, redraw_trimap(np.random.default_rng(seed), trimap))
    assert np.array_equal(trimap, before)


def test_a_share_is_left_as_it_is():
    trimap = disc()
    same = np.mean([np.array_equal(redraw_trimap(np.random.default_rng(seed), trimap), trimap) for seed in range(500)])
    assert UNCHANGED_SHARE - 0.07 < same < UNCHANGED_SHARE + 0.1


def test_trimaps_without_unknown_stay():
    known = np.full((20, 20), FOREGROUND, np.uint8)
    assert all(np.array_equal(redraw_trimap(np.random.default_rng(seed), known), known) for seed in range(20))


@pytest.mark.parametrize("radius", [0, 1, 5, 7.5])
def test_widening_is_by_distance(radius):
    """Around one unknown pixel, a disc."""
    trimap = np.full((40, 50), FOREGROUND, np.uint8)
    trimap[20, 30] = UNKNOWN
    rows, columns = np.mgrid[:40, :50]
    near = np.hypot(rows - 20, columns - 30) <= radius
    assert np.array_equal(widened(trimap, radius), np.where(near, UNKNOWN, FOREGROUND))


def test_coarse_trimaps_are_known_by_whole_blocks():
    """One unknown pixel takes its block of 4 x 4 along; the last blocks are cut off by the edge."""
    trimap = np.full((10, 11), BACKGROUND, np.uint8)
    trimap[1, 6] = trimap[9, 10] = UNKNOWN
    expected = np.full_like(trimap, BACKGROUND)
    expected[:4, 4:8] = expected[8:, 8:] = UNKNOWN
    assert np.array_equal(coarse(trimap, 4), expected)


def test_islands_go_and_wide_regions_stay():
    """A known speck of 5 x 5 and a bar of width 6 hold no disc of radius 6; the wide half of the picture does."""
    trimap = np.full((60, 80), UNKNOWN, np.uint8)
    trimap[:, :40] = BACKGROUND
    trimap[10:15, 60:65] = FOREGROUND
    trimap[30:36, 50:80] = BACKGROUND
    expected = np.where(np.arange(80) < 40, BACKGROUND, UNKNOWN)[None].repeat(60, axis=0)
    redrawn = without_islands(trimap, 6)
    assert (redrawn[:, 40:] == UNKNOWN).all()
    assert np.array_equal(redrawn, expected)


def test_brushed_trimaps_grow_by_dabs_near_the_unknown():
    trimap = halves()
    for seed in range(20):
        redrawn = brushed(np.random.default_rng(seed), trimap, widest=10)
        assert (redrawn == UNKNOWN).sum() > (trimap == UNKNOWN).sum()
        assert (redrawn[:, 63] == BACKGROUND).all()  # 30 pixels away, farther than shifts and dabs reach


def test_scribbles_leave_hardly_anything_known():
    trimap = halves()
    shares = [(scribbled(np.random.default_rng(seed), trimap) != UNKNOWN).mean() for seed in range(40)]
    assert all(0 < share < 0.75 for share in shares)
    assert np.median(shares) < 0.3
