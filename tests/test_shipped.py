"""The weights that come with the repository."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import hubconf
from matting.options import DEFAULT_CHECKPOINT, DEFAULT_CONFIG
from utils.config import architecture, load_config
from utils.preprocessing import UNKNOWN, trimap_labels

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def matting():
    return hubconf.gca_matting(device="cpu")


def test_weights_are_those_of_the_configuration(matting):
    network = matting.matting.network
    assert network.architecture == architecture(load_config(ROOT / DEFAULT_CONFIG))
    assert network.architecture["colour_samples"]
    assert (ROOT / DEFAULT_CHECKPOINT).stat().st_size < 55e6


@pytest.mark.parametrize(("foreground", "background"), [((200, 40, 30), (30, 90, 190)), ((20, 20, 25), (210, 205, 20))])
def test_weights_find_an_edge(matting, foreground, background):
    """A soft disc before another colour: the error in the unknown ring is a fraction of that of guessing."""
    alpha = np.zeros((192, 192), np.float32)
    cv2.circle(alpha, (96, 96), 50, 1.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 2)
    grain = np.random.default_rng(0).normal(0, 4, (192, 192, 1))
    image = alpha[..., None] * np.array(foreground) + (1 - alpha[..., None]) * np.array(background) + grain
    trimap = np.full((192, 192), 128, np.uint8)
    cv2.circle(trimap, (96, 96), 36, 255, -1)
    distance = np.hypot(*(np.mgrid[:192, :192] - 96))
    trimap[distance > 66] = 0
    unknown = trimap_labels(trimap) == UNKNOWN
    error = np.abs(matting(image.clip(0, 255).astype(np.uint8), trimap) - alpha)[unknown].mean()
    assert error < 0.25 * np.abs(0.5 - alpha)[unknown].mean()
