"""Decoded foregrounds on disk, memory-mapped: shared by all workers and ranks, decoded (or drawn) once.

An entry is two files named after the foreground's identity, such as paths and state of its files: `...rgba.npy`
(H, W, 4), not compressed, and `...blocks.npy`, `dataloader.crop.block_labels` of the alpha. A source file
that changes gets another entry; the old one is removed. Backgrounds are not kept: each is used once in an
epoch, and decoding one costs less than reading it from a disk ten times as large.
"""

import hashlib
import logging
import shutil
from pathlib import Path

import numpy as np

from dataloader.crop import BLOCK, block_labels
from dataloader.folders import Foreground
from dataloader.image_file import ImageFileError
from utils.files import atomic_path

_VERSION = 2  # of the format of entries
_NPY_HEADER = 128  # bytes

log = logging.getLogger(__name__)


def cache_size(foregrounds: list[Foreground]) -> int:
    """Bytes that these foregrounds take when all are in the cache, told by the sizes in their headers."""
    return sum(_entry_size(foreground) for foreground in foregrounds)


def prepare_cache(folder: str | Path, foregrounds: list[Foreground]) -> None:
    """Makes the folder, logs what the cache takes and refuses what does not fit on the disk.

    Raises:
        ImageFileError: if there is too little space, or a source file is gone.
        OSError: if the folder cannot be made.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = cache_size([foreground for foreground in foregrounds
                          if not all(path.exists() for path in _entry_paths(folder, foreground))])
    free = shutil.disk_usage(folder).free
    log.info("cache of %d foregrounds in %s: %s, of which %s are missing", len(foregrounds), folder,
             _gigabytes(cache_size(foregrounds)), _gigabytes(missing))
    if missing > free:
        raise ImageFileError(f"{folder}: the cache of decoded foregrounds needs {_gigabytes(missing)} more, "
                             f"but {_gigabytes(free)} are free")


def decode(foreground: Foreground) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 4) uint8 RGBA and the block labels of their alpha, from the image files.

    Raises:
        ImageFileError: as `dataloader.folders.read_foreground`.
    """
    pixels = foreground.read()
    return pixels, block_labels(np.ascontiguousarray(pixels[..., 3]))


def decode_cached(foreground: Foreground, folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """What `decode` returns, memory-mapped and read-only; decoded and stored where the cache lacks it.

    Safe in any number of processes: entries appear whole. Where two store the same one, the last stays.
    """
    paths = _entry_paths(Path(folder), foreground)
    try:
        return _load(*paths)
    except (FileNotFoundError, ValueError, EOFError):  # the last two: half a file, as a power cut leaves
        for path, array in zip(paths, decode(foreground), strict=True):
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.save(file, array)
        _remove_outdated(paths)
        return _load(*paths)


def _load(*paths: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = (np.asarray(np.load(path, mmap_mode="r")) for path in paths)
    return pixels, labels


def _entry_paths(folder: Path, foreground: Foreground) -> tuple[Path, Path]:
    source, state = foreground.identity()
    name = f"{_digest(source)}-{_digest(f'{_VERSION} {state}')}"
    return folder / f"{name}.rgba.npy", folder / f"{name}.blocks.npy"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _remove_outdated(current: tuple[Path, Path]) -> None:
    sources = current[0].name.partition("-")[0]
    for path in current[0].parent.glob(f"{sources}-*.npy"):
        if path not in current:
            path.unlink(missing_ok=True)


def _entry_size(foreground: Foreground) -> int:
    width, height = foreground.width, foreground.height
    return 4 * width * height + -(-width // BLOCK) * -(-height // BLOCK) + 2 * _NPY_HEADER


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
