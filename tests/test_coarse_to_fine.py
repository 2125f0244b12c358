"""Large images from coarse to fine, with predictors whose answers are known."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from matting.coarse_to_fine import CoarseToFine, plain_labels, scales_for
from matting.options import DEFAULT_CHECKPOINT, for_large_images
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN, Matte, trimap_labels

ROOT = Path(__file__).parent.parent
TILES = 4


class Step:
    """A predictor that finds the left part of any image opaque and the rest transparent, with a ramp between."""

    device, precision, border = "cpu", "fp32", 32
    ramp = 0.4, 0.6  # shares of the width between which alpha falls from 1 to 0

    def __init__(self):
        self.trimaps = []

    def attention_for(self, height, width):
        return f"{height} x {width}"

    def predict_batch(self, pairs, report=lambda done, total: None):
        self.trimaps += [trimap for _, trimap in pairs]
        for done in range(1, TILES + 1):
            report(done, TILES)
        return [Matte(self.alpha(trimap), (trimap.shape,), ()) for _, trimap in pairs]

    def __call__(self, image, trimap):
        return self.predict_batch([(image, trimap)])[0].alpha

    def alpha(self, trimap):
        height, width = trimap.shape
        columns = np.interp((np.arange(width) + 0.5) / width, self.ramp, (1, 0))
        return np.tile(columns.astype(np.float32), (height, 1))


def wide_band(height: int, width: int) -> np.ndarray:
    """A trimap that is unknown but for a tenth of the width at both sides."""
    trimap = np.full((height, width), 128, np.uint8)
    trimap[:, :width // 10], trimap[:, -width // 10:] = 255, 0
    return trimap


@pytest.mark.parametrize(("size", "scales"), [
    ((900, 700), (1.0,)), ((700, 901), (0.5, 1.0)), ((1699, 9), (0.5, 1.0)), ((1700, 9), (0.25, 1.0)),
    ((2048, 2048), (0.125, 0.25, 1.0)), ((3000, 4000), (0.125, 0.25, 1.0)), ((4000, 6000), (0.0625, 0.125, 0.25, 1.0)),
    ((3, 5000), (1.0,)), ((4, 5000), (0.25, 1.0)), ((1, 1000), (1.0,))])
def test_scales(size, scales):
    """Half the size first up to 1700 pixels; beyond, from at most 500 pixels in steps of two up to a quarter.

    Unless the image is small, or nothing of the shorter side would be left.
    """
    assert scales_for(*size) == scales


def test_small_images_are_left_to_the_predictor():
    predictor, trimap = Step(), wide_band(60, 200)
    matte = CoarseToFine(predictor).predict(np.zeros((60, 200, 3), np.uint8), trimap)
    assert len(predictor.trimaps) == 1
    assert predictor.trimaps[0] is trimap
    assert np.array_equal(matte.alpha, predictor.alpha(trimap))


def test_what_is_plain_is_known_at_the_next_size():
    """The ramp from 0.4 to 0.6 of the width stays unknown, and the known parts stay known.

    In the version of 500 pixels, the ramp has 100, of which two at each end are plain, as many as the margin takes; in
    that of 1000, four of 200, less two of margin.
    """
    predictor, trimap = Step(), wide_band(40, 4000)
    matte = CoarseToFine(predictor).predict(np.zeros((40, 4000, 3), np.uint8), trimap)
    assert [seen.shape for seen in predictor.trimaps] == [(5, 500), (10, 1000), (40, 4000)]
    assert [np.count_nonzero(seen[4] == 128) for seen in predictor.trimaps] == [400, 2 * 100, 4 * 196]
    final = trimap_labels(predictor.trimaps[-1])
    assert (final[:, :1590] == FOREGROUND).all()
    assert (final[:, 1610:2390] == UNKNOWN).all()
    assert (final[:, 2410:] == BACKGROUND).all()
    assert np.array_equal(matte.alpha, predictor.alpha(trimap))
    assert matte.offsets == ((40, 4000),)


def test_a_call_gives_alpha_alone():
    """The predictor is called, too, which may leave out what only `predict` returns; Pillow images will do."""
    predictor, called, trimap = Step(), Step(), wide_band(40, 2000)
    image = np.zeros((40, 2000, 3), np.uint8)
    matte = CoarseToFine(predictor).predict(image, trimap)
    with patch.object(Step, "__call__", autospec=True, side_effect=Step.__call__) as call:
        alpha = CoarseToFine(called)(Image.fromarray(image), Image.fromarray(trimap))
    assert call.call_count == 1
    assert np.array_equal(alpha, matte.alpha)
    assert all(map(np.array_equal, called.trimaps, predictor.trimaps))


def test_what_a_trimap_says_is_never_changed():
    """Not even where the predictor contradicts it plainly."""
    predictor = Step()
    trimap = wide_band(40, 2000)
    trimap[:, 100:150], trimap[:, 1900:1950] = 0, 255
    CoarseToFine(predictor).predict(np.zeros((40, 2000, 3), np.uint8), trimap)
    for seen in predictor.trimaps[1:]:
        factor = 2000 // seen.shape[1]
        full = seen.repeat(factor, axis=0).repeat(factor, axis=1)
        assert (full[:, 104:146] == 0).all()
        assert (full[:, 1904:1946] == 255).all()


def test_plain_pixels_count_with_known_ones_of_their_kind_beside_them():
    """Of two opaque islands in the unknown region, the one that touches known foreground becomes known.

    Both lose a margin of two pixels on their free sides; a pixel at 0.97 keeps its surroundings unknown.
    """
    labels = np.full((24, 40), UNKNOWN, np.uint8)
    labels[:, :5] = FOREGROUND
    alpha = np.full(labels.shape, 0.5, np.float32)
    alpha[:, :5] = 1
    alpha[4:20, 5:15], alpha[4:20, 22:34] = 0.99, 0.99
    expected = labels.copy()
    expected[6:18, 5:13] = FOREGROUND
    assert np.array_equal(plain_labels(alpha, labels), expected)
    alpha[12, 10] = 0.97
    expected[10:15, 8:13] = UNKNOWN
    assert np.array_equal(plain_labels(alpha, labels), expected)


def test_background_likewise():
    """The mirror image: alpha and labels of the other kind."""
    labels = np.full((20, 20), UNKNOWN, np.uint8)
    labels[:3] = BACKGROUND
    alpha = np.full(labels.shape, 0.01, np.float32)
    alpha[:3] = 0
    alpha[12:] = 0.3
    assert (plain_labels(alpha, labels)[:10] == BACKGROUND).all()
    assert (plain_labels(alpha, labels)[10:] == UNKNOWN).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_without_known_or_unknown_pixels_there_is_nothing_to_find_first(grey):
    predictor, trimap = Step(), np.full((40, 2000), grey, np.uint8)
    CoarseToFine(predictor).predict(np.zeros((40, 2000, 3), np.uint8), trimap)
    assert len(predictor.trimaps) == 1
    assert predictor.trimaps[0] is trimap


@pytest.mark.parametrize("width", [1201, 2001, 6001])
def test_what_no_version_decides_stays_as_it_was(monkeypatch, width):
    """To the pixel, also where pixels of the reduced versions do not fit those of the image."""
    predictor = Step()
    monkeypatch.setattr(predictor, "alpha", lambda trimap: np.full(trimap.shape, 0.5, np.float32))
    trimap = np.where(np.arange(width) % 1000 < 4, 0, 128).astype(np.uint8)[None].repeat(13, axis=0)
    CoarseToFine(predictor).predict(np.zeros((13, width, 3), np.uint8), trimap)
    assert len(predictor.trimaps) > 1
    assert np.array_equal(predictor.trimaps[-1], trimap)


@pytest.mark.parametrize(("image", "trimap"), [
    (np.zeros((40, 2000, 3), np.uint8), np.zeros((40, 2000, 3), np.uint8)),
    (np.zeros((40, 2000, 3), np.uint8), np.zeros((40, 2000), np.int64)),
    (np.zeros((40, 2000, 3), np.uint8), np.zeros((40, 1999), np.uint8)),
    (np.zeros((40, 2000), np.uint8), np.zeros((40, 2000), np.uint8))])
def test_bad_input_is_refused_before_any_work(image, trimap):
    predictor = Step()
    with pytest.raises(ValueError, match=r"expected|but"):
        CoarseToFine(predictor).predict(image, trimap)
    assert predictor.trimaps == []


def test_nothing_is_decided_by_alpha_that_is_no_number():
    labels = np.full((8, 8), UNKNOWN, np.uint8)
    labels[0], labels[7] = FOREGROUND, BACKGROUND
    assert np.array_equal(plain_labels(np.full((8, 8), np.nan, np.float32), labels), labels)


def test_images_of_a_batch_get_what_they_get_alone():
    trimaps = wide_band(40, 2000), np.roll(wide_band(40, 2000), 300, axis=1)
    image = np.zeros((40, 2000, 3), np.uint8)
    together = Step()
    CoarseToFine(together).predict_batch([(image, trimap) for trimap in trimaps])
    for i, trimap in enumerate(trimaps):
        alone = Step()
        CoarseToFine(alone).predict(image, trimap)
        assert len(alone.trimaps) == 2
        assert all(map(np.array_equal, together.trimaps[i::2], alone.trimaps))
    assert CoarseToFine(together).predict_batch([]) == []


def test_progress_grows_to_all():
    """Sides of a half are a quarter of the work: 4 + 16 + 256 of the smallest version's tiles."""
    reported = []
    CoarseToFine(Step()).predict(np.zeros((40, 4000, 3), np.uint8), wide_band(40, 4000),
                                 lambda *both: reported.append(both))
    assert reported[:4] == [(done, 276) for done in range(1, 5)]
    shares = [done / total for done, total in reported]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_it_stands_for_its_predictor():
    assert CoarseToFine(Step()).attention_for(3000, 4000) == "3000 x 4000"
    assert CoarseToFine(Step()).border == 32


@pytest.mark.parametrize(("checkpoint", "wanted", "expected"), [
    (DEFAULT_CHECKPOINT, None, True), (DEFAULT_CHECKPOINT, False, False), (Path("mine.pth"), None, False),
    (None, None, False), (Path("mine.pth"), True, True), (str(DEFAULT_CHECKPOINT), None, True),
    (DEFAULT_CHECKPOINT.resolve(), None, True), (Path("checkpoints/../checkpoints/gca-free/gca-free.pth"), None, True)])
def test_by_default_with_the_included_weights(monkeypatch, checkpoint, wanted, expected):
    """However their path is written."""
    monkeypatch.chdir(ROOT)
    predictor = Step()
    chosen = for_large_images(predictor, checkpoint, wanted)
    assert isinstance(chosen, CoarseToFine) == expected
    assert expected or chosen is predictor
