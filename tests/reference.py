"""The weights and answers of the comparison cases.

The cases in data/reference were computed with the published program, on weights that any program can
make again: every tensor is drawn from a generator seeded with its own name.
"""

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from networks import MattingNetwork, build_network, from_published_names

DATA = Path(__file__).parent / "data" / "reference"
ARCHITECTURES = {
    "gca": ("resnet_gca_encoder_29", "res_gca_decoder_22"),
    "baseline": ("res_shortcut_encoder_29", "res_shortcut_decoder_22"),
}


def shape_table(kind: str) -> dict[str, tuple[int, ...]]:
    """Published tensor name -> shape, of "gca" or "baseline"."""
    table = json.loads((DATA / "state_dict_shapes.json").read_text())[kind]
    return {name: tuple(shape) for name, shape in table.items()}


def load_cases(file_name: str) -> dict[str, dict[str, np.ndarray]]:
    """Case name -> array name -> array."""
    cases = {}
    with np.load(DATA / file_name) as arrays:
        for key in arrays.files:
            case, name = key.split("/", 1)
            cases.setdefault(case, {})[name] = arrays[key]
    return cases


def drawn_tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of a published name, other than the vectors of spectral normalisation."""
    kind = name.split(".")[-1]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    noise = np.random.default_rng(crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    if kind == "running_var":
        return np.exp(noise * np.float32(0.2))
    if kind in ("running_mean", "bias"):
        return noise * np.float32(0.1)
    if len(shape) == 1:
        return noise * np.float32(0.1) + np.float32(1)
    return noise / np.float32(np.sqrt(np.prod(shape[1:])))


def spectral_vectors(weight: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """u and v after 20 power iterations on the weight seen as (shape[0], -1)."""
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    u = np.random.default_rng(crc32(f"{name}/u".encode())).standard_normal(len(matrix))
    for _ in range(20):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    return u.astype(np.float32), v.astype(np.float32)


def reference_weights(kind: str) -> dict[str, Tensor]:
    """The published state dict that the network cases were computed with."""
    statistics = load_cases("batchnorm_stats.npz")[kind]
    weights = {}
    for name, shape in shape_table(kind).items():
        if name.endswith("weight_bar"):
            weights[name] = drawn_tensor(name, shape)
            stem = name.removesuffix("bar")
            weights[f"{stem}u"], weights[f"{stem}v"] = spectral_vectors(weights[name], name)
        elif not name.endswith(("weight_u", "weight_v")):
            weights[name] = statistics[name] if name in statistics else drawn_tensor(name, shape)
    return {name: torch.as_tensor(weights[name]) for name in shape_table(kind)}


def reference_network(kind: str) -> MattingNetwork:
    """The network of the cases, in evaluation mode."""
    network = build_network(*ARCHITECTURES[kind])
    network.load_state_dict(from_published_names(reference_weights(kind)))
    return network.eval()
