"""Image files of every kind that people have."""

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey, read_image

SMOOTH = np.stack(np.meshgrid(np.arange(60) * 4, np.arange(40) * 5), axis=2).astype(np.uint8)
COLOURS = np.dstack([SMOOTH, np.full((40, 60), 90, np.uint8)])
ALPHA = np.full((40, 60), 128, np.uint8)
ORIENTATION = 0x0112


def save(path, image: Image.Image, **options):
    image.save(path, **options)
    return path


@pytest.mark.parametrize(("name", "tolerance"), [
    ("a.png", 0), ("a.bmp", 0), ("a.tif", 0), ("a.TIFF", 0), ("a.webp", 3), ("a.jpg", 6), ("a.jpeg", 6)])
def test_formats(tmp_path, name, tolerance):
    options = {"quality": 98} if tolerance else {}
    image = read_image(save(tmp_path / name, Image.fromarray(COLOURS), **options))
    assert image.dtype == np.uint8
    assert image.shape == (40, 60, 3)
    assert np.abs(image.astype(int) - COLOURS).mean() <= tolerance


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp"])
def test_alpha_channel_is_dropped(tmp_path, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    path = save(tmp_path / name, Image.fromarray(np.dstack([COLOURS, ALPHA])), **options)
    assert np.array_equal(read_image(path), COLOURS)


def test_premultiplied_tiff_gets_its_colours_back(tmp_path):
    premultiplied = Image.fromarray(np.dstack([COLOURS, ALPHA])).convert("RGBa")
    path = save(tmp_path / "a.tif", Image.frombytes("RGBA", premultiplied.size, premultiplied.tobytes()))
    extra_samples = bytes.fromhex("5201 0300 01000000")  # tag 338, one short: 2 is straight alpha, 1 premultiplied
    path.write_bytes(path.read_bytes().replace(extra_samples + b"\2", extra_samples + b"\1"))
    assert np.abs(read_image(path).astype(int) - COLOURS).max() <= 2


def test_grey_palette_and_bilevel(tmp_path):
    grey = COLOURS[..., 0]
    for name, image in (("grey.png", Image.fromarray(grey)), ("la.png", Image.fromarray(np.dstack([grey, ALPHA])))):
        assert np.array_equal(read_image(save(tmp_path / name, image)), np.dstack([grey] * 3))
    palette = Image.fromarray(COLOURS).quantize(32)
    assert np.array_equal(read_image(save(tmp_path / "palette.png", palette)), np.asarray(palette.convert("RGB")))
    two = Image.fromarray((grey > 100).astype(np.uint8) * 255).convert("1")
    assert np.array_equal(read_grey(save(tmp_path / "two.png", two)), (grey > 100) * np.uint8(255))


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit(tmp_path, name):
    cv2.imwrite(str(tmp_path / name), COLOURS[..., ::-1].astype(np.uint16) * 257)
    assert np.array_equal(read_image(tmp_path / name), COLOURS)
    cv2.imwrite(str(tmp_path / name), COLOURS[..., 0].astype(np.uint16) * 257)
    assert np.array_equal(read_grey(tmp_path / name), COLOURS[..., 0])


def test_cmyk_jpeg(tmp_path):
    path = save(tmp_path / "a.jpg", Image.fromarray(COLOURS).convert("CMYK"), quality=98)
    assert np.abs(read_image(path).astype(int) - COLOURS).mean() < 3


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_exif_rotation(tmp_path, name):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # the camera was held upright: turn clockwise
    image = read_image(save(tmp_path / name, Image.fromarray(COLOURS), exif=exif, quality=98))
    assert image.shape == (60, 40, 3)
    assert np.abs(image.astype(int) - np.rot90(COLOURS, -1)).mean() < 6


def test_colour_trimap(tmp_path):
    trimap = np.repeat(np.array([[0, 128, 255]], np.uint8), 3, axis=0)
    for name, image in (("rgb.png", np.dstack([trimap] * 3)), ("rgba.png", np.dstack([trimap] * 3 + [trimap]))):
        assert np.array_equal(read_grey(save(tmp_path / name, Image.fromarray(image))), trimap)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp"])
def test_truncated_files(tmp_path, name, capfd):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    path = save(tmp_path / name, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(ImageFileError, match=r"(damaged|cannot be decoded)") as error:
        read_image(path)
    assert str(error.value).startswith(str(path))
    assert "OpenCV" not in capfd.readouterr().err


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    cv2.imwrite(str(tmp_path / "float.tif"), COLOURS.astype(np.float32))
    for name, message in (("text.png", "cannot be decoded"), ("empty.png", "empty"), ("none.png", "no such file"),
                          ("float.tif", "has float32 pixels; expected 8 or 16 bits")):
        with pytest.raises(ImageFileError, match=message):
            read_image(tmp_path / name)


def test_listing(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.d").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "b.JPG"]
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path / "a.png", "not a folder"),
                            (tmp_path / "folder.d", "no image files")):
        with pytest.raises(ImageFileError, match=message):
            list_images(folder)


def test_partners(tmp_path):
    trimaps = [tmp_path / name for name in ("a.jpg", "a.png", "b.tif", "c.x.png", "d.bmp", "d.png")]
    partner = {name: find_partner(tmp_path / "images" / name, trimaps, "trimap", tmp_path).name
               for name in ("a.png", "b.jpg", "c.x.jpg")}
    assert partner == {"a.png": "a.png", "b.jpg": "b.tif", "c.x.jpg": "c.x.png"}
    with pytest.raises(ImageFileError, match=r"no trimap named c\.\* in"):
        find_partner(tmp_path / "c.png", trimaps, "trimap", tmp_path)
    with pytest.raises(ImageFileError, match=r"several files .* \(d.bmp, d.png\)"):
        find_partner(tmp_path / "d.jpg", trimaps, "trimap", tmp_path)
