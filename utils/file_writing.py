"""Atomic file writing: a crash never leaves a partial file."""

import errno
import os
import re
import secrets
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np

_PNG_HEAD = 33  # bytes of a PNG file's signature and of its first chunk, IHDR
_NAME_START = 40  # characters of a file's name in that of its temporary file: names have a maximum length


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends without error.

    Its content reaches the disk before it replaces `path`, the replacement before this returns.

    Raises:
        OSError: if the file cannot be written; its `filename` is `path`.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name[:_NAME_START]}.{secrets.token_hex(4)}.tmp")
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "exists and is not a regular file", str(path))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.open("xb").close()
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            with suppress(OSError):  # some file systems cannot sync folders, Windows cannot open them
                _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path` to write files to; it becomes `path` when the block ends without error.

    An existing folder is replaced: check first what it holds.

    Raises:
        OSError: if the folder cannot be written; its `filename` is `path`.
    """
    path = Path(path).resolve()  # a link stays one
    temporary, old = (path.with_name(f".{path.name[:_NAME_START]}.{secrets.token_hex(4)}.{end}")
                      for end in ("tmp", "old"))
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
            yield temporary
            for file in temporary.iterdir():
                _sync(file)
            if path.exists():
                path.rename(old)
            temporary.rename(path)
            with suppress(OSError):  # as above
                _sync(path.parent)
        finally:
            if old.exists() and not path.exists():  # interrupted between the renamings
                old.rename(path)
            for folder in (temporary, old):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Makes OSErrors in the block name this file: those of a full disk name none, others a temporary file.

    The block must only write: errors of reading would name this file, too.
    """
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        if error.filename2 is not None:  # the target of a renaming
            del error.filename2
        raise


def _sync(path: Path) -> None:
    """Waits until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Creates a folder, and raises OSError, which names it, if no file can be written to it."""
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1))


def is_folder_name(name: str) -> bool:
    """Whether a text names one folder inside another: no path, no control characters, not too long."""
    return name.isprintable() and not re.search(r"[/\\]", name) and name.strip(". ") != "" and len(name) <= 100


def write_png(path: str | Path, image: np.ndarray, profile: bytes | None = None) -> None:
    """Writes (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA, uint8 or uint16, as PNG, atomically.

    `profile` is the ICC profile of its colours, if any.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, data = cv2.imencode(".png", image)
    if not done:
        raise OSError(f"{path}: an image of shape {image.shape} cannot be written as PNG")
    png = data.tobytes() if profile is None else with_icc_profile(data.tobytes(), profile)
    with atomic_path(path) as temporary:
        temporary.write_bytes(png)


def write_jpeg(path: str | Path, image: np.ndarray, quality: int) -> None:
    """Writes (H, W, 3) uint8 RGB as JPEG, atomically; `quality` in 0..100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())


def with_icc_profile(png: bytes, profile: bytes) -> bytes:
    """A PNG file without ICC profile, with one added: an iCCP chunk after the header."""
    content = b"iCCP" + b"ICC profile\0\0" + zlib.compress(profile)  # name, end of name, method: zlib
    length, checksum = len(content) - 4, zlib.crc32(content)
    chunk = length.to_bytes(4, "big") + content + checksum.to_bytes(4, "big")
    return png[:_PNG_HEAD] + chunk + png[_PNG_HEAD:]
