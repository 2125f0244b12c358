"""The weights of a narrow network inside those of a wider one, which then starts by computing about the same."""

import operator

import torch
from torch import Tensor

from networks import MattingNetwork, from_published_names
from networks.spectral import largest_singular, set_singular_vectors

POWER_ITERATIONS = 200
NEW_STRENGTH = 0.25  # of new weights, compared with a layer's old ones: largest singular values
FIRST = "encoder.conv1.parametrizations.weight.original"
GUIDANCE_STRENGTH = 0.1  # of new channels that attention compares, before any training


def is_narrower(weights: dict[str, Tensor], network: MattingNetwork) -> bool:
    """Whether weights, by published names, are those of a network of the same kind and inputs with fewer channels."""
    old, new = from_published_names(weights), network.state_dict()
    if old.keys() != new.keys() or any(old[name].is_floating_point() != new[name].is_floating_point() for name in new):
        return False
    if old[FIRST].shape[1:] != new[FIRST].shape[1:]:
        return False
    pairs = [(old[name].shape, value.shape) for name, value in new.items()]
    fit = all(len(a) == len(b) and all(map(operator.le, a, b)) for a, b in pairs)
    return fit and any(a != b for a, b in pairs)


@torch.no_grad()
def load_widened(network: MattingNetwork, weights: dict[str, Tensor], strength: float = NEW_STRENGTH) -> None:
    """Sets a network's weights so that its first channels are those of a narrower one, as in Net2Net (Chen,
    Goodfellow and Shlens, ICLR 2016).

    Layers' old outputs do not see new inputs yet (zero weights). New outputs are the network's own random weights.
    What they add to the norm of a spectrally normalised layer scales the old outputs down, by 3 % at most with the
    default strength; batch normalisation undoes that once its statistics are measured anew, so not with
    train.freeze_bn.

    Args:
        weights: of the narrower network (`is_narrower`), by published names.
        strength: largest singular value of a layer's new weights, as a share of the old ones'.
    """
    old, new = from_published_names(weights), network.state_dict()
    for name, value in new.items():
        if not name.endswith(("_u", "_v")):
            value.copy_(_widened(name, old[name].to(value), value, strength))
    set_singular_vectors(new, POWER_ITERATIONS)
    network.load_state_dict(new)


def _widened(name: str, old: Tensor, new: Tensor, strength: float) -> Tensor:
    """A tensor with the old values in its corner, and `new` around them."""
    corner = tuple(slice(side) for side in old.shape)
    result = new.clone()
    if old.dim() == 4 and old.shape != new.shape:
        if name.endswith("weight.original"):
            strength = strength * _norm(old) / _norm(new)
        elif name.endswith("guidance_conv.weight"):
            strength = GUIDANCE_STRENGTH * strength / NEW_STRENGTH
        else:
            strength = 1.0
        result *= strength
        # Transposed convolutions, the only ones of 4 x 4, have their outputs in the second dimension.
        outputs = 1 if old.shape[2:] == (4, 4) else 0
        result.narrow(outputs, 0, old.shape[outputs])[:] = 0
    result[corner] = old
    return result


def _norm(weight: Tensor) -> float:
    return largest_singular(weight.flatten(1), POWER_ITERATIONS)[2].item()
