"""Cut-outs and composites against known colours, in both depths; the files that the demo writes of them."""

import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

import demo
from dataloader.image_file import read_grey, read_image, read_photo
from matting import cutout
from matting.cutout import (
    CutoutError,
    blurred_background,
    compose_onto,
    covering,
    cut_out,
    estimate_foreground,
    to_depth,
    with_alpha,
)
from matting.cutout_files import background_for, read_background
from utils.file_writing import with_icc_profile, write_png
from utils.preprocessing import Matte

ROOT = Path(__file__).parent.parent
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
HEIGHT, WIDTH = 90, 120


def layers(dtype=np.uint8, height: int = HEIGHT, width: int = WIDTH) -> tuple[np.ndarray, ...]:
    """An image, its alpha (a soft disc), its foreground (reds) and its background (greens)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = ((0.35 * height - np.hypot(y - height / 2, x - width / 2)) / (0.2 * height) + 0.5).clip(0, 1)
    maximum = np.iinfo(dtype).max
    foreground = np.dstack([0.8 + 0.2 * x / width, 0.2 * y / height, np.full_like(x, 0.1)])
    background = np.dstack([0.1 * x / width, 0.6 + 0.4 * y / height, np.full_like(x, 0.3)])
    image = alpha[..., None] * foreground + (1 - alpha[..., None]) * background
    return (np.rint(image * maximum).astype(dtype), alpha.astype(np.float32),
            *(np.rint(layer * maximum).astype(dtype) for layer in (foreground, background)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", ["robust", "ml", "cf"])
def test_colours_of_the_foreground(dtype, method):
    """The old background's share goes: at half opacity the photo is far from the truth, the estimate near it."""
    image, alpha, foreground, _ = layers(dtype)
    estimate = estimate_foreground(image, alpha, method)
    assert estimate.dtype == dtype
    mixed, maximum = (alpha > 0.2) & (alpha < 0.8), np.iinfo(dtype).max
    truth = foreground[mixed] / maximum
    assert np.abs(image[mixed] / maximum - truth).mean() > 0.2
    assert np.abs(estimate[mixed] / maximum - truth).mean() < 0.03
    assert np.array_equal(estimate[alpha == 1], image[alpha == 1])


