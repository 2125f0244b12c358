"""Which files belong together, and decoded foregrounds on disk."""

import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from generated_images import cutout, write_training_set
from PIL import Image

from dataloader import cache
from dataloader.cache import cache_size, decode, decode_cached, prepare_cache
from dataloader.image_file import ImageFileError, read_grey, read_image
from dataloader.image_folders import Foreground, find_backgrounds, find_foregrounds, find_test_images


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_training_set(tmp_path / "set")


def test_foregrounds_and_alphas_are_joined_by_stem(folder):
    Image.open(folder / "fg" / "f0.png").save(folder / "fg" / "f0.jpg")
    (folder / "fg" / "f0.png").unlink()
    foregrounds = find_foregrounds(folder / "fg", folder / "alpha")
    assert [(each.colours.name, each.alpha.name) for each in foregrounds] == [
        ("f0.jpg", "f0.png"), ("f1.png", "f1.png"), ("f2.png", "f2.png")]
    assert [(each.width, each.height) for each in foregrounds] == [(160, 120), (160, 128), (160, 136)]


def test_folders_are_checked_before_the_first_step(folder):
    (folder / "alpha" / "f0.png").unlink()
    Image.new("L", (7, 8)).save(folder / "alpha" / "f1.png")
    (folder / "fg" / "f2.png").write_text("hello")
    Image.new("RGB", (7, 8)).save(folder / "fg" / "f3.png")
    with pytest.raises(ImageFileError) as error:
        find_foregrounds(folder / "fg", folder / "alpha")
    message = str(error.value)
    assert message.startswith("4 of 4 foregrounds cannot be used: ")
    assert f"no alpha named f0.* in {folder / 'alpha'}" in message
    assert f"f1.png is 160 x 128, but {folder / 'alpha' / 'f1.png'} is 7 x 8" in message
    assert "f2.png: cannot be decoded" in message
    assert message.endswith("; and 1 more")
    assert "\n" not in message
    with pytest.raises(ImageFileError, match="no such folder"):
        find_backgrounds(folder / "none")


def test_turned_jpeg_fits_its_upright_alpha(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(folder / "fg" / "turned.jpg", exif=exif)
    Image.new("L", (20, 30)).save(folder / "alpha" / "turned.png")
    turned = find_foregrounds(folder / "fg", folder / "alpha")[-1]
    assert turned.read().shape == (turned.height, turned.width, 4) == (30, 20, 4)


def test_cutouts_hold_their_alpha(tmp_path):
    (tmp_path / "cutouts").mkdir()
    pixels = cutout(0, 120, 160)
    Image.fromarray(pixels).save(tmp_path / "cutouts" / "a.png")
    foregrounds = find_foregrounds(tmp_path / "cutouts")
    assert np.array_equal(foregrounds[0].read(), pixels)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "cutouts" / "b.png")
    with pytest.raises(ImageFileError, match=r"1 of 2 cut-outs .*b\.png: no alpha channel"):
        find_foregrounds(tmp_path / "cutouts")


def test_test_images(tmp_path):
    for name in ("merged", "alpha", "trimap"):
        (tmp_path / name).mkdir()
        for stem in ("a_0", "a_1", "b"):
            Image.new("L", (30, 20)).save(tmp_path / name / f"{stem}.png")
    folders = [tmp_path / name for name in ("merged", "alpha", "trimap")]
    (tmp_path / "merged" / "b.png").rename(tmp_path / "merged" / "b.jpg")
    triples = find_test_images(*folders)
    assert [tuple(path.name for path in triple[:3]) for triple in triples] == [
        ("a_0.png",) * 3, ("a_1.png",) * 3, ("b.jpg", "b.png", "b.png")]
    assert {triple.size for triple in triples} == {(30, 20)}
    (tmp_path / "trimap" / "a_1.png").unlink()
    Image.new("L", (30, 21)).save(tmp_path / "alpha" / "b.png")
    with pytest.raises(ImageFileError, match=r"2 of 3 test images cannot be used: .*no trimap.*; .* 30 x 21"):
        find_test_images(*folders)


