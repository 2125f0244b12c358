"""What many runs need: a tiny network, good images, and the arguments of the demo. Made once, and then only read."""

import functools
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from audit_bad_images import encoded, picture, trimap_of
from audit_run import ROOT

CONFIG = ROOT / "config" / "gca-free.toml"
GOOD = ("good1", "good2")
WIDTH = 0.06
_lock = threading.RLock()


@functools.lru_cache(maxsize=1)
def work_folder() -> Path:
    """The folder of all runs; on request of AUDIT_FOLDER it stays."""
    return Path(tempfile.mkdtemp(prefix="audit-", dir=os.environ.get("AUDIT_FOLDER")))


def once(function: Callable[[], object]) -> Callable[[], object]:
    """A function that is computed by the first thread that asks."""
    cached = functools.lru_cache(maxsize=1)(function)

    @functools.wraps(function)
    def call() -> object:
        with _lock:
            return cached()

    return call


@once
def tiny_network():
    """A network of the smallest width, on the CPU."""
    import torch

    from networks import build_network

    torch.manual_seed(0)
    return build_network(width=WIDTH)


@once
def tiny_checkpoint() -> Path:
    """Its checkpoint, which stores its architecture."""
    from utils.checkpoint import save_checkpoint

    path = work_folder() / "tiny.pth"
    save_checkpoint(path, tiny_network(), architecture=tiny_network().architecture)
    return path


def write(path: Path, data: bytes | np.ndarray) -> Path:
    """Writes bytes, or an array as an image, creating its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else encoded(data))
    return path


def write_good(folder: Path, *others: str) -> None:
    """Two good images with trimaps in images/ and trimaps/; the trimaps, or `others`, are what else is needed."""
    for number, name in enumerate(GOOD):
        write(folder / "images" / f"{name}.png", picture(40, 33, number))
        for other in others or ("trimaps",):
            write(folder / other / f"{name}.png", trimap_of(40, 33))


def write_pair(folder: Path, name: str, image: bytes | np.ndarray, size: tuple[int, int] = (40, 33)) -> None:
    """An image in images/, and its trimap."""
    write(folder / "images" / name, image)
    write(folder / "trimaps" / f"{name.rpartition('.')[0]}.png", trimap_of(*size))


def demo(folder: Path, *more: object, checkpoint: Path | None = None) -> list:
    """The demo on images/ and trimaps/, with the tiny network."""
    return ["demo.py", "--config", CONFIG, "--checkpoint", checkpoint or tiny_checkpoint(), "--device=cpu",
            "--image-dir", folder / "images", "--trimap-dir", folder / "trimaps", "--output", folder / "out", *more]


def cut_out(folder: Path, *more: object, source: str = "images") -> list:
    """cutout_photo.py on images/, or another source in the folder, with the tiny network."""
    return ["cutout_photo.py", folder / source, "--config", CONFIG, "--checkpoint", tiny_checkpoint(), "--device=cpu",
            "--output", folder / "out", *more]


def matte(name: str, checkpoint: str = "tiny.pth", version: str = "gca-free") -> str:
    """The demo's output file of an image, below the output folder."""
    return f"{version}_{checkpoint}/{name}.png"


GOOD_MATTES = tuple(matte(name) for name in GOOD)
GOOD_CUTOUTS = tuple(f"{name}_cutout.png" for name in GOOD)
