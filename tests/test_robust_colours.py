"""Most probable colours and alpha, where they can be worked out by hand."""

import numpy as np
import pytest

from matting import cutout
from matting.cutout import compose_onto, estimate_foreground, estimate_layers, refined_alpha
from matting.robust_colours import COLOUR_DEVIATION, Colours, most_probable, nearby_colours

RED, GREEN = np.float32([0.9, 0.1, 0.1]), np.float32([0.1, 0.7, 0.1])
SIZE = 1, 5


def flat(colour: np.ndarray, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.broadcast_to(colour, (*size, 3)).astype(np.float32)


def near(foreground: np.ndarray, background: np.ndarray, variance: float) -> Colours:
    return Colours(flat(foreground), flat(background), *(np.full((*SIZE, 1), variance, np.float32) for _ in range(2)))


@pytest.mark.parametrize("error", [-0.15, 0, 0.15])
def test_sure_colours_decide(error):
    """Between two sure colours a pixel's place is its alpha, and its foreground the sure one."""
    truth = np.linspace(0.2, 0.8, SIZE[1], dtype=np.float32)[None]
    image = truth[..., None] * RED + (1 - truth[..., None]) * GREEN
    foreground, alpha = most_probable(image, truth + np.float32(error), near(RED, GREEN, 1e-6))
    assert np.abs(alpha - truth).max() < 0.01
    assert np.abs(foreground - RED).max() < 1e-3


def test_equal_colours_decide_nothing():
    """Where both layers look alike, alpha stays."""
    given = np.linspace(0, 1, SIZE[1], dtype=np.float32)[None]
    _, alpha = most_probable(flat(RED), given, near(GREEN, GREEN, 0.01))
    assert np.abs(alpha - given).max() < 1e-3


def test_certain_alpha_stays():
    given = np.float32([[0, 0, 1, 1, 1]])
    _, alpha = most_probable(flat((RED + GREEN) / 2), given, near(RED, GREEN, 1e-6))
    assert np.array_equal(alpha, given)
    foreground, alpha = most_probable(flat(GREEN), given, near(RED, GREEN, 0.1))
    assert np.array_equal(alpha, given)
    assert np.abs(foreground[0, :2] - RED).max() < 1e-6  # nothing is seen of it
    assert np.abs(foreground[0, 2:] - GREEN).max() < 0.01  # it is all that is seen


def test_colours_beside_the_line_say_less():
    """Of a colour that is no mixture of the two, only the given alpha is believed."""
    given = np.full(SIZE, 0.5, np.float32)
    place, across = 0.8 * RED + 0.2 * GREEN, 0.5 * np.cross(RED - GREEN, [1, 1, 0])
    moved = [np.abs(most_probable(flat(colour), given, near(RED, GREEN, 1e-3))[1] - given).max()
             for colour in (place, place + across)]
    assert moved[0] > 0.25
    assert moved[1] < 0.2 * moved[0]


def test_unsure_foregrounds_take_the_difference():
    """With a sure background and the given alpha right on average, the photo's residual goes to the foreground."""
    colours = near(RED, GREEN, 0.0)._replace(foreground_variance=np.full((*SIZE, 1), 10, np.float32))
    given = np.full(SIZE, 0.5, np.float32)
    other = np.float32([0.5, 0.3, 0.9])
    foreground, alpha = most_probable(flat((other + GREEN) / 2), given, colours)
    assert np.abs(alpha - given).max() < 0.01
    assert np.abs(foreground - other).max() < 0.02


def test_nearby_colours():
    """Weighted by the layers' shares: what is not seen of a layer does not count."""
    alpha = np.zeros((40, 40), np.float32)
    alpha[:, 20:] = 1
    step = np.where(alpha[..., None] == 1, RED, GREEN)
    found = nearby_colours(step, step, alpha)
    assert found.stacked().shape == (40, 40, 8)
    assert all(np.array_equal(*pair) for pair in zip(found, Colours.unstacked(found.stacked()), strict=True))
    assert np.abs(found.foreground[:, 19:] - RED).max() < 1e-3
    assert np.abs(found.background[:, :21] - GREEN).max() < 1e-3
    assert np.abs(found.foreground_variance[:, 19:] - COLOUR_DEVIATION**2).max() < 1e-4
    halves = nearby_colours(step, step, np.full((40, 40), 0.5, np.float32))
    assert np.abs(halves.foreground[20, 19:21] - (RED + GREEN) / 2).max() < 0.2
    assert halves.foreground_variance[20, 20] > 0.05


def disc() -> tuple[np.ndarray, np.ndarray]:
    """The image of a soft red disc before green, and its alpha."""
    y, x = np.mgrid[:90, :500]
    alpha = (2.2 - np.hypot(y - 45, x - 250) / 18).clip(0, 1).astype(np.float32)
    return np.rint(255 * (alpha[..., None] * RED + (1 - alpha[..., None]) * GREEN)).astype(np.uint8), alpha


def test_errors_of_alpha_do_not_leak():
    """With an alpha too high by up to a tenth, less of the green background gets into the red foreground."""
    image, alpha = disc()
    mixed = (alpha > 0.1) & (alpha < 0.9)
    too_high = alpha + np.float32(0.4) * alpha * (1 - alpha)
    robust, ml = (np.abs(estimate_foreground(image, too_high, method)[mixed] - 255 * RED).mean()
                  for method in ("robust", "ml"))
    assert robust < 0.7 * ml


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("error", [-0.1, 0.1])
def test_errors_of_alpha_shrink(dtype, error):
    """An alpha off by a tenth comes nearer to the truth, and composites, too."""
    image, alpha = disc()
    image, maximum = image.astype(dtype) * (np.iinfo(dtype).max // 255), np.iinfo(dtype).max
    mixed = (alpha > 0.1) & (alpha < 0.9)
    given = np.where(mixed, alpha + np.float32(error), alpha)
    foreground, refined = estimate_layers(image, given)
    assert np.abs(refined - alpha)[mixed].mean() < 0.5 * abs(error)
    assert np.array_equal(refined[~mixed & (given % 1 == 0)], given[~mixed & (given % 1 == 0)])
    for background in (0, maximum):
        behind = np.full(3, background, dtype)
        truth = alpha[..., None] * RED * maximum + (1 - alpha[..., None]) * background
        final, before = (np.abs(compose_onto(*layers, behind) - truth)[mixed].mean()
                         for layers in ((foreground, refined), (estimate_foreground(image, given, "ml"), given)))
        assert final < 0.6 * before


@pytest.mark.parametrize("error", [-0.1, 0.1])
def test_refined_mattes(error):
    """Alpha alone: nearer to the truth than the given one, and to the given one than that of the layers."""
    image, alpha = disc()
    mixed = (alpha > 0.1) & (alpha < 0.9)
    given = np.where(mixed, alpha + np.float32(error), alpha)
    before = given.copy()
    refined = refined_alpha(image, given)
    assert np.array_equal(given, before) and refined.dtype == given.dtype
    assert np.abs(refined - alpha)[mixed].mean() < 0.7 * abs(error)
    of_layers = estimate_layers(image, given)[1]
    assert np.abs(refined - given)[mixed].mean() < np.abs(of_layers - given)[mixed].mean()
    exact = given % 1 == 0
    assert exact.any() and np.array_equal(refined[exact], given[exact])


def test_a_matte_without_open_pixels_is_not_refined(monkeypatch):
    """Nor is PyMatting loaded for it."""
    monkeypatch.setattr(cutout, "_estimate_coarse", lambda *_: pytest.fail("estimated colours"))
    alpha = np.eye(5, dtype=np.float32)
    assert np.array_equal(refined_alpha(np.zeros((5, 5, 3), np.uint8), alpha), alpha)
