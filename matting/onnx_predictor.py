"""The predictor for exported networks, with ONNX Runtime. Needs no PyTorch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from matting.onnx_sessions import OnnxFileError, load_session, metadata_problem, run_session, signature_problem
from matting.onnx_stages import StagedNetwork
from matting.onnx_tiling import planned, tiled_alpha
from matting.tile_sizes import (
    CELL,
    COLOUR_TILE_BYTES,
    COLOUR_WHOLE_BYTES,
    LARGEST_CPU_TILE,
    TILE_BYTES,
    WHOLE_BYTES,
    working_memory,
)
from utils.device import CPU_LIMIT, available_memory
from utils.errors import one_line
from utils.preprocessing import (
    BORDER,
    UNKNOWN,
    Matte,
    Pair,
    Picture,
    as_pair,
    checked_labels,
    finished_alpha,
    normalised_planes,
    padding,
    trimap_planes,
)
from utils.progress_bar import Report

# Approximate memory of whole images per pixel, constant and times width; measured at the published width and 3/8 of it.
BYTES_PER_PIXEL, BYTES_BY_WIDTH = 650, 700


class Padded(NamedTuple):
    """An image with its border."""

    image: np.ndarray  # (H, W, 3) uint8
    labels: np.ndarray  # (H, W)
    inside: np.ndarray  # (H, W) bool: unknown, and not of the border


class OnnxMatting:
    """Alpha mattes from photos and trimaps with an exported network; used like `matting.predictor.Matting`.

    >>> matting = OnnxMatting("gca-onnx")
    >>> alpha = matting(image, trimap)

    Args:
        path: a folder or file written by tools/export_onnx.py. A folder's network is computed in tiles, in bounded
            memory; a file's for the whole image at once, in about 1.3 GB per megapixel.
        border: pixels of reflection padding, as in `matting.predictor.Matting`.
        threads: CPU threads; 0: one per core.

    Raises:
        OnnxFileError: if it is missing, damaged or another network, or ONNX Runtime is not installed.
    """

    device, precision = "cpu", "fp32"

    def __init__(self, path: str | Path, border: int = BORDER, threads: int = 0):
        self.path = Path(path)
        self.border = border
        self.network = (_Tiled if self.path.is_dir() else _Whole)(self.path, threads)
        self.version = self.network.metadata["version"]
        self.trimap_channel = int(self.network.metadata["trimap_channel"])
        self.width = float(self.network.metadata["width"])

    def __call__(self, image: Picture, trimap: Picture) -> np.ndarray:
        """Alpha (H, W), float32 in 0..1; arguments and errors as in `predict`."""
        return self.predict(image, trimap).alpha

    def attention_for(self, height: int, width: int) -> str:
        """As `Matting.attention_for`: always exact."""
        return "exact"

    def predict(self, image: Picture, trimap: Picture,
                report: Report = lambda done, total: None) -> Matte:
        """Alpha, without attention offsets. Arguments and errors as in `Matting.predict`.

        `report` is also called for the tiles of attention; a whole image is one step.

        Raises:
            MemoryError: if memory does not suffice.
        """
        return self.predict_batch([(image, trimap)], report)[0]

    def predict_batch(self, pairs: Sequence[Pair],
                      report: Report = lambda done, total: None) -> list[Matte]:
        """`predict` for several (image, trimap) of one size; tiles are computed image by image."""
        if not pairs:
            return []
        pairs = [as_pair(*pair) for pair in pairs]
        labels = checked_labels(pairs)
        pad = padding(*labels[0].shape, self.border)
        padded = [Padded(np.pad(image, (*pad, (0, 0)), mode="reflect"), np.pad(label, pad, mode="reflect"),
                         np.pad(label == UNKNOWN, pad))
                  for (image, _), label in zip(pairs, labels, strict=True) if (label == UNKNOWN).any()]
        alphas = iter(self.network.alphas(padded, report) if padded else ())
        return [Matte(finished_alpha(next(alphas), label, self.border) if (label == UNKNOWN).any()
                      else finished_alpha(np.zeros(label.shape, np.float32), label, 0), (), ()) for label in labels]


class _Whole:
    """The network of a file, computed for whole images."""

    def __init__(self, path: Path, threads: int):
        self.path = path
        self.session = load_session(path, threads)
        self.metadata = self.session.get_modelmeta().custom_metadata_map
        problem = metadata_problem(self.metadata) or signature_problem(self.session, self.metadata)
        if problem:
            raise OnnxFileError(f"{path}: not a matting network of tools/export_onnx.py: {problem}")

    def alphas(self, images: list[Padded], report: Report) -> list[np.ndarray]:
        """Alpha (H, W) of each image, all of one size, at once."""
        height, width = images[0].labels.shape
        factor = BYTES_PER_PIXEL + BYTES_BY_WIDTH * float(self.metadata["width"])
        check_memory(len(images) * height * width * factor, height, width)
        channels = int(self.metadata["trimap_channel"])
        alphas, = run_session(self.session, {
            "image": np.stack([normalised_planes(padded.image) for padded in images]),
            "trimap": np.stack([trimap_planes(padded.labels, channels) for padded in images])}, self.path)
        expected = (len(images), 1, height, width)
        if alphas.shape != expected or alphas.dtype != np.float32:
            raise OnnxFileError(f"{self.path}: its alpha is {alphas.dtype} of shape {alphas.shape}; "
                                f"expected float32 of shape {expected}")
        report(1, 1)
        return list(alphas[:, 0])


class _Tiled:
    """The network of a folder, computed in tiles."""

    def __init__(self, path: Path, threads: int):
        self.network = StagedNetwork(path, threads)
        self.metadata = self.network.metadata
        self.workers = threads or usable_cores()

    def alphas(self, images: list[Padded], report: Report) -> list[np.ndarray]:
        """Alpha (H, W) of each image, one after another; 0 far from the unknown region."""
        height, width = (side // CELL for side in images[0].labels.shape)
        tile_cells = self._tile_cells(height, width)
        plans = [planned(padded.labels, padded.inside, tile_cells, self.network.attention, self.workers)
                 for padded in images]
        done, total = 0, sum(plan.count for plan in plans)

        def step() -> None:
            nonlocal done
            done += 1
            report(done, total)

        try:
            return [tiled_alpha(self.network, padded.image, padded.labels, plan, self.workers, step)
                    for padded, plan in zip(images, plans, strict=True)]
        except OnnxFileError:
            raise
        except (ValueError, IndexError) as error:  # NumPy's, for features of other shapes
            raise OnnxFileError(f"{self.network.folder}: its stages do not fit together ({one_line(error)})") from None

    def _tile_cells(self, height: int, width: int) -> int:
        """Most cells of a tile with its margin, for features at 1/8 of height x width."""
        colours, available = self.network.colours, available_memory()
        check_memory(height * width * (WHOLE_BYTES + colours * COLOUR_WHOLE_BYTES), CELL * height, CELL * width)
        working = working_memory(min(CPU_LIMIT, available // 2), 1, height, width, colours)
        return min(LARGEST_CPU_TILE, working // (TILE_BYTES + colours * COLOUR_TILE_BYTES))


def check_memory(needed: float, height: int, width: int) -> None:
    """Raises MemoryError if an image needs more bytes than are available: the system might kill the process."""
    available = available_memory()
    if needed > available:
        raise MemoryError(f"{width} x {height} pixels take about {needed / 1e9:.1f} GB; "
                          f"{available / 1e9:.1f} GB are available")


def usable_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
