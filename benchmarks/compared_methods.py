"""Matting methods to be compared, each in a process of its own, which tells how long it takes and what it holds."""

import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.memory import peak_memory
from utils.preprocessing import alpha_to_uint8
from utils.processes import process_pool

PYMATTING = {"cf": "closed form", "knn": "KNN", "lkm": "large kernel", "lbdm": "learning based", "rw": "random walk"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]


class PyMattingMethod(NamedTuple):
    """PyMatting's `estimate_alpha_NAME` (Germer et al., "PyMatting: A Python library for alpha matting", 2020)."""

    name: str  # one of `PYMATTING`

    def load(self) -> tuple[Estimate, Callable[[], int]]:
        """Alpha of an 8-bit image and trimap, and the peak bytes so far."""
        import pymatting

        estimate = getattr(pymatting, f"estimate_alpha_{self.name}")
        return lambda image, trimap: estimate(image / 255, trimap / 255).clip(0, 1), peak_memory


class NetworkMethod(NamedTuple):
    """A checkpoint, its mattes averaged over mirrored and rescaled images where that is asked for."""

    checkpoint: Path
    config: str | None = None  # of checkpoints that do not store their architecture
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    device: str | None = None

    def load(self) -> tuple[Estimate, Callable[[], int]]:
        """As `PyMattingMethod.load`; predicts as `demo.py` does.

        Raises:
            InputError: for an unusable checkpoint, configuration or device.
        """
        from matting.ensemble import Ensemble
        from matting.predictor import Matting
        from utils.config import architecture, load_config
        from utils.device import usable_device

        matting = Matting.from_checkpoint(self.checkpoint, usable_device(self.device), offsets=False,
                                          **architecture(load_config(self.config)))
        averaged = self.flip or self.scales != (1.0,)
        return Ensemble(matting, self.flip, self.scales) if averaged else matting, lambda: peak_memory(matting.device)


class Answer(NamedTuple):
    """What a method makes of an image."""

    alpha: np.ndarray  # (H, W) uint8
    seconds: float
    memory: int  # peak bytes of the process so far, libraries included; with a network on a GPU, its memory


class MethodProcess:
    """A method in a process of its own, which loads and compiles everything before the first image.

        with MethodProcess(PyMattingMethod("knn")) as process:
            alpha, seconds, memory = process(image, trimap)
    """

    def __init__(self, method: PyMattingMethod | NetworkMethod):
        self._method, self._pool = method, process_pool(1)
        self._start = self._pool.submit(_start, method)

    def __enter__(self) -> "MethodProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def wait(self) -> None:
        """Until the method is loaded.

        Raises:
            InputError: as the method's `load`.
        """
        self._start.result()

    def __call__(self, image: np.ndarray, trimap: np.ndarray) -> Answer:
        """For an image (H, W, 3) and trimap (H, W), uint8.

        Raises:
            ValueError: if the method fails on the image, as PyMatting's do where nothing is known.
        """
        return self._pool.submit(_answer, self._method, image, trimap).result()


def limit_threads(count: int) -> None:
    """Lets processes that are started from now on compute with this many threads each."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))


_loaded = lru_cache(lambda method: method.load())  # in the method's process


def _start(method: PyMattingMethod | NetworkMethod) -> None:
    """Loads a method, and calls it on a small image, so that what happens on first use is not timed."""
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    _answer(method, image, np.repeat(np.uint8([0, 128, 255]), 16)[None].repeat(48, axis=0))


def _answer(method: PyMattingMethod | NetworkMethod, image: np.ndarray, trimap: np.ndarray) -> Answer:
    estimate, memory = _loaded(method)
    start = time.perf_counter()
    alpha = estimate(image, trimap)
    seconds = time.perf_counter() - start
    return Answer(alpha_to_uint8(np.asarray(alpha, np.float32)), seconds, memory())
