"""Padding that is read part by part."""

import numpy as np
import pytest

from utils.boxes import Box
from utils.preprocessing import PaddedArray, padding


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 67, 3), (40, 5), (64, 96)])
def test_parts_of_a_padded_array_are_those_of_its_padded_copy(shape):
    """Also parts that lie within the padding alone, and of images that are reflected again and again."""
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    pad = padding(*shape[:2], 32)
    whole = np.pad(array, (*pad, (0, 0))[:array.ndim], mode="reflect")
    padded = PaddedArray(array, pad)
    height, width = whole.shape[:2]
    for box in (Box(0, height, 0, width), Box(0, 8, 0, 8), Box(height - 8, height, 0, width),
                Box(24, 40, width - 16, width), Box(8, 48, 16, 40)):
        assert np.array_equal(padded.part(box), whole[box.slices])
    assert np.array_equal(padded.every(8), whole[::8, ::8])
