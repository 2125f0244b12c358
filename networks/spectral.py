"""Spectrally normalised convolutions.

Spectral normalisation divides a weight by its largest singular value (Miyato et al., "Spectral
Normalization for Generative Adversarial Networks", ICLR 2018). The weight is reshaped to
(shape[0], -1), also for transposed convolutions, whose shape[0] is the number of input channels:
torch's default is the other axis there, with which published weights would load silently but compute
something else.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


def _normalised(conv: nn.Module) -> nn.Module:
    return spectral_norm(conv, dim=0, eps=1e-12)


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int | None = None,
         zero_input_channels: slice | None = None) -> nn.Conv2d:
    """A spectrally normalised convolution without bias, Xavier-initialised.

    Args:
        padding: zeros around the input; by default (kernel_size - 1) // 2, which keeps the size.
        zero_input_channels: input channels whose weights start at zero.
    """
    padding = (kernel_size - 1) // 2 if padding is None else padding
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    # Before parametrisation: afterwards `layer.weight` is computed, and writes to it are lost.
    nn.init.xavier_uniform_(layer.weight)
    if zero_input_channels is not None:
        nn.init.zeros_(layer.weight.data[:, zero_input_channels])
    return _normalised(layer)


def upsampling_conv(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    """A spectrally normalised 4x4 transposed convolution that doubles height and width, without bias."""
    return _normalised(nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False))


def largest_singular(matrix: Tensor, iterations: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest singular value's left vector and right vector, and itself, by power iteration."""
    u = F.normalize(matrix.sum(dim=1), dim=0)
    for _ in range(iterations):
        v = F.normalize(matrix.T @ u, dim=0)
        u = F.normalize(matrix @ v, dim=0)
    return u, v, torch.dot(u, matrix @ v)


def set_singular_vectors(state: dict[str, Tensor], iterations: int) -> None:
    """Measures a state dict's stored singular vectors anew, for weights that were computed and not trained."""
    for name in [name for name in state if name.endswith("weight.original")]:
        left, right, _ = largest_singular(state[name].flatten(1), iterations)
        stem = name.removesuffix("original")
        state[f"{stem}0._u"].copy_(left)
        state[f"{stem}0._v"].copy_(right)
