"""Winograd's convolutions against direct ones in double precision."""

import pytest
import torch
import torch.nn.functional as F
from reference import load_cases, reference_network
from test_network import case_inputs
from torch import Tensor, nn

from matting import winograd
from matting.folded_network import folded
from matting.predictor import Matting
from matting.winograd import LEAST_PIXELS, WinogradConv2d, use_winograd

EPSILON = torch.finfo(torch.float32).eps


def example(channels: int, outputs: int, n: int, height: int, width: int) -> tuple[nn.Conv2d, Tensor]:
    torch.manual_seed(0)
    return nn.Conv2d(channels, outputs, 3, padding=1).requires_grad_(False), torch.randn(n, channels, height, width)


def double(conv: nn.Conv2d, x: Tensor) -> Tensor:
    return F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)


@pytest.mark.parametrize(("channels", "outputs"), [(128, 128), (256, 128), (128, 192)])
@pytest.mark.parametrize(("n", "height", "width"), [(1, 64, 48), (2, 47, 45), (1, 4, 513), (1, 2050, 1), (3, 50, 63)])
def test_is_the_convolution(channels, outputs, n, height, width):
    """Whatever remains after squares of 4 x 4, also at all borders."""
    conv, x = example(channels, outputs, n, height, width)
    result = WinogradConv2d(conv)(x)
    assert result.shape == (n, outputs, height, width)
    assert result.is_contiguous(memory_format=torch.channels_last)
    expected = double(conv, x)
    assert (result - expected).abs().max() < 200 * EPSILON
    assert (result - expected).square().mean().sqrt() < 16 * EPSILON * expected.std()


def test_the_points_halve_the_errors(monkeypatch):
    """Of 0, 1, -1, 2, -2, which most programs have; inputs as after a ReLU."""
    conv, x = example(128, 128, 1, 64, 64)
    x = x.relu()
    chosen = WinogradConv2d(conv)(x)
    monkeypatch.setattr(winograd, "POINTS", (0, 1, -1, 2, -2))
    errors = [(result - double(conv, x)).square().mean().sqrt() for result in (chosen, WinogradConv2d(conv)(x))]
    assert 1.7 * errors[0] < errors[1] < 1e-5


def test_a_few_known_values():
    """Sums of neighbours: an impulse becomes a square of ones."""
    conv = nn.Conv2d(128, 128, 3, padding=1).requires_grad_(False)
    conv.weight.zero_()
    conv.weight[range(128), range(128)] = 1
    conv.bias.fill_(-2)
    x = torch.zeros(1, 128, 52, 40)
    x[0, 7, 0, 39] = x[0, 7, 30, 18] = 4
    result = WinogradConv2d(conv)(x)
    expected = torch.full_like(result, -2)
    expected[0, 7, :2, 38:] = expected[0, 7, 29:32, 17:20] = 2
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("change", ["small", "double", "autocast", "gradient"])
def test_otherwise_it_is_direct(change, monkeypatch):
    conv, x = example(128, 128, 1, 8 if change == "small" else 64, 48)
    assert (x.shape[2] * x.shape[3] < LEAST_PIXELS) == (change == "small")
    monkeypatch.setattr(WinogradConv2d, "_convolve", None)
    layer = WinogradConv2d(conv)
    if change == "double":
        layer, conv, x = layer.double(), conv.double(), x.double()
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_(change == "gradient")
    with torch.autocast("cpu", torch.bfloat16, enabled=change == "autocast"):
        result = layer(x)
        torch.testing.assert_close(result, conv(x))
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.requires_grad == (change == "gradient")


def test_many_threads_get_a_strip_each(monkeypatch):
    conv, x = example(128, 128, 1, 64, 40)
    strips = []
    monkeypatch.setattr(winograd, "on_cores", lambda function, items, *_: strips.extend(items) or map(function, items))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert (WinogradConv2d(conv)(x) - double(conv, x)).abs().max() < 200 * EPSILON
    assert strips == [0, 8, 16, 24, 32, 40, 48, 56]


@pytest.mark.parametrize(("options", "count"), [({}, 29), ({"precision": "bf16"}, 0), ({"fold": False}, 0)])
def test_the_predictor_uses_it(options, count):
    """In single precision and in its own copy of the network only."""
    network = reference_network("gca")
    matting = Matting(network, "cpu", **options)
    assert sum(isinstance(module, WinogradConv2d) for module in matting.network.modules()) == count
    assert not any(isinstance(module, WinogradConv2d) for module in network.modules())


def test_what_suits():
    suits = WinogradConv2d.suits
    assert suits(nn.Conv2d(128, 256, 3, padding=1))
    assert not any(suits(conv) for conv in (
        nn.Conv2d(64, 128, 3, padding=1), nn.Conv2d(128, 64, 3, padding=1), nn.Conv2d(128, 128, 3),
        nn.Conv2d(128, 128, 3, stride=2, padding=1), nn.Conv2d(128, 128, 3, padding=2, dilation=2),
        nn.Conv2d(128, 128, 1), nn.Conv2d(128, 128, 3, padding=1, groups=2),
        nn.Conv2d(128, 128, 3, padding=1, padding_mode="reflect"), nn.ConvTranspose2d(128, 128, 3, padding=1)))


@pytest.mark.parametrize("kind", ["gca", "baseline"])
def test_published_answers(kind, monkeypatch):
    """As `test_network.test_published_answers`, with features that are too small otherwise."""
    monkeypatch.setattr(winograd, "LEAST_PIXELS", 0)
    network = folded(reference_network(kind))
    use_winograd(network)
    for case, expected in load_cases("network_cases.npz").items():
        with torch.inference_mode():
            alpha = network(*case_inputs(case)).alpha[0, 0].numpy()
        assert abs(alpha - expected["baseline_alpha" if kind == "baseline" else "alpha"]).max() < 1e-4
