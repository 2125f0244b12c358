"""The networks against the published program's answers, tables and initialisation."""

import numpy as np
import pytest
import torch
from reference import ARCHITECTURES, load_cases, reference_network, shape_table

from networks import build_network, from_published_names, to_published_names
from utils.preprocessing import trimap_labels
from utils.tensors import encode_trimap, normalise

CASES = load_cases("network_cases.npz")


@pytest.fixture(scope="module", params=["gca", "baseline"])
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(kind):
    return reference_network(kind)


def case_inputs(case: str) -> tuple[torch.Tensor, torch.Tensor]:
    arrays = CASES[case]
    return normalise(arrays["image"][..., ::-1])[None], encode_trimap(trimap_labels(arrays["trimap"]), 3)[None]


@pytest.mark.parametrize("case", CASES)
def test_published_answers(kind, network, case):
    with torch.no_grad():
        output = network(*case_inputs(case))
    expected = CASES[case]["alpha" if kind == "gca" else "baseline_alpha"]
    assert np.abs(output.alpha[0, 0].numpy() - expected).max() < 1e-4
    assert len(output.offsets) == len(output.scales) == (2 if kind == "gca" else 0)
    for i, (offset, scale) in enumerate(zip(output.offsets, output.scales, strict=True), start=1):
        assert np.array_equal(offset[0], CASES[case][f"offset_{i}"])
        assert np.abs(scale[0].numpy() - CASES[case][f"scale_{i}"]).max() < 1e-6


def test_images_of_a_batch_do_not_mix(network):
    """Two cases of one size together give what each gives alone."""
    cases = [case_inputs(case) for case in CASES if case.endswith("_128x160")]
    image, trimap = (torch.cat(parts) for parts in zip(*cases, strict=True))
    with torch.no_grad():
        together = network(image, trimap)
        alone = [network(*case) for case in cases]
    assert together.alpha.shape == (2, 1, 128, 160)
    torch.testing.assert_close(together.alpha, torch.cat([output.alpha for output in alone]), atol=2e-5, rtol=0)
    for i, offset in enumerate(together.offsets):
        assert torch.equal(offset, torch.cat([output.offsets[i] for output in alone]))


def test_names_and_shapes_on_disk(kind):
    state_dict = to_published_names(build_network(*ARCHITECTURES[kind]).state_dict())
    assert {name: tuple(value.shape) for name, value in state_dict.items()} == shape_table(kind)
    assert len(state_dict) == {"gca": 578, "baseline": 538}[kind]


def test_renaming_is_reversible():
    state_dict = build_network().state_dict()
    assert list(from_published_names(to_published_names(state_dict))) == list(state_dict)


def test_one_channel_trimap():
    """A trimap that holds 0, 1, 2: conv1 and the first shortcut see one channel, unknown is 1."""
    network = build_network(trimap_channel=1).eval()
    assert network.encoder.conv1.weight.shape == (32, 4, 3, 3)
    labels = torch.randint(0, 3, (1, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        output = network(torch.zeros(1, 3, 64, 64), labels.float())
    share = (labels[..., ::16, ::16] == 1).float().mean().item()
    assert output.scales[0][0, 0].item() == pytest.approx((share / (1 - share)) ** 0.5)
    assert output.alpha.shape == (1, 1, 64, 64)


def test_initialisation():
    network = build_network()
    published = to_published_names(network.state_dict())
    conv1 = published["encoder.conv1.module.weight_bar"]
    assert (conv1[:, 3:] == 0).all()
    limit = (6 / ((6 + 32) * 9)) ** 0.5  # Xavier uniform
    assert 0.9 * limit < conv1[:, :3].abs().max() <= limit
    for block in (network.encoder.layer1[0], network.encoder.layer_bottleneck[1],
                  network.decoder.layer1[0], network.decoder.layer4[1]):
        assert (block.bn2.weight == 0).all()
    for attention in (network.encoder.gca, network.decoder.gca):
        assert (attention.W[1].weight == 1e-3).all()
        assert (attention.guidance_conv.bias == 0).all()


def test_spectral_norm_is_one_also_for_transposed_convolutions():
    network = build_network()
    for layer in (network.encoder.conv2, network.decoder.layer4[0].conv1):
        for _ in range(300):  # one power iteration each; those of the initialisation may leave several percent
            weight = layer.weight
        original = layer.parametrizations.weight.original
        torch.testing.assert_close(weight, original / torch.linalg.matrix_norm(original.flatten(1), 2),
                                   rtol=1e-3, atol=1e-6)


def test_training_step_reaches_every_parameter():
    torch.manual_seed(0)
    network = build_network().train()
    for module in network.modules():  # the zeros of the initialisation would stop gradients
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    labels = np.random.default_rng(0).integers(0, 3, (64, 64)).astype(np.uint8)
    output = network(torch.randn(2, 3, 64, 64), encode_trimap(labels, 3).expand(2, -1, -1, -1))
    (output.alpha - 0.3).abs().mean().backward()
    without = [name for name, parameter in network.named_parameters()
               if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize(("arguments", "message"), [
    (("resnet50", "res_gca_decoder_22"), "unknown encoder 'resnet50'"),
    (("resnet_gca_encoder_29", "unet"), "unknown decoder 'unet'"),
    (("resnet_gca_encoder_29", "res_shortcut_decoder_22"), "do not match"),
    (("resnet_gca_encoder_29", "res_gca_decoder_22", 2), "trimap_channel is 2"),
])
def test_impossible_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_network(*arguments)
