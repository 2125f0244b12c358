"""Generated plants and translucent things: their form, that a seed fixes them, and what they must hold to be of use."""

import numpy as np
import pytest

from dataloader.synthetic import plants, translucent

FAMILIES = [*plants.FAMILIES, *plants.HELD_OUT, *translucent.FAMILIES, *translucent.HELD_OUT]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)


@each_family
@pytest.mark.parametrize("size", [64, 100, 512])
def test_a_drawing_has_the_size_asked_for_and_mixed_pixels(family, size):
    alpha, shade = family(np.random.default_rng(3), size)
    for plane in (alpha, shade):
        assert plane.shape == (size, size)
        assert plane.dtype == np.uint8
    assert np.mean((alpha > 0) & (alpha < 255)) > 0.005


@each_family
def test_a_seed_fixes_the_bytes_and_another_changes_them(family):
    first, again, other = (family(np.random.default_rng(seed), 96) for seed in (5, 5, 6))
    assert np.array_equal(first.alpha, again.alpha)
    assert np.array_equal(first.shade, again.shade)
    assert not np.array_equal(first.alpha, other.alpha)


@each_family
def test_most_drawings_hold_opaque_and_empty_parts(family):
    alphas = [family(np.random.default_rng(seed), 128).alpha for seed in range(10)]
    assert sum(alpha.min() == 0 and alpha.max() == 255 for alpha in alphas) >= 6


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
