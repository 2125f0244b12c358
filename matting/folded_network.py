"""Inference-only networks: spectral and batch normalisation folded into the convolutions."""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from networks.matting_network import MattingNetwork


class Bounded(nn.Module):
    """Clamps each channel, in place: a ReLU whose threshold was moved by a folded batch normalisation."""

    def __init__(self, lower: Tensor, upper: Tensor):
        super().__init__()
        self.register_buffer("lower", lower.view(-1, 1, 1))
        self.register_buffer("upper", upper.view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), modified in place; the bounds are cast to its dtype, which depends on autocast."""
        return x.clamp_(self.lower.to(x.dtype), self.upper.to(x.dtype))


@torch.no_grad()
def folded(network: MattingNetwork) -> MattingNetwork:
    """A faster copy in evaluation mode, equal up to rounding; it cannot be trained.

    The network itself is unchanged. In the copy:

    - weights are stored divided by their largest singular value, in channels-last memory format;
    - batch normalisation is folded into the preceding convolution, also across a ReLU between them;
    - activations work in place;
    - 1x1 convolutions come before nearest-neighbour upsampling, not after.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if is_parametrized(child, "weight"):
                setattr(module, name, _without_spectral_norm(child))
    for module in list(network.modules()):
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
        elif isinstance(module, nn.ReLU | nn.LeakyReLU):
            module.inplace = True
        else:
            _fold_numbered(module)
    return network.to(memory_format=torch.channels_last)


def compile_stages(network: MattingNetwork) -> None:
    """Compiles the stages of a network with torch.compile, in place, for any height and width; not attention."""
    encoder, decoder = network.encoder, network.decoder
    for part in (encoder, decoder):
        if part.gca is not None:
            part.gca.forward = torch.compiler.disable(part.gca.forward)  # loop lengths depend on free memory
    # By method: modules that are compiled separately share one recompilation limit.
    for part, names in ((encoder, ("half", "quarter", "guidance", "coarse")),
                        (decoder, ("above", "quarter", "half", "alpha"))):
        for name in names:
            setattr(part, name, torch.compile(getattr(part, name), dynamic=True))
    for shortcut in encoder.shortcut[:3]:
        shortcut.compile(dynamic=True)


def _without_spectral_norm(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """A new convolution without bias, whose weight is the normalised one.

    New because `remove_parametrizations` would change the class that copies share with their originals.
    """
    plain = skip_init(type_before_parametrizations(conv), conv.in_channels, conv.out_channels, conv.kernel_size,
                      conv.stride, conv.padding, bias=False, device=conv.weight.device)
    plain.weight = nn.Parameter(conv.weight, requires_grad=False)
    return plain.eval()


def _fold_numbered(module: nn.Module) -> None:
    """Folds bn1 into conv1, bn2 into conv2 and so on, if a module has them."""
    for name, bn in list(module.named_children()):
        if isinstance(bn, nn.BatchNorm2d):
            conv_name = name.replace("bn", "conv")
            setattr(module, conv_name, _fused(getattr(module, conv_name), bn))
            setattr(module, name, nn.Identity())


def _fold_sequence(layers: nn.Sequential) -> None:
    for i, bn in enumerate(layers):
        if not isinstance(bn, nn.BatchNorm2d):
            continue
        if isinstance(layers[i - 1], nn.ReLU):
            layers[i - 2], layers[i - 1] = _fused(layers[i - 2], bn), _moved_relu(bn)
        else:
            layers[i - 1] = _fused(layers[i - 1], bn)
        layers[i] = nn.Identity()
    if isinstance(layers[0], nn.UpsamplingNearest2d):
        layers[0], layers[1] = layers[1], layers[0]


def _fused(conv: nn.Conv2d | nn.ConvTranspose2d, bn: nn.BatchNorm2d) -> nn.Module:
    return fuse_conv_bn_eval(conv, bn, transpose=isinstance(conv, nn.ConvTranspose2d))


def _moved_relu(bn: nn.BatchNorm2d) -> Bounded:
    """The clamp that replaces a ReLU when the batch normalisation after it moves before it.

    Normalisation is s x + t for each channel, and s max(x, 0) + t = max(s x + t, t) if s >= 0, with min if
    s < 0. Unlike folding t into the next convolution, this is exact at zero-padded borders.
    """
    shift = bn.bias - bn.running_mean * bn.weight * torch.rsqrt(bn.running_var + bn.eps)
    infinity = torch.full_like(shift, torch.inf)
    rising = bn.weight >= 0
    return Bounded(torch.where(rising, shift, -infinity), torch.where(rising, infinity, shift))
