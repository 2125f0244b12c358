"""Cut-outs and composites against known colours, in both depths."""

import cv2
import numpy as np
import pytest

from matting import cutout
from matting.cutout import (
    CutoutError,
    blurred_background,
    compose_onto,
    covering,
    cut_out,
    estimate_foreground,
    estimate_layers,
    to_depth,
    with_alpha,
)
from tests.generated_images import layers


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", ["robust", "ml", "cf"])
def test_colours_of_the_foreground(dtype, method):
    """The old background's share goes: at half opacity the photo is far from the truth, the estimate near it."""
    image, alpha, foreground, _ = layers(dtype)
    estimate = estimate_foreground(image, alpha, method)
    assert estimate.dtype == dtype
    mixed, maximum = (alpha > 0.2) & (alpha < 0.8), np.iinfo(dtype).max
    truth = foreground[mixed] / maximum
    assert np.abs(image[mixed] / maximum - truth).mean() > 0.2
    assert np.abs(estimate[mixed] / maximum - truth).mean() < 0.03
    assert np.array_equal(estimate[alpha == 1], image[alpha == 1])


@pytest.mark.parametrize("method", ["robust", "ml", "cf"])
def test_alpha_of_the_layers(method):
    """Only the default method refines it; colours alone are those of the layers."""
    image, alpha, *_ = layers()
    given = alpha.copy()
    foreground, refined = estimate_layers(image, given, method)
    assert np.array_equal(given, alpha)
    assert np.array_equal(refined, alpha) == (method != "robust")
    assert np.array_equal(refined[(alpha == 0) | (alpha == 1)], alpha[(alpha == 0) | (alpha == 1)])
    assert refined.min() >= 0 and refined.max() <= 1
    assert np.array_equal(estimate_foreground(image, alpha, method), foreground)
    assert np.array_equal(cut_out(image, alpha, method), with_alpha(foreground, refined))


