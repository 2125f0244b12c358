"""Checkpoint files in the published program's format.

A file is a `torch.save` of {`iter`, `loss`, `state_dict`, `opt_state_dict`, `lr_state_dict`}; inference
files lack the last two. Tensor names are the published ones, with or without a leading `module.`.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from networks import MattingNetwork, build_network, from_published_names, to_published_names
from networks.colour_samples import CHANNELS
from utils.device import is_out_of_memory
from utils.errors import InputError, cut, one_line
from utils.file_writing import atomic_path

if TYPE_CHECKING:  # not needed for matting
    from easydict import EasyDict

# The published trainer stored the loss as a NumPy scalar: plain data, no code.
_numpy_scalar = np.float64(0).__reduce__()[0]
_PLAIN_NUMBERS = [
    (_numpy_scalar, "numpy.core.multiarray.scalar"), (_numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype, type(np.dtype(np.float32)), type(np.dtype(np.float64)),
]
_NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32)


class CheckpointError(InputError):
    """A checkpoint that cannot be used. The message names the file."""


def checkpoint_folder(config: EasyDict) -> Path:
    """The folder of a run's checkpoints."""
    return Path(config.log.checkpoint_path) / config.version


def checkpoint_path(config: EasyDict, name: str) -> Path:
    """A checkpoint by its name in the run's folder, such as "best_model" (with or without .pth), or by its path."""
    path, own = Path(name), checkpoint_folder(config) / f"{name.removesuffix('.pth')}.pth"
    return path if not own.exists() and (path.is_file() or path.name != name) else own


