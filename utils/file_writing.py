"""Atomic file writing: a crash never leaves a partial file."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

_PNG_HEAD = 33  # bytes of a PNG file's signature and of its first chunk, IHDR


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it becomes `path` when the block ends without error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