def test_transparent_pixels():
    """Near the subject they have its colours, far from it none."""
    image, alpha, foreground, _ = layers()
    pixels = cut_out(image, alpha)
    distance = cv2.distanceTransform((alpha == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert not pixels[distance > 25].any()
    near = (distance > 0) & (distance < 5)
    assert np.abs(pixels[near][:, :3].astype(int) - foreground[near]).mean() < 10
    assert np.array_equal(pixels[..., 3], (alpha * 255).astype(np.uint8))


@pytest.mark.parametrize("method", ["robust", "ml"])
def test_large_images(monkeypatch, method):
    """From a reduced copy the colours come out as from the whole, and the parts make no difference."""
    image, alpha, foreground, _ = layers(np.uint16, 180, 240)
    whole = estimate_foreground(image, alpha, method)
    monkeypatch.setattr(cutout, "COARSE_PIXELS", {method: image.size // 3 // 6})
    in_one = estimate_foreground(image, alpha, method)
    monkeypatch.setattr(cutout, "BOX_PIXELS", 4 * cutout.COVER_CELL**2)
    assert np.array_equal(estimate_foreground(image, alpha, method), in_one)
    mixed = (alpha > 0.1) & (alpha < 1)
    assert np.abs(in_one[mixed] / 65535 - whole[mixed] / 65535).mean() < 0.01
    assert np.abs(in_one[mixed] / 65535 - foreground[mixed] / 65535).mean() < 0.03


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (3, 3)])
@pytest.mark.parametrize("opacity", [0, 0.5, 1])
def test_small_sizes(size, opacity):
    image = np.full((*size, 3), (200, 100, 50), np.uint8)
    pixels = cut_out(image, np.full(size, opacity, np.float32))
    assert pixels.shape == (*size, 4)
    assert (pixels[..., 3] == int(255 * opacity)).all()
    if opacity == 1:
        assert np.array_equal(pixels[..., :3], image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_composites(dtype):
    image, alpha, foreground, background = layers(dtype)
    composite = compose_onto(foreground, alpha, background)
    assert composite.dtype == dtype
    assert np.abs(composite.astype(int) - image).max() <= 1  # the layers were rounded
    onto_black = compose_onto(foreground, alpha, np.zeros(3, dtype))
    assert np.array_equal(onto_black[alpha == 1], foreground[alpha == 1])
    assert not onto_black[alpha == 0].any()
    quarter = np.full((1, 1), 0.25)
    assert compose_onto(np.full((1, 1, 3), 200, dtype), quarter, np.full(3, 100, dtype)).tolist() == [[[125] * 3]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blurred_background_has_no_glow(dtype):
    """Beside the red subject, the blurred green background stays green."""
    image, alpha, _, background = layers(dtype, 300, 400)
    blurred = blurred_background(image, alpha)
    assert blurred.dtype == dtype
    beside = (alpha == 0) & (cv2.dilate(alpha, np.ones((5, 5))) > 0)
    errors = np.abs(blurred[beside].astype(float) - background[beside]) / np.iinfo(dtype).max
    assert errors.mean() < 0.03
    noise = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (300, 400, 3), dtype=dtype)
    assert blurred_background(noise, np.zeros((300, 400), np.float32)).std() < noise.std() / 5


def test_covering():
    """Scaled to the frame's longer need; what juts out is cut off on both sides alike."""
    picture = np.repeat(np.arange(8, dtype=np.uint8), 3).reshape(1, 8, 3).repeat(4, axis=0)  # columns 0 to 7
    assert covering(picture, 4, 4)[0, :, 0].tolist() == [2, 3, 4, 5]
    assert np.array_equal(covering(picture, 4, 8), picture)
    assert covering(picture, 8, 8).shape == (8, 8, 3)
    assert np.abs(covering(picture, 8, 8)[0, :, 0].astype(int) - [2, 2, 3, 3, 4, 4, 5, 5]).max() <= 1
    assert covering(picture, 2, 2)[0, :, 0].tolist() in ([2, 4], [3, 5])  # means of 2 and 3, of 4 and 5
    assert covering(picture, 50, 3).shape == (50, 3, 3)
    line = np.full((1, 30_000, 3), 7, np.uint8)  # the whole of it, at that scale, would take 14 GB
    assert np.array_equal(covering(line, 400, 600), np.full((400, 600, 3), 7, np.uint8))


def test_depths():
    levels = np.array([[[0, 128, 255]]], np.uint8)
    assert to_depth(levels, np.uint16).tolist() == [[[0, 32896, 65535]]]
    assert np.array_equal(to_depth(to_depth(levels, np.uint16), np.uint8), levels)
    assert with_alpha(levels, np.array([[0.999]])).tolist() == [[[0, 128, 255, 254]]]  # truncated, as mattes are
    assert with_alpha(to_depth(levels, np.uint16), np.array([[0.5]]))[0, 0, 3] == 32768


@pytest.mark.parametrize(("image", "alpha", "message"), [
    (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), r"image is uint8 of shape \(4, 4\)"),
    (np.zeros((4, 4, 3)), np.zeros((4, 4)), "image is float64"),
    (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), "alpha is uint8"),
    (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4)), "alpha is 4 x 5, but the image is 5 x 4"),
    (np.zeros((1, 1, 3), np.uint8), np.full((1, 1), 255.0), "alpha ranges from 255.0 to 255.0; expected 0 to 1"),
    (np.zeros((1, 1, 3), np.uint8), np.full((1, 1), np.nan), "expected 0 to 1"),
])
def test_refused_arrays(image, alpha, message):
    with pytest.raises(ValueError, match=message):
        estimate_foreground(image, alpha)


def test_refused_options(monkeypatch):
    image, alpha, *_ = layers()
    with pytest.raises(ValueError, match="method is 'knn'; expected one of robust, ml, cf"):
        estimate_foreground(image, alpha, "knn")
    with pytest.raises(ValueError, match=r"background is uint16 of shape \(3,\); expected uint8"):
        compose_onto(image, alpha, np.zeros(3, np.uint16))
    monkeypatch.setattr(cutout, "find_spec", lambda name: None)
    with pytest.raises(CutoutError, match="pip install pymatting"):
        estimate_foreground(image, alpha)


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

    def predict_batch(self, pairs: list, **_: object) -> list[Matte]:
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
    image, alpha, foreground, _ = layers(np.uint16)
    pixels = cv2.imread(str(out / "a_cutout.png"), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    assert np.array_equal(pixels, cut_out(image, alpha))
    composite = cv2.imread(str(out / "a_composite.png"), cv2.IMREAD_UNCHANGED)[..., ::-1]
    truth = compose_onto(foreground, alpha, np.array([0, 0, 65535], np.uint16))
    assert np.abs(composite / 65535 - truth / 65535).max() < 0.05
    for name in ("a_cutout", "a_composite"):
        with Image.open(out / f"{name}.png") as picture:
            assert picture.info["icc_profile"] == PROFILE
    with Image.open(out / "b_cutout.png") as picture:
        assert (picture.mode, picture.info.get("icc_profile")) == ("RGBA", None)
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
