"""What is kept of visitors' files, and which of them a request may name."""

import os
from pathlib import Path

import pytest

from dataloader.image_file import ImageFileError
from webpage import storage as module
from webpage.storage import Storage

FULL = 8 * module.LEAST_SIZE * module.VISITOR_SHARE


def upload(folder: Path, name: str, size: int = 1) -> str:
    """A file where Gradio puts uploads."""
    path = folder / f"{sum(name.encode()):064x}" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return str(path)


def kept(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_only_regular_files_of_the_upload_folder_are_found(tmp_path):
    folder = tmp_path / "uploads"
    folder.mkdir()
    path = upload(folder, "a.png")
    (tmp_path / "secret.png").write_bytes(b"x")
    (folder / "tmpabc").mkdir()
    (folder / "tmpabc" / "result.png").write_bytes(b"x")
    Path(path).with_name("link.png").symlink_to(tmp_path / "secret.png")
    Path(path).with_name("own.png").symlink_to(path)
    os.mkfifo(Path(path).with_name("fifo.png"))
    storage = Storage(folder, FULL)
    assert storage.upload(path) == storage.upload(str(Path(path).with_name("own.png"))) == Path(path).resolve()
    for other in (tmp_path / "secret.png", folder / "tmpabc" / "result.png", Path(path).with_name("link.png"), folder,
                  Path(path).parent, Path(path).with_name("fifo.png"), "/dev/zero", "", f"{path}\0", "a" * 5000,
                  f"{folder}/../secret.png", "http://127.0.0.1/a.png", "\ud800"):
        with pytest.raises(ImageFileError, match="choose it again"):
            storage.upload(str(other))


def test_the_oldest_files_of_a_visitor_are_deleted_and_no_others(tmp_path):
    storage, deleted = Storage(tmp_path, FULL), []
    storage.deleted = deleted.append
    first = upload(tmp_path, "first", 10)
    storage.add("one", [first])
    for number in range(20):
        storage.add("two", [upload(tmp_path, f"file{number}", module.LEAST_SIZE)])
    assert kept(tmp_path) == {"first", *(f"file{number}" for number in range(12, 20))}
    assert len(deleted) == 12
    assert len(list(tmp_path.iterdir())) == 9  # their folders, too
    storage.add("one", [first])
    assert storage.sizes == {"one": module.LEAST_SIZE, "two": 8 * module.LEAST_SIZE}


def test_the_oldest_files_of_all_visitors_are_deleted(tmp_path):
    storage = Storage(tmp_path, 4 * module.LEAST_SIZE)
    for number in range(9):
        storage.add(f"visitor {number}", [upload(tmp_path, f"file{number}")])
    assert kept(tmp_path) == {f"file{number}" for number in range(5, 9)}
    assert len(storage.sizes) == len(storage.files) == 4


def test_the_newest_file_stays_whatever_its_size(tmp_path):
    storage = Storage(tmp_path, 100)
    storage.add("one", [upload(tmp_path, "large", 1000)])
    assert kept(tmp_path) == {"large"}


def test_files_are_deleted_after_six_hours(tmp_path, monkeypatch):
    storage, now = Storage(tmp_path, FULL), [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    storage.add("one", [upload(tmp_path, "old"), str(tmp_path / "elsewhere")])
    now[0] = module.KEPT_SECONDS - 1
    storage.add("two", [upload(tmp_path, "middle")])
    assert kept(tmp_path) == {"old", "middle"}
    now[0] = module.KEPT_SECONDS + 1
    storage.add("two", [upload(tmp_path, "new")])
    assert kept(tmp_path) == {"middle", "new"}
