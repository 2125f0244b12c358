"""What a camera does to pictures: neutral settings change nothing, the others what they say."""

import cv2
import numpy as np
import pytest

from dataloader.synthetic.camera import (
    UNTOUCHED_SHARE,
    compressed,
    developed,
    photograph,
    resampled,
    sharpened,
    with_noise,
)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Smooth colours with fine texture, (120, 160, 3) uint8."""
    rng = np.random.default_rng(5)
    smooth = cv2.resize(rng.uniform(40, 215, (6, 8, 3)), (160, 120), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


def grey(level: int) -> np.ndarray:
    return np.full((256, 256, 3), level, np.uint8)


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10(255**2 / max(np.square(image.astype(float) - other).mean(), 1e-9))


def test_neutral_settings_change_nothing(picture):
    rng = np.random.default_rng(1)
    all_levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert np.array_equal(developed(all_levels, np.ones(3), 0, 0), all_levels)
    assert np.array_equal(with_noise(rng, picture, 0), picture)
    assert np.array_equal(resampled(picture, 1), picture)
    assert np.array_equal(sharpened(picture, 0), picture)


def test_exposure_and_gains_are_of_linear_light():
    """Twice the light is 2 ** (1 / 2.2) = 1.370 times the value, as far as white."""
    brighter = developed(grey(100), np.ones(3), 1, 0)
    assert (brighter == 137).all()
    assert (developed(grey(200), np.ones(3), 1, 0) == 255).all()
    assert developed(grey(100), np.array([2, 1, 1]), 0, 0)[0, 0].tolist() == [137, 100, 100]


def test_contrast_parts_tones_in_the_middle():
    """With contrast 1 the tone t becomes t^2 / (t^2 + (1 - t)^2): 51 = 0.2 becomes 1 / 17, 204 the opposite."""
    assert (developed(grey(51), np.ones(3), 0, 1) == 15).all()
    assert (developed(grey(204), np.ones(3), 0, 1) == 240).all()
    assert (developed(grey(51), np.ones(3), 0, -1) == 85).all()


@pytest.mark.parametrize("blotches", [False, True])
def test_noise_grows_with_light(blotches):
    deviations = [(with_noise(np.random.default_rng(3), grey(level), 8, blotches).astype(float) - level).std()
                  for level in (40, 128, 215)]
    assert deviations[0] < deviations[1] < deviations[2]
    if not blotches:
        assert deviations[1] == pytest.approx(8, rel=0.05)


def test_noise_has_no_mean():
    noisy = with_noise(np.random.default_rng(3), grey(128), 8)
    assert abs(noisy.mean() - 128) < 0.1


def test_blotches_are_of_several_pixels():
    """Neighbours are alike, where fine noise has nothing in common."""

    def likeness(blotches: bool) -> float:
        noise = with_noise(np.random.default_rng(3), grey(128), 8, blotches)[..., 0].astype(float) - 128
        return np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]

    assert abs(likeness(False)) < 0.03
    assert likeness(True) > 0.5


def test_sharpening_steepens_edges_alone():
    edge = grey(80)
    edge[:, 128:] = 160
    sharp = sharpened(edge, 1)
    assert sharp[100, 127, 0] < 80 < 160 < sharp[100, 128, 0]
    assert np.array_equal(sharp[:, :120], edge[:, :120])


def test_resampling_loses_detail_the_more_the_smaller(picture):
    losses = [psnr(picture, resampled(picture, factor)) for factor in (0.5, 0.7, 0.9)]
    assert losses == sorted(losses)
    assert np.array_equal(resampled(grey(77), 0.5), grey(77))


@pytest.mark.parametrize("kind", [".jpg", ".webp"])
def test_quality_decides_how_much_compression_loses(picture, kind):
    qualities = [psnr(picture, compressed(picture, kind, quality)) for quality in (40, 60, 80, 95)]
    assert qualities == sorted(qualities)
    assert qualities[0] > 20  # colours in their order, nothing displaced


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 64), (700, 660)])
def test_photographs_of_any_size(size):
    """Also larger than the tile of noise; reproducible; values beyond the range are clipped, not wrapped."""
    image = np.full((*size, 3), 300, np.float32)
    for seed in range(4 if size[0] > 600 else 40):
        result = photograph(np.random.default_rng(seed), image)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert result.mean() > 120
        assert np.array_equal(result, photograph(np.random.default_rng(seed), image))


def test_a_share_is_left_nearly_as_it_is(picture):
    near = np.mean([psnr(picture, photograph(np.random.default_rng(seed), picture)) > 41 for seed in range(400)])
    assert UNTOUCHED_SHARE - 0.07 < near < UNTOUCHED_SHARE + 0.25
