"""The lines that image decoders print to standard error, which would name no file."""

import atexit
import mmap
import os
import re
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None

_LIBRARIES = re.compile(rb"libpng |Corrupt JPEG|Premature end of JPEG|Invalid (JPEG|SOS)|Unsupported|Inconsistent |"
                        rb"Warning: unknown JFIF|Unknown Adobe|Obtained XMS|JPEG datastream")  # start of their lines
_LARGEST = 2**20  # bytes of a file, after which another one is used


class _Substitute:
    """A file that takes the place of standard error for a while, again and again.

    It stays open in between: a thread that was about to write when the other's turn ended writes to it still, and what
    it wrote is found later.
    """

    def __init__(self):
        self.file = _appending(_anonymous_file())
        self.bytes_read = 0

    def new_bytes(self, complete: bool) -> bytes:
        """What was written since the last call.

        Args:
            complete: whether it is; otherwise a line that may be about to go on is left for the next call.
        """
        data = b""
        while part := _read_at(self.file.fileno(), self.bytes_read):
            self.bytes_read += len(part)
            data += part
        if not complete and self.bytes_read % mmap.PAGESIZE == 0:  # the system writes page by page
            end = data.rfind(b"\n") + 1
            self.bytes_read -= len(data) - end
            data = data[:end]
        return data


def _read_at(number: int, position: int, count: int = 2**16) -> bytes:
    if hasattr(os, "pread"):  # which leaves the file's own position to those who write
        return os.pread(number, count, position)
    os.lseek(number, position, os.SEEK_SET)
    return os.read(number, count)


def _anonymous_file() -> BinaryIO:
    return os.fdopen(os.memfd_create("stderr"), "w+b") if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


def _appending(file: BinaryIO) -> BinaryIO:
    """The file, set so that two threads never write to the same place of it."""
    if fcntl is not None:
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


_lock = threading.Lock()
_substitutes: deque[_Substitute] = deque(maxlen=2)  # the one in use, and before it the one whose last lines may come


def _renew() -> None:
    """In a forked process, to which the parent's files and lock say nothing."""
    global _lock
    _lock = threading.Lock()
    _substitutes.clear()


def _pass_on(complete: bool = False) -> list[str]:
    """Writes what is new in the substitutes to standard error, but for lines of decoders, which are returned."""
    messages = []
    for substitute in _substitutes:
        for line in substitute.new_bytes(complete).splitlines(keepends=True):
            if _LIBRARIES.match(line):
                messages.append(line.decode(errors="replace").strip())
            else:
                os.write(2, line)
    return messages


@contextmanager
def _substituted() -> Iterator[None]:
    """Puts a substitute in the place of standard error, if there is one."""
    try:
        original = os.dup(2)
    except OSError:
        yield
        return
    if not _substitutes or _substitutes[-1].bytes_read > _LARGEST:
        _substitutes.append(_Substitute())
    os.dup2(_substitutes[-1].file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


@contextmanager
def library_messages() -> Iterator[list[str]]:
    """Collects the lines that decoders print to standard error in the block.

    What others print meanwhile appears afterwards, at the latest when the program ends. One thread at a time.
    """
    messages: list[str] = []
    with _lock:
        _pass_on()
        try:
            with _substituted():
                yield messages
        finally:
            messages += _pass_on()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
atexit.register(_pass_on, complete=True)
