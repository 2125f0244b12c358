"""The files that the demo writes of cut-outs and composites: depth, colour profile, alpha, backgrounds."""

import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

import demo
from dataloader.image_file import read_grey, read_image, read_photo
from matting import matte_folder
from matting.cutout import (
    CutoutError,
    blurred_background,
    compose_onto,
    cut_out,
    estimate_layers,
    refined_alpha,
    to_depth,
)
from matting.cutout_files import NO_CUTOUT_FILES, background_for, read_background
from matting.options import DEFAULT_CHECKPOINT
from tests.generated_images import layers
from utils.file_writing import with_icc_profile, write_png
from utils.preprocessing import Matte, alpha_to_uint8

ROOT = Path(__file__).parent.parent
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [3, 4])
def test_png_with_profile(tmp_path, dtype, channels):
    """All bits of the pixels and of the profile come back."""
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (20, 30, channels), dtype=dtype)
    write_png(tmp_path / "a.png", pixels, PROFILE)
    back = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(back, pixels[..., [2, 1, 0, 3][:channels]])
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        assert image.info["icc_profile"] == PROFILE


def test_profile_chunk():
    """Length, type, name, method, zlib data and checksum, as the PNG specification has them."""
    _, png = cv2.imencode(".png", np.zeros((1, 1), np.uint8))
    chunk = with_icc_profile(png.tobytes(), b"profile")[33:]
    length = int.from_bytes(chunk[:4], "big")
    assert chunk[4:21] == b"iCCPICC profile\0\0"
    assert zlib.decompress(chunk[21:8 + length]) == b"profile"
    assert int.from_bytes(chunk[8 + length:12 + length], "big") == zlib.crc32(chunk[4:8 + length])
    assert chunk[12 + length:] == png.tobytes()[33:]


def test_photos_keep_depth_and_profile(tmp_path):
    image, *_ = layers(np.uint16)
    for name in ("a.png", "a.tif"):
        write_png(tmp_path / "a.png", image, PROFILE)
        cv2.imwrite(str(tmp_path / "a.tif"), image[..., ::-1])
        assert np.array_equal(read_photo(tmp_path / name).colours, image)
    assert read_photo(tmp_path / "a.png").profile == PROFILE
    eight = Image.fromarray((image >> 8).astype(np.uint8))
    for name in ("a.jpg", "a.webp", "b.tif"):
        eight.save(tmp_path / name, icc_profile=PROFILE)
        photo = read_photo(tmp_path / name)
        assert (photo.colours.dtype, photo.profile) == (np.uint8, PROFILE)
        assert np.array_equal(photo.colours, read_image(tmp_path / name))
    for mode, space in (("L", b"GRAY"), ("CMYK", b"CMYK")):
        eight.convert(mode).save(tmp_path / "b.jpg", icc_profile=PROFILE[:16] + space + PROFILE[20:])
        assert read_photo(tmp_path / "b.jpg").profile is None


def test_backgrounds(tmp_path):
    image, alpha, *_ = layers(np.uint16)
    assert read_background("#ff8000").tolist() == [255, 128, 0]
    assert background_for(image, alpha, read_background("#ff8000")).tolist() == [65535, 32896, 0]
    write_png(tmp_path / "#1.png", np.full((10, 10, 3), 7, np.uint8))
    onto = background_for(image, alpha, read_background(str(tmp_path / "#1.png")))
    assert np.array_equal(onto, np.full_like(image, 7 * 257))
    assert np.array_equal(background_for(image, alpha, "blur"), blurred_background(image, alpha))
    with pytest.raises(CutoutError, match="#12345: not a colour; expected #rrggbb"):
        read_background("#12345")


class Oracle:
    """A predictor that knows the alpha."""

    device = "cpu"

    def __init__(self, alpha: np.ndarray):
        self.alpha = alpha

    def attention_for(self, height: int, width: int) -> str:
        return "exact"

    def predict_batch(self, pairs: list, report: object = None) -> list[Matte]:
        return [Matte(self.alpha, (), ()) for _ in pairs]


@pytest.fixture
def pictures(tmp_path) -> Path:
    """images/a.png of 16 bits with a profile, images/b.jpg of 8 without; their trimaps."""
    image, alpha, *_ = layers(np.uint16)
    write_png(tmp_path / "images" / "a.png", image, PROFILE)
    Image.fromarray(to_depth(image, np.uint8)).save(tmp_path / "images" / "b.jpg", quality=95)
    trimap = np.where(alpha == 0, 0, np.where(alpha == 1, 255, 128)).astype(np.uint8)
    for name in ("a", "b"):
        write_png(tmp_path / "trimaps" / f"{name}.png", trimap)
    return tmp_path


def run(monkeypatch, pictures: Path, *more: str) -> int:
    monkeypatch.setattr(demo, "build_predictor", lambda *arguments, **options: Oracle(layers(np.uint16)[1]))
    monkeypatch.setattr(sys, "argv", [
        "demo.py", "--random-weights", "--device", "cpu", "--image-dir", str(pictures / "images"),
        "--trimap-dir", str(pictures / "trimaps"), "--output", str(pictures / "out"), *more])
    monkeypatch.chdir(ROOT)
    return demo.main()


