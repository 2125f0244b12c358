"""The stages of a network as modules for ONNX export; `matting.onnx_stages` describes them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim

from networks import GuidedContextualAttention, MattingNetwork
from networks.attention_tiles import to_blocks, to_pixels
from networks.colour_samples import ESTIMATES, colour_channels, estimates
from networks.known_colours import DIRECTIONS, GRID, PartColours, cell_means, known_colours

LARGEST = 2**14  # positions along a side


class Free(NamedTuple):
    """A side whose length depends on the image: factor * length + more."""

    name: str
    example: int  # a length to trace with
    factor: int = 1
    more: int = 0

    @property
    def size(self) -> int:
        return self.factor * self.example + self.more

    @property
    def dim(self) -> Dim:
        return self.factor * Dim(self.name, min=2, max=LARGEST) + self.more


class Applied(nn.Module):
    """A function as a module; with a network, whose parts it uses and whose parameters keep their names."""

    def __init__(self, function: Callable[..., Tensor | tuple[Tensor, ...]], network: MattingNetwork | None = None):
        super().__init__()
        self.function = function
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.function(*inputs)


class Stage(NamedTuple):
    """A graph to export: a module, and the shapes of its inputs."""

    module: Applied
    shapes: tuple[tuple[int | Free, ...], ...]
    flags: tuple[int, ...] = ()  # the inputs that are bool instead of float32

    def examples(self) -> tuple[Tensor, ...]:
        """Inputs to trace with."""
        return tuple(torch.ones([side.size if isinstance(side, Free) else side for side in shape],
                                dtype=torch.bool if i in self.flags else None)
                     for i, shape in enumerate(self.shapes))

    def dynamic_shapes(self) -> tuple[tuple[dict[int, Dim], ...]]:
        """The free sides of each input, for the arguments of `Applied.forward`."""
        return tuple({axis: side.dim for axis, side in enumerate(shape) if isinstance(side, Free)}
                     for shape in self.shapes),


def maps(channels: int, factor: int = 1, more: int = 0) -> tuple[int | Free, ...]:
    """The shape of a feature at a multiple of the stage's lowest resolution."""
    return 1, channels, Free("rows", 6, factor, more), Free("columns", 8, factor, more)


def stages(network: MattingNetwork) -> dict[str, Stage]:
    """All stages of a folded network."""
    encoder, decoder = network.encoder, network.decoder
    shortcut = encoder.shortcut
    inputs, half, quarter, eighth = (layer.in_channels for layer in (
        encoder.conv1, encoder.conv2, encoder.layer1[0].conv1, shortcut[3][0]))

    def stem(full: Tensor) -> tuple[Tensor, ...]:
        features = encoder.quarter(encoder.half(full)), encoder.guidance(full)
        return tuple(x for x in features if x is not None)

    modules = {
        "stem": (stem, maps(inputs, 8)),
        "quarter": (lambda x, fine: decoder.quarter(x, shortcut[2](fine)), maps(eighth), maps(quarter, 2)),
        "half": (lambda x, full: decoder.half(x, shortcut[1](encoder.half(full))), maps(quarter), maps(inputs, 4)),
        "alpha": (lambda x, full: decoder.alpha(x, shortcut[0](full)), maps(half), maps(inputs, 2))}
    if encoder.gca is None:
        modules["coarse"] = lambda x: decoder.above(*encoder.below(encoder.layer2(x))), maps(quarter, 8)
    found = {name: Stage(Applied(function, network), tuple(shapes)) for name, (function, *shapes) in modules.items()}
    if encoder.gca is not None:
        found |= _around_attention(network, quarter, eighth) | _attention_products(encoder.gca)
    if network.colour_channels is not None:
        found |= _colours(3 + network.trimap_channel)
    return found


