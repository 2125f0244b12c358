"""Folded networks against the networks they were made from."""

import pytest
import torch
from reference import reference_network
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from matting.folded_network import Bounded, folded
from networks import MattingNetwork, build_network


def example(network: MattingNetwork) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (1, 1, 96, 128), generator=generator)
    trimap = labels.float() if network.trimap_channel == 1 else (labels == torch.arange(3).view(3, 1, 1)).float()
    return torch.randn(1, 3, 96, 128, generator=generator), trimap


def one_channel_network() -> MattingNetwork:
    """Freshly initialised, but with batch normalisations that do something, also turn features upside down."""
    torch.manual_seed(0)
    network = build_network(trimap_channel=1, width=0.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 0.5, 0.5)
            nn.init.normal_(module.bias, 0, 0.3)
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


@pytest.mark.parametrize("make", [lambda: reference_network("gca"), lambda: reference_network("baseline"),
                                  one_channel_network], ids=["gca", "baseline", "one channel"])
def test_computes_the_same(make):
    network = make()
    copy = folded(network)
    with torch.no_grad():
        expected, output = network(*example(network)), copy(*example(network))
    assert (output.alpha - expected.alpha).abs().max() < 1e-4
    assert expected.alpha.std() > 0.01  # otherwise any network would do
    assert len(output.offsets) == len(expected.offsets)
    for scales, expected_scales in zip(output.scales, expected.scales, strict=True):
        assert torch.equal(scales, expected_scales)


def test_nothing_is_left_to_fold():
    copy = folded(build_network(width=0.1))
    assert not any(isinstance(module, nn.BatchNorm2d) or is_parametrized(module)
                   for part in (copy.encoder.layer1, copy.encoder.shortcut, copy.encoder.guidance_head, copy.decoder)
                   for module in part.modules())
    assert copy.trimap_channel == 3


def test_folding_twice_changes_nothing():
    network = folded(one_channel_network())
    with torch.no_grad():
        assert torch.equal(folded(network)(*example(network)).alpha, network(*example(network)).alpha)


def test_the_network_is_left_as_it_is():
    """Also its class: copies share those that parametrisations made."""
    network = build_network(width=0.1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    folded(network)
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    network(*(part.expand(2, -1, -1, -1) for part in example(network))).alpha.sum().backward()


def test_bounds_follow_the_type_of_autocast():
    bounded = Bounded(torch.tensor([0.0, -torch.inf]), torch.tensor([torch.inf, 1.0]))
    x = torch.tensor([-2.0, 2.0]).expand(1, 2, 1, 2).clone().to(torch.bfloat16)
    assert bounded(x).tolist() == [[[[0, 2]], [[-2, 1]]]]
    assert x.dtype == torch.bfloat16
