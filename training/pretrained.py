"""Initialising the encoder from ImageNet weights."""

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from networks import MattingNetwork, from_published_names, to_published_names
from networks.spectral import largest_singular
from utils.checkpoint import CheckpointError, first_few, load_plain, read_checkpoint

POWER_ITERATIONS = 20


class Transfer(NamedTuple):
    """The tensors that were loaded or not; encoder tensors by published name, others by their name in the file."""

    loaded: list[str]
    kept: list[str]  # the encoder's that the file lacks; initial values are kept
    passed_over: list[str]  # the file's that the encoder lacks


def load_imagenet_encoder(network: MattingNetwork, path: str | Path) -> Transfer:
    """Loads the published ImageNet backbone, or torchvision's ResNet-34, into a network's encoder.

    Raises:
        CheckpointError: if the file is unreadable, is neither of the two, or shapes differ.
    """
    content = load_plain(Path(path))
    if isinstance(content, dict) and "layer1.0.conv1.weight" in content:
        return _load_torchvision_resnet(network, content, path)
    return _load_published_backbone(network, path)


def with_colour_inputs(network: MattingNetwork, weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights of a network without colour samples, extended for one that has them: zero for the additional inputs.

    Args:
        weights: of a checkpoint, by published names.

    Returns:
        The weights, and the names of the tensors that were extended by zeros; none if the network has no colour
        samples, or the weights have them already.
    """
    plain_channels = 3 + network.trimap_channel
    first = weights.get("encoder.conv1.module.weight_bar")
    if network.colour_channels is None or first is None or first.dim() != 4 or first.shape[1] != plain_channels:
        return weights, []
    expected = to_published_names(network.state_dict())
    names = [f"encoder.{layer}.module.weight_{part}" for layer in ("conv1", "shortcut.0.0") for part in ("bar", "v")]
    names = [name for name in names if name in weights]
    return weights | {name: _extend_with_zeros(weights[name], expected[name]) for name in names}, names


def _load_published_backbone(network: MattingNetwork, path: str | Path) -> Transfer:
    """The plain encoder for 3 channels: zeros for conv1's additional channels, the rest unchanged."""
    weights = read_checkpoint(path)["state_dict"]
    weights = {name.removeprefix("encoder."): value for name, value in weights.items()}
    encoder = to_published_names(network.encoder.state_dict())
    needed = [name for name in encoder if name.startswith(("conv", "layer"))]
    missing = [name for name in needed if name not in weights]
    if missing:
        raise CheckpointError(f"{path}: not the ImageNet backbone of this encoder: {len(missing)} of {len(needed)} "
                              f"tensors are missing ({first_few(missing)})")
    for name in ("conv1.module.weight_bar", "conv1.module.weight_v"):
        weights[name] = _extend_with_zeros(weights[name], encoder[name])
    return _transfer(network, weights, path)


def _load_torchvision_resnet(network: MattingNetwork, content: dict[str, Tensor], path: str | Path) -> Transfer:
    """The residual blocks common to both. The stem and the number of blocks at the coarse end differ.

    Spectral normalisation divides a weight by its norm; the statistics of the following BN are divided
    accordingly, so that the block's output is unchanged.
    """
    weights = {}
    for name, value in content.items():
        name = name.replace("layer4.", "layer_bottleneck.")
        if not name.startswith("layer"):
            continue
        name = name.replace("downsample.1.", "downsample.2.").replace("downsample.0.", "downsample.1.")
        if value.dim() != 4:
            weights[name] = value
            continue
        stem = name.removesuffix("weight") + "module.weight_"
        u, v, norm = largest_singular(value.flatten(1), POWER_ITERATIONS)
        weights |= {f"{stem}bar": value, f"{stem}u": u, f"{stem}v": v}
        own_bn = name.removesuffix("weight").replace("conv", "bn").replace("downsample.1.", "downsample.2.")
        weights[f"{own_bn}norm"] = norm
    for name in [name for name in weights if name.endswith(".norm")]:
        norm, stem = weights.pop(name), name.removesuffix("norm")
        weights[f"{stem}running_mean"] = weights[f"{stem}running_mean"] / norm
        weights[f"{stem}running_var"] = weights[f"{stem}running_var"] / norm**2
    transfer = _transfer(network, weights, path)
    untouched = [name for name in content if not name.startswith("layer")]
    return transfer._replace(passed_over=[*untouched, *transfer.passed_over])


def _transfer(network: MattingNetwork, weights: dict[str, Tensor], path: str | Path) -> Transfer:
    encoder = to_published_names(network.encoder.state_dict())
    found = {name: weights[name] for name in encoder if name in weights}
    reshaped = [f"{name} is {tuple(value.shape)}, expected {tuple(encoder[name].shape)}"
                for name, value in found.items() if value.shape != encoder[name].shape]
    if reshaped:
        raise CheckpointError(f"{path}: {len(reshaped)} tensors have another shape ({first_few(reshaped, '; ')})")
    network.encoder.load_state_dict(from_published_names({**encoder, **found}))
    return Transfer(list(found), [name for name in encoder if name not in found],
                    [name for name in weights if name not in encoder])


def _extend_with_zeros(value: Tensor, like: Tensor) -> Tensor:
    """A convolution's weight (C, c, 3, 3), or its v (9 c), extended by zeros to the input channels of `like`."""
    axis = min(1, value.dim() - 1)
    lacking = list(value.shape)
    lacking[axis] = max(0, like.shape[axis] - value.shape[axis])
    return torch.cat([value, value.new_zeros(lacking)], dim=axis)