def _around_attention(network: MattingNetwork, quarter: int, eighth: int) -> dict[str, Stage]:
    """The stages before, between and after the attention blocks; the lowest resolution is 1/32."""
    encoder, decoder = network.encoder, network.decoder
    whole = maps(eighth, 4), maps(1, 4)  # guidance and unknown
    message = 1, *maps(0, 2, 1)[2:], 4 * eighth

    def before(features: Tensor, guidance: Tensor, unknown: Tensor) -> tuple[Tensor, ...]:
        return prepared(encoder.gca, guidance, encoder.layer2(features), unknown)

    def between(feature: Tensor, message: Tensor, guidance: Tensor, unknown: Tensor) -> tuple[Tensor, ...]:
        x = decoder.above(*encoder.below(refined(encoder.gca, feature, message)))
        return prepared(decoder.gca, guidance, x, unknown)

    def after(feature: Tensor, message: Tensor) -> Tensor:
        return refined(decoder.gca, feature, message)

    return {"before_attention": Stage(Applied(before, network), (maps(quarter, 8), *whole)),
            "between_attention": Stage(Applied(between, network), (maps(eighth, 4), message, *whole)),
            "after_attention": Stage(Applied(after, network), (maps(eighth, 4), message))}


def prepared(block: GuidedContextualAttention, guidance: Tensor, alpha: Tensor,
             unknown: Tensor) -> tuple[Tensor, ...]:
    """`alpha`, and from what `matting.onnx_attention` computes its message.

    The block itself computes these; the function that it calls with them keeps them.
    """
    kept = []

    def keep(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
             *_: object) -> tuple[Tensor, Tensor]:
        kept.extend([F.pad(feature, (1, 1, 1, 1), mode="reflect"), to_blocks(alpha / 4), key_scale, own_penalty])
        return torch.zeros_like(alpha), torch.zeros_like(key_scale, dtype=torch.long)

    before, block.attend = block.attend, keep
    try:
        block(guidance, alpha, unknown)
    finally:
        block.attend = before
    return alpha, *kept


def refined(block: GuidedContextualAttention, alpha: Tensor, message: Tensor) -> Tensor:
    """`alpha` with the message of its attention, given in blocks."""
    return alpha + block.W(to_pixels(message))


def _attention_products(block: GuidedContextualAttention) -> dict[str, Stage]:
    """The products of (P, C) queries and (C, K) keys, and of (P, K) weights and (K, A) blocks, added up over keys."""
    queries, keys = Free("queries", 6), Free("keys", 8)
    channels, values = block.guidance_conv.out_channels, 4 * block.W[0].out_channels
    sums = Applied(lambda weights, blocks, before: torch.addmm(before, weights, blocks))
    return {"products": Stage(Applied(torch.matmul), ((queries, channels), (channels, keys))),
            "sums": Stage(sums, ((queries, keys), (keys, values), (queries, values)))}


def _colours(inputs: int) -> dict[str, Stage]:
    """The further channels of `full`, which has so many of image and trimap."""
    full, around, known = maps(inputs, GRID), maps(7, 1, 2), (1, 2, 1, 1)
    samples = 1, 2, len(DIRECTIONS), *maps(3)[1:]

    def of_estimates(full: Tensor, filled: Tensor, samples: Tensor, known: Tensor) -> Tensor:
        return estimates(full[:, :3], full[:, 3:], PartColours(interpolated(filled), samples, known))

    def of_all(full: Tensor, filled: Tensor, known: Tensor, found: Tensor) -> Tensor:
        part = PartColours(interpolated(filled), found, known, found)  # instead of samples: only estimates need them
        return torch.cat([full, colour_channels(full[:, :3], full[:, 3:], part)], dim=1)

    return {"means": Stage(Applied(lambda full: cell_means(full[:, :3], full[:, 3:])), (full,)),
            "known": Stage(Applied(lambda means: known_colours(means)[:3]), (maps(8, 8),)),
            "estimates": Stage(Applied(of_estimates), (full, around, samples, known), (3,)),
            "colours": Stage(Applied(of_all), (full, around, known, maps(ESTIMATES, GRID)), (2,))}


def interpolated(filled: Tensor) -> Tensor:
    """Filled colours of cells, with a margin of a cell, at each pixel, without it."""
    return F.interpolate(filled, scale_factor=GRID, mode="bilinear")[..., GRID:-GRID, GRID:-GRID]
