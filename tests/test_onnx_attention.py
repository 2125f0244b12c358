"""Attention in NumPy, without ONNX Runtime: by hand, for some of the queries, and within its memory."""

import numpy as np
import pytest

from matting import onnx_attention
from utils.boxes import Box


def rows_and_columns(h: int, w: int, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((h, w), bool)
    mask[rows, columns] = True
    return mask


def test_attention_by_hand():
    """Of few positions: without tiles, patches as vectors; tiles of any size give the same."""
    rng = np.random.default_rng(0)
    h, w, channels, values = 5, 6, 3, 8
    grid = rng.standard_normal((channels, h + 2, w + 2)).astype(np.float32)
    blocks = rng.standard_normal((h + 1, w + 1, values)).astype(np.float32)
    key_scale, penalty = rng.random((h, w), np.float32), -1e4 * (rng.random((h, w)) < 0.5).astype(np.float32)
    patches = np.stack([grid[:, i:i + 3, j:j + 3].ravel() for i in range(h) for j in range(w)])
    logits = patches @ patches.T * key_scale.ravel() + np.diag(penalty.ravel())
    attention = np.exp(logits - logits.max(axis=1, keepdims=True))
    attention = (attention / attention.sum(axis=1, keepdims=True)).reshape(h, w, h, w)
    expected = np.zeros_like(blocks)
    for i in (0, 1):
        for j in (0, 1):
            expected[i:i + h, j:j + w] += np.einsum("abcd,cde->abe", attention, blocks[i:i + h, j:j + w])

    class Products:
        def run_into(self, name: str, output: np.ndarray, **inputs: np.ndarray) -> None:
            output[...] = (inputs["queries"] @ inputs["keys"] if name == "products" else
                           inputs["before"] + inputs["weights"] @ inputs["blocks"])

    done = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(onnx_attention, "QUERIES", (3, 4))
        monkeypatch.setattr(onnx_attention, "KEYS", (4, 5))
        arguments = Products(), grid, blocks, key_scale, penalty
        everything = onnx_attention.query_tiles(np.ones((h, w), bool), 2)
        message = onnx_attention.attend(*arguments, everything, 2, lambda: done.append(1))
        assert len(done) == len(everything) == 4
        needed = onnx_attention.query_tiles(rows_and_columns(h, w, slice(1, 3), slice(3, 5)), 2)
        part = onnx_attention.attend(*arguments, needed, 2, done.clear)
        nothing = onnx_attention.attend(*arguments, [], 2, done.clear)
    assert np.abs(message - expected).max() < 1e-5
    assert needed == [Box(1, 3, 3, 5)]
    assert np.abs(part - expected)[2:3, 4:5].max() < 1e-5  # the block that only these queries' patches reach
    assert np.abs(part - expected)[1:4, 3:6].max() > 0.01
    assert not nothing.any()


def test_attention_stays_within_its_memory(monkeypatch):
    everything = np.ones((128, 128), bool)
    assert onnx_attention.query_tiles(everything, 2)[0] == Box(0, 16, 0, 32)
    monkeypatch.setattr(onnx_attention, "BUDGET", 10**8)
    tile = onnx_attention.query_tiles(everything, 2)[0]
    assert 10**8 / 4 < 2 * (tile.height + 2) * (tile.width + 2) * 130**2 * 4 <= 10**8
    monkeypatch.setattr(onnx_attention, "BUDGET", 10**5)
    assert onnx_attention.query_tiles(everything[:100, :100], 2)[0] == Box(0, 1, 0, 1)