def test_transparent_pixels():
    """Near the subject they have its colours, far from it none."""
    image, alpha, foreground, _ = layers()
    pixels = cut_out(image, alpha)
    distance = cv2.distanceTransform((alpha == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert not pixels[distance > 25].any()
    near = (distance > 0) & (distance < 5)
    assert np.abs(pixels[near][:, :3].astype(int) - foreground[near]).mean() < 10
    assert not pixels[alpha == 0][:, 3].any()


@pytest.mark.parametrize("method", ["robust", "ml"])
def test_large_images(monkeypatch, method):
    """From a reduced copy colours and alpha come out as from the whole, and the parts make no difference."""
    image, alpha, foreground, _ = layers(np.uint16, 180, 240)
    whole, whole_alpha = estimate_layers(image, alpha, method)
    monkeypatch.setattr(cutout, "COARSE_PIXELS", {method: image.size // 3 // 6})
    in_one, in_one_alpha = estimate_layers(image, alpha, method)
    monkeypatch.setattr(cutout, "BOX_PIXELS", 4 * cutout.COVER_CELL**2)
    in_parts, in_parts_alpha = estimate_layers(image, alpha, method)
    assert np.array_equal(in_parts, in_one)
    assert np.array_equal(in_parts_alpha, in_one_alpha)
    assert np.abs(in_one_alpha - whole_alpha).max() < 0.01
    mixed = (alpha > 0.1) & (alpha < 1)
    assert np.abs(in_one[mixed] / 65535 - whole[mixed] / 65535).mean() < 0.01
    assert np.abs(in_one[mixed] / 65535 - foreground[mixed] / 65535).mean() < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (3, 3)])
@pytest.mark.parametrize("opacity", [0, 0.5, 1])
def test_small_sizes(size, opacity):
    image = np.full((*size, 3), (200, 100, 50), np.uint8)
    pixels = cut_out(image, np.full(size, opacity, np.float32))
    assert pixels.shape == (*size, 4)
    assert (pixels[..., 3] == int(255 * opacity)).all()
    if opacity == 1:
        assert np.array_equal(pixels[..., :3], image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_composites(dtype):
    image, alpha, foreground, background = layers(dtype)
    composite = compose_onto(foreground, alpha, background)
    assert composite.dtype == dtype
    assert np.abs(composite.astype(int) - image).max() <= 1  # the layers were rounded
    onto_black = compose_onto(foreground, alpha, np.zeros(3, dtype))
    assert np.array_equal(onto_black[alpha == 1], foreground[alpha == 1])
    assert not onto_black[alpha == 0].any()
    quarter = np.full((1, 1), 0.25)
    assert compose_onto(np.full((1, 1, 3), 200, dtype), quarter, np.full(3, 100, dtype)).tolist() == [[[125] * 3]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blurred_background_has_no_glow(dtype):
    """Beside the red subject, the blurred green background stays green."""
    image, alpha, _, background = layers(dtype, 300, 400)
    blurred = blurred_background(image, alpha)
    assert blurred.dtype == dtype
    beside = (alpha == 0) & (cv2.dilate(alpha, np.ones((5, 5))) > 0)
    errors = np.abs(blurred[beside].astype(float) - background[beside]) / np.iinfo(dtype).max
    assert errors.mean() < 0.03
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (300, 400, 3), dtype=dtype)
    assert blurred_background(noise, np.zeros((300, 400), np.float32)).std() < noise.std() / 5


def test_covering():
    """Scaled to the frame's longer need; what juts out is cut off on both sides alike."""
    picture = np.repeat(np.arange(8, dtype=np.uint8), 3).reshape(1, 8, 3).repeat(4, axis=0)  # columns 0 to 7
    assert covering(picture, 4, 4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert np.array_equal(covering(picture, 4, 8), picture)
    assert covering(picture, 8, 8).shape == (8, 8, 3)
    assert np.abs(covering(picture, 8, 8)[0, :, 0].astype(int) - [2, 2, 3, 3, 4, 4, 5, 5]).max() <= 1
    assert covering(picture, 2, 2)[0, :, 0].tolist() in ([2, 4], [3, 5])  # means of 2 and 3, of 4 and 5
    assert covering(picture, 50, 3).shape == (50, 3, 3)
    line = np.full((1, 30_000, 3), 7, np.uint8)  # the whole of it, at that scale, would take 14 GB
    assert np.array_equal(covering(line, 400, 600), np.full((400, 600, 3), 7, np.uint8))


def test_depths():
    levels = np.array([[[0, 128, 255]]], np.uint8)
    assert to_depth(levels, np.uint16).tolist() == [[[0, 32896, 65535]]]
    assert np.array_equal(to_depth(to_depth(levels, np.uint16), np.uint8), levels)
    assert with_alpha(levels, np.array([[0.999]])).tolist() == [[[0, 128, 255, 254]]]  # truncated, as mattes are
    assert with_alpha(to_depth(levels, np.uint16), np.array([[0.5]]))[0, 0, 3] == 32768


@pytest.mark.parametrize(("image", "alpha", "message"), [
    (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), r"image is uint8 of shape \(4, 4\)"),
    (np.zeros((4, 4, 3)), np.zeros((4, 4)), "image is float64"),
    (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "alpha is uint8"),
    (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4)), "alpha is 4 x 5, but the image is 5 x 4"),
    (np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 255.0), "alpha ranges from 255.0 to 255.0; expected 0 to 1"),
    (np.zeros((1, 1, 3), np.uint8), np.full((1, 1), np.nan), "expected 0 to 1"),
])
def test_refused_arrays(image, alpha, message):
    with pytest.raises(ValueError, match=message):
        estimate_foreground(image, alpha)


def test_refused_options(monkeypatch):
    image, alpha, *_ = layers()
    with pytest.raises(ValueError, match="method is 'knn'; expected one of robust, ml, cf"):
        estimate_foreground(image, alpha, "knn")
    with pytest.raises(ValueError, match=r"background is uint16 of shape \(3,\); expected uint8"):
        compose_onto(image, alpha, np.zeros(3, np.uint16))
    monkeypatch.setattr(cutout, "find_spec", lambda name: None)
    with pytest.raises(CutoutError, match="pip install pymatting"):
        estimate_foreground(image, alpha)