def test_files_of_the_demo(monkeypatch, pictures):
    assert run(monkeypatch, pictures, "--cutout", "--background", "#0000ff") == 0
    out = pictures / "out" / "gca-dist-all-data_random-weights"
    assert sorted(path.name for path in out.iterdir()) == [
        "a.png", "a_composite.png", "a_cutout.png", "b.png", "b_composite.png", "b_cutout.png"]
    image, alpha, *_ = layers(np.uint16)
    pixels = cv2.imread(str(out / "a_cutout.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    assert np.array_equal(pixels, cut_out(image, alpha))
    composite = cv2.imread(str(out / "a_composite.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    foreground, refined = estimate_layers(image, alpha)
    assert np.array_equal(composite, compose_onto(foreground, refined, np.array([0, 0, 65535], np.uint16)))
    for name in ("a_cutout", "a_composite"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.info["icc_profile"] == PROFILE
    with Image.open(out / "b_cutout.png") as picture:
        assert (picture.mode, picture.info.get("icc_profile")) == ("RGBA", None)
        assert np.array_equal(picture, cut_out(read_image(pictures / "images" / "b.jpg"), alpha))
    for name in "ab":  # the matte is the network's
        assert np.array_equal(read_grey(out / f"{name}.png"), alpha_to_uint8(alpha))


def test_refined_mattes(monkeypatch, pictures):
    """The matte is the refined alpha of what the network saw; cut-outs are those without --refine."""
    assert run(monkeypatch, pictures, "--refine", "--cutout") == 0
    out = pictures / "out" / "gca-dist-all-data_random-weights"
    image, alpha, *_ = layers(np.uint16)
    refined = refined_alpha(read_image(pictures / "images" / "b.jpg"), alpha)
    assert np.array_equal(read_grey(out / "b.png"), alpha_to_uint8(refined))
    assert not np.array_equal(read_grey(out / "b.png"), alpha_to_uint8(alpha))
    pixels = cv2.imread(str(out / "a_cutout.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    assert np.array_equal(pixels, cut_out(image, alpha))


def test_a_matte_that_cannot_be_refined_leaves_no_offset_picture(monkeypatch, tmp_path):
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(matte_folder, "refined_alpha", fail)
    image, trimap = np.zeros((32, 32, 3), np.uint8), np.full((32, 32), 128, np.uint8)
    job = matte_folder.Job(tmp_path / "a.png", image, trimap, 1.0, None)
    matte = Matte(np.full((32, 32), 0.5, np.float32), (np.zeros((2, 2, 2), np.int64),), (np.ones(2, np.float32),))
    result = matte_folder.MatteResult(job, matte, 1.0, "exact")
    line = matte_folder.write_result(result, tmp_path, NO_CUTOUT_FILES, refine=True)
    assert str(line) == f"{job.path}: not enough memory for the output of 32 x 32 pixels"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("arguments", "refined"), [
    ([], True), (["--no-refine"], False), (["--checkpoint", str(DEFAULT_CHECKPOINT)], True),
    (["--random-weights"], False), (["--random-weights", "--refine"], True)])
def test_mattes_of_the_included_weights_are_refined(monkeypatch, arguments, refined):
    given = []
    monkeypatch.setattr(demo, "build_predictor", lambda *_, **__: Oracle(None))
    monkeypatch.setattr(demo, "matte_folder", lambda *args: given.append(args[-1]) or (1, 1))
    monkeypatch.setattr(sys, "argv", ["demo.py", "--device", "cpu", *arguments])
    monkeypatch.chdir(ROOT)
    assert demo.main() == 0
    assert given == [refined]


def test_multi_level_cutouts_keep_the_matte(monkeypatch, pictures):
    assert run(monkeypatch, pictures, "--cutout", "ml") == 0
    out = pictures / "out" / "gca-dist-all-data_random-weights"
    with Image.open(out / "b_cutout.png") as picture:
        assert np.array_equal(np.asarray(picture)[..., 3], read_grey(out / "b.png"))


def test_only_what_was_asked_for(monkeypatch, pictures):
    assert run(monkeypatch, pictures, "--background", "blur") == 0
    out = pictures / "out" / "gca-dist-all-data_random-weights"
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "a_composite.png", "b.png", "b_composite.png"]


def test_names_that_collide(monkeypatch, capsys, pictures):
    """Refused with the option, welcome without."""
    image, trimap = pictures / "images" / "a_cutout.png", pictures / "trimaps" / "a_cutout.png"
    image.write_bytes((pictures / "images" / "b.jpg").read_bytes())
    trimap.write_bytes((pictures / "trimaps" / "b.png").read_bytes())
    assert run(monkeypatch, pictures, "--cutout") == 1
    assert f"failed: {image}: would be written over the cut-out of a.png; rename one" in capsys.readouterr().err
    assert run(monkeypatch, pictures) == 0


@pytest.mark.parametrize(("background", "message"), [
    ("nowhere.png", "demo.py: nowhere.png: no such file"),
    ("README.md", "demo.py: README.md: cannot be decoded"),
    ("#red", "demo.py: #red: not a colour; expected #rrggbb"),
])
def test_refused_backgrounds(monkeypatch, capsys, pictures, background, message):
    """In one line, and before the first image."""
    assert run(monkeypatch, pictures, "--background", background) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert len(error.splitlines()) == 1
    assert not (pictures / "out").exists()
