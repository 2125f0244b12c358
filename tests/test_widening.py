"""Starting a network from the weights of one with fewer channels."""

import pytest
import torch

from networks import build_network, to_published_names
from training.start import load_initial_weights
from training.widening import NEW_STRENGTH, is_narrower, load_widened
from utils.checkpoint import save_checkpoint
from utils.config import architecture, load_config
from utils.distributed import ALONE

NARROW, WIDE = 0.1, 0.4  # the wide one has more channels at all stages but the finest two


@pytest.fixture
def narrow():
    torch.manual_seed(1)
    network = build_network(width=NARROW, colour_samples=True).eval()
    for parameter in network.parameters():  # as after training: no zeros or ones left
        parameter.data += 0.1 * torch.randn_like(parameter)
    for layer in (each for each in network.modules() if hasattr(each, "parametrizations")):
        left, _, right = torch.linalg.svd(layer.parametrizations.weight.original.data.flatten(1), full_matrices=False)
        layer.parametrizations.weight[0]._u.copy_(left[:, 0])
        layer.parametrizations.weight[0]._v.copy_(right[0])
    return network


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    labels = torch.arange(3).repeat_interleave(22)[:64].expand(2, 64, 64)
    trimap = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    return torch.randn(2, 3, 64, 64, generator=generator), trimap


def wide_from(network, strength: float):
    torch.manual_seed(3)
    wide = build_network(width=WIDE, colour_samples=True)
    load_widened(wide, to_published_names(network.state_dict()), strength)
    return wide.eval()


def test_computes_the_same(narrow):
    """But for what new channels add to the norms of layers, and to the vectors that attention compares."""
    wide = wide_from(narrow, 1e-5)
    with torch.no_grad():
        expected, found = (network(*images()).alpha for network in (narrow, wide))
    assert expected.std() > 0.02
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_computes_about_the_same(narrow):
    """With the default strength."""
    wide = wide_from(narrow, NEW_STRENGTH)
    with torch.no_grad():
        expected, found = (network(*images()).alpha for network in (narrow, wide))
    assert (found - expected).abs().mean() < 0.3 * expected.std()


def test_new_channels_are_not_silent(narrow):
    """They have random weights, and get gradients, which no zero weights on both sides would."""
    wide = wide_from(narrow, 0.25)
    assert wide.encoder.layer3[0].conv1.weight[-1].abs().max() > 1e-3
    wide.train()(*images()).alpha.square().sum().backward()
    conv = wide.encoder.layer3[0].conv1
    old = narrow.encoder.layer3[0].conv1.weight.shape
    assert (conv.weight[:old[0], old[1]:] == 0).all()
    assert (conv.parametrizations.weight.original.grad[:old[0], old[1]:].abs() > 0).any()


def test_norms_stay_close_to_one(narrow):
    """The stored singular vectors are those of the widened weights."""
    wide = wide_from(narrow, 0.25)
    weight = wide.decoder.layer2[0].conv1.weight.flatten(1)
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, abs=1e-3)
    old = narrow.decoder.layer2[0].conv1.weight
    assert (wide.decoder.layer2[0].conv1.weight[:old.shape[0], :old.shape[1]] / old).median() > 0.96


@pytest.mark.parametrize("options, expected", [
    ({"width": NARROW}, True), ({"width": WIDE}, False), ({"width": 0.5}, False),
    ({"width": NARROW, "colour_samples": True}, False), ({"width": NARROW, "trimap_channel": 1}, False),
    ({"width": NARROW, "encoder": "res_shortcut_encoder_29", "decoder": "res_shortcut_decoder_22"}, False)])
def test_is_narrower(options, expected):
    weights = to_published_names(build_network(**options).state_dict())
    assert is_narrower(weights, build_network(width=WIDE)) == expected


def test_initial_checkpoint_may_be_narrower(narrow, tmp_path, caplog):
    path = tmp_path / "narrow.pth"
    save_checkpoint(path, narrow)
    config = load_config("config/gca-free.toml", [f"model.init_checkpoint={path}", f"model.width={WIDE}"])
    network = build_network(**architecture(config))
    with caplog.at_level("INFO"):
        load_initial_weights(network, config, ALONE)
    assert f"weights start from {path}, of fewer channels" in caplog.text
    old = narrow.encoder.layer3[1].bn1.running_var
    assert torch.equal(network.encoder.layer3[1].bn1.running_var[:len(old)], old)
