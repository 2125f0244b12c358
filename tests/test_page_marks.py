"""The visitor's marks, as the server reads them."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from webpage.marks import BRUSHES, DATA_URL, MARKS_SIDE, Marks, read_marks

COLOURS = {name: list(bytes.fromhex(colour[1:])) for name, (colour, _) in BRUSHES.items()}


def sent(picture: np.ndarray) -> str:
    """(h, w, 4) uint8 as the editor hands over strokes."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "png")
    return DATA_URL + base64.b64encode(file.getvalue()).decode()


def strokes(height: int, width: int, **painted: tuple[slice, slice]) -> np.ndarray:
    """(height, width, 4) with nothing but strokes, by the names of the brushes."""
    picture = np.zeros((height, width, 4), np.uint8)
    for name, place in painted.items():
        picture[place] = *COLOURS[name], 255
    return picture


def marks_of(picture: np.ndarray) -> Marks:
    return read_marks({"box": None, "strokes": sent(picture)})


def test_strokes_have_the_levels_of_their_colours():
    levels, painted = marks_of(strokes(4, 8, Subject=np.s_[0], Edge=np.s_[1], Background=np.s_[2])).strokes((4, 8))
    assert levels[painted].tolist() == [255] * 8 + [128] * 8 + [0] * 8
    assert painted[:, 5].tolist() == [True, True, True, False]


def test_strokes_are_enlarged_to_the_image():
    levels, painted = marks_of(strokes(2, 4, Subject=np.s_[:, :2], Edge=np.s_[:, 2:])).strokes((6, 12))
    assert painted.all()
    assert np.array_equal(levels, np.repeat([[255] * 6 + [128] * 6], 6, axis=0))


def test_faint_rims_of_strokes_do_not_count_and_mixed_colours_count_as_the_nearest():
    picture = strokes(1, 2, Subject=np.s_[:])
    picture[0, 0, 3] = 127
    picture[0, 1, :3] = picture[0, 1, :3] * 0.6 + np.array(COLOURS["Edge"]) * 0.4
    marks = marks_of(picture)
    assert marks.painted.tolist() == [[False, True]]
    assert marks.levels[0, 1] == 255


def test_strokes_go_over_a_trimap():
    trimap = np.repeat(np.array([[0, 128, 255]], np.uint8), 3, axis=0)
    marks = marks_of(strokes(3, 3, Subject=np.s_[0], Background=np.s_[1]))
    assert marks.over(trimap).tolist() == [[255] * 3, [0] * 3, [0, 128, 255]]
    assert np.array_equal(Marks().over(trimap), trimap)


def test_a_trimap_of_background_only_is_refused():
    with pytest.raises(ValueError, match="paint the subject"):
        marks_of(strokes(3, 3, Background=np.s_[:])).over(np.full((6, 6), 255, np.uint8))


def test_strokes_are_examples_for_a_proposal_but_for_those_of_the_edge():
    marks = marks_of(strokes(1, 4, Subject=np.s_[:, 0], Edge=np.s_[:, 1], Background=np.s_[:, 2]))
    assert marks.scribbles((1, 4)).tolist() == [[255, 128, 0, 128]]
    assert marks_of(strokes(1, 4, Edge=np.s_[:])).scribbles((1, 4)) is None
    assert Marks().scribbles((1, 4)) is None


@pytest.mark.parametrize(("box", "pixels"), [
    ([0, 0, 1, 1], (0, 0, 80, 60)), ([0.25, 0.5, 0.75, 0.9], (20, 30, 60, 54)),
    ([0.999, 0.999, 1, 1], (79, 59, 80, 60)), ([0.5, 0.5, 0.5001, 0.5001], (40, 30, 41, 31))])
def test_boxes_are_shares_of_the_photo(box, pixels):
    assert read_marks({"box": box, "strokes": None}).pixel_box((60, 80)) == pixels
    assert Marks().pixel_box((60, 80)) is None


def test_no_marks():
    assert read_marks(None).box is None
    assert not read_marks({"box": None, "strokes": None}).painted.any()


@pytest.mark.parametrize(("value", "line"), [
    ({"box": None}, "What was sent in place of marks is none; expected box and strokes"),
    ({"box": [0, 0, float("nan"), 1], "strokes": None}, "The box is none; expected left, top, right and bottom"),
    ({"box": [0.5, 0, 0.5, 1], "strokes": None}, "The box is none"),
    ({"box": None, "strokes": "data:image/jpeg;base64,AAAA"}, "expected a PNG as data URL"),
    ({"box": None, "strokes": f"{DATA_URL}AAA*"}, "The strokes cannot be decoded; expected a PNG file"),
    ({"box": None, "strokes": sent(np.zeros((1, MARKS_SIDE + 1, 4), np.uint8))},
     "The strokes have 1025 x 1 pixels; expected at most 1024 a side"),
    ({"box": None, "strokes": DATA_URL + "A" * 900_000}, "The strokes have 900022 characters; expected at most 900000"),
])
def test_what_is_no_mark_is_refused(value, line):
    with pytest.raises(ValueError, match=line):
        read_marks(value)