def read_checkpoint(path: str | Path) -> dict:
    """The content of a checkpoint file, its `state_dict` without `module.`.

    No code in the file is executed: only tensors and plain data are accepted.

    Raises:
        CheckpointError: if the file is missing, damaged, not a checkpoint or unsafe, or a tensor is non-finite.
    """
    path = Path(path)
    checkpoint = load_plain(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        found = f"keys {first_few(checkpoint)}" if isinstance(checkpoint, dict) else f"a {type(checkpoint).__name__}"
        raise CheckpointError(f"{path}: not a checkpoint: contains {found}; expected a dictionary with a 'state_dict'")
    weights = {str(name).removeprefix("module."): value for name, value in checkpoint["state_dict"].items()}
    strange = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if strange:
        raise CheckpointError(f"{path}: its state_dict contains entries that are not tensors: {first_few(strange)}")
    check_tensors(path, weights)
    return {**checkpoint, "state_dict": weights}


def check_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Raises CheckpointError for tensors of a file that are not dense and finite in single precision.

    What a tensor claims to hold is compared with the file's content before anything is computed with it.
    """
    for name, value in tensors.items():
        problem = _kind_problem(value)
        if problem:
            raise CheckpointError(f"{path}: {name} {problem}; expected a dense tensor of numbers")
    broken = [name for name, value in tensors.items()
              if value.is_floating_point() and not value.float().isfinite().all()]
    if broken:
        raise CheckpointError(f"{path}: {len(broken)} tensors contain NaN, Inf, or values too large for single "
                              f"precision: {first_few(broken)}")


def _kind_problem(value: Tensor) -> str | None:
    if value.is_quantized or value.layout != torch.strided or value.dtype not in _NUMBERS:
        dense = value.layout == torch.strided
        kind = "quantised" if value.is_quantized else str(value.dtype if dense else value.layout)
        return f"is {kind.removeprefix('torch.')}"
    if value.device.type != "cpu":
        return f"is on the device {value.device}, without content"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"claims {value.numel():,} numbers, of which the file holds {value.untyped_storage().nbytes():,} bytes"
    return None


def load_plain(path: Path) -> object:
    """The tensors and plain data of a `torch.save` file, on the CPU; CheckpointError for anything else."""
    if not path.is_file():
        raise CheckpointError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_PLAIN_NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about kinds of tensors that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles and archives raise all kinds of exceptions
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path}: {_load_failure(path, error)}") from None


def _check_archive(path: Path) -> None:
    """Raises CheckpointError for a zip archive with damaged or compressed members; PyTorch checks neither."""
    if not zipfile.is_zipfile(path):
        return  # an old format, or damaged: PyTorch tells
    try:
        with zipfile.ZipFile(path) as archive:
            compressed = any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist())
            damaged = None if compressed else archive.testzip()
    except Exception:  # damaged archives raise many kinds
        return  # as above
    if compressed:  # small files could expand to any size
        raise CheckpointError(f"{path}: a compressed archive; expected a PyTorch file")
    if damaged:
        raise CheckpointError(f"{path}: damaged PyTorch file: {damaged} does not match its checksum")


def _load_failure(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if not head:
        return "the file is empty"
    size = f"{path.stat().st_size:,} bytes"
    unsafe = re.search(r"GLOBAL (\S+)", str(error))
    if unsafe:
        return f"rejected: loading it would run code ({unsafe[1]}); expected tensors and plain data only"
    if head == b"PK\x03\x04" and not zipfile.is_zipfile(path):
        return f"truncated: starts like a PyTorch file, but its end is missing after {size}"
    if head == b"PK\x03\x04":
        return f"damaged PyTorch file, or another kind of zip archive ({size})"
    if head[:2] == b"\x80\x02":
        return f"truncated or damaged PyTorch file ({size})"
    return f"not a PyTorch file ({size}, starting with {head!r})"


def load_weights(network: MattingNetwork, weights: dict[str, Tensor], source: str | Path) -> None:
    """Loads a published state dict into a network, strictly.

    Args:
        weights: tensors by published names, from `read_checkpoint`.
        source: their file, for messages.

    Raises:
        CheckpointError: if names or shapes differ from the network's.
    """
    expected = to_published_names(network.state_dict())
    missing = [name for name in expected if name not in weights]
    extra = [name for name in weights if name not in expected]
    reshaped = [f"{name} is {tuple(weights[name].shape)}, expected {tuple(value.shape)}"
                for name, value in expected.items() if name in weights and weights[name].shape != value.shape]
    retyped = [f"{name} is {str(weights[name].dtype).removeprefix('torch.')}" for name, value in expected.items()
               if name in weights and weights[name].is_floating_point() != value.is_floating_point()]
    problems = []
    if missing:
        problems.append(f"{len(missing)} of {len(expected)} tensors are missing ({first_few(missing)})")
    if extra:
        problems.append(f"{len(extra)} are unexpected ({first_few(extra)})")
    if reshaped:
        problems.append(f"{len(reshaped)} have another shape ({first_few(reshaped, '; ')})")
    if retyped:
        problems.append(f"{len(retyped)} have another type ({first_few(retyped)})")
    if problems:
        cause = _likely_cause(missing, extra, reshaped, _input_channels(weights) - _input_channels(expected))
        raise CheckpointError(f"{source}: does not match the network: {', '.join(problems)}{cause}")
    network.load_state_dict(from_published_names(weights))


def _input_channels(weights: dict[str, Tensor]) -> int:
    """Input channels of the first convolution; 0 if there is none."""
    weight = weights.get("encoder.conv1.module.weight_bar")
    return weight.shape[1] if weight is not None and weight.ndim == 4 else 0


def _likely_cause(missing: list[str], extra: list[str], reshaped: list[str], further_inputs: int) -> str:
    """The likely cause of a mismatch; `further_inputs`: input channels of the weights minus those of the network."""
    other_width = any(not name.startswith(("encoder.conv1.", "encoder.shortcut.0.")) for name in reshaped)
    if abs(further_inputs) == CHANNELS:
        width = " and another model.width" if other_width else ""
        return f"; it is for model.colour_samples={str(further_inputs > 0).lower()}{width}"
    if any(name.startswith("encoder.gca.") for name in extra):
        return "; it has attention: choose resnet_gca_encoder_29 and res_gca_decoder_22"
    if missing and all(".gca." in name or ".guidance_head." in name for name in missing):
        return "; it is the baseline without attention: choose res_shortcut_encoder_29 and res_shortcut_decoder_22"
    if reshaped:
        channel = any(name.startswith("encoder.conv1.") for name in reshaped)
        keys = ["model.trimap_channel"] * channel + ["model.width"] * other_width
        return f"; it may have been trained with another {' and '.join(keys)}"
    if any(name.startswith(("conv1.", "layer1.")) for name in extra):
        return "; it looks like an encoder only, such as the ImageNet backbone (model.imagenet_pretrain_path)"
    return ""


def load_network(path: str | Path, **architecture: str | float) -> MattingNetwork:
    """A network with the weights of a checkpoint file, on the CPU.

    Args:
        architecture: arguments of `networks.build_network`; default: the published network. An architecture stored
            in the file takes precedence.

    Raises:
        CheckpointError: as `read_checkpoint` and `load_weights`, and for an invalid stored architecture.
        ValueError: as `networks.build_network`.
    """
    content = read_checkpoint(path)
    stored = content.get("architecture")
    network = build_network(**architecture) if stored is None else _build_stored(path, stored, architecture)
    load_weights(network, content["state_dict"], path)
    return network


def _build_stored(path: str | Path, stored: object, architecture: dict) -> MattingNetwork:
    """The network of a file's stored architecture, which takes precedence over the given one."""
    try:
        # A file without this key is older than colour samples, or has none.
        return build_network(**(architecture | {"colour_samples": False} | stored))
    except Exception as error:  # not a dictionary, unknown names, values of another type or size
        if is_out_of_memory(error):
            raise
        raise CheckpointError(f"{path}: its architecture is invalid ({cut(one_line(error))})") from None


def save_checkpoint(path: str | Path, network: MattingNetwork, iteration: int = 0, loss: float = 0.0,
                    **more: object) -> None:
    """Atomically writes a checkpoint that the published program can read, too.

    Args:
        more: additional entries, such as opt_state_dict and lr_state_dict.
    """
    content = {"iter": iteration, "loss": loss, "state_dict": to_published_names(network.state_dict()), **more}
    write_tensors(path, content)


def write_tensors(path: str | Path, content: object) -> None:
    """Atomically writes tensors and plain data with `torch.save`.

    Raises:
        OSError: if the file cannot be written, such as on a full disk.
    """
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # PyTorch's own, about what follows from the system's
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def first_few(names: list[str] | dict, separator: str = ", ") -> str:
    """The first few of many names."""
    names = [str(name) for name in names]
    return separator.join(names[:3]) + (f"{separator}..." if len(names) > 3 else "")
