"""Training losses on values worked by hand."""

import math

import numpy as np
import pytest
import torch
from easydict import EasyDict

from training import losses
from utils.tensors import normalise


def images(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, None]


PREDICTION, TRUTH, UNKNOWN = images([0.5, 0.2, 1.0]), images([0.25, 0.6, 0.0]), images([1, 1, 0])


def test_alpha_loss():
    assert losses.alpha_loss(PREDICTION, TRUTH, UNKNOWN).item() == pytest.approx(0.25 + 0.4)


def test_smooth_l1_loss():
    expected = math.sqrt(0.25**2 + 1e-6) + math.sqrt(0.4**2 + 1e-6)
    assert losses.smooth_l1_loss(PREDICTION, TRUTH, UNKNOWN).item() == pytest.approx(expected)
    assert losses.smooth_l1_loss(TRUTH, TRUTH, UNKNOWN).item() == pytest.approx(2e-3)


def test_composition_loss():
    """White on black: the composite is alpha itself; on a truly composited image the truth gives 0."""
    foreground, background = torch.ones(1, 3, 1, 3), torch.zeros(1, 3, 1, 3)
    image = TRUTH.expand(-1, 3, -1, -1)
    assert losses.composition_loss(PREDICTION, UNKNOWN, image, foreground, background).item() == pytest.approx(0.65)
    assert losses.composition_loss(TRUTH, UNKNOWN, image, foreground, background).item() == 0
    red = foreground * torch.tensor([1.0, 0, 0])[:, None, None]
    red_image = image * torch.tensor([1.0, 0, 0])[:, None, None]
    assert losses.composition_loss(PREDICTION, UNKNOWN, red_image, red, background).item() == pytest.approx(0.65 / 3)


def test_gradient_loss():
    """Differences 0.25 and -0.4 side by side: a Sobel filter sees 2/8 of the neighbour, and nothing vertically."""
    expected = (2 / 8 * 0.4 + 2 / 8 * 0.25) / 2
    assert losses.gradient_loss(PREDICTION, TRUTH, UNKNOWN).item() == pytest.approx(expected)
    assert losses.gradient_loss(TRUTH, TRUTH, UNKNOWN).item() == 0


def test_sobel_of_a_ramp():
    ramp = torch.arange(5, dtype=torch.float64).mul(0.1).expand(1, 1, 5, 5)
    responses = torch.nn.functional.conv2d(ramp, torch.tensor(losses._sobel_filters()).unsqueeze(1))
    assert responses[0, :, 1, 1].tolist() == pytest.approx([0.1, 0.0])


def test_filters():
    gabor = losses._gabor_filters()
    assert gabor.shape == (16, 5, 5)
    assert np.abs(gabor.sum(axis=(1, 2))).max() < 1e-6
    assert np.abs(gabor).sum(axis=(1, 2)) == pytest.approx(np.ones(16))
    assert np.abs(gabor[0] - gabor[8].T).max() < 1e-6 or np.abs(gabor[0] + gabor[8].T).max() < 1e-6  # a quarter turn


@pytest.mark.parametrize("loss", [losses.gradient_loss, losses.gabor_loss, losses.alpha_loss])
def test_known_pixels_do_not_count(loss):
    """Whatever is predicted outside the unknown region, the loss and its gradient are the same."""
    generator = torch.Generator().manual_seed(0)
    truth, prediction = torch.rand(2, 1, 9, 9, generator=generator), torch.rand(2, 1, 9, 9, generator=generator)
    unknown = (torch.rand(2, 1, 9, 9, generator=generator) < 0.5).float()
    other = torch.where(unknown == 1, prediction, torch.rand(2, 1, 9, 9, generator=generator)).requires_grad_()
    assert loss(other, truth, unknown).item() == pytest.approx(loss(prediction, truth, unknown).item())
    (gradient,) = torch.autograd.grad(loss(other, truth, unknown), other)
    assert (gradient[unknown == 0] == 0).all()


def test_weighted_losses():
    weights = EasyDict(rec_weight=2.0, comp_weight=1.0, gabor_weight=0.0, grad_weight=0.0, smooth_l1_weight=0.5,
                       laplacian_weight=0.0, sample_balance=0.0)
    colours = np.zeros((1, 3, 3), np.uint8)
    batch = {"alpha": TRUTH, "image": normalise(colours)[None], "foreground": torch.ones(1, 3, 1, 3),
             "background": torch.zeros(1, 3, 1, 3)}
    parts = losses.weighted_losses(weights, PREDICTION, batch, UNKNOWN, 0.0)
    assert set(parts) == {"loss", "rec", "comp", "smooth_l1"}
    assert parts["rec"].item() == pytest.approx(2 * 0.65)
    assert parts["comp"].item() == pytest.approx(0.7)  # predicted 0.5 and 0.2 of white, on an image that is black
    assert parts["loss"].item() == pytest.approx(sum(parts[name].item() for name in ("rec", "comp", "smooth_l1")))


def test_laplacian_loss_of_a_flat_error():
    """The pyramid of a constant is empty but for its last level, 1/16 of the sides, weighted by 16."""
    truth = torch.full((1, 1, 32, 32), 0.5)
    unknown = torch.ones_like(truth)
    assert losses.laplacian_loss(truth + 0.25, truth, unknown).item() == pytest.approx(16 * 4 * 0.25)
    assert losses.laplacian_loss(truth, truth, unknown).item() == 0


def test_laplacian_loss_of_a_checkerboard():
    """What averages to 0 in every 2 x 2 pixels is in the first level alone, whole."""
    truth = torch.full((1, 1, 16, 16), 0.5)
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    board = 0.125 * (1 - 2 * ((rows + columns) % 2))
    assert losses.laplacian_loss(truth + board, truth, torch.ones_like(truth)).item() == pytest.approx(256 * 0.125)


def test_balanced_samples():
    """Weights by hand: 100, 400 and 4 unknown pixels, mean 168; the last one's factor is limited to 3."""
    unknown = torch.zeros(3, 1, 20, 20)
    for each, pixels in zip(unknown, (100, 400, 4), strict=True):
        each.flatten()[:pixels] = 1
    weights = losses.balanced(unknown, 0.5, mean=168)
    assert torch.equal(weights > 0, unknown > 0)
    assert weights.amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.68**0.5, 0.42**0.5, 3])


@pytest.mark.parametrize("loss", [losses.alpha_loss, losses.smooth_l1_loss, losses.gradient_loss, losses.gabor_loss])
def test_weighted_samples_count_once(loss):
    """A sample's weight multiplies its loss, also where a filter is applied before and a mask after."""
    truth, unknown = torch.zeros(1, 1, 9, 9), torch.zeros(1, 1, 9, 9)
    prediction = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    unknown[..., 2:7, 3:8] = 1
    assert loss(prediction, truth, 2 * unknown).item() == pytest.approx(2 * loss(prediction, truth, unknown).item())


def test_balance_of_a_configuration():
    weights = EasyDict(rec_weight=1.0, comp_weight=0.0, gabor_weight=0.0, grad_weight=0.0, smooth_l1_weight=0.0,
                       laplacian_weight=0.0, sample_balance=1.0)
    unknown = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 0]]).view(2, 1, 1, 4)  # weights 2 and 2/3
    truth = torch.tensor([[0.5] * 4, [0.25] * 4]).view(2, 1, 1, 4)
    parts = losses.weighted_losses(weights, torch.zeros(2, 1, 1, 4), {"alpha": truth}, unknown, 2.0)
    assert parts["loss"].item() == pytest.approx(2 * 0.5 + 2 / 3 * 3 * 0.25)
