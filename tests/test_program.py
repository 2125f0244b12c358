"""How programs end, whatever the names of the files and whatever the output can print."""

import importlib
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from easydict import EasyDict
from torch._utils import ExceptionWrapper

from dataloader.image_file import ImageFileError, TooManyBrokenFilesError
from dataloader.loader import next_batches
from utils.errors import InputError, ReportedError, printable
from utils.file_writing import atomic_path, is_folder_name, naming, write_png
from utils.program import OPENMP_ROUNDS, program

ROOT = Path(__file__).parent.parent
NAMES = [b"b_\xff\xfe.png", "grüße 漢字.png".encode(), b"new\nline.png", b"\x1b[31mred.png"]


@pytest.mark.parametrize(("error", "line"), [
    (InputError("a.png: damaged"), "test_program.py: a.png: damaged"),
    (OSError(28, "No space left on device", "a\nb.png"), "test_program.py: a\\nb.png: no space left on device"),
    (MemoryError("8 bytes"), "test_program.py: not enough memory (8 bytes)"),
])
def test_errors_become_one_line_and_a_status(capsys, error, line):
    @program
    def main() -> int:
        raise error

    assert main() == 1
    assert capsys.readouterr().err == f"{line}\n"


@pytest.mark.parametrize("given", [{}, {"GOMP_SPINCOUNT": "5"}, {"OMP_WAIT_POLICY": "active"}])
def test_threads_wait_as_the_user_says_or_not_for_long(monkeypatch, given):
    monkeypatch.setattr(os, "environ", dict(given))

    @program
    def main() -> int:
        return 0

    assert main() == 0
    assert os.environ == (given or OPENMP_ROUNDS)


def test_an_interrupt_is_told_and_a_bug_is_not_hidden(capsys):
    @program
    def main() -> int:
        raise errors.pop()

    errors = [KeyError("bug"), KeyboardInterrupt()]
    assert main() == 130
    assert capsys.readouterr().err == "test_program.py: interrupted; the files written so far are complete\n"
    with pytest.raises(KeyError):
        main()


def test_sigterm_leaves_no_half_written_file(capsys, tmp_path):
    @program
    def main() -> int:
        with atomic_path(tmp_path / "matte.png") as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("still there")

    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert main() == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "test_program.py: terminated; the files written so far are complete\n"
    assert not list(tmp_path.iterdir())


def test_a_second_sigterm_has_its_usual_effect():
    @program
    def main() -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            handlers.append(signal.getsignal(signal.SIGTERM))

    handlers, before = [], signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        assert main() == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [signal.SIG_DFL]


