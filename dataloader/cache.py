"""Memory-mapped disk cache of foregrounds: decoded (or drawn) once, shared by all workers and ranks.

An entry is two files named after the foreground's identity, such as paths and states of its files:
`...rgba.npy`, (H, W, 4) uncompressed, and `...blocks.npy`, the `dataloader.crop.block_labels` of its alpha. If
a source file changes, a new entry replaces the old one. Backgrounds are not cached: each is used once per
epoch, and decoding it is cheaper than reading ten times as many bytes from disk.
"""

import hashlib
import inspect
import logging
import shutil
from pathlib import Path

import numpy as np

from dataloader.crop import BLOCK, block_labels
from dataloader.image_file import ImageFileError
from dataloader.image_folders import Foreground
from utils.file_writing import atomic_path

_FORMAT = f"2 {inspect.getsource(block_labels)}"  # of the entries
_NPY_HEADER = 128  # bytes

log = logging.getLogger(__name__)


def cache_size(foregrounds: list[Foreground]) -> int:
    """Bytes these foregrounds take in the cache, computed from the sizes in their headers."""
    return sum(_entry_size(foreground) for foreground in foregrounds)


def prepare_cache(folder: str | Path, foregrounds: list[Foreground]) -> None:
    """Creates the folder, logs the size of the cache and checks that it fits on the disk.

    Raises:
        ImageFileError: if there is too little space, or a source file is missing.
        OSError: if the folder cannot be created.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = cache_size([foreground for foreground in foregrounds
                          if not all(path.exists() for path in _entry_paths(folder, foreground))])
    free = shutil.disk_usage(folder).free
    log.info("cache of %d foregrounds in %s: %s, of which %s are still to be written", len(foregrounds), folder,
             _gigabytes(cache_size(foregrounds)), _gigabytes(missing))
    if missing > free:
        raise ImageFileError(f"{folder}: the cache of decoded foregrounds needs {_gigabytes(missing)} more, "
                             f"but {_gigabytes(free)} are free")


def decode(foreground: Foreground) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (H, W, 4) uint8 RGBA and the block labels of their alpha, from the image files.

    Raises:
        ImageFileError: as `Foreground.read`.
    """
    pixels = foreground.read()
    return pixels, block_labels(np.ascontiguousarray(pixels[..., 3]))


def decode_cached(foreground: Foreground, folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """The result of `decode`, memory-mapped and read-only; decoded and stored first if not in the cache.

    Safe for concurrent processes: entries are written atomically. If two write the same one, the last wins.
    """
    paths = _entry_paths(Path(folder), foreground)
    try:
        return _load(*paths)
    except (FileNotFoundError, ValueError, EOFError):  # the last two: truncated, as after a power cut
        entry = decode(foreground)
    for path, array in zip(paths, entry, strict=True):
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.save(file, array)
    _remove_outdated(paths)
    try:
        return _load(*paths)
    except FileNotFoundError:  # removed as outdated by a process with other photographs or library versions
        return entry


def _load(*paths: Path) -> tuple[np.ndarray, np.ndarray]:
    pixels, labels = (np.asarray(np.load(path, mmap_mode="r")) for path in paths)
    return pixels, labels


def _entry_paths(folder: Path, foreground: Foreground) -> tuple[Path, Path]:
    source, state = foreground.identity()
    name = f"{_digest(source)}-{_digest(f'{_FORMAT} {state}')}"
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
