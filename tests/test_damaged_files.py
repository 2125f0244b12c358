"""Damaged image files: refused with the reason, or read with a warning; no line of a library's own."""

import io
import logging
import mmap
import os
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.damaged_files import sign_of_damage
from dataloader.image_file import ImageFileError, open_header, read_grey, read_image, read_photo
from dataloader.stderr_capture import library_messages

PHOTO = Image.open(Path(__file__).parent.parent / "demo" / "input_lowres" / "astronaut.png").convert("RGB")
FLAT = Image.fromarray(np.pad(np.asarray(PHOTO)[:200, :200], ((700, 700), (700, 700), (0, 0)), mode="edge"))
JPEGS = {"plain": {"quality": 90}, "optimised": {"quality": 75, "optimize": True},
         "progressive": {"quality": 90, "progressive": True}, "full chroma": {"quality": 95, "subsampling": 0}}


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def zeroed(data: bytes, start: int, count: int = 200) -> bytes:
    return data[:start] + bytes(count) + data[start + count:]


def found(data: bytes) -> str | None:
    with library_messages() as messages:
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None
    return sign_of_damage(data, messages)


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
def test_zeroed_bytes_of_a_jpeg_are_noticed_wherever_they_are(options):
    data = encoded(PHOTO, "JPEG", **options)
    assert found(data) is None
    starts = range(2000, len(data) - 300, len(data) // 16)
    assert sum(found(zeroed(data, start)) is not None for start in starts) >= len(starts) - 1


def test_zeroed_bytes_of_a_webp_are_noticed():
    data = encoded(PHOTO, "WEBP", quality=80)
    assert found(data) is None
    assert found(zeroed(data, len(data) // 2)) == "64 or more zero bytes in a row in its compressed data"


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_flat_areas_are_not_taken_for_damage(options, mode):
    for image in (FLAT, Image.new("RGB", (1500, 1500), "white"), Image.new("RGB", (1500, 1500))):
        assert found(encoded(image.convert(mode), "JPEG", **options)) is None


@pytest.mark.parametrize("options", [{"quality": 60}, {"quality": 80}, {"quality": 95}, {"lossless": True}])
def test_flat_areas_of_a_webp_are_not_taken_for_damage(options):
    for image in (FLAT, Image.new("RGB", (1000, 1000), "white"), Image.new("RGB", (1000, 1000))):
        assert found(encoded(image, "WEBP", **options)) is None


def test_gradients_of_a_progressive_jpeg_are_not_taken_for_damage():
    gradient = Image.fromarray(np.linspace(0, 255, 512).astype(np.uint8)[None].repeat(512, axis=0)).convert("RGB")
    for image in (gradient, gradient.rotate(90)):
        assert [found(encoded(image, "JPEG", quality=q, progressive=True)) for q in (60, 75, 80, 95)] == [None] * 4


def test_a_damaged_file_is_read_with_one_warning_that_names_it(tmp_path, caplog, capfd):
    path = tmp_path / "a\nb.jpg"
    data = encoded(PHOTO, "JPEG", quality=90)
    path.write_bytes(zeroed(data, 9000))
    with caplog.at_level(logging.WARNING):
        assert read_photo(path).image.shape == np.asarray(PHOTO).shape
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{tmp_path}/a\\nb.jpg: may be damaged: ")
    assert "Corrupt" not in capfd.readouterr().err


REFUSED = {
    "cut.png": (lambda: encoded(PHOTO, "PNG")[:50_000], "damaged PNG file (image file is truncated)"),
    "zeroed.png": (lambda: zeroed(encoded(PHOTO, "PNG"), 20_000), "damaged PNG file (unrecognized data stream"),
    "cut.tif": (lambda: encoded(PHOTO, "TIFF")[:5000], "damaged TIFF file (image file is truncated"),
    "page.png": (lambda: b" \n<!DOCTYPE html><html></html>", "cannot be decoded: an HTML page; expected an image file"),
    "notes.jpg": (lambda: "schöne Grüße\n".encode() * 200, "cannot be decoded: text; expected an image file"),
    "noise.png": (lambda: bytes(range(256)), "cannot be decoded: damaged, or no image at all"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_decoded_is_told_apart(tmp_path, capfd, name):
    make, reason = REFUSED[name]
    (tmp_path / name).write_bytes(make())
    for read in (read_image, read_grey, read_photo):
        with pytest.raises(ImageFileError) as error:
            read(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: {reason}")
    assert capfd.readouterr().err == ""


def test_a_broken_colour_profile_is_no_damage_and_prints_nothing(tmp_path, caplog, capfd):
    (tmp_path / "a.png").write_bytes(encoded(PHOTO, "PNG", icc_profile=b"x" * 200))
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(PHOTO))
    assert caplog.messages == []
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_pipes_and_devices_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    for name in ("pipe.png", "device.png"):
        for read in (read_image, open_header):
            with pytest.raises(ImageFileError, match=f"{name}: a pipe or device; expected a file"):
                read(tmp_path / name)


def test_lines_of_others_come_out_later_and_unchanged(capfd):
    with library_messages() as messages:
        os.write(2, b"libpng error: bad\nhalf a line")
        assert capfd.readouterr().err == ""
    assert messages == ["libpng error: bad"]
    assert capfd.readouterr().err == "half a line"


def test_what_another_thread_writes_late_is_not_lost(capfd):
    with library_messages() as messages:
        late = os.dup(2)
    os.write(late, b"failed: a.png\nlibpng error: bad\n")
    os.close(late)
    assert messages == []
    assert capfd.readouterr().err == ""
    with library_messages() as messages:
        os.write(2, b"libpng error: worse\n")
    assert messages == ["libpng error: worse"]
    assert capfd.readouterr().err == "failed: a.png\n"


@pytest.mark.parametrize("late", [b"failed: a.png", b"x" * mmap.PAGESIZE, b"a\n" + b"x" * (mmap.PAGESIZE - 2)])
def test_what_is_written_late_appears_at_the_end_of_the_program(late):
    script = ("import os\nfrom dataloader.stderr_capture import library_messages\n"
              f"with library_messages():\n    late = os.dup(2)\nos.write(late, {late!r})")
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True)
    assert done.stderr == late


def test_messages_of_long_trainings_take_little_memory_and_nothing_is_lost(capfd):
    many = b"libpng warning: iCCP: known incorrect sRGB profile\n" * 20_000  # about a megabyte
    late = os.open(os.devnull, os.O_WRONLY)
    for number in range(5):
        with library_messages() as messages:
            assert os.fstat(2).st_size <= 2**20
            os.write(late, b"late %d\n" % number)  # to what stood in for standard error in the block before
            os.close(late)
            late = os.dup(2)
            os.write(2, many)
        assert len(messages) == 20_000
    os.close(late)
    assert capfd.readouterr().err == "late 1\nlate 2\nlate 3\nlate 4\n"


def test_lines_of_two_threads_stay_whole(capfd):
    def decode():
        for _ in range(200):
            with library_messages():
                os.write(2, b"libpng error: bad\n")

    thread = threading.Thread(target=decode)
    thread.start()
    for number in range(1000):
        os.write(2, b"failed: %06d\n" % number)
    thread.join()
    with library_messages():
        pass
    numbers = [f"{number:06d}" for number in range(1000)]
    assert sorted(capfd.readouterr().err.split()) == numbers + ["failed:"] * 1000


def test_two_threads_decode_in_turn():
    data, results = zeroed(encoded(PHOTO, "JPEG", quality=90), 9000), []
    threads = [threading.Thread(target=lambda: results.append(found(data))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [found(data)] * 8