@pytest.mark.parametrize(("handler", "processes"), [(signal.SIG_IGN, 1), (signal.SIG_DFL, 2)])
def test_sigterm_keeps_its_effect(monkeypatch, handler, processes):
    """If the caller has it ignored; with several processes: no exception interrupts the wait for the others."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    before = signal.signal(signal.SIGTERM, handler)
    try:
        assert program(lambda: int(signal.getsignal(signal.SIGTERM) != handler))() == 0
    finally:
        signal.signal(signal.SIGTERM, before)


def test_errors_of_worker_processes_keep_their_last_line():
    def batches():
        try:
            raise TooManyBrokenFilesError("a\nb.png: damaged; too many")
        except TooManyBrokenFilesError:
            ExceptionWrapper(sys.exc_info()).reraise()
        yield

    with pytest.raises(ImageFileError) as raised:
        next_batches(batches(), EasyDict(train=EasyDict(accumulate=1)))
    assert str(raised.value) == "a\\nb.png: damaged; too many"


def test_advice_survives_the_way_from_another_process():
    error = pickle.loads(pickle.dumps(InputError("a\nb", advice="c\nd")))
    assert str(error) == "a\\nb\nc\nd"


@pytest.mark.parametrize("path", [*ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*.py")], ids=lambda path: path.name)
def test_every_program_can_be_imported(path):
    assert importlib.import_module(f"{path.parent.name}.{path.stem}")


def test_control_characters_are_escaped_and_letters_are_not():
    assert printable("Grüße, 漢字") == "Grüße, 漢字"
    assert printable("a\nb\x1b[2J\udcff\u202e") == "a\\nb\\x1b[2J\\udcff\\u202e"
    assert printable(printable("a\nb")) == printable("a\nb")
    assert str(ReportedError("a\nb", advice="c\nd")) == "a\\nb\nc\nd"


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory) -> Path:
    """A folder of images with odd names, with no unknown pixels in their trimaps."""
    folder = tmp_path_factory.mktemp("odd")
    for kind, image in (("images", np.zeros((40, 50, 3), np.uint8)), ("trimaps", np.zeros((40, 50), np.uint8))):
        for name in NAMES:
            write_png(folder / kind / os.fsdecode(name), image)
    (folder / "images" / os.fsdecode(b"lone\x07_\xff.png")).write_bytes(b"x")
    (folder / "images" / os.fsdecode(b"notes\n\xff.txt")).touch()
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_every_name_can_be_printed(odd_names, tmp_path, encoding):
    arguments = ["--image-dir", odd_names / "images", "--trimap-dir", odd_names / "trimaps", "--output", tmp_path]
    result = subprocess.run(
        [sys.executable, "demo.py", "--random-weights", "--config=config/trial.toml", "--set", "model.width=0.1",
         "--device", "cpu", *map(str, arguments)], cwd=ROOT, capture_output=True, check=False, timeout=300,
        env={**os.environ, "PYTHONIOENCODING": encoding})
    lines, errors = (text.decode(encoding).splitlines() for text in (result.stdout, result.stderr))
    assert result.returncode == 1
    assert len(errors) == 2, result.stderr
    assert errors[0].endswith("notes\\n\\udcff.txt: not one of .png, .jpg, .jpeg, .webp, .tif, .tiff, .bmp")
    assert errors[1].endswith("lone\\x07_\\udcff.png: no trimap named lone\\x07_\\udcff.* in "
                              f"{odd_names / 'trimaps'}")
    assert lines[-1].startswith("4 of 5 mattes in ")
    assert {line.partition(": ")[0] for line in lines[2:-1]} == {
        "b_\\udcff\\udcfe.png", "grüße 漢字.png".encode(encoding, "backslashreplace").decode(encoding),
        "new\\nline.png", "\\x1b[31mred.png"}
    written = {os.fsencode(path.name) for path in tmp_path.glob("*/*.png")}
    assert set(NAMES) <= written


def test_a_file_appears_complete_or_not_at_all_and_its_mode_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("all")
            assert not (tmp_path / "a.txt").exists()
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").read_text() == "all"
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
    with pytest.raises(KeyError), atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "all"


def test_content_and_name_reach_the_disk_in_this_order(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the process's umask was changed"))
    monkeypatch.setattr(os, "fsync", lambda handle: calls.append(os.fstat(handle).st_ino))
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: calls.append("replace") or replace(path, target))
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("all")
    assert calls == [(tmp_path / "a.txt").stat().st_ino, "replace", tmp_path.stat().st_ino]


def test_long_names_have_room_for_a_temporary_file(tmp_path):
    for name in ("x" * 255, "漢" * 85):
        with atomic_path(tmp_path / name) as temporary:
            temporary.write_text("all")
        assert (tmp_path / name).read_text() == "all"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_errors_name_the_file_that_was_to_be_written(tmp_path):
    with pytest.raises(OSError, match="No space left") as error, naming(tmp_path / "log.csv"), \
            Path("/dev/full").open("w") as file:
        file.write("x")
    assert error.value.filename == str(tmp_path / "log.csv")
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as error, atomic_path(tmp_path / "file" / "a.png"):
        pass
    assert error.value.filename == str(tmp_path / "file" / "a.png")


@pytest.mark.parametrize("name", ["", ".", "..", " ", "/x", "a/b", "a\\b", "a\0b", "a\nb", "x" * 300])
def test_what_cannot_name_one_folder(name):
    assert not is_folder_name(name)


def test_what_names_one_folder():
    assert all(map(is_folder_name, ("gca-dist", "v1.2", "my run", "grüße")))
