"""Digests of what drawings depend on besides their arguments, so that no cached drawing outlives a change."""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import PIL

from dataloader.image_file import read_bytes

PROJECT = Path(__file__).resolve().parents[2]
ENTRY = Path(__file__).resolve().with_name("items.py")


@lru_cache(1)
def program_digest() -> str:
    """Digest of `program_files` and the versions of NumPy, OpenCV and Pillow."""
    digest = hashlib.sha256(f"{np.__version__} {cv2.__version__} {PIL.__version__}".encode())
    for path in program_files():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@lru_cache
def files_digest(paths: tuple[Path, ...]) -> str:
    """A digest of files' names and contents, computed once per process.

    Raises:
        ImageFileError: if a file is unreadable.
    """
    digest = hashlib.sha256()
    for path in paths:
        content = read_bytes(path)
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def program_files() -> list[Path]:
    """Source files of this project that drawing imports, directly or indirectly."""
    found, waiting = set(), [ENTRY]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += imported_files(path)
    return sorted(found)


def imported_files(path: Path) -> list[Path]:
    """Files of this project that a source file imports."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            modules |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
    files = (PROJECT / f"{module.replace('.', '/')}.py" for module in modules)
    return [file for file in files if file.is_file()]
