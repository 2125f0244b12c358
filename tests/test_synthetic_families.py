"""What drawings of every family have in common: their form, that a seed fixes them, and mixed pixels."""

import numpy as np
import pytest

from dataloader.synthetic import meshes, plants, things, translucent

SOLID = things.FAMILIES + meshes.FAMILIES
ORGANIC = [*plants.FAMILIES, *plants.HELD_OUT, *translucent.FAMILIES, *translucent.HELD_OUT]
each_family = pytest.mark.parametrize("family", [*SOLID, *ORGANIC], ids=lambda family: family.__name__)


@each_family
@pytest.mark.parametrize("size", [64, 100, 512])
def test_a_drawing_has_the_requested_size_and_mixed_pixels(family, size):
    alpha, shade = family(np.random.default_rng(3), size)
    for plane in (alpha, shade):
        assert plane.shape == (size, size)
        assert plane.dtype == np.uint8
    assert np.mean((alpha > 0) & (alpha < 255)) > (0.002 if family in SOLID else 0.005)


@each_family
def test_a_seed_fixes_the_bytes_and_another_changes_them(family):
    first, again, other = (family(np.random.default_rng(seed), 96) for seed in (5, 5, 6))
    assert np.array_equal(first.alpha, again.alpha)
    assert np.array_equal(first.shade, again.shade)
    assert not np.array_equal(first.alpha, other.alpha)


@each_family
def test_most_drawings_hold_opaque_and_empty_parts(family):
    alphas = [family(np.random.default_rng(seed), 128).alpha for seed in range(10)]
    assert sum(alpha.min() == 0 and alpha.max() == 255 for alpha in alphas) >= (7 if family in SOLID else 6)
