"""Half-precision weights as several small files, for machines that return only small files."""

import json
from pathlib import Path

import torch
from torch import Tensor

from networks import MattingNetwork, build_network, to_published_names
from utils.checkpoint import CheckpointError, check_tensors, load_plain, load_weights, write_tensors
from utils.errors import cut, one_line
from utils.file_writing import atomic_path

ABOUT = "about.json"
LARGEST_SHARD = 14 * 2**20  # bytes of tensors per file, which keeps files below 15 MiB
_LARGEST_HALF = torch.finfo(torch.float16).max


def half_precision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as float16, others unchanged.

    Raises:
        CheckpointError: for values that are not finite in float16.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not (value.abs() <= _LARGEST_HALF).all():
            raise CheckpointError(f"{name}: holds values outside the range of float16, up to {value.abs().max():g}")
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}


def save_shards(folder: Path, weights: dict[str, Tensor], about: dict) -> dict:
    """Writes `weights-STEPS-0.pth`, ..., then `about.json`, which names them; then removes earlier ones.

    Whenever it is interrupted, `about.json` names files that belong together.

    Args:
        about: plain data to store with the weights, with "steps".

    Returns:
        `about` with "files".
    """
    shards, size = [{}], 0
    for name, value in half_precision(weights).items():
        if shards[-1] and size + value.nbytes > LARGEST_SHARD:
            shards.append({})
            size = 0
        shards[-1][name] = value.clone().cpu()  # a view would be saved with its whole storage
        size += value.nbytes
    stem = f"weights-{about['steps']}"
    while any(folder.glob(f"{stem}-*.pth")):  # saved at this step before: must not be overwritten one by one
        stem += "b"
    files = [f"{stem}-{i}.pth" for i in range(len(shards))]
    for name, shard in zip(files, shards, strict=True):
        write_tensors(folder / name, shard)
    about = about | {"files": files}
    write_about(folder, about)
    for path in folder.glob("weights-*.pth"):
        if path.name not in files:
            path.unlink()
    return about


def write_about(folder: Path, about: dict) -> None:
    """Replaces `about.json`; "files" must name the weights."""
    with atomic_path(folder / ABOUT) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def load_shards(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """The weights of `save_shards` in single precision, and what was stored with them.

    Raises:
        CheckpointError: if a file is missing or damaged.
    """
    about = load_about(folder)
    weights = {}
    for path in (folder / str(name) for name in about["files"]):
        shard = load_plain(path)
        if not isinstance(shard, dict) or not all(isinstance(value, Tensor) for value in shard.values()):
            raise CheckpointError(f"{path}: not a file of weights; expected a dictionary of tensors")
        check_tensors(path, shard)
        weights |= shard
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}, about


def load_about(folder: Path) -> dict:
    """What was stored with the weights of `save_shards`.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text())
        list(about["files"])
        return about
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror.lower()}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None


def join_shards(folder: Path, path: Path, default_architecture: dict[str, str | float]) -> None:
    """Writes the weights as one half-precision checkpoint, with published names and the architecture.

    Args:
        default_architecture: arguments of `networks.build_network`, if the shards do not store theirs.

    Raises:
        CheckpointError: if a file is missing or damaged, or the weights do not fit the architecture.
    """
    weights, about = load_shards(folder)
    architecture = about.get("architecture", default_architecture)
    try:
        network = build_network(**architecture)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / ABOUT}: its architecture is invalid ({cut(one_line(error))})") from None
    load_weights(network, weights, folder)
    save_half_precision(path, network, about["steps"])


def save_half_precision(path: Path, network: MattingNetwork, steps: int = 0) -> None:
    """Atomically writes a network as a checkpoint with published names, its architecture, and half-precision weights.

    Raises:
        CheckpointError: as `half_precision`.
    """
    write_tensors(path, {"iter": steps, "loss": 0.0, "architecture": network.architecture,
                         "state_dict": half_precision(to_published_names(network.state_dict()))})
