"""Drawn patterns: where a net, cloth and punched holes are open, what a shade does to colours, likeness of colours."""

import numpy as np
import pytest

from dataloader.synthetic.colours import (
    apply_shade,
    defocus_background,
    foreground_colours,
    generated_background,
    near_colours,
)
from dataloader.synthetic.drawing import Drawing, fill, stroke
from dataloader.synthetic.lace import mesh
from dataloader.synthetic.patterns import FAMILIES, HELD_OUT
from dataloader.synthetic.warping import control_points, cut, log_uniform, spread, warped

ALL = FAMILIES + HELD_OUT


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("family", ALL)
@pytest.mark.parametrize("size", [64, 512])
def test_a_drawing_has_the_size_asked_for_and_mixed_pixels(family, size):
    for seed in range(3):
        drawing = family(rng(seed), size)
        for image in drawing:
            assert image.shape == (size, size)
            assert image.dtype == np.uint8
        assert ((drawing.alpha > 0) & (drawing.alpha < 255)).mean() > 0.001


@pytest.mark.parametrize("family", ALL)
def test_a_seed_fixes_the_bytes_and_another_changes_them(family):
    first, again, other = (family(rng(seed), 96) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.alpha != other.alpha).any()


@pytest.mark.parametrize("family", ALL)
def test_most_drawings_hold_opaque_and_empty_parts(family):
    alphas = [family(rng(seed), 128).alpha for seed in range(12)]
    assert sum((alpha == 255).any() and (alpha == 0).any() for alpha in alphas) >= 8


def test_a_net_has_strings_at_multiples_of_its_cell_and_holes_between():
    alpha = np.zeros((96, 96), np.uint8)
    paths = mesh(96, 16)
    stroke(alpha, paths, np.full(len(paths), 3), np.full(len(paths), 255))
    assert (alpha[::16] == 255).all()
    assert (alpha[:, ::16] == 255).all()
    assert (alpha[8::16, 8::16] == 0).all()


def test_six_cornered_meshes_are_open_in_the_middle_and_three_strings_meet_at_a_knot():
    alpha = np.zeros((96, 96), np.uint8)
    cell = 24
    paths = mesh(96, cell, hexagonal=True)
    stroke(alpha, paths, np.ones(len(paths)), np.full(len(paths), 255))
    lengths = [np.linalg.norm(np.diff(path, axis=0), axis=1) for path in paths]
    assert np.concatenate(lengths) == pytest.approx(cell / np.sqrt(3), rel=0.02)  # a regular hexagon `cell` wide
    assert 0.05 < (alpha > 0).mean() < 0.3
    ends = np.concatenate([path for path in paths if len(path) == 2])
    zigzags = np.concatenate([path for path in paths if len(path) > 2])
    inner = ends[(np.abs(ends - 48) < 30).all(axis=1)]
    assert all(np.abs(zigzags - end).sum(axis=1).min() < 0.01 * cell for end in inner)


def test_cut_keeps_what_lies_within_and_empties_the_rest():
    whole = Drawing(np.full((128, 128), 200, np.uint8), np.full((128, 128), 128, np.uint8))
    alpha = cut(rng(), whole).alpha
    assert set(np.unique(alpha)) >= {0, 200}
    assert alpha.max() == 200
    assert cut(rng(), whole, rim=4).alpha.max() == 255


def test_control_points_spread_to_the_pixels_they_stand_for():
    """x and y of the control points are linear: spread out, they are each pixel's own place."""
    for size in (64, 100, 512):
        x, y = (spread(at, size) for at in control_points(size))
        rows, columns = np.indices((size, size))
        assert x == pytest.approx(columns, abs=0.02)
        assert y == pytest.approx(rows, abs=0.02)


def test_a_warp_of_no_strength_changes_nothing():
    disc = np.zeros((96, 96), np.uint8)
    turn = np.linspace(0, 2 * np.pi, 60)
    fill(disc, 48 + 20 * np.column_stack([np.cos(turn), np.sin(turn)]))
    assert np.abs(warped(rng(), disc, 20, 0).astype(int) - disc).max() <= 8  # of rounding to a 32nd of a pixel
    assert (warped(rng(), disc, 20, 5) != disc).any()


def test_scales_are_drawn_as_often_in_each_octave():
    values = np.array([log_uniform(g, 1, 16) for g in [rng()] for _ in range(2000)])
    assert values.min() >= 1
    assert values.max() <= 16
    assert np.histogram(np.log2(values), 4, (0, 4))[0] / 2000 == pytest.approx(0.25, abs=0.05)


def test_shades_of_128_0_and_255():
    colours = rng().integers(0, 256, (16, 16, 3), np.uint8)
    for shade, expected in ((128, colours), (0, np.zeros_like(colours)), (255, np.full_like(colours, 255))):
        assert (apply_shade(colours.copy(), np.full((16, 16), shade, np.uint8)) == expected).all()
    half = apply_shade(np.full((4, 4, 3), 100, np.uint8), np.full((4, 4), 64, np.uint8))
    assert (half == 50).all()


def test_near_colours_bring_mean_and_deviation_closer():
    colours = foreground_colours(rng(1), 64, np.full((64, 64), 128, np.uint8))
    background = np.clip(rng(2).normal((60, 120, 90), 20, (48, 80, 3)), 0, 255).astype(np.uint8)
    for seed in range(5):
        near = near_colours(rng(seed), colours, background)
        distances = [np.abs(c.mean(axis=(0, 1)) - background.mean(axis=(0, 1))) for c in (colours, near)]
        assert (distances[1] <= 0.75 * distances[0] + 2).all()


def test_generated_backgrounds_are_fixed_by_the_seed_and_of_any_size():
    for seed in range(12):
        first, again = (generated_background(rng(seed), 70, 101) for _ in range(2))
        assert first.shape == (70, 101, 3)
        assert first.dtype == np.uint8
        assert (first == again).all()


def test_out_of_focus_keeps_the_mean_and_softens():
    image = np.repeat(rng().integers(0, 2, (96, 96, 1), np.uint8) * 255, 3, axis=2)
    soft = defocus_background(rng(), image)
    assert soft.shape == image.shape
    assert soft.mean() == pytest.approx(image.mean(), abs=3)
    assert soft.std() < 0.8 * image.std()
