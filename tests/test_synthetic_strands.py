"""Generated shapes, strands and plants: what every family promises, and what is known of some."""

import cv2
import numpy as np
import pytest

from dataloader.synthetic import focus, growth, plants, shapes, strands

HELD_OUT = (*strands.HELD_OUT, *plants.HELD_OUT)
FAMILIES = (*shapes.FAMILIES, *strands.FAMILIES, *plants.FAMILIES)
every_family = pytest.mark.parametrize("family", FAMILIES + HELD_OUT, ids=lambda family: family.__name__)


def test_no_family_is_both_trained_on_and_held_out():
    assert len(set(FAMILIES + HELD_OUT)) == len(FAMILIES) + len(HELD_OUT)


@every_family
@pytest.mark.parametrize("size", [64, 512])
def test_shape_and_type(family, size):
    drawing = family(np.random.default_rng(1), size)
    for image in drawing:
        assert image.shape == (size, size)
        assert image.dtype == np.uint8


@every_family
def test_a_seed_draws_the_same_again_and_another_does_not(family):
    first, again, other = (family(np.random.default_rng(seed), 128) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.alpha, again.alpha)
    np.testing.assert_array_equal(first.shade, again.shade)
    assert (first.alpha != other.alpha).any()


@every_family
def test_alphas_have_solid_clear_and_mixed_pixels(family):
    alphas = [family(np.random.default_rng(seed), 192).alpha for seed in range(16)]
    mixed = [((alpha > 0) & (alpha < 255)).mean() for alpha in alphas]
    assert all(alpha.min() == 0 for alpha in alphas)
    assert sum(alpha.max() == 255 for alpha in alphas) >= 14  # a thin one may be out of focus throughout
    assert min(mixed) > 0
    assert 0.003 < np.mean(mixed) < 0.6


def test_crisp_shapes_are_mixed_only_along_their_edge():
    for seed in range(10):
        alpha = shapes.crisp(np.random.default_rng(seed), 256).alpha
        mixed = (alpha > 0) & (alpha < 255)
        to_other_side = np.where(alpha > 127, cv2.distanceTransform((alpha > 127).astype(np.uint8), cv2.DIST_L2, 5),
                                 cv2.distanceTransform((alpha <= 127).astype(np.uint8), cv2.DIST_L2, 5))
        inner = np.s_[4:-4, 4:-4]  # at the border, the nearest pixel of the other side may lie outside
        assert to_other_side[inner][mixed[inner]].max() <= 1.5


@pytest.mark.parametrize("family", [strands.long_hair, strands.curly_hair, strands.fur])
def test_hair_thins_out_away_from_the_solid(family):
    near, far = [], []
    for seed in range(12):
        alpha = family(np.random.default_rng(seed), 256).alpha
        distance = cv2.distanceTransform((alpha < 255).astype(np.uint8), cv2.DIST_L2, 5)
        near.append(alpha[(distance > 0) & (distance <= 2)].mean())
        far.append(alpha[(distance > 12) & (distance <= 24)].mean())
    assert np.mean(near) > 2 * np.mean(far) > 0


def test_paths_grow_as_long_as_asked_and_straight_without_pull():
    paths = growth.grow(np.random.default_rng(0), np.array([[10, 20], [0, 0]]), np.array([0, np.pi / 2]),
                        np.array([30, 8]), points=5)
    np.testing.assert_allclose(paths[0], [[10, 20], [17.5, 20], [25, 20], [32.5, 20], [40, 20]], atol=1e-4)
    np.testing.assert_allclose(paths[1, -1], [0, 8], atol=1e-4)


def test_gravity_bends_paths_down_and_keeps_their_length():
    path = growth.grow(np.random.default_rng(0), np.zeros((1, 2)), np.zeros(1), np.array([100]), (0, 50), points=101)[0]
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(path[-1] - path[-2], [0, 1], atol=0.03)


def test_tapered_strands_fade_towards_the_tip():
    canvas = np.zeros((64, 64), np.uint8)
    path = np.column_stack([np.linspace(4, 60, 17), np.full(17, 32)])[None]
    growth.tapered(canvas, path, np.array([1.0]), 1, tip=0.2)
    thirds = canvas[32, 5:59].reshape(3, -1).mean(axis=1)
    assert thirds[0] > thirds[1] > thirds[2] > 0
    assert canvas[:28].max() == 0


def test_layers_let_through_the_product_of_what_each_does():
    half = np.full((2, 2), 128, np.uint8)  # lets 127 / 255 through
    assert (growth.stacked_alpha(half, half) == round(255 - 127 * 127 / 255)).all()
    assert (growth.stacked_alpha(half, np.full((2, 2), 255, np.uint8)) == 255).all()
    assert (growth.stacked_alpha(half, np.zeros((2, 2), np.uint8)) == 128).all()


def test_haze_is_solid_where_strands_crowd_and_clear_elsewhere():
    y = np.linspace(0, 127, 20)
    paths = np.stack([np.column_stack([np.full(20, x), y]) for x in np.linspace(20, 40, 60)]).astype(np.float32)
    alpha = growth.haze(paths, np.full(60, 2.0), 64, strength=4, cells=32)
    assert alpha[8:56, 13:18].min() == 255
    assert alpha[:, 30:].max() == 0


def test_motion_spreads_an_edge_over_its_length_and_keeps_the_sum():
    square = np.zeros((128, 128), np.uint8)
    square[48:80, 48:80] = 255

    class Straight:
        """Draws that make the motion go straight to the right."""

        def uniform(self, low, high, size=None):
            return np.zeros(size) if size else 0.0

        def random(self):
            return 0.9

    alpha = focus.motion_blur(Straight(), square, 16)
    assert abs(int(alpha.sum(dtype=int)) - int(square.sum(dtype=int))) < 0.01 * square.sum(dtype=int)
    row = alpha[64].astype(int)
    assert (row == 255).sum() in (16, 17, 18)
    np.testing.assert_allclose(np.diff(row[49:63]), 16, atol=1)
    assert alpha[47].max() == 0


@pytest.mark.parametrize("sigma", [1.0, 8.0])
def test_blur_spreads_an_edge_as_its_sigma_says(sigma):
    step = np.zeros((256, 256), np.float32)
    step[:, 128:] = 1
    row = focus.gaussian_blur(step, sigma)[128]
    # A Gaussian's distribution is at 0.159 one deviation below its middle, which lies between pixels 127 and 128.
    assert abs(np.interp(127.5 - sigma, np.arange(256), row) - 0.159) < 0.03
