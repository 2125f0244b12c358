"""Packages unpacked and checked, views of panoramas, the split; no network."""

import csv
import hashlib
import io
import re
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataloader.image_file import ImageFileError, read_image
from tools import fetch_photographs
from tools.archives import Archive, FetchError, fetch, members
from tools.fetch_photographs import (
    ARCHIVES,
    LIST,
    Photograph,
    fetch_package,
    is_held_out,
    main,
    output_files,
    pictures,
    read_list,
)
from tools.panoramas import perspective_view, tone_mapped

COLOUR = 200, 40, 90


def ar_member(name: str, content: bytes) -> bytes:
    header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
    assert len(header) == 60
    return header + content + b"\n" * (len(content) % 2)


def tar_xz(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return data.getvalue()


def write_deb(path: Path, files: dict[str, bytes], data_name: str = "data.tar.xz") -> Path:
    # The first member's odd length tests that members begin at even places.
    path.write_bytes(b"!<arch>\n" + ar_member("debian-binary", b"2.0") + ar_member("control.tar.xz", tar_xz({}))
                     + ar_member(data_name, tar_xz(files)))
    return path


def png(height: int, width: int) -> bytes:
    return cv2.imencode(".png", np.full((height, width, 3), COLOUR[::-1], np.uint8))[1].tobytes()


def archive_at(path: Path, sha256: str | None = None) -> Archive:
    return Archive("1", (path.as_uri(),), sha256 or hashlib.sha256(path.read_bytes()).hexdigest())


def test_members_of_a_debian_package(tmp_path):
    path = write_deb(tmp_path / "a.deb", {"./usr/a.txt": b"first", "./usr/b.txt": b"second"})
    assert dict(members(path)) == {"usr/a.txt": b"first", "usr/b.txt": b"second"}


@pytest.mark.parametrize(("content", "reason"), [
    (b"no archive", "not a Debian package"),
    (b"!<arch>\n" + ar_member("debian-binary", b"2.0\n"), "without data.tar"),
    (b"!<arch>\n" + ar_member("data.tar.zst", b"1234"), "expected xz or gz"),
    (b"!<arch>\n" + ar_member("data.tar.xz", b"1234"), "cannot be unpacked"),
])
def test_unusable_packages(tmp_path, content, reason):
    path = tmp_path / "broken.deb"
    path.write_bytes(content)
    with pytest.raises(FetchError, match=reason) as error:
        list(members(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_file_is_refused(tmp_path):
    path = write_deb(tmp_path / "a.deb", {})
    cache = tmp_path / "cache"
    with pytest.raises(FetchError, match=r"SHA-256 is .* expected 00000000"):
        fetch(archive_at(path, "0" * 64), cache)
    assert not cache.exists()


def test_the_next_address_is_tried(tmp_path):
    path = write_deb(tmp_path / "a.deb", {})
    right = archive_at(path)
    archive = right._replace(urls=((tmp_path / "gone" / "a.deb").as_uri(), *right.urls))
    fetched = fetch(archive, tmp_path / "cache")
    assert fetched.read_bytes() == path.read_bytes()
    path.unlink()
    assert fetch(archive, tmp_path / "cache") == fetched  # from the cache, with no address left


def test_fetch_package(tmp_path, monkeypatch):
    """Photographs reduced to 1280 pixels; those that are there stay as they are; what a package lacks is said."""
    package = write_deb(tmp_path / "a.deb", {"./usr/large.png": png(1000, 2000), "./usr/small.png": png(30, 40)})
    monkeypatch.setitem(ARCHIVES, "package", archive_at(package))
    photographs = [Photograph(name, "package", f"usr/{name}.png", "CC0-1.0", "A") for name in ("large", "small")]
    output = tmp_path / "output"
    fetch_package("package", photographs, output, tmp_path / "cache")
    large, small = (output / output_files(each)[0] for each in photographs)
    assert read_image(large).shape == (640, 1280, 3)
    assert read_image(small).shape == (30, 40, 3)
    assert np.abs(read_image(small).astype(int) - COLOUR).max() <= 3
    small.write_bytes(b"kept")
    with pytest.raises(FetchError, match=r"such as usr/gone\.png"):
        fetch_package("package", [*photographs, Photograph("gone", "package", "usr/gone.png", "", "")], output,
               tmp_path / "cache")
    assert small.read_bytes() == b"kept"


def test_one_undecodable_photograph_leaves_the_others(tmp_path, monkeypatch):
    """All reasons are named; the photograph behind the damaged one is written."""
    package = write_deb(tmp_path / "a.deb", {"./usr/bad.png": b"no picture", "./usr/good.png": png(8, 8)})
    monkeypatch.setitem(ARCHIVES, "package", archive_at(package))
    photographs = [Photograph(name, "package", f"usr/{name}.png", "", "") for name in ("bad", "good", "gone")]
    with pytest.raises(FetchError, match=r"^usr/bad\.png: cannot be decoded.*; 1 photographs not found in it, such as "
                                         r"usr/gone\.png$"):
        fetch_package("package", photographs, tmp_path / "output", tmp_path / "cache")
    written = [file for file in (tmp_path / "output").rglob("*.*") if file.is_file()]
    assert written == [tmp_path / "output" / output_files(photographs[1])[0]]


def test_an_undecodable_panorama_is_named(monkeypatch):
    monkeypatch.setattr(fetch_photographs, "read_panorama", lambda data: {}["RGB"])
    with pytest.raises(ImageFileError, match=r"^sky\.exr\.js: cannot be decoded"):
        pictures(Photograph("sky", "package", "sky.exr.js", "", ""), b"")


def test_one_failed_source_leaves_the_others(tmp_path, monkeypatch, capsys):
    good, bad = (write_deb(tmp_path / f"{name}.deb", {"./a.png": png(8, 8)}) for name in ("good", "bad"))
    monkeypatch.setitem(ARCHIVES, "good", archive_at(good))
    monkeypatch.setitem(ARCHIVES, "bad", archive_at(bad, "0" * 64))
    (tmp_path / "list.csv").write_text("name,source,original,licence,author\n"
                                       "x,bad,a.png,CC0-1.0,A\ny,good,a.png,CC-BY-4.0,Ä\n", encoding="utf-8")
    monkeypatch.setattr(fetch_photographs, "LIST", tmp_path / "list.csv")
    output = tmp_path / "output"
    monkeypatch.setattr("sys.argv", ["fetch_photographs.py", f"--output={output}"])
    assert main() == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fetch_photographs.py")]
    assert len(errors) == 1
    assert "bad" in errors[0]
    part = "held-out" if is_held_out("y") else "train"
    assert (output / "SOURCES.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        f"{part}/y.jpg,good,1,a.png,CC-BY-4.0,Ä"]


def test_the_list_is_sound():
    photographs = read_list(LIST)
    files = [file for each in photographs for file in output_files(each)]
    assert len(files) == len(set(files))
    assert all(each.licence and each.author for each in photographs)
    assert {each.source for each in photographs} == {*ARCHIVES, "scikit-image"}
    assert not any(word in each.name for each in photographs for word in ("astronaut", "chelsea", "coffee", "rocket"))
    held_out = [file for file in files if file.parent.name == "held-out"]
    assert 0.08 < len(held_out) / len(files) < 0.2


def test_the_list_of_further_photographs_is_sound():
    with (LIST.parents[1] / "docs" / "further_photographs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == 364 + 8
    for row in rows:
        assert list(row) == ["name", "repository", "path", "commit", "licence", "author"]
        assert all(row.values())
        assert re.fullmatch("[0-9a-f]{40}", row["commit"])
        assert re.match("CC0|CC BY 2.0|MIT|Public domain|Kodak", row["licence"])


def test_the_split_depends_on_the_name_alone():
    assert [is_held_out(name) for name in ("mate_TwoWings", "plasma_Path", "mate_Dune")] == [True, True, False]
    share = np.mean([is_held_out(f"photograph {number}") for number in range(2000)])
    assert abs(share - 1 / 8) < 0.03


def directions(rows: int = 180) -> np.ndarray:
    """A panorama (rows, 2 rows, 3) float32 of longitude and latitude in degrees, the middle 0, 0; the third is 0."""
    longitude, latitude = np.meshgrid((np.arange(2 * rows) + 0.5) / rows * 180 - 180,
                                      90 - (np.arange(rows) + 0.5) / rows * 180)
    return np.dstack([longitude, latitude, np.zeros_like(latitude)]).astype(np.float32)


@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (90, 0), (-120, 30), (45, -40)])
def test_the_middle_of_a_view_is_where_the_camera_looks(yaw, pitch):
    middle = perspective_view(directions(), yaw, pitch, 60, (41, 61))[20, 30]
    assert np.abs(middle[:2] - (yaw, pitch)).max() < 0.5


def test_the_edges_of_a_view_are_half_its_field_away():
    """Level views: the outermost pixels' centres are half a pixel inside of the field."""
    width, height, field = 101, 51, 80
    view = perspective_view(directions(), 10, 0, field, (height, width))
    focal = width / 2 / np.tan(np.radians(field / 2))
    across, upwards = np.degrees(np.arctan(50 / focal)), np.degrees(np.arctan(25 / focal))
    assert abs(view[25, 100, 0] - (10 + across)) < 0.5
    assert abs(view[25, 0, 0] - (10 - across)) < 0.5
    assert abs(view[0, 50, 1] - upwards) < 0.5
    assert abs(view[50, 50, 1] + upwards) < 0.5


def test_views_go_on_over_the_seam():
    """Looking backwards, the panorama's ends meet without a gap."""
    columns = np.arange(360)
    wave = np.cos(2 * np.pi * (columns + 0.5) / 360)  # smooth around the whole circle, highest at the seam
    panorama = np.repeat(wave[None, :, None], 180, axis=0).repeat(3, axis=2).astype(np.float32)
    row = perspective_view(panorama, 180, 0, 60, (11, 61))[5, :, 0]
    assert np.abs(np.diff(row)).max() < 0.02
    assert row.max() == pytest.approx(1, abs=1e-3)


def test_tone_mapping_keeps_the_order_of_light():
    light = np.repeat(np.geomspace(1e-3, 1e4, 64, dtype=np.float32)[None, :, None], 3, axis=2)
    tones = tone_mapped(light)[0, :, 0].astype(int)
    assert (np.diff(tones) >= 0).all()
    assert tones[0] < 10
    assert tones[-1] == 255
