"""Boxes on grids, and coverings by them."""

import numpy as np
import pytest
import torch

from utils.boxes import MARGIN_COST, SMALLEST, Box, bounding_box, cover


def ring(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.abs(np.hypot(y - height / 2, x - width / 2) - min(height, width) / 3) < 1.5


def test_bounding_boxes():
    wanted = np.zeros((6, 8), bool)
    wanted[2, 3] = wanted[4, 1] = wanted[5, 7] = True
    assert bounding_box(wanted, Box(0, 5, 0, 8)) == Box(2, 5, 1, 4)
    assert bounding_box(wanted, Box(0, 2, 0, 8)) is None


def test_places():
    box = Box(2, 4, 6, 9)
    assert (box.height, box.width) == (2, 3)
    assert box.grown(3, 5, 20) == Box(0, 5, 3, 12)
    assert box.times(4) == Box(8, 16, 24, 36)
    assert box.seen_from(Box(1, 9, 4, 9)) == Box(1, 3, 2, 5)
    assert box.overlap(Box(3, 9, 0, 7)) == Box(3, 4, 6, 7)
    assert box.overlap(Box(4, 9, 0, 9)) is box.overlap(Box(0, 9, 0, 6)) is None
    grid = torch.arange(200).view(1, 10, 20)
    assert torch.equal(box.of(grid), grid[:, 2:4, 6:9])
    outer = box.grown(1, 10, 20)
    assert torch.equal(box.seen_from(outer).of(outer.of(grid)), box.of(grid))
    for halves in (box.halves(), Box(0, 5, 0, 2).halves()):
        assert sum(half.height * half.width for half in halves) in (6, 10)


@pytest.mark.parametrize("limit", [1, 40, 300, 10**6])
@pytest.mark.parametrize("margin", [0, 5])
@pytest.mark.parametrize("wanted", [
    ring(60, 80), np.ones((37, 23), bool), np.random.default_rng(0).random((50, 31)) < 0.02,
], ids=["ring", "all", "scattered"])
def test_every_wanted_cell_is_covered_once(wanted, limit, margin):
    times = np.zeros(wanted.shape, int)
    for box in cover(wanted, limit, margin):
        times[box.slices] += 1
        smallest = max(box.height, box.width) <= SMALLEST
        assert smallest or (box.height + 2 * margin) * (box.width + 2 * margin) <= limit
    assert (times[wanted] == 1).all()
    assert times.max() == 1


def test_follows_the_wanted_region():
    """A ring costs less than half of its bounding box; two far corners are two small boxes."""
    cost = sum((box.height + MARGIN_COST) * (box.width + MARGIN_COST) for box in cover(ring(200, 200), 10**6))
    assert cost < 0.5 * 133**2
    corners = np.zeros((90, 70), bool)
    corners[0, 0] = corners[-1, -1] = True
    assert sorted(cover(corners, 10**6)) == [Box(0, 1, 0, 1), Box(89, 90, 69, 70)]
    assert cover(np.zeros((5, 5), bool), 100) == []
    assert cover(np.ones((64, 64), bool), 64 * 64) == [Box(0, 64, 0, 64)]