def test_cache_tells_its_size_and_maps_files(folder, tmp_path):
    foregrounds = find_foregrounds(folder / "fg", folder / "alpha")
    for foreground in foregrounds:
        pixels, labels = decode_cached(foreground, tmp_path / "cache")
        assert isinstance(pixels.base, np.memmap)
        assert not pixels.flags.writeable
        assert np.array_equal(pixels[..., :3], read_image(foreground.colours))
        assert np.array_equal(pixels[..., 3], read_grey(foreground.alpha))
        assert np.array_equal(labels, decode(foreground)[1])
    files = list((tmp_path / "cache").iterdir())
    assert len(files) == 6
    assert sum(path.stat().st_size for path in files) == cache_size(foregrounds)


def test_cache_decodes_once_and_again_after_a_change(folder, tmp_path, monkeypatch):
    decoded = []
    read = Foreground.read
    monkeypatch.setattr(Foreground, "read", lambda each: decoded.append(each) or read(each))
    foreground = find_foregrounds(folder / "fg", folder / "alpha")[0]
    for _ in range(3):
        before, _ = decode_cached(foreground, tmp_path / "cache")
    assert len(decoded) == 1
    Image.fromarray(255 - read_grey(foreground.alpha)).save(foreground.alpha)
    after, _ = decode_cached(foreground, tmp_path / "cache")
    assert len(decoded) == 2
    assert np.array_equal(after[..., 3], 255 - before[..., 3])
    state = foreground.colours.stat()
    os.utime(foreground.colours, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    decode_cached(foreground, tmp_path / "cache")
    assert len(decoded) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 2  # outdated entries are gone


@pytest.mark.parametrize("left", [0, 50, 5000])
def test_half_an_entry_is_made_again(folder, tmp_path, left):
    foreground = find_foregrounds(folder / "fg", folder / "alpha")[0]
    expected = np.array(decode_cached(foreground, tmp_path / "cache")[0])
    entry, = (tmp_path / "cache").glob("*.rgba.npy")
    entry.write_bytes(entry.read_bytes()[:left])
    assert np.array_equal(decode_cached(foreground, tmp_path / "cache")[0], expected)


def _fill(foregrounds, folder):
    for foreground in foregrounds:
        decode_cached(foreground, folder)


def test_an_entry_that_another_process_removes_at_once(folder, tmp_path, monkeypatch):
    """As one does that has other photographs or library versions: the pixels are returned all the same."""
    foreground = find_foregrounds(folder / "fg", folder / "alpha")[0]
    monkeypatch.setattr(cache, "_remove_outdated", lambda paths: [path.unlink() for path in paths])
    pixels, labels = decode_cached(foreground, tmp_path / "cache")
    assert np.array_equal(pixels, foreground.read())
    assert np.array_equal(labels, decode(foreground)[1])


def test_several_processes_fill_one_cache(folder, tmp_path):
    foregrounds = find_foregrounds(folder / "fg", folder / "alpha")
    cv2.setNumThreads(1)  # forked processes lack the other threads
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_fill, args=(foregrounds, tmp_path / "cache")) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(list((tmp_path / "cache").iterdir())) == 6
    for foreground in foregrounds:
        assert np.array_equal(decode_cached(foreground, tmp_path / "cache")[0], foreground.read())


def test_cache_that_does_not_fit(folder, tmp_path, monkeypatch):
    foregrounds = find_foregrounds(folder / "fg", folder / "alpha")
    prepare_cache(tmp_path / "cache", foregrounds)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1000))
    with pytest.raises(ImageFileError, match=r"cache: the cache of decoded foregrounds needs 0\.00 GB more, but 0\.00"):
        prepare_cache(tmp_path / "cache", foregrounds)
    _fill(foregrounds, tmp_path / "cache")
    prepare_cache(tmp_path / "cache", foregrounds)  # nothing is missing


@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "tif"])
def test_rotated_files_fit_upright_partners(tmp_path, extension):
    """An image that EXIF turns, with an alpha that was made of the turned image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("fg", "alpha"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "fg" / f"a.{extension}", exif=exif)
    Image.new("L", (20, 30)).save(tmp_path / "alpha" / "a.png")
    (foreground,) = find_foregrounds(tmp_path / "fg", tmp_path / "alpha")
    assert (foreground.width, foreground.height) == (20, 30)
    assert foreground.read().shape == (30, 20, 4)


def test_two_images_of_one_name(tmp_path):
    for name in ("merged/a.png", "merged/a.jpg", "alpha/a.png", "trimap/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (30, 20)).save(tmp_path / name)
    with pytest.raises(ImageFileError, match=r"a.jpg, a.png share the stem a, so their predictions would clash"):
        find_test_images(tmp_path / "merged", tmp_path / "alpha", tmp_path / "trimap")
