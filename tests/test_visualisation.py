"""Pictures that people look at."""

import numpy as np

from utils.visualisation import contact_sheet, error_map, offset_picture, panel


def test_offset_picture():
    """Positions from the centre as flow: right is red, and the centre is white."""
    offset = np.zeros((2, 4, 6), np.int64)
    offset[1, 0, 0] = 10
    picture = offset_picture(offset, np.array([0.5, 2.0], np.float32))
    assert picture.shape == (512, 768, 3)
    red, green, blue = picture[100, 100].tolist()
    assert (red, max(green, blue) < 60) == (255, True)
    assert picture[500, 700].tolist() == [255, 255, 255]
    assert (picture[:40, :300] < 50).all(axis=2).any()  # the text


def test_error_map():
    prediction, truth = np.array([[10, 200, 50]], np.uint8), np.array([[210, 0, 50]], np.uint8)
    assert error_map(prediction, truth).tolist() == [[[0, 0, 200], [200, 0, 0], [0, 0, 0]]]


def test_panels_and_sheets():
    grey, colour = np.full((20, 10), 7, np.uint8), np.full((40, 40, 3), (1, 2, 3), np.uint8)
    picture = panel([grey, colour], height=20)
    assert picture.shape == (20, 10 + 4 + 20, 3)
    assert picture[5, 5].tolist() == [7, 7, 7]
    assert picture[5, 30].tolist() == [1, 2, 3]
    assert contact_sheet([("a", picture), ("b", picture[:, :9])]).shape == (2 * (24 + 20), 34, 3)
