"""Generated plants and translucent things: their form, that a seed fixes them, and what they must hold to be of use."""

import numpy as np
import pytest

from dataloader.synthetic import plants, translucent


def test_glass_and_bubbles_are_clearer_inside_than_at_their_rims():
    mask = np.zeros((65, 65), np.uint8)
    mask[8:57, 8:57] = 255
    alpha = translucent._rimmed(mask, base=0.1, thick=2, edge=1)
    assert alpha[32, 32] == pytest.approx(0.1 * 255, abs=1)
    assert alpha[32, 8] > 130  # half to one pixel deep: 0.1 + 0.9 * exp(-0.5) = 0.65 at a depth of one
    assert alpha[32, 7] == 0
    across = alpha[32, 8:33].astype(int)
    assert (np.diff(across) <= 0).all()


def test_blades_are_pointed_and_as_wide_as_asked_where_they_are_widest():
    path = np.column_stack([np.linspace(0, 100, 11), np.zeros(11)])[None]
    blade = plants._blades(path, np.array([10.0]), widest=0.5)[0]
    assert np.allclose(blade[[0, -1]], [0, 0])
    assert np.allclose(blade[[10, 11]], [100, 0])
    assert np.allclose(blade[[5, 16]], [[50, 5], [50, -5]])


def test_points_along_a_path_lie_on_it_with_its_heading():
    paths = np.array([[[0, 0], [10, 0], [10, 10]]], float)
    points, angles = plants._along(paths, np.zeros(3, int), np.array([0.25, 0.75, 1]))
    assert np.allclose(points, [[5, 0], [10, 5], [10, 10]])
    assert np.allclose(angles, [0, np.pi / 2, np.pi / 2])
