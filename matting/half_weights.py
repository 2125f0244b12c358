"""Convolutions whose weights are stored in half precision, for smaller files; they compute in single precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from networks import MattingNetwork

Convolution = nn.Conv2d | nn.ConvTranspose2d


class HalfWeights(nn.Module):
    """A folded convolution, whose weight is computed as half * scale.

    Folding multiplies a checkpoint's weights by a factor for each output channel (`matting.folded_network`). Stored
    apart from it, weights that are half precision numbers, as those of checkpoints in half precision, remain exact.

    Args:
        conv: the folded convolution.
        weight: the checkpoint's, of the same shape.
    """

    def __init__(self, conv: Convolution, weight: Tensor):
        super().__init__()
        self.in_channels, self.out_channels = conv.in_channels, conv.out_channels
        self.stride, self.padding, self.bias = conv.stride, conv.padding, conv.bias
        self.transposed = isinstance(conv, nn.ConvTranspose2d)
        others = (0, 2, 3) if self.transposed else (1, 2, 3)
        half = weight.half()
        exact, target = half.double(), conv.weight.double()
        squares = exact.square().sum(others, keepdim=True)
        scale = (exact * target).sum(others, keepdim=True) / squares.clamp_min(torch.finfo(torch.double).tiny)
        self.register_buffer("half_weight", half)
        self.register_buffer("scale", scale.float())

    @property
    def weight(self) -> Tensor:
        """The weight in single precision."""
        return self.half_weight.float() * self.scale

    def forward(self, x: Tensor) -> Tensor:
        convolve = F.conv_transpose2d if self.transposed else F.conv2d
        return convolve(x, self.weight, self.bias, self.stride, self.padding)


@torch.no_grad()
def with_half_weights(folded: MattingNetwork, network: MattingNetwork) -> MattingNetwork:
    """Replaces the convolutions of a folded network, in place; returns it.

    Args:
        network: the one that `folded` was made of.
    """
    originals = [module.parametrizations.weight.original if is_parametrized(module, "weight") else module.weight
                 for module in network.modules() if isinstance(module, Convolution)]
    places = [(parent, name, child) for parent in folded.modules() for name, child in parent.named_children()
              if isinstance(child, Convolution)]
    inner = [module for module in folded.modules() if isinstance(module, Convolution)]
    weights = dict(zip(inner, originals, strict=True))  # folding moves convolutions only within their parent
    for parent, name, child in places:
        setattr(parent, name, HalfWeights(child, weights[child].detach()))
    return folded
