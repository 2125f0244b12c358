"""Weights in half precision as several small files, for machines that give only small files back."""

import json
from pathlib import Path

import torch
from torch import Tensor

from utils.checkpoint import CheckpointError, load_plain
from utils.files import atomic_path

LARGEST_PART = 15 * 2**20  # bytes of tensors in a file
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


def save_parts(folder: Path, weights: dict[str, Tensor], about: dict) -> None:
    """Writes `weights-0.pth`, `weights-1.pth`, ... and, last, `about.json`, which names how many there are."""
    parts, size = [{}], 0
    for name, value in half_precision(weights).items():
        if parts[-1] and size + value.nbytes > LARGEST_PART:
            parts.append({})
            size = 0
        parts[-1][name] = value.clone().cpu()  # a view would be saved with all that it is a view of
        size += value.nbytes
    for i, part in enumerate(parts):
        with atomic_path(folder / f"weights-{i}.pth") as temporary:
            torch.save(part, temporary)
    with atomic_path(folder / "about.json") as temporary:
        temporary.write_text(json.dumps({"parts": len(parts), **about}, indent=1) + "\n")


def load_parts(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """The weights of `save_parts` in single precision, and what was said about them.

    Raises:
        CheckpointError: if a file is missing or damaged.
    """
    try:
        about = json.loads((folder / "about.json").read_text())
        count = about.pop("parts")
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder / 'about.json'}: cannot be read ({error})") from None
    weights = {}
    for i in range(count):
        weights |= load_plain(folder / f"weights-{i}.pth")
    return {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}, about
