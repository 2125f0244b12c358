"""Subjects found without a trimap: in boxes, and in whole photos."""

import numpy as np
import pytest
from trimap_pictures import disc, photo

from matting import subject
from matting.subject import design, find_outline, find_subject, frame_box, logistic, read_model
from matting.superpixels import FEATURES, describe, rim_distance
from utils.boxes import Box


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return (mask & truth).sum() / (mask | truth).sum()


@pytest.mark.parametrize("size", [200, 1200])
@pytest.mark.parametrize("whole", [False, True])
def test_a_disc_is_found(size, whole):
    box = None if whole else Box(size // 5, size - size // 5, size // 5, size - size // 5)
    found = find_subject(photo(size), box)
    truth = disc(size, size / 4) == 255
    assert overlap(found.mask >= 0.5, truth) > 0.95
    assert found.probability[truth].mean() > 0.8
    assert found.probability[~truth].mean() < 0.15


def test_nothing_is_found_outside_the_box():
    """Of two discs, the one in the box."""
    image = np.hstack([photo(200), photo(200)])
    found = find_subject(image, Box(30, 170, 20, 180))
    assert overlap(found.mask >= 0.5, np.hstack([disc(200, 50) == 255, np.zeros((200, 200), bool)])) > 0.95
    assert not found.probability[:, 180:].any()


def test_a_subject_is_found_up_to_the_photos_border():
    """A disc cut off at the bottom; the rim counts as background only for what it looks like."""
    image = photo(200)[:115]
    found = find_subject(image)
    assert (found.mask[-1] >= 0.5).sum() == pytest.approx((disc(200, 50)[114] == 255).sum(), abs=8)


def test_where_nothing_is_likely_the_most_likely_part_is_taken():
    truth = disc(200, 50) == 255
    outside = np.zeros((200, 200), bool)
    found = find_outline(photo(200), np.where(truth, 0.3, 0.1), outside)
    assert overlap(found, truth) > 0.95
    assert not find_outline(photo(200), np.full((200, 200), 0.1), outside).any()


@pytest.mark.parametrize("box", [Box(0, 200, 0, 200), Box(100, 101, 100, 101)])
def test_refused_boxes(box):
    with pytest.raises(ValueError, match="leaves too little outside or inside"):
        find_subject(photo(200), box)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (7, 7), (1, 500), (6000, 100)])
def test_photos_that_are_too_thin(shape):
    with pytest.raises(ValueError, match="too thin to find a subject in; mark it with strokes"):
        find_subject(np.zeros((*shape, 3), np.uint8))


def test_sides_on_the_photos_border_do_not_count():
    distance = rim_distance((0, 2, 6, 8), 8, 10)  # left and bottom are on the border
    assert distance[4].tolist() == [2.5, 2.5, 2.5, 2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5]
    assert distance[:, 0].tolist() == [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert np.isinf(rim_distance((0, 0, 10, 8), 8, 10)).all()


def test_features_tell_a_disc_from_its_background():
    superpixels = describe(photo(300), (60, 60, 240, 240))
    share = superpixels.mean((disc(300, 75) == 255).astype(float))
    disc_features = superpixels.features[share > 0.9].mean(axis=0)
    rest = superpixels.features[(share < 0.1) & superpixels.inside].mean(axis=0)
    for name in ("geodesic", "colour_geodesic", "rim", "contrast", "colour_contrast", "likelihood"):
        assert disc_features[FEATURES.index(name)] > rest[FEATURES.index(name)]
    assert disc_features[FEATURES.index("centre")] < rest[FEATURES.index("centre")]


def test_terms_of_the_regression():
    """(1, 2), with means 0 and deviations 1 and 2: one, the two, and the products of each two. Outliers are limited."""
    terms = design(np.array([[1.0, 2.0], [0.0, 100.0]]), np.zeros(2), np.array([1.0, 2.0]))
    assert terms.tolist() == [[1, 1, 1, 1, 1, 1], [1, 0, 3, 0, 0, 9]]
    assert logistic(np.array([0.0, -1e9])).tolist() == [0.5, pytest.approx(0, abs=1e-20)]


def test_a_model_of_other_features_is_refused(monkeypatch, tmp_path):
    (tmp_path / "model.json").write_text('{"features": ["rim"]}')
    monkeypatch.setattr(subject, "MODEL", tmp_path / "model.json")
    read_model.cache_clear()
    with pytest.raises(ValueError, match="fitted on other features"):
        read_model()
    read_model.cache_clear()


def test_the_frame():
    assert frame_box(100, 200) == Box(3, 97, 3, 197)
    assert frame_box(10, 10) == Box(1, 9, 1, 9)
