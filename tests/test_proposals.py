"""Proposed trimaps, and what is said about suspicious ones."""

import numpy as np
import pytest
from trimap_pictures import disc, photo

from matting import proposals
from matting.proposals import box_inside, propose, remarks_on, remarks_on_trimap
from matting.subject import Subject
from utils.boxes import Box


def test_a_disc_is_proposed_with_a_band():
    """A box, the whole photo, and strokes agree on what is surely subject and background."""
    scribbles = np.full((200, 200), 128, np.uint8)
    scribbles[95:105, 80:120], scribbles[5:10] = 255, 0
    truth = disc(200, 50) == 255
    for marks in ({"box": (40, 40, 160, 160)}, {}, {"scribbles": scribbles}):
        trimap, remarks = propose(photo(200), **marks)
        assert np.unique(trimap).tolist() == [0, 128, 255]
        assert not remarks
        assert truth[trimap == 255].all()
        assert not truth[trimap == 0].any()
        assert 0.02 < (trimap == 128).mean() < 0.12


def test_what_the_network_does_not_agree_with_is_unknown():
    """A network that takes the left half of everything unknown for background, and the right half for subject."""
    def halves(image, trimap):
        alpha = np.where(np.arange(image.shape[1]) < image.shape[1] / 2, 0.0, 1.0)[None].repeat(len(image), axis=0)
        return np.where(trimap == 128, alpha, trimap / 255)

    asked = []
    trimap, _ = propose(photo(200), (40, 40, 160, 160),
                        matting=lambda image, trimap: asked.append(trimap) or halves(image, trimap))
    assert np.unique(asked[0]).tolist() == [0, 128, 255]
    alone, _ = propose(photo(200), (40, 40, 160, 160))
    assert (trimap == 128).mean() > (alone == 128).mean()
    truth = disc(200, 50) == 255
    assert truth[trimap == 255].all()
    assert not truth[trimap == 0].any()


def test_a_photo_without_a_subject_is_told(monkeypatch):
    nothing = np.zeros((100, 150), np.float32)
    monkeypatch.setattr(proposals, "find_subject", lambda image, box: Subject(nothing, nothing))
    with pytest.raises(ValueError, match="no subject found; mark it with a tighter rectangle, or with strokes"):
        propose(np.full((100, 150, 3), 90, np.uint8))


def test_progress_is_reported():
    steps = []
    propose(photo(100), matting=lambda image, trimap: trimap / 255, hair=True,
            report=lambda share, text: steps.append((share, text)))
    assert [text for _, text in steps] == ["Finding the subject", "Asking the network", "Looking for hair"]
    assert steps == sorted(steps)


def test_boxes_are_clipped_to_the_photo():
    image = photo(100)
    assert box_inside(image, (-5, 10, 50, 300)) == Box(10, 100, 0, 50)
    with pytest.raises(ValueError, match="the rectangle 100,0,150,50 contains none of the 100 x 100 pixels"):
        box_inside(image, (100, 0, 150, 50))


def mask(*parts: tuple[slice, slice]) -> np.ndarray:
    """(100, 100) uint8, 255 in these parts."""
    picture = np.zeros((100, 100), np.uint8)
    for part in parts:
        picture[part] = 255
    return picture


@pytest.mark.parametrize(("found", "box", "beginning"), [
    (mask(np.s_[40:60, 40:60]), Box(0, 100, 0, 80), "The rectangle touches three sides"),
    (mask(np.s_[10:90, 10:90]), None, "The subject found covers 64% of the photo"),
    (mask(np.s_[40:60, 40:60]), Box(40, 60, 40, 61), "The subject found is nearly the rectangle itself"),
    (mask(np.s_[40:60, 40:60], np.s_[5:15, 5:15]), None, "The subject found has 2 separate parts"),
])
def test_suspicious_subjects_are_remarked_on(found, box, beginning):
    assert [remark[:len(beginning)] for remark in remarks_on(found, box)] == [beginning]


def test_others_are_not():
    assert not remarks_on(mask(np.s_[40:60, 40:60], np.s_[5:8, 5:8]), Box(30, 70, 0, 100))
    assert not remarks_on_trimap(np.array([[0, 0, 128, 255]]))


def test_suspicious_trimaps_are_remarked_on():
    assert remarks_on_trimap(np.array([[0, 128]])) == ["Nothing is surely subject; mark some of it."]
    assert remarks_on_trimap(np.array([[128, 255]]))[0].startswith("50% of the photo is unknown")
