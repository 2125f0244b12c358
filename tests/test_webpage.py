"""What the web page computes, without the page."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from reference import reference_network

from dataloader.image_file import ImageFileError, read_grey, read_image, read_photo
from matting.predictor import Matting
from utils.file_writing import write_png
from utils.preprocessing import Matte, alpha_to_uint8
from webpage.results import (
    PageResult,
    attention_lines,
    checkerboard,
    composite_result,
    display_copy,
    hex_colour,
    matte_photo,
    on_checkerboard,
    write_files,
)
from webpage.time_left import with_time_left
from webpage.uploads import is_trimap, open_background, open_photo, open_trimap
from webpage.views import photo_view, tint_view


@pytest.fixture
def photo(tmp_path) -> Path:
    """A red square of 30 x 30 on a blue ground of 60 x 80."""
    image = np.full((60, 80, 3), (20, 40, 200), np.uint8)
    image[10:40, 20:50] = (220, 30, 10)
    write_png(tmp_path / "photo.png", image)
    return tmp_path / "photo.png"


def test_a_large_photo_is_refused_by_its_name_alone(photo):
    write_png(photo, np.zeros((70, 80, 3), np.uint8))
    assert open_photo(photo, 5600).image.shape == (70, 80, 3)
    with pytest.raises(ImageFileError, match=r"^photo\.png: 80 x 70 pixels; expected at most 0\.0056 million$"):
        open_photo(photo, 5599)


def test_thin_photos_count_as_64_pixels_wide(photo):
    write_png(photo, np.zeros((1, 1000, 3), np.uint8))
    assert open_photo(photo, 64_000).image.shape == (1, 1000, 3)
    with pytest.raises(ImageFileError, match=r"^photo\.png: 1000 x 1 pixels, including the padding of thin photos;"):
        open_photo(photo, 63_999)


def test_no_other_format_gets_round_the_limit(tmp_path):
    """Pillow would not tell the size of some files that OpenCV reads."""
    Image.new("RGB", (80, 70)).save(tmp_path / "photo.ppm")
    (tmp_path / "photo.ppm").rename(tmp_path / "photo.png")
    with pytest.raises(ImageFileError, match=r"^photo\.png: cannot be decoded; expected a PNG, JPEG, WebP"):
        open_photo(tmp_path / "photo.png", 100)


def test_a_background_keeps_its_depth(tmp_path):
    write_png(tmp_path / "deep.png", np.full((70, 80, 3), 12345, np.uint16))
    assert open_background(tmp_path / "deep.png", 10_000).dtype == np.uint16
    with pytest.raises(ImageFileError, match="expected at most"):
        open_background(tmp_path / "deep.png", 5599)


def test_what_is_no_image_is_refused_by_its_name_alone(tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    with pytest.raises(ImageFileError, match=r"^notes\.png: cannot be decoded"):
        open_photo(tmp_path / "notes.png", 100)


def test_trimaps_are_told_from_masks():
    steps = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    assert is_trimap(np.array([[0, 128, 255]], np.uint8))
    assert is_trimap(np.array([[2, 120, 250]], np.uint8))
    assert not is_trimap(np.array([[0, 255]], np.uint8))
    assert not is_trimap(steps)


def test_a_trimap_file_is_taken_as_it_is_and_a_mask_gets_a_band(tmp_path):
    image = np.zeros((100, 100, 3), np.uint8)
    mask = np.zeros((100, 100), np.uint8)
    mask[30:70, 30:70] = 255
    write_png(tmp_path / "mask.png", mask)
    Image.fromarray(np.dstack([image, mask])).save(tmp_path / "cutout.png")
    made = open_trimap(tmp_path / "mask.png", image, "wide")  # 2 pixels on either side of the outline
    assert made[50].tolist() == [0] * 28 + [128] * 4 + [255] * 36 + [128] * 4 + [0] * 28
    assert np.array_equal(open_trimap(tmp_path / "cutout.png", image, "wide"), made)
    write_png(tmp_path / "trimap.png", made)
    assert np.array_equal(open_trimap(tmp_path / "trimap.png", image, "narrow"), made)
    with pytest.raises(ImageFileError, match=r"^mask\.png: 100 x 100 pixels, but the photo is 120 x 90$"):
        open_trimap(tmp_path / "mask.png", np.zeros((90, 120, 3), np.uint8), "wide")


def test_the_time_left_is_told_when_it_is_long_and_known():
    times, told = iter([0, 1, 4, 10, 60, 60, 98]), []
    report = with_time_left(lambda share, text: told.append(text), lambda: next(times))
    for share in (0, 0.1, 0.5, 0.05, 0.01, 0.98):
        report(share, "Working")
    assert told == ["Working", "Working, about 36 s left", "Working, about 10 s left", "Working, about 19 min left",
                    "Working", "Working"]


def test_pictures_for_the_browser_are_small_files_named_by_their_contents(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    trimap = np.repeat(np.array([[0, 128, 255]], np.uint8), 700, axis=1).repeat(50, axis=0)
    view, again = tint_view(trimap), tint_view(trimap)
    assert view["tint"] == again["tint"]
    assert view["number"] != again["number"]
    assert len(list(tmp_path.iterdir())) == 1
    tint = read_grey(Path(view["tint"]["path"]))
    assert tint.shape == (24, 1024)
    assert set(np.unique(tint)) == {0, 128, 255}  # no levels between, which would be no brush's
    photo = photo_view(np.full((40, 2048, 3), (200, 30, 10), np.uint8))
    assert read_image(Path(photo["photo"]["path"]))[0, 0].tolist() == pytest.approx([200, 30, 10], abs=4)
    assert photo["tint"] is None


def test_colours_of_the_browser():
    assert hex_colour("#00B140") == "#00B140"
    assert hex_colour("rgba(0, 177.4, 64, 1)") == "#00b140"
    assert hex_colour("rgba( 5.684341886080802e-14,177.39999999999998,64 , 0.5)") == "#00b140"
    assert hex_colour("rgb(0, 300, 64)") == "#00ff40"


@pytest.mark.parametrize("text", ["blue", "", f"rgba({'9' * 400}, 0, 0, 1)", "rgba(1e400, 0, 0)", "rgb(1.2.3, 0, 0)",
                                  "rgb(1, 2)", "rgb(1, 2, 3) no", "rgb(\u0663, 0, 0)", "#10203", "#102030\n"])
def test_other_text_is_no_colour(text):
    with pytest.raises(ValueError, match="is not a colour; expected one such as") as told:
        hex_colour(text)
    assert len(str(told.value)) < 120
    assert "\n" not in str(told.value)


def test_checkerboard():
    board = checkerboard(20, 40)
    assert board.shape == (20, 40, 3)
    assert board[[0, 0, 19, 19], [0, 16, 0, 16], 0].tolist() == [255, 204, 204, 255]


def test_display_copies_have_at_most_1024_pixels_a_side():
    assert display_copy(np.zeros((2048, 1000, 3), np.uint8)).shape == (1024, 500, 3)
    assert display_copy(np.zeros((30, 40), np.uint8)).shape == (30, 40)


def test_lines_lead_from_undecided_positions_to_their_matches():
    """A single one, in row and column 4 of the padded image, matches row 4 and column 7; below, alpha is 1."""
    trimap = np.zeros((128, 128), np.uint8)
    trimap[32:48, 32:48], trimap[64:, 32:48] = 128, 128
    alpha = np.where(np.arange(128) < 64, 0.5, 1)[:, None].repeat(128, axis=1)
    offset = np.zeros((2, 12, 12), np.int64)
    offset[:, 4, 4] = 4 - 6, 7 - 6
    picture = attention_lines(np.zeros((128, 128, 3), np.uint8), trimap, Matte(alpha, (offset,), ()), border=32)
    rows, columns = np.nonzero(picture.any(axis=2))
    assert (rows.min(), rows.max()) == pytest.approx((40, 40), abs=5)  # 16 * 4 + 8 - 32
    assert (columns.min(), columns.max()) == pytest.approx((40, 88), abs=5)
    assert picture[40, 60].argmax() == 0  # to the right: red


@pytest.mark.parametrize(("kind", "has_attention"), [("gca", True), ("baseline", False)])
def test_a_photo_is_matted_by_the_predictor(tmp_path, photo, kind, has_attention):
    matting, photo = Matting(reference_network(kind), "cpu"), open_photo(photo, 10**6)
    image = photo.image
    trimap = np.zeros((60, 80), np.uint8)
    trimap[8:42, 18:52], trimap[12:38, 22:48] = 128, 255
    steps = []
    result = matte_photo(matting, photo, trimap, lambda share, text: steps.append((share, text)))
    assert np.allclose(result.alpha, matting(image, trimap), atol=1e-4)
    assert (result.attention is not None) == has_attention
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    (first, *tiles, colours, files), count = [text for _, text in steps], steps[-3][1].rpartition(" ")[2]
    assert [first, colours, files] == ["Finding the edge", "Cleaning the edge's colours", "Writing the files"]
    assert [tiles[0], tiles[-1]] == [f"Finding the edge: tile {done} of {count}" for done in (1, count)]
    assert on_checkerboard(result).shape == image.shape
    green = composite_result(photo, result, np.array([0, 177, 64], np.uint8))
    assert green[0, 0].tolist() == [0, 177, 64]
    assert np.array_equal(green[trimap == 255], image[trimap == 255])
    paths = write_files(tmp_path, "photo", result, green)
    assert [path.name for path in paths] == [f"photo_{kind}.png" for kind in ("cutout", "composite", "matte", "trimap")]
    cutout, _, alpha, written = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths)
    assert np.array_equal(alpha, alpha_to_uint8(result.alpha))
    assert np.array_equal(cutout[..., 3], alpha_to_uint8(result.cutout_alpha))
    assert np.array_equal(cutout[trimap != 128][:, 3], alpha[trimap != 128])
    assert np.array_equal(written, trimap)


def test_a_blurred_background_comes_from_the_photo_in_its_depth(tmp_path):
    image = np.full((40, 50, 3), 12345, np.uint16)
    write_png(tmp_path / "deep.png", image)
    alpha = np.zeros((40, 50), np.float32)
    result = PageResult(np.zeros((40, 50), np.uint8), alpha, np.zeros_like(image), alpha, None, None)
    final = composite_result(read_photo(tmp_path / "deep.png"), result, "blur")
    assert final.dtype == np.uint16
    assert np.abs(final.astype(int) - 12345).max() <= 1
