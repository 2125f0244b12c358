"""Parameter names in published checkpoints, which differ from torch's where weights are spectrally normalised."""

import re

from torch import Tensor

_PUBLISHED_TO_TORCH = {
    "module.weight_bar": "parametrizations.weight.original",
    "module.weight_u": "parametrizations.weight.0._u",
    "module.weight_v": "parametrizations.weight.0._v",
}
_TORCH_TO_PUBLISHED = {torch_name: published for published, torch_name in _PUBLISHED_TO_TORCH.items()}


def _rename(state_dict: dict[str, Tensor], endings: dict[str, str]) -> dict[str, Tensor]:
    pattern = re.compile(r"(?<=\.)(" + "|".join(map(re.escape, endings)) + r")$")
    return {pattern.sub(lambda match: endings[match[1]], key): value for key, value in state_dict.items()}


def to_published_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's state dict with the names that published files use (`<layer>.module.weight_bar`, ...)."""
    return _rename(state_dict, _TORCH_TO_PUBLISHED)


def from_published_names(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `to_published_names`: names as a network's `load_state_dict` expects."""
    return _rename(state_dict, _PUBLISHED_TO_TORCH)
