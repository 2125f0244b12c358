"""The four errors against the MATLAB program's answers and values worked by hand."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataloader.image_file import read_grey
from evaluation import metrics
from evaluation.metrics import (
    _connected_steps,
    _gaussian_filters,
    _largest_component,
    _majority_component,
    connectivity_error,
    gradient_error,
    matting_errors,
    mse,
    sad,
)

DATA = Path(__file__).parent / "data" / "metrics"
with (DATA / "expected.csv").open() as file:
    EXPECTED = {row.pop("name"): {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)}


@pytest.mark.parametrize("name", EXPECTED)
def test_matlab_answers(name):
    errors = matting_errors(*(read_grey(DATA / folder / name) for folder in ("pred", "gt", "trimap")))
    assert errors._asdict() == pytest.approx(EXPECTED[name], rel=1e-5)


def test_sad_and_mse_by_hand():
    prediction = np.array([[0.5, 0.25, 1.0]], np.float32)
    truth = np.array([[0.0, 0.75, 0.0]], np.float32)
    unknown = np.array([[True, True, False]])
    assert sad(prediction, truth, unknown) == pytest.approx(0.001)
    assert mse(prediction, truth, unknown) == pytest.approx(0.25)


def test_gradient_filters():
    smooth, derivative = _gaussian_filters(1.4, 0.01)
    assert len(smooth) == len(derivative) == 9  # half size ceil(1.4 sqrt(-2 ln(sqrt(2 pi) 0.014))) = 4
    assert np.linalg.norm(np.outer(smooth, derivative)) == pytest.approx(1)
    assert derivative.sum() == pytest.approx(0)
    assert derivative[3] / smooth[3] == pytest.approx(-derivative[5] / smooth[5])


def test_gradient_of_a_ramp_by_hand():
    """Away from the border a ramp's derivative is its slope times the filters' response to x."""
    ramp = np.tile(np.linspace(0, 1, 41, dtype=np.float32), (41, 1))
    smooth, derivative = _gaussian_filters(1.4, 0.01)
    slope = abs(derivative @ np.arange(-4, 5)) * smooth.sum() / 40
    unknown = np.zeros((41, 41), bool)
    unknown[20, 20] = True
    assert gradient_error(np.zeros_like(ramp), ramp, unknown) == pytest.approx(slope**2 / 1000, rel=1e-4)


def test_gradient_ignores_contrast():
    """Each image is stretched to its own range, so a matte of half the contrast has the same gradients."""
    truth = np.random.default_rng(0).random((20, 30), dtype=np.float32)
    assert gradient_error(truth * np.float32(0.5), truth, np.ones(truth.shape, bool)) == pytest.approx(0, abs=1e-9)


def test_connectivity_by_hand():
    """Two separate pieces of truth; the smaller one hangs on at no level, so its pixels count from 0."""
    truth = np.zeros((3, 7), np.float32)
    truth[:, :3] = 1
    truth[1, 5] = 1
    prediction = truth.copy()
    prediction[1, 5] = 0.5
    unknown = np.zeros(truth.shape, bool)
    unknown[1, 5] = True
    # level 0: distances 0.5 and 1, so phi is 0.5 and 0.
    assert connectivity_error(prediction, truth, unknown) == pytest.approx(0.0005)


def test_largest_component_takes_the_first_in_column_order_among_equals():
    mask = np.array([[0, 0, 1, 1], [1, 0, 0, 0], [1, 0, 1, 1]], bool)
    assert np.array_equal(_largest_component(mask), np.array([[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]], bool))
    assert not _largest_component(np.zeros((2, 2), bool)).any()
    diagonal = np.eye(2, dtype=bool)  # not 4-connected
    assert _largest_component(diagonal).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("deviation", [0, 30, 120])
def test_filling_finds_the_components_that_labelling_finds(monkeypatch, deviation):
    """Pixels at random break the subject into many components, of which none may have most of the pixels."""
    rng = np.random.default_rng(deviation)
    for _ in range(10):
        truth = cv2.GaussianBlur(rng.random((40, 60), dtype=np.float32), (0, 0), 4)
        truth = cv2.normalize(truth, None, 0, 1, cv2.NORM_MINMAX)
        lowest = np.clip(truth + rng.normal(0, deviation / 255, truth.shape), 0, 1).astype(np.float32)
        with monkeypatch.context() as labelling:
            labelling.setattr(metrics, "_majority_component", lambda mask, seed: None)
            expected = _connected_steps(lowest)
        assert expected.any()
        assert np.array_equal(_connected_steps(lowest), expected)


def test_a_component_is_filled_if_it_has_most_pixels():
    mask = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
    assert _majority_component(mask, 0) is None  # 2 of 5
    assert np.array_equal(_majority_component(mask, 3), mask & (np.arange(4) > 1))


def test_gradient_in_strips_is_that_of_the_whole_image(monkeypatch):
    rng = np.random.default_rng(0)
    prediction, truth = rng.random((2, 50, 31), dtype=np.float32)
    unknown = rng.random(truth.shape) < 0.1
    unknown[20:30] = False  # strips without unknown pixels
    errors = []
    for rows in (1, 7, 1000):
        monkeypatch.setattr(metrics, "STRIP_ROWS", rows)
        errors.append(gradient_error(prediction, truth, unknown))
    assert errors[0] == errors[1] == errors[2] > 0


@pytest.mark.parametrize(("prediction", "trimap", "message"), [
    (np.zeros((4, 4), np.float32), None, "prediction is float32"),
    (np.zeros((4, 5), np.uint8), None, "prediction is 5 x 4, but alpha is 4 x 4"),
    (None, np.zeros((3, 4), np.uint8), "trimap is 4 x 3, but alpha is 4 x 4"),
    (None, np.array([[0, 127, 128, 255]] * 4, np.uint8), "trimap contains 1 value other than 0, 128 and 255: 127"),
    (None, np.zeros((4, 4), np.uint8), "trimap has no unknown pixels"),
])
def test_impossible_inputs(prediction, trimap, message):
    truth = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match=message):
        matting_errors(truth if prediction is None else prediction, truth,
                       np.full((4, 4), 128, np.uint8) if trimap is None else trimap)
