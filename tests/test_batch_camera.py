"""Light on the samples made on the device, and what a camera does to them, by hand."""

import pytest
import torch

from dataloader.on_device import batch_camera, light
from dataloader.on_device.draws import Draws
from dataloader.on_device.recipe import Recipe


def draws(*numbers: int) -> Draws:
    return Draws(torch.device("cpu"), *numbers)


def test_jitter_keeps_greys_grey():
    grey = torch.full((8, 3, 4, 4), 120.0)
    changed = light.jitter_colours(draws(0), grey, torch.ones(8, 1, 4, 4), 40, (0.5, 1.5))
    assert (changed - changed.mean(1, keepdim=True)).abs().max() < 1e-3
    assert (changed.mean((1, 2, 3)) - 120).abs().max() > 2
    same = light.jitter_colours(draws(0), grey, torch.ones(8, 1, 4, 4), 0, (1, 1))
    assert (same - grey).abs().max() < 17  # only the value


def test_hue_turns_by_the_angle(monkeypatch):
    """A turn by a third about the grey axis makes red green, apart from the value's shift, which is none at white."""
    monkeypatch.setattr(Draws, "uniform", lambda self, low, high, *shape: torch.full(shape, float(high)))
    red = torch.zeros(1, 3, 2, 2)
    red[:, 0] = 240
    turned = light.jitter_colours(draws(0), red, torch.ones(1, 1, 2, 2), 120, (1, 1)) - (1.1 * 255 - 240) / 10
    assert torch.allclose(turned[0, :, 0, 0], torch.tensor([0.0, 240, 0]), atol=5)


def test_matched_light_moves_towards_the_background():
    colours, background = torch.full((64, 3, 8, 8), 200.0), torch.full((64, 3, 8, 8), 50.0)
    lit = light.match_exposure(draws(0), colours, background, torch.ones(64, 1, 8, 8))
    assert (lit < 200).all()
    assert (lit >= 200 / light.GREATEST_GAIN - 1e-3).all()
    near = light.move_towards(draws(0), colours, background)
    assert near.mean() < 160
    assert near.min() >= 49.9


def test_spill_stays_at_edges():
    alpha = torch.zeros(1, 1, 128, 128)
    alpha[..., 64:] = 1
    spilt = light.add_spill(draws(0), torch.full((1, 3, 128, 128), 100.0), torch.full((1, 3, 128, 128), 220.0), alpha)
    assert torch.allclose(spilt[..., 100:], torch.tensor(100.0))  # deep inside
    assert (spilt[..., 60:64] > 101).all()
    assert (spilt <= 220).all()


def test_plain_colours_differ():
    foreground, background = light.plain_layers(draws(0), 200, 32)
    gap = (foreground.mean((2, 3)) - background.mean((2, 3))).norm(dim=1)
    assert gap.median() > light.PLAIN_DISTANCE
    assert foreground.min() >= 0
    assert background.max() <= 255


def ramp_image(n: int = 4, size: int = 64) -> torch.Tensor:
    ramp = torch.linspace(30, 220, size).expand(n, 3, size, size).clone()
    ramp[:, 1] = ramp[:, 1].transpose(-1, -2)
    return ramp


@pytest.mark.parametrize("effect", [batch_camera.developed, batch_camera.blurred, batch_camera.sharpened,
                                    batch_camera.noisy, batch_camera.demosaiced, batch_camera.resampled,
                                    batch_camera.compressed])
def test_effects_leave_the_picture(effect):
    """Smooth pictures stay nearly what they were, in the same range."""
    before = ramp_image()
    after = effect(draws(4), before)
    assert after.shape == before.shape
    assert after.min() >= 0
    assert after.max() <= 255
    inner = slice(None), slice(None), slice(8, -8), slice(8, -8)
    limit = 60 if effect is batch_camera.developed else 6
    assert (after - before)[inner].mean((2, 3)).abs().max() < limit
    assert torch.equal(after, effect(draws(4), before))


def test_sharpening_by_hand():
    """An edge of 100 to 200 overshoots on both sides, by the same amount; flat parts stay."""
    edge = torch.full((1, 3, 16, 32), 100.0)
    edge[..., 16:] = 200
    sharp = batch_camera.sharpened(draws(1), edge)[0, 0, 8]
    assert sharp[:13].sub(100).abs().max() < 1e-3
    assert sharp[15] < 99
    assert sharp[16] > 201
    assert sharp[15].item() - 100 == pytest.approx(200 - sharp[16].item(), abs=1e-3)


def test_demosaicing_keeps_one_colour_of_each_pixel():
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    result = batch_camera.demosaiced(draws(0), image)
    assert ((result == image).sum(1) >= 1).all()
    grey = torch.full((1, 3, 16, 16), 77.0)
    assert torch.allclose(batch_camera.demosaiced(draws(0), grey), grey)


def test_noise_is_as_strong_as_asked():
    images = torch.full((2, 3, 128, 128), 127.5)
    noisy = batch_camera._with_noise(draws(0), images, torch.tensor([2.0, 8.0]))
    assert noisy[0].std().item() == pytest.approx(2, rel=0.05)
    assert noisy[1].std().item() == pytest.approx(8, rel=0.05)


def test_photographs_are_whole_numbers():
    seen = batch_camera.photographed(draws(2), ramp_image(24), Recipe(mosaic_share=0.5))
    assert torch.equal(seen, seen.round())
    assert seen.min() >= 0
    assert seen.max() <= 255
