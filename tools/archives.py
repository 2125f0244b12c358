"""Package archives: download with SHA-256 verification, and access to their files."""

import hashlib
import io
import lzma
import tarfile
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from utils.errors import ReportedError
from utils.file_writing import atomic_path

DEBIAN = "http://deb.debian.org/debian/pool/main"
DEBIAN_SNAPSHOT = "http://snapshot.debian.org/archive/debian/20260101T000000Z/pool/main"  # keeps old versions


class FetchError(ReportedError):
    """A source that cannot be used; the message names it and the reason in one line."""


class Archive(NamedTuple):
    """A package file: version, URLs and SHA-256."""

    version: str
    urls: tuple[str, ...]  # tried in order
    sha256: str


def debian(path: str, sha256: str) -> Archive:
    """The Debian package at `path` within the pool."""
    return Archive(path.split("_")[-2], (f"{DEBIAN}/{path}", f"{DEBIAN_SNAPSHOT}/{path}"), sha256)


def fetch(archive: Archive, cache: Path) -> Path:
    """Returns the path of the archive in the cache, downloading it if necessary.

    Raises:
        FetchError: if no URL works, or the SHA-256 does not match.
    """
    path = cache / archive.urls[0].rpartition("/")[2]
    if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == archive.sha256:
        return path
    reasons = []
    for url in archive.urls:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                data = response.read()
        except (OSError, HTTPException) as error:
            reasons.append(f"{url}: {error}")
            continue
        found = hashlib.sha256(data).hexdigest()
        if found == archive.sha256:
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
            return path
        reasons.append(f"{url}: SHA-256 is {found[:16]}..., expected {archive.sha256[:16]}...")
    raise FetchError("; ".join(reasons))


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields names (without a leading "./") and contents of the files in a .deb or tar archive.

    Raises:
        FetchError: if the archive cannot be read.
    """
    try:
        data = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(deb_contents(path, data) if path.suffix == ".deb" else data)) as archive:
            for member in archive:
                if member.isfile():
                    yield member.name.removeprefix("./"), archive.extractfile(member).read()
    except (tarfile.TarError, lzma.LZMAError, EOFError):
        raise FetchError(f"{path}: cannot be unpacked; the file is damaged") from None


def deb_contents(path: Path, data: bytes) -> bytes:
    """Extracts the compressed tar archive of installed files from a .deb, an ar archive of three members.

    Raises:
        FetchError: if it is not a .deb, or its compression is not supported by Python.
    """
    if not data.startswith(b"!<arch>\n"):
        raise FetchError(f"{path}: not a Debian package")
    start = 8
    while start + 60 <= len(data):
        name, size = data[start:start + 16].decode("latin-1").strip().rstrip("/"), int(data[start + 48:start + 58])
        if name in ("data.tar", "data.tar.xz", "data.tar.gz"):
            return data[start + 60:start + 60 + size]
        if name.startswith("data.tar"):
            raise FetchError(f"{path}: compression of {name} is not supported; expected xz or gz")
        start += 60 + size + size % 2  # members start at even offsets
    raise FetchError(f"{path}: a Debian package without data.tar")
