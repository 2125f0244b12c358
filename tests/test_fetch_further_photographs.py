"""The further photographs, from a folder that stands for GitHub; no network."""

import sys

import cv2
import numpy as np
import pytest

from dataloader.image_file import read_image
from dataloader.image_folders import find_foregrounds
from tools import fetch_further_photographs
from tools.fetch_further_photographs import BASE, LIST, VIEW_SIZE, Entry, main, read_list

RED = (30, 40, 200)  # BGR


def test_the_list_is_complete():
    entries = read_list(LIST)
    assert len({entry.name for entry in entries}) == len(entries) == 364 + 8 - 16  # without views of held-out places
    assert not any("esplanade" in entry.name for entry in entries)
    for entry in entries:
        assert entry.name.endswith((".jpg", ".png"))
        assert len(entry.commit) == 40
        assert entry.licence and entry.author and entry.repository.count("/") == 1
    cat = next(entry for entry in entries if entry.name.startswith("coral_"))
    assert cat.urls(BASE)[0].startswith(f"https://raw.githubusercontent.com/{cat.repository}/{cat.commit}/")
    assert "%20" in Entry("a.jpg", "a/b", "c d.png", "0", "", "").urls(BASE)[0]


def write(path, image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls the program with rows (name, path), whose files are in tmp_path/hub/some/where/c0."""
    def run(*rows: tuple[str, str]) -> int:
        fetch_further_photographs.download.cache_clear()
        lines = [f"{name},some/where,{path},c0,CC0,somebody" for name, path in rows]
        (tmp_path / "list.csv").write_text("\n".join(["name,repository,path,commit,licence,author", *lines]))
        monkeypatch.setattr(sys, "argv", ["fetch_further_photographs.py", f"--output={tmp_path / 'out'}",
                                          f"--list={tmp_path / 'list.csv'}", f"--base={(tmp_path / 'hub').as_uri()}"])
        return main()
    return run


def test_photographs_panoramas_and_cutouts(call, tmp_path):
    hub = tmp_path / "hub" / "some" / "where" / "c0"
    write(hub / "a folder" / "photo.png", np.full((500, 1000, 3), RED, np.uint8))
    write(hub / "grey.png", np.full((20, 30), 90, np.uint8))
    write(hub / "room.hdr", np.full((64, 128, 3), 0.4, np.float32))
    colours = np.full((40, 50, 3), RED, np.uint8)
    write(hub / "leaf.png", np.dstack([colours, np.full((40, 50), 77, np.uint8)]))
    write(hub / "colours.png", colours)
    write(hub / "opacity.png", np.full((40, 50), 99 * 257, np.uint16))
    rows = [("photo.jpg", "a folder/photo.png"), ("grey.jpg", "grey.png"), ("room_90.jpg", "room.hdr"),
            ("leaf.png", "leaf.png"), ("joined.png", "colours.png + opacity.png")]
    assert call(*rows) == 0
    out = tmp_path / "out"
    photo = read_image(out / "photographs" / "photo.jpg")
    assert photo.shape == (400, 800, 3)
    assert np.abs(photo.astype(int) - RED[::-1]).max() < 6
    assert read_image(out / "photographs" / "grey.jpg").shape == (20, 30, 3)
    assert read_image(out / "photographs" / "room_90.jpg").shape[:2] == VIEW_SIZE
    cutouts = {each.name: each.read() for each in find_foregrounds(out / "cutouts")}
    assert (cutouts["leaf"] == (*RED[::-1], 77)).all()
    assert (cutouts["joined"] == (*RED[::-1], 99)).all()


def test_what_cannot_be_had_is_named_and_the_rest_is_fetched(call, tmp_path, capsys):
    hub = tmp_path / "hub" / "some" / "where" / "c0"
    write(hub / "good.png", np.full((20, 30, 3), RED, np.uint8))
    (hub / "text.png").write_text("no picture")
    rows = [("gone.jpg", "gone.png"), ("text.jpg", "text.png"), ("bare.png", "good.png"), ("good.jpg", "good.png")]
    assert call(*rows) == 1
    output = capsys.readouterr()
    assert output.err.count("fetch_further_photographs.py: file://") == 3
    assert "gone.png" in output.err
    assert "text.png: cannot be decoded by OpenCV" in output.err
    assert "good.png: has no alpha" in output.err
    assert output.out.endswith("out: 1 of 4 files\n")
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["good.jpg"]
    write(hub / "gone.png", np.full((20, 30, 3), RED, np.uint8))
    assert call(*rows[:1], rows[3]) == 0  # only what is missing


def test_without_a_network_it_gives_up(call, capsys):
    assert call(*((f"{number}.jpg", f"{number}.png") for number in range(30))) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert "8 files in a row could not be fetched" in lines[-1]


def test_a_list_that_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["fetch_further_photographs.py", f"--list={tmp_path / 'none.csv'}"])
    assert main() == 1
    assert "none.csv: no such file or directory" in capsys.readouterr().err
