"""Weights in half precision as several small files, for machines that give only small files back."""

import json
from pathlib import Path

import torch
from torch import Tensor

from utils.checkpoint import CheckpointError, load_plain
from utils.files import atomic_path

ABOUT = "about.json"
LARGEST_PART = 14 * 2**20  # bytes of tensors in a file, which is then below 15 MiB
_LARGEST_HALF = torch.finfo(torch.float16).max


def half_precision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors as float16, the others as they are.

    Raises:
        CheckpointError: for values that are no numbers or beyond what float16 holds.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not (value.abs() <= _LARGEST_HALF).all():
            raise CheckpointError(f"{name}: holds values that float16 cannot, up to {value.abs().max():g}")
    return {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}


def save_parts(folder: Path, weights: dict[str, Tensor], about: dict) -> dict:
    """Writes the weights as `weights-STEPS-0.pth`, ..., then `about.json`, which names them; then removes earlier ones.

    Whenever it is interrupted, `about.json` names files that belong together.

    Args:
        about: plain data to keep with them, with "steps".

    Returns:
        What is kept: `about` with "files".
    """
    parts, size = [{}], 0
    for name, value in half_precision(weights).items():
        if parts[-1] and size + value.nbytes > LARGEST_PART:
            parts.append({})
            size = 0
        parts[-1][name] = value.clone().cpu()  # a view would be saved with all that it is a view of
        size += value.nbytes
    stem = f"weights-{about['steps']}"
    while any(folder.glob(f"{stem}-*.pth")):  # saved before, of as many steps: not to be overwritten one by one
        stem += "b"
    files = [f"{stem}-{i}.pth" for i in range(len(parts))]
    for name, part in zip(files, parts, strict=True):
        with atomic_path(folder / name) as temporary:
            torch.save(part, temporary)
    about = about | {"files": files}
    write_about(folder, about)
    for path in folder.glob("weights-*.pth"):
        if path.name not in files:
            path.unlink()
    return about


def write_about(folder: Path, about: dict) -> None:
    """Replaces what is kept with the weights; "files" must name them."""
    with atomic_path(folder / ABOUT) as temporary:
        temporary.write_text(json.dumps(about, indent=1) + "\n")


def load_parts(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """The weights of `save_parts` in single precision, and what was kept with them.

    Raises:
        CheckpointError: if a file is missing or damaged.
    """
    about = load_about(folder)
    weights = {}
    for part in (load_plain(folder / str(name)) for name in about["files"]):
        weights |= part
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}, about


def load_about(folder: Path) -> dict:
    """What was kept with the weights of `save_parts`, without them.

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
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
