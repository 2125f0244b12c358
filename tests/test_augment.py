"""The augmentations: what they draw, and what they do with it."""

import cv2
import numpy as np
import pytest

from benchmarks import whole_image_pipeline as oracle
from dataloader import augment
from dataloader.augment import (
    FILTERS,
    Filters,
    Jitter,
    affine_matrix,
    compose_matrices,
    composite,
    draw_affine,
    draw_filters,
    draw_jitter,
    draw_kernel_sizes,
    jitter_colours,
    joint_alpha,
    make_trimap,
    resize_matrix,
    rounded_matrix,
)
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

NO_FLIP = np.array([False, False])
ALL_KINDS = np.array([0, 1, 100, 254, 255], np.uint8)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], resampling: int = cv2.INTER_NEAREST):
    return cv2.warpAffine(image, matrix, size, flags=resampling | cv2.WARP_INVERSE_MAP)


def unknown_columns(trimap: np.ndarray) -> list[int]:
    return np.flatnonzero(trimap[len(trimap) // 2] == UNKNOWN).tolist()


@pytest.mark.parametrize(("angle", "flip", "expected"), [
    (0, (False, False), lambda image: image),
    (0, (True, False), lambda image: image[:, ::-1]),
    (0, (False, True), lambda image: image[::-1]),
    (0, (True, True), lambda image: image[::-1, ::-1]),
    (90, (False, False), lambda image: np.rot90(image, -1)),
    (-90, (False, False), np.rot90),
])
def test_affine_flips_and_turns(angle, flip, expected):
    image = noise(41, 41, 3)
    matrix = rounded_matrix(affine_matrix(41, 41, angle, np.ones(2), 0, np.array(flip)))
    assert np.array_equal(warped(image, matrix, (41, 41)), expected(image))


def test_affine_scale_and_shear():
    enlarging = affine_matrix(101, 201, 0, np.array([1.25, 0.8]), 0, NO_FLIP)
    assert np.allclose(enlarging @ [100 + 25, 50 + 8, 1], [100 + 20, 50 + 10])
    shearing = affine_matrix(101, 201, 0, np.ones(2), 10, NO_FLIP)
    assert np.allclose(shearing @ [100, 50 + 10, 1], [100 + 10 * np.tan(np.radians(10)), 50 + 10])


def test_affine_keeps_the_middle():
    rng = np.random.default_rng(0)
    for height, width in ((1500, 2000), (7, 3000)):
        middle = np.array([(width - 1) / 2, (height - 1) / 2])
        assert np.allclose(draw_affine(rng, height, width) @ [*middle, 1], middle)


def test_affine_draws(monkeypatch):
    monkeypatch.setattr(augment, "affine_matrix", lambda height, width, *drawn: drawn)
    rng = np.random.default_rng(0)
    angle, scale, shear, flip = map(np.array, zip(*(draw_affine(rng, 1024, 10) for _ in range(4000)), strict=True))
    for drawn, low, high in ((angle, -30, 30), (scale, 0.8, 1.25), (shear, -10, 10)):
        reach = high - low
        assert low <= drawn.min() < low + reach / 100
        assert high - reach / 100 < drawn.max() < high
        assert np.abs(drawn.mean(axis=0) - (low + high) / 2).max() < reach / 50
    assert np.abs(np.corrcoef(scale.T)[0, 1]) < 0.05
    assert np.abs(flip.mean(axis=0) - 0.5).max() < 0.03
    assert np.abs((flip[:, 0] & flip[:, 1]).mean() - 0.25) < 0.03
    assert all(draw_affine(rng, 1023, 1023)[0] == 0 for _ in range(10))


@pytest.mark.parametrize("resampling", FILTERS)
def test_part_of_a_warp_is_a_warp_of_the_part(resampling):
    image, rng = noise(700, 900, 4), np.random.default_rng(1)
    for _ in range(5):
        matrix = rounded_matrix(draw_affine(rng, 1500, 2000))
        left, top = rng.integers(0, 400, 2)
        part = compose_matrices(matrix, np.array([[1, 0, left], [0, 1, top]]))
        assert np.array_equal(warped(image, matrix, (900, 700), resampling)[top:top + 100, left:left + 100],
                              warped(image, part, (100, 100), resampling))


def test_rounding_moves_no_pixel_by_more_than_one():
    matrix = draw_affine(np.random.default_rng(2), 1500, 2000)
    corners = np.array([[0, 0, 1], [1999, 0, 1], [0, 1499, 1], [1999, 1499, 1]]).T
    assert np.abs((rounded_matrix(matrix) - matrix) @ corners).max() < 1


@pytest.mark.parametrize("size", [(63, 90), (7, 10), (21, 150), (3, 6)])  # odd factors: no ties
def test_resize_matrix(size):
    image = noise(21, 30)
    resized = cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    assert np.array_equal(warped(image, resize_matrix(size, (21, 30)), size[::-1]), resized)


def test_compose_applies_the_inner_matrix_first():
    rng = np.random.default_rng(0)
    outer, inner = rng.normal(size=(2, 2, 3))
    point = np.array([3, 5, 1])
    assert np.allclose(compose_matrices(outer, inner) @ point, outer @ [*(inner @ point), 1])


def test_filter_draws():
    rng = np.random.default_rng(0)
    assert draw_filters(rng, random=False) == Filters(cv2.INTER_NEAREST, cv2.INTER_NEAREST, cv2.INTER_CUBIC)
    drawn = np.array([draw_filters(rng, random=True) for _ in range(2000)])
    for column in drawn.T:
        values, counts = np.unique(column, return_counts=True)
        assert set(values) == set(FILTERS)
        assert np.abs(counts / len(drawn) - 0.25).max() < 0.04


def test_joint_alpha():
    upper, lower = (grid.astype(np.uint8) for grid in np.meshgrid(ALL_KINDS, ALL_KINDS))
    joint = joint_alpha([upper, lower])
    assert joint.dtype == np.float32
    assert np.allclose(joint, 1 - (1 - upper / 255) * (1 - lower / 255), atol=1e-6)
    assert np.array_equal(joint == 1, (upper == 255) | (lower == 255))
    assert np.array_equal(joint == 0, (upper == 0) & (lower == 0))
    assert joint_alpha([np.array([[128]], np.uint8)] * 2) == pytest.approx(1 - (127 / 255) ** 2)


def test_kernel_size_draws():
    rng = np.random.default_rng(0)
    sizes = np.array([draw_kernel_sizes(rng) for _ in range(6000)])
    for column in sizes.T:
        assert np.array_equal(np.unique(column), np.arange(1, 30))
        assert abs(column.mean() - 15) < 0.4
    assert abs(np.corrcoef(sizes.T)[0, 1]) < 0.05


def test_trimap_of_an_edge():
    alpha = np.zeros((60, 100), np.float32)
    alpha[:, 50:] = 1
    assert unknown_columns(make_trimap(alpha, (1, 1))) == []
    assert unknown_columns(make_trimap(alpha, (5, 9))) == [46, 47, 48, 49, 50, 51]
    assert unknown_columns(make_trimap(alpha, (29, 1))) == list(range(50, 64))
    alpha[:, 49] = 0.5
    assert unknown_columns(make_trimap(alpha, (1, 1))) == [49]
    assert set(np.unique(make_trimap(alpha, (5, 5)))) == {BACKGROUND, UNKNOWN, FOREGROUND}
    for value, label in ((0, BACKGROUND), (1, FOREGROUND)):  # the border erodes nothing
        assert (make_trimap(np.full((9, 9), value, np.float32), (29, 29)) == label).all()


def test_known_pixels_are_known():
    rng = np.random.default_rng(0)
    for _ in range(20):
        alpha = cv2.GaussianBlur((rng.random((80, 90)) > 0.999).astype(np.float32), (0, 0), 4) * 160
        alpha = np.clip(alpha, 0, 1) * (alpha > 0.05)
        sizes = draw_kernel_sizes(rng)
        trimap = make_trimap(alpha, sizes)
        assert (alpha[trimap == FOREGROUND] == 1).all()
        assert (alpha[trimap == BACKGROUND] == 0).all()
        assert (trimap[(alpha > 0) & (alpha < 1)] == UNKNOWN).all()
        assert np.array_equal(trimap, oracle.whole_trimap(alpha, sizes))


def test_jitter_draws():
    rng = np.random.default_rng(0)
    hue, saturation, value = np.array([draw_jitter(rng) for _ in range(6000)]).T
    assert np.array_equal(np.unique(hue), np.arange(-40, 41))
    assert abs(hue.mean()) < 1
    for drawn in (saturation, value):
        assert -1 <= drawn.min() < -0.98
        assert 0.98 < drawn.max() < 1
        assert abs(drawn.mean()) < 0.03


@pytest.mark.parametrize(("hue", "expected"), [(40, (240, 180, 60)), (-40, (240, 60, 180)), (0, (240, 60, 60))])
def test_jitter_turns_hue(hue, expected):
    red = np.full((2, 3, 3), (240, 60, 60), np.uint8)
    turned = jitter_colours(red, np.ones((2, 3), np.float32), Jitter(hue, 0, 0))
    assert np.abs(turned - expected).max() < 1e-3


def test_jitter_shifts_saturation_and_value():
    alpha = np.array([[1, 0.2, 0]], np.float32)
    colours = np.array([[[204, 102, 102], [102, 102, 102], [0, 0, 255]]], np.float32)  # S: .5, 0, 1; V: .8, .4, 1
    hsv = cv2.cvtColor(jitter_colours(colours, alpha, Jitter(0, 1, -1)) / 255, cv2.COLOR_RGB2HSV)
    saturation_shift, value_shift = (1.1 - 0.25) / 10, -(1.1 - 0.6) / 10
    assert np.allclose(hsv[0, :, 1], [0.5 + saturation_shift, saturation_shift, 1 - saturation_shift], atol=1e-5)
    assert np.allclose(hsv[0, :, 2], [0.8 + value_shift, 0.4 + value_shift, 1 + value_shift], atol=1e-5)


def test_jitter_agrees_with_the_oracle_and_stays_in_range():
    rng = np.random.default_rng(0)
    for seed in range(5):
        colours, alpha = noise(30, 40, 3, seed=seed), joint_alpha([noise(30, 40, seed=seed + 9) // 200 * 255])
        drawn = draw_jitter(rng)
        result = jitter_colours(colours, alpha, drawn)
        assert np.abs(result - oracle.jitter(colours.astype(np.float32), alpha, *drawn)).max() < 2e-3
        assert result.min() >= 0
        assert result.max() <= 255 + 1e-3


def test_jitter_leaves_what_does_not_show():
    colours = noise(4, 5, 3)
    assert np.array_equal(jitter_colours(colours, np.zeros((4, 5), np.float32), Jitter(30, 1, 1)), colours)


def test_composite():
    foreground, background = noise(20, 30, 3), noise(20, 30, 3, seed=1)
    alpha = np.resize(ALL_KINDS, (20, 30)).astype(np.float32) / 255
    image = composite(foreground, background, alpha)
    exact = alpha[..., None].astype(float) * foreground + (1 - alpha[..., None].astype(float)) * background
    assert image.dtype == np.float32
    assert np.abs(image - exact).max() < 1e-4
    assert np.array_equal(image[alpha == 1], foreground[alpha == 1])
    assert np.array_equal(image[alpha == 0], background[alpha == 0])
