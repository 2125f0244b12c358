"""Rectangles as users write them."""

import argparse

import numpy as np
import pytest
from trimap_pictures import photo

from dataloader.image_file import ImageFileError
from matting.mark_options import AUTO, add_mark_arguments, propose_for, rectangle


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_mark_arguments(parser)
    return parser.parse_args(arguments)


def test_rectangles_in_pixels_and_shares():
    assert rectangle("1,2,30,40").box(100, 200) == (1, 2, 30, 40)
    assert rectangle("10%, 5%, 90%, 100%").box(100, 200) == (20, 5, 180, 100)
    assert rectangle("10%,5,190,33.5%").box(200, 200) == (20, 5, 190, 67)
    assert rectangle(" auto ") == AUTO


@pytest.mark.parametrize("text", ["", "1,2,3", "a,b,c,d", "1,2,3,4,5", "-1,0,5,5", "1%%,0,5,5", "nan,0,5,5"])
def test_other_text_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is not a rectangle; expected LEFT,TOP,RIGHT,BOTTOM"):
        rectangle(text)


@pytest.mark.parametrize("text", ["200,0,300,50", "50,0,50,9", "60%,0,40%,100%"])
def test_rectangles_without_any_of_the_photo(text):
    with pytest.raises(ImageFileError, match=rf"^a\.png: the rectangle {text} contains none of the 200 x 200 pixels"):
        propose_for("a.png", photo(200), parsed("--rectangle", text), None)


def test_a_rectangle_that_exceeds_the_photo_is_clipped_and_told():
    trimap, remarks = propose_for("a.png", photo(200), parsed("--rectangle", "40,40,160,300"), None)
    assert remarks[0] == "The rectangle 40,40,160,300 exceeds the 200 x 200 pixels; only the part inside counts."
    assert np.array_equal(trimap, propose_for("a.png", photo(200), parsed("--rectangle", "40,40,160,200"), None).trimap)
