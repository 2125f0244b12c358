"""Starting from encoders that were trained on ImageNet."""

import pytest
import torch
import torchvision

from networks import build_network, to_published_names
from training.pretrained import load_imagenet_encoder, with_colour_inputs
from utils.checkpoint import CheckpointError, load_weights

BASELINE = {"encoder": "res_shortcut_encoder_29", "decoder": "res_shortcut_decoder_22"}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """A published state dict of the baseline."""
    torch.manual_seed(1)
    return to_published_names(build_network(**BASELINE).state_dict())


def imagenet_backbone(weights: dict) -> dict:
    """The plain encoder for 3 channels, with the classifier that ImageNet training needs."""
    backbone = {name.removeprefix("encoder."): value.clone() + 1 for name, value in weights.items()
                if name.startswith(("encoder.conv", "encoder.bn", "encoder.layer"))}
    backbone["conv1.module.weight_bar"] = backbone["conv1.module.weight_bar"][:, :3]
    backbone["conv1.module.weight_v"] = backbone["conv1.module.weight_v"][:27]
    return backbone | {"fc.weight": torch.zeros(1000, 512)}


@pytest.mark.parametrize("trimap_channel", [1, 3])
def test_imagenet_backbone(tmp_path, weights, trimap_channel):
    backbone = imagenet_backbone(weights)
    torch.save({"state_dict": {f"module.{name}": value for name, value in backbone.items()}}, tmp_path / "pre.pth")
    network = build_network(trimap_channel=trimap_channel)
    before = to_published_names(network.encoder.state_dict())
    before = {name: value.clone() for name, value in before.items()}
    loaded, kept, passed_over = load_imagenet_encoder(network, tmp_path / "pre.pth")
    after = to_published_names(network.encoder.state_dict())
    assert torch.equal(after["conv1.module.weight_bar"][:, :3], backbone["conv1.module.weight_bar"])
    assert (after["conv1.module.weight_bar"][:, 3:] == 0).all()
    assert after["conv1.module.weight_v"].tolist() == [*backbone["conv1.module.weight_v"].tolist(),
                                                       *[0.0] * 9 * trimap_channel]
    assert torch.equal(after["layer3.2.conv1.module.weight_bar"], backbone["layer3.2.conv1.module.weight_bar"])
    assert passed_over == ["fc.weight"]
    assert {name.split(".")[0] for name in kept} == {"shortcut", "guidance_head", "gca"}
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert sorted(loaded + kept) == sorted(after)


@pytest.mark.parametrize("trimap_channel", [3, 1])
def test_colour_inputs_start_at_zero(trimap_channel):
    """A network with colour samples computes what the one without did whose weights it starts from."""
    torch.manual_seed(0)
    plain, network = (build_network(width=0.1, trimap_channel=trimap_channel, colour_samples=colours).eval()
                      for colours in (False, True))
    weights, extended = with_colour_inputs(network, to_published_names(plain.state_dict()))
    assert extended == [f"encoder.{layer}.module.weight_{part}" for layer in ("conv1", "shortcut.0.0")
                        for part in ("bar", "v")]
    load_weights(network, weights, "plain.pth")
    image, labels = torch.randn(1, 3, 64, 64), torch.randint(0, 3, (1, 1, 64, 64))
    one_hot = torch.cat([labels == label for label in range(3)], dim=1)
    trimap = (one_hot if trimap_channel == 3 else labels).float()
    with torch.no_grad():
        alpha, expected = network(image, trimap).alpha, plain(image, trimap).alpha
    assert expected.std() > 1e-3
    torch.testing.assert_close(alpha, expected, atol=1e-5, rtol=0)
    assert with_colour_inputs(network, weights) == (weights, [])
    assert with_colour_inputs(plain, weights) == (weights, [])


def test_other_file_for_the_imagenet_backbone(tmp_path, weights):
    torch.save({"state_dict": {"fc.weight": torch.zeros(3)}}, tmp_path / "pre.pth")
    with pytest.raises(CheckpointError, match="not the ImageNet backbone of this encoder"):
        load_imagenet_encoder(build_network(**BASELINE), tmp_path / "pre.pth")
    backbone = imagenet_backbone(weights)
    backbone["layer1.0.bn1.weight"] = torch.zeros(5)
    torch.save({"state_dict": backbone}, tmp_path / "pre.pth")
    with pytest.raises(CheckpointError, match=r"layer1.0.bn1.weight is \(5,\), expected \(64,\)"):
        load_imagenet_encoder(build_network(**BASELINE), tmp_path / "pre.pth")


def test_torchvision_resnet34(tmp_path):
    """The blocks that map compute what they do in torchvision's network; the rest is listed."""
    torch.manual_seed(2)
    resnet = torchvision.models.resnet34(weights=None)
    for module in resnet.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    torch.save(resnet.state_dict(), tmp_path / "resnet34.pth")
    network = build_network()
    transfer = load_imagenet_encoder(network, tmp_path / "resnet34.pth")
    x = torch.rand(1, 64, 16, 16, generator=torch.Generator().manual_seed(3))
    network.eval(), resnet.eval()
    with torch.no_grad():
        torch.testing.assert_close(network.encoder.layer1(x), resnet.layer1(x), rtol=1e-2, atol=1e-2)
    assert {"conv1.weight", "bn1.running_var", "fc.bias", "layer3.5.bn2.weight"} < set(transfer.passed_over)
    assert {"layer3.3.conv2.module.weight_bar", "layer_bottleneck.0.downsample.2.running_var"} < set(transfer.loaded)
    assert {name.split(".")[0] for name in transfer.kept} == {
        "conv1", "conv2", "conv3", "bn1", "bn2", "bn3", "shortcut", "guidance_head", "gca"}
