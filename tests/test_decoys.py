"""Decoys: in the foreground's colours, only where their forms are, behind the foreground."""

import pytest
import torch

from dataloader.on_device import batch_camera
from dataloader.on_device.batches import DeviceSamples, make_banks, make_samples
from dataloader.on_device.decoys import BRIGHTNESS, FINEST, TINGE, add_decoys
from dataloader.on_device.draws import GROUP, Draws
from dataloader.on_device.recipe import PRESENT
from utils.config import ConfigError, load_config
from utils.distributed import World

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
SETTINGS = ["data.crop_size=64", "data.generated=12", "data.generated_size=128", "data.on_device=true",
            "data.finish=true", "model.batch_size=6", "data.bank=12"]
SIZE = 128
RED = torch.tensor([200.0, 30, 30])[:, None, None]
GREY = 128.0


def halves(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Plain grey backgrounds; red foregrounds that fill the left half, and are black where nothing is seen of them."""
    alpha = torch.zeros(n, 1, SIZE, SIZE)
    alpha[..., :SIZE // 2] = 1
    return torch.full((n, 3, SIZE, SIZE), GREY), RED * alpha, alpha


def test_decoys_have_the_foregrounds_colours_where_their_forms_are():
    backgrounds, colours, alpha = halves(40)
    forms = alpha.transpose(2, 3)
    changed = add_decoys(Draws(CPU, 1), backgrounds.clone(), colours, alpha, forms)
    assert changed.shape == backgrounds.shape
    below = changed[..., -8:, :] - GREY  # farther from the form than any blur
    assert below.abs().max() < 1e-3
    nearness = (changed[..., :8, :] - RED).abs().amax((1, 2, 3))
    full = nearness <= BRIGHTNESS + TINGE + 1e-3
    assert 20 <= full.sum() < 40  # the others are of print
    assert (changed[~full][..., :8, :] - GREY).abs().amin((1, 2, 3)).max() < 1  # between its lines


def test_colours_are_those_of_the_foreground_nearby():
    backgrounds, _, alpha = halves(GROUP)
    colours = torch.zeros(GROUP, 3, SIZE, SIZE)
    colours[:, 0, :SIZE // 2], colours[:, 2, SIZE // 2:] = 220, 220  # red above blue
    changed = add_decoys(Draws(CPU, 3), backgrounds, colours, torch.ones_like(alpha), torch.ones_like(alpha))
    above, below = changed[..., :8, :].mean((2, 3)), changed[..., -8:, :].mean((2, 3))
    assert (above[:, 0] > above[:, 2] + 50).all()
    assert (below[:, 2] > below[:, 0] + 50).all()


def test_decoys_have_no_hair():
    """A single line becomes a band, as wide as `FINEST` at least."""
    backgrounds, colours, alpha = halves(GROUP)
    forms = torch.zeros_like(alpha)
    forms[..., 64] = 1
    changed = add_decoys(Draws(CPU, 1), backgrounds.clone(), colours, alpha, forms)
    half = (changed - backgrounds).abs().amax(1) >= (changed - backgrounds).abs().amax((1, 2, 3))[:, None, None] / 2
    wide = half.sum(2).amax(1)
    assert wide.min() >= FINEST
    assert wide.max() < SIZE / 2


def test_decoys_change_the_background_alone(monkeypatch):
    """With a camera that changes nothing, what is opaque stays, and most of the backgrounds do not."""
    monkeypatch.setattr(batch_camera, "photographed", lambda draws, image, recipe: image)
    banks = make_banks(load_config(overrides=SETTINGS), ALONE)
    with_decoys = make_samples(Draws(CPU, 1), banks, 16, 64, PRESENT._replace(decoy_share=1.0))
    without = make_samples(Draws(CPU, 1), banks, 16, 64, PRESENT)
    assert torch.equal(with_decoys.alpha, without.alpha)
    assert torch.equal(with_decoys.trimap, without.trimap)
    difference, opaque = (with_decoys.image - without.image).abs(), without.alpha == 1
    assert opaque.any()
    assert (difference * opaque).max() < 1e-3
    assert (difference.amax((1, 2, 3)) > 10).sum() > 8


def test_the_configuration_says_how_many():
    batches = [next(DeviceSamples(make_banks(config, ALONE), config, ALONE))["image"]
               for config in (load_config(overrides=[*SETTINGS, f"data.decoy_share={share}"]) for share in (0, 0, 1))]
    assert torch.equal(batches[0], batches[1])
    assert not torch.equal(batches[1], batches[2])
    with pytest.raises(ConfigError, match=r"data\.decoy_share"):
        load_config(overrides=[*SETTINGS, "data.decoy_share=1.5"])
