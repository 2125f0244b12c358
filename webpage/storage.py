"""Files in Gradio's upload folder: which of them a request may name, and how much of them is kept."""

import re
import stat
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dataloader.image_file import ImageFileError

KEPT_SECONDS = 6 * 3600  # lifetime of a visitor's files
VISITOR_SHARE = 8  # one visitor's files get this fraction of the limit
LEAST_SIZE = 64 * 1024  # bytes that a file counts at least: small ones need memory and folders, too
UPLOAD = re.compile(r"[0-9a-f]{64}/[^/]+")  # in the upload folder; Gradio names the folders by the files' contents


class StoredFile(NamedTuple):
    """What is known about a file."""

    owner: str
    size: int  # bytes that it counts
    time: float  # seconds of `time.monotonic`, when it was last written


class Storage:
    """Uploads and displayed pictures; when there are too many, the oldest are deleted. For one thread."""

    def __init__(self, folder: Path, most: int):
        """
        Args:
            folder: Gradio's upload folder.
            most: bytes of all files together; a visitor's may have an eighth of it.
        """
        self.folder = folder.resolve()
        self.most = most
        self.files: OrderedDict[str, StoredFile] = OrderedDict()  # by their paths, the oldest first
        self.sizes: Counter[str] = Counter()  # bytes of every owner
        self.receiving: Counter[str] = Counter()  # bytes of every owner's uploads that are not complete yet
        self.deleted: Callable[[str], object] = lambda path: None  # called with the path of a deleted file

    @property
    def most_of_visitor(self) -> int:
        """Bytes of one visitor's files together."""
        return self.most // VISITOR_SHARE

    def upload(self, text: str) -> Path:
        """The file that a request names, with all links resolved.

        Raises:
            ImageFileError: if it is not a regular file among the uploads; results are none.
        """
        with suppress(OSError, ValueError):
            path = Path(text).resolve(strict=True)
            if self.is_upload(path) and stat.S_ISREG(path.stat().st_mode):
                return path
        raise ImageFileError("The file is not among this page's uploads, or has been deleted: choose it again.")

    def is_upload(self, path: Path) -> bool:
        """Whether a path is where Gradio puts uploads and displayed pictures."""
        return path.is_relative_to(self.folder) and bool(UPLOAD.fullmatch(path.relative_to(self.folder).as_posix()))

    def add(self, owner: str, paths: Iterable[str]) -> None:
        """Counts new files, and deletes old ones if there are too many; never the newest.

        Args:
            owner: the visitor.
            paths: others than those of uploads are left out.
        """
        now = time.monotonic()
        for path in paths:
            with suppress(OSError):
                if self.is_upload(Path(path)):
                    size = max(LEAST_SIZE, Path(path).stat().st_size)
                    self._drop(path)
                    self.files[path] = StoredFile(owner, size, now)
                    self.sizes[owner] += size
        while len(self.files) > 1 and (self.sizes.total() > self.most or self._oldest().time < now - KEPT_SECONDS):
            self._delete(next(iter(self.files)))
        while self.sizes[owner] > self.most_of_visitor:
            own = [path for path, file in self.files.items() if file.owner == owner]
            if len(own) < 2:
                break
            self._delete(own[0])

    def _oldest(self) -> StoredFile:
        return next(iter(self.files.values()))

    def _drop(self, path: str) -> None:
        file = self.files.pop(path, None)
        if file:
            self.sizes[file.owner] -= file.size
            self.sizes += Counter()  # drops owners without files

    def _delete(self, path: str) -> None:
        self._drop(path)
        with suppress(OSError):
            Path(path).unlink(missing_ok=True)
            Path(path).parent.rmdir()
        self.deleted(path)
