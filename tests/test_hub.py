"""The predictor by way of torch.hub, from this folder."""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hubconf
from matting.options import DEFAULT_CHECKPOINT
from matting.predictor import Matting
from networks import build_network
from utils.checkpoint import CheckpointError, save_checkpoint

ROOT = Path(__file__).parent.parent


def load(**options) -> Matting:
    return torch.hub.load(str(ROOT), "gca_matting", source="local", device="cpu", **options)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(width=0.1)


def test_a_checkpoint(monkeypatch, tmp_path, network):
    """From anywhere; the options reach the predictor, and images of Pillow will do."""
    save_checkpoint(tmp_path / "weights.pth", network)
    monkeypatch.chdir(tmp_path)
    matting = load(checkpoint="weights.pth", width=0.1, border=0)
    assert matting.border == 0
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    trimap = np.full((40, 50), 128, np.uint8)
    alpha = matting(Image.fromarray(image), Image.fromarray(trimap))
    assert np.array_equal(alpha, Matting(network, "cpu", border=0)(image, trimap))


def test_the_default_is_in_the_project(monkeypatch, tmp_path):
    """Wherever the program was started."""
    monkeypatch.chdir(tmp_path)
    paths, matting = [], Matting(build_network(width=0.1), "cpu")
    monkeypatch.setattr(Matting, "from_checkpoint", lambda path, device: paths.append((path, device)) or matting)
    assert hubconf.gca_matting().matting is matting  # from coarse to fine
    assert hubconf.gca_matting(coarse_to_fine=False) is matting
    assert paths == [(ROOT / DEFAULT_CHECKPOINT, None)] * 2


def test_missing_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        load(checkpoint=tmp_path / "none.pth")


def test_dependencies_are_importable():
    assert all(importlib.util.find_spec(name) for name in hubconf.dependencies)


def test_other_modules_of_these_names_are_named(monkeypatch):
    other = types.ModuleType("networks")
    other.__file__ = "/elsewhere/networks.py"
    monkeypatch.setitem(sys.modules, "networks", other)
    with pytest.raises(ImportError, match=r"another module named networks .*from /elsewhere/networks\.py"):
        load(checkpoint="weights.pth")
