"""Cut-outs of a package that stands for Debian's; no network."""

import hashlib
import sys

import cv2
import numpy as np
import pytest

from dataloader.image_folders import find_foregrounds
from tests.test_fetch_photographs import write_deb
from tools import fetch_cutouts
from tools.archives import Archive
from tools.fetch_cutouts import FOLDER, LEAST_SIDE, LIST, main, read_list


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def square(side: int, border: int) -> np.ndarray:
    """A red square, half opaque, within an empty border that is white, BGRA."""
    pixels = np.full((side + 2 * border,) * 2 + (4,), (255, 255, 255, 0), np.uint8)
    pixels[border:border + side, border:border + side] = 20, 30, 200, 128
    return pixels


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Calls the program with a package of files; the list has a, b and c."""
    def run(files: dict[str, bytes]) -> int:
        package = write_deb(tmp_path / "stamps_1_all.deb", {f"./{FOLDER}/{name}": data for name, data in files.items()})
        archive = Archive("1", (package.as_uri(),), hashlib.sha256(package.read_bytes()).hexdigest())
        (tmp_path / "list.csv").write_text("name,original\na,x/a.png\nb,b.png\nc,c.png\n")
        monkeypatch.setattr(fetch_cutouts, "PACKAGE", archive)
        monkeypatch.setattr(fetch_cutouts, "LIST", tmp_path / "list.csv")
        monkeypatch.setattr(sys, "argv", ["fetch_cutouts.py", f"--output={tmp_path / 'out'}"])
        return main()
    return run


def test_the_list():
    entries = read_list(LIST)
    assert len(entries) == len(set(entries.values())) > 150
    assert all(original.endswith(".png") for original in entries)


def test_cutouts_lose_their_border_and_small_ones_get_another(call, tmp_path):
    assert call({"x/a.png": png(square(100, 40)), "b.png": png(square(LEAST_SIDE + 60, 7)),
                 "c.png": png(square(5, 1)), "d.png": b"not wanted"}) == 0
    small, large, _ = (each.read() for each in find_foregrounds(tmp_path / "out"))
    assert small.shape == (LEAST_SIDE, LEAST_SIDE, 4)
    assert large.shape == (LEAST_SIDE + 60, LEAST_SIDE + 60, 4)
    assert (large == (200, 30, 20, 128)).all()
    assert np.count_nonzero(small[..., 3]) == 100**2
    assert not small[small[..., 3] == 0].any()
    assert tuple(small[200, 200]) == (200, 30, 20, 128)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "b.png", "c.png"]


def test_what_cannot_be_used_is_named_and_the_rest_is_written(call, tmp_path, capsys):
    assert call({"x/a.png": png(square(9, 1)), "b.png": b"no picture"}) == 1
    printed = capsys.readouterr()
    assert "b.png: not an 8-bit image with alpha" in printed.err
    assert "c.png: not in the package" in printed.err
    assert "1 of 3 cut-outs" in printed.out
    assert (tmp_path / "out" / "a.png").is_file()
    assert not (tmp_path / "out" / "b.png").exists()
    opaque = np.full((8, 8, 3), 90, np.uint8)
    for data in (png(opaque), png(square(9, 1).astype(np.uint16)), b""):  # goes on with what is missing
        assert call({"b.png": data, "c.png": png(square(9, 1))}) == 1
        assert "b.png: not an 8-bit image with alpha" in capsys.readouterr().err
    assert (tmp_path / "out" / "c.png").is_file()
    rows = (tmp_path / "out" / "SOURCES.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["file", "a.png", "c.png"]
    assert all("GPL-2.0" in row for row in rows[1:])


def test_an_output_that_is_a_file(call, tmp_path, capsys):
    (tmp_path / "out").touch()
    assert call({"b.png": png(square(9, 1))}) == 1
    assert capsys.readouterr().err.endswith("stamps_1_all.deb: not a directory\n")


def test_a_package_that_cannot_be_had(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fetch_cutouts, "PACKAGE", Archive("1", ((tmp_path / "none_1.deb").as_uri(),), "0"))
    monkeypatch.setattr(sys, "argv", ["fetch_cutouts.py", f"--output={tmp_path / 'out'}"])
    assert main() == 1
    assert capsys.readouterr().err.startswith("fetch_cutouts.py: file://")
