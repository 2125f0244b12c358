"""Matting methods to be compared, each in a process of its own, which tells how long it takes and what it holds."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.memory import peak_memory
from utils.device import is_out_of_memory
from utils.errors import InputError, ReportedError, one_line
from utils.preprocessing import alpha_to_uint8

PYMATTING = {"cf": "closed form", "knn": "KNN", "lkm": "large kernel", "lbdm": "learning based", "rw": "random walk"}
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")

Estimate = Callable[[np.ndarray, np.ndarray], np.ndarray]


class MethodError(ReportedError):
    """A method cannot go on. The message says which, and why."""


class PyMattingMethod(NamedTuple):
    """PyMatting's `estimate_alpha_NAME` (Germer et al., "PyMatting: A Python library for alpha matting", 2020)."""

    name: str  # one of `PYMATTING`

    def load(self) -> tuple[Estimate, Callable[[], int]]:
        """Alpha of an 8-bit image and trimap, and the peak bytes so far.

        Raises:
            InputError: if PyMatting cannot be imported.
        """
        try:
            import pymatting
        except ImportError as error:
            raise InputError(f"PyMatting cannot be imported ({one_line(error)}): pip install pymatting, or use an "
                             "empty --methods") from None

        estimate = getattr(pymatting, f"estimate_alpha_{self.name}")
        return lambda image, trimap: estimate(image / 255, trimap / 255).clip(0, 1), peak_memory


class NetworkMethod(NamedTuple):
    """A checkpoint, its mattes averaged over mirrored and rescaled images, or refined, where that is asked for."""

    checkpoint: Path
    config: str | None = None  # of checkpoints that do not store their architecture
    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    device: str | None = None
    refine: bool = False
    coarse_to_fine: bool = False

    def load(self) -> tuple[Estimate, Callable[[], int]]:
        """As `PyMattingMethod.load`; predicts as `demo.py` does, averages with `--no-coarse-to-fine`.

        Raises:
            InputError: for an unusable checkpoint, configuration or device.
        """
        from matting.cutout import refined_alpha
        from matting.ensemble import Ensemble
        from matting.options import for_large_images
        from matting.predictor import Matting
        from utils.config import architecture, load_config
        from utils.device import usable_device

        matting = Matting.from_checkpoint(self.checkpoint, usable_device(self.device), offsets=False,
                                          **architecture(load_config(self.config)))
        whole = for_large_images(matting, self.checkpoint, self.coarse_to_fine)
        predict = whole if not self.flip and self.scales == (1.0,) else Ensemble(whole, self.flip, self.scales)
        estimate = (lambda image, trimap: refined_alpha(image, predict(image, trimap))) if self.refine else predict
        return estimate, lambda: peak_memory(matting.device)


Method = PyMattingMethod | NetworkMethod


class Answer(NamedTuple):
    """What a method makes of an image."""

    alpha: np.ndarray  # (H, W) uint8
    seconds: float
    memory: int  # peak bytes of the process so far, libraries included; with a network on a GPU, its memory


class MethodProcess:
    """A method in a process of its own, which loads and compiles everything before the first image.

        with MethodProcess("KNN", PyMattingMethod("knn")) as process:
            alpha, seconds, memory = process(image, trimap)

    Args:
        name: for messages.
    """

    def __init__(self, name: str, method: Method):
        context = multiprocessing.get_context("spawn")  # forking a process that has threads can hang
        self.name, (self._pipe, other) = name, context.Pipe()
        self._process = context.Process(target=_serve, args=(other, method), daemon=True)
        with _ignoring_interrupts():  # also while it starts: Ctrl-C is for the program, which ends it
            self._process.start()
        other.close()

    def __enter__(self) -> "MethodProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def wait(self) -> None:
        """Until the method is loaded; to be called once, before all else.

        Raises:
            InputError: as the method's `load`.
            MethodError: if the process has ended.
        """
        self._received()

    def __call__(self, image: np.ndarray, trimap: np.ndarray) -> Answer:
        """For an image (H, W, 3) and trimap (H, W), uint8.

        Raises:
            ValueError: if the method fails on the image, as PyMatting's do where nothing is known.
            MethodError: if the process has ended, or memory ran out.
        """
        return self._received((image, trimap))

    def _received(self, question: tuple[np.ndarray, np.ndarray] | None = None) -> Answer | None:
        try:
            if question:
                self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise MethodError(f"{self.name}: its process was killed, perhaps out of memory") from None
        if isinstance(answer, Exception):
            if is_out_of_memory(answer):
                raise MethodError(f"{self.name}: not enough memory") from None
            raise answer
        return answer


def limit_threads(count: int) -> None:
    """Lets processes that are started from now on compute with this many threads each."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # which alone may change what signals do
        yield
        return
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


def _serve(pipe: Connection, method: Method) -> None:
    """Answers images until the pipe is closed. Exceptions are answers, too."""
    cv2.setNumThreads(1)
    try:
        estimate, memory = method.load()
        _answer(estimate, memory, *_small_image())  # what happens on first use is not timed
    except Exception as error:
        pipe.send(error)
        return
    pipe.send(None)
    with suppress(EOFError):
        while True:
            image, trimap = pipe.recv()
            try:
                pipe.send(_answer(estimate, memory, image, trimap))
            except Exception as error:
                pipe.send(error)


def _answer(estimate: Estimate, memory: Callable[[], int], image: np.ndarray, trimap: np.ndarray) -> Answer:
    start = time.perf_counter()
    alpha = estimate(image, trimap)
    seconds = time.perf_counter() - start
    return Answer(alpha_to_uint8(np.asarray(alpha, np.float32)), seconds, memory())


def _small_image() -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    return image, np.repeat(np.uint8([0, 128, 255]), 16)[None].repeat(48, axis=0)
