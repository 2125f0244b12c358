"""The merged images of Composition-1K against the data set's own program."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataloader.composition_1k import enlarge_to_cover, merge_colours, read_rgb
from dataloader.image_file import ImageFileError
from tools.composite_test_set import is_complete, named_files

ROOT = Path(__file__).resolve().parents[1]


def published_merge(im: Image.Image, a: Image.Image, bg: Image.Image) -> Image.Image:
    """What the data set's own program makes of one foreground, alpha and background."""
    w, h = im.size
    a = a.getchannel(0)
    im = im.convert("RGB")
    bg = bg.convert("RGB")
    bw, bh = bg.size
    wratio = w / bw
    hratio = h / bh
    ratio = wratio if wratio > hratio else hratio
    if ratio > 1:
        bg = bg.resize((math.ceil(bw * ratio), math.ceil(bh * ratio)), Image.BICUBIC)
    bg = bg.crop((0, 0, w, h))
    fg_list, bg_list, a_list = im.load(), bg.load(), a.load()
    for y in range(h):
        for x in range(w):
            alpha = a_list[x, y] / 255
            if alpha >= 1:
                bg_list[x, y] = fg_list[x, y]
            elif alpha > 0:
                bg_list[x, y] = tuple(int(alpha * fg_list[x, y][c] + (1 - alpha) * bg_list[x, y][c])
                                      for c in range(3))
    return bg


def matte(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An alpha of known and mixed regions, with columns and rows that are wholly known."""
    alpha = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    alpha[:, :width // 3] = 0
    alpha[:, -(width // 4):] = 255
    alpha[height // 2] = 255
    alpha[-2:] = 0
    return alpha


def colours(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, array: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# merge_colours() and enlarge_to_cover()


def test_all_alphas_agree_with_the_published_loop():
    values = np.arange(0, 256, 7, dtype=np.uint8)
    alpha, front, behind = np.meshgrid(np.arange(256, dtype=np.uint8), values, values, indexing="ij")
    alpha = alpha.reshape(256, -1)
    foreground = np.stack([front, behind, 255 - front], axis=-1).reshape(*alpha.shape, 3)
    background = np.stack([behind, behind, front], axis=-1).reshape(*alpha.shape, 3)
    expected = published_merge(*map(Image.fromarray, (foreground, alpha, background)))
    np.testing.assert_array_equal(merge_colours(foreground, background, alpha), expected)


def test_rounding_of_double_precision_is_kept():
    # Exactly 1, 4 and 4; in double precision 0.9999999999999998 and twice 3.9999999999999996.
    for alpha, front, behind, merged in ((204, 0, 5, 0), (102, 1, 6, 3), (153, 6, 1, 3)):
        shape = (1, 1, 3)
        images = np.full(shape, front, np.uint8), np.full(shape, behind, np.uint8), np.full((1, 1), alpha, np.uint8)
        assert merge_colours(*images).tolist() == [[[merged] * 3]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (37, 53), (3, 9000), (600, 30)])
def test_known_and_mixed_regions_at_any_size(height, width):
    foreground, background, alpha = colours(height, width, 1), colours(height, width, 2), matte(height, width)
    expected = published_merge(*map(Image.fromarray, (foreground, alpha, background)))
    np.testing.assert_array_equal(merge_colours(foreground, background, alpha), expected)


def test_composite_leaves_its_inputs_as_they_are():
    arrays = colours(20, 30, 1), colours(20, 30, 2), matte(20, 30)
    for array in arrays:
        array.setflags(write=False)
    assert merge_colours(*arrays).shape == (20, 30, 3)


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (31, 90), (30, 20), (12, 10), (30, 21)])
def test_background_is_enlarged_and_cut_as_published(width, height):
    background = Image.fromarray(colours(20, 30, 3))
    foreground, alpha = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.uint8)
    expected = published_merge(Image.fromarray(foreground), Image.fromarray(alpha), background)
    np.testing.assert_array_equal(enlarge_to_cover(background, width, height), expected)


def test_enlarged_size_is_rounded_up_from_the_floating_point_product():
    # 7 * (29 / 7) is a little more than 29, so the published program enlarges to a width of 30.
    background = Image.fromarray(colours(10, 7, 3))
    assert math.ceil(7 * (29 / 7)) == 30
    expected = published_merge(Image.new("RGB", (29, 10)), Image.new("L", (29, 10)), background)
    np.testing.assert_array_equal(enlarge_to_cover(background, 29, 10), expected)


# read_rgb(), named_files() and is_complete()


def test_images_of_other_modes_are_read_as_rgb(tmp_path):
    image = Image.fromarray(colours(6, 8, 0))
    for mode in ("L", "P", "RGBA", "LA", "1", "CMYK"):
        converted = image.convert(mode)
        converted.save(tmp_path / f"{mode}.tif")
        np.testing.assert_array_equal(read_rgb(tmp_path / f"{mode}.tif"), converted.convert("RGB"))


def test_exif_orientation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_rgb(save(tmp_path / "turned.jpg", colours(6, 8, 0), exif=exif)).size == (8, 6)


def test_unusable_images_are_named(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    whole = save(tmp_path / "whole.png", colours(40, 40, 0)).read_bytes()
    (tmp_path / "half.png").write_bytes(whole[:len(whole) // 2])
    save(tmp_path / "deep.png", np.zeros((4, 4), np.uint16))
    for name, reason in {"text.png": "not an image", "empty.png": "not an image", "half.png": "truncated",
                         "deep.png": "8 bits", "none.png": "no such file"}.items():
        with pytest.raises(ImageFileError, match=reason) as error:
            read_rgb(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_names_file_decides_the_order(tmp_path):
    for name in ("a.png", "b.png", "with space.png"):
        save(tmp_path / "images" / name, colours(2, 2, 0))
    names = tmp_path / "names.txt"
    names.write_bytes(b"\xef\xbb\xbfwith space.png\r\nb.png \r\n\r\na.png")
    assert [path.name for path in named_files(tmp_path / "images", names)] == ["with space.png", "b.png", "a.png"]
    assert [path.name for path in named_files(tmp_path / "images", None)] == ["a.png", "b.png", "with space.png"]


def test_unusable_names_files_are_named(tmp_path):
    save(tmp_path / "a.png", colours(2, 2, 0))
    (tmp_path / "blank.txt").write_text("\n \n")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    for name, reason in {"blank.txt": "no names", "binary.txt": "not a text", "none.txt": "no such file"}.items():
        with pytest.raises(ImageFileError, match=f"{name}: {reason}"):
            named_files(tmp_path, tmp_path / name)


def test_only_whole_png_files_are_complete(tmp_path):
    path = save(tmp_path / "a.png", colours(9, 9, 0))
    assert is_complete(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_complete(path)
    path.write_bytes(b"")
    assert not is_complete(path)
    assert not is_complete(tmp_path / "none.png")


# The command


@pytest.fixture
def data_set(tmp_path):
    """Two foregrounds and six backgrounds, smaller and larger ones, in folders with a space in their path."""
    root = tmp_path / "test set"
    for index, name in enumerate(("pear", "apple")):
        save(root / "fg" / f"{name}.png", colours(24 + index, 30, index))
        save(root / "alpha" / f"{name}.png", matte(24 + index, 30, index))
    for index in range(6):
        save(root / "bg" / f"{index}.jpg", colours(10 + 7 * index, 45 - 6 * index, 10 + index))
    (root / "fg.txt").write_text("pear.png\napple.png\n")
    (root / "bg.txt").write_text("".join(f"{index}.jpg\n" for index in (5, 3, 1, 0, 2, 4)))
    return root


def run(root: Path, *options: str, names: bool = True) -> subprocess.CompletedProcess:
    named = ("--fg-names", "fg.txt", "--bg-names", "bg.txt") if names else ()
    return subprocess.run(
        (sys.executable, str(ROOT / "tools/composite_test_set.py"), "--fg-dir", "fg", "--alpha-dir", "alpha",
         "--bg-dir", "bg", "--output", "merged", "--backgrounds-per-foreground", "3", "--processes", "2",
         *named, *options), cwd=root, capture_output=True, text=True)


def expect_merged(root: Path, stem: str, number: int, background: str) -> None:
    expected = published_merge(*(Image.open(root / path) for path in
                                 (f"fg/{stem}.png", f"alpha/{stem}.png", f"bg/{background}")))
    np.testing.assert_array_equal(pixels(root / f"merged/{stem}_{number}.png"), expected)


def test_command_pairs_by_the_names_files(data_set):
    # A matte of three channels, as some of the data set's are, and a foreground with an alpha channel.
    save(data_set / "alpha/apple.png", np.repeat(matte(25, 30, 1)[..., None], 3, axis=-1))
    save(data_set / "fg/pear.png", np.dstack([colours(24, 30, 0), matte(24, 30, 5)]))
    done = run(data_set)
    assert done.returncode == 0, done.stderr
    assert "6 merged images written, 0 already there, 0 failed" in done.stdout
    for stem, backgrounds in {"pear": (5, 3, 1), "apple": (0, 2, 4)}.items():
        for number, background in enumerate(backgrounds):
            expect_merged(data_set, stem, number, f"{background}.jpg")
    assert len(list((data_set / "merged").iterdir())) == 6


def test_command_pairs_sorted_names_and_tells_of_unused_backgrounds(data_set):
    done = run(data_set, "--backgrounds-per-foreground", "2", names=False)
    assert done.returncode == 0, done.stderr
    assert "bg has 6 backgrounds; the first 4 are used" in done.stderr
    expect_merged(data_set, "apple", 1, "1.jpg")
    expect_merged(data_set, "pear", 0, "2.jpg")


def test_second_run_makes_only_what_is_missing(data_set):
    run(data_set)
    merged = data_set / "merged"
    (merged / "pear_0.png").unlink()
    (merged / "pear_1.png").write_bytes((merged / "pear_1.png").read_bytes()[:-20])
    save(merged / "pear_2.png", np.zeros((2, 2), np.uint8))
    done = run(data_set)
    assert "2 merged images written, 4 already there, 0 failed" in done.stdout
    assert pixels(merged / "pear_2.png").shape == (2, 2)
    expect_merged(data_set, "pear", 0, "5.jpg")
    expect_merged(data_set, "pear", 1, "3.jpg")
    assert "6 merged images written, 0 already there" in run(data_set, "--overwrite").stdout
    expect_merged(data_set, "pear", 2, "1.jpg")


def test_failures_are_named_and_the_rest_is_made(data_set):
    (data_set / "bg/3.jpg").unlink()
    save(data_set / "alpha/apple.png", matte(25, 29))
    done = run(data_set)
    assert done.returncode == 1
    assert "failed: bg/3.jpg: no such file or directory [1 image]\n" in done.stderr
    assert ("failed: alpha/apple.png: 29 x 25 pixels, but its foreground fg/apple.png has 30 x 25 [3 images]\n"
            in done.stderr)
    assert "2 merged images written, 0 already there, 4 failed" in done.stdout
    assert "Traceback" not in done.stderr
    expect_merged(data_set, "pear", 2, "1.jpg")


def test_cutouts_of_ones_own(data_set):
    """Colours and alpha from RGBA files; the alphas are written by the merged images' names, too."""
    alpha = matte(24, 30, 5)
    cutout = Image.open(save(data_set / "cutouts/leaf.png", np.dstack([colours(24, 30, 7), alpha])))
    save(data_set / "cutouts/opaque.png", colours(24, 30, 8))
    done = subprocess.run([sys.executable, str(ROOT / "tools/composite_test_set.py"), "--fg-dir=cutouts",
                           "--bg-dir=bg", "--output=merged", "--alpha-output=alphas", "--processes=1",
                           "--backgrounds-per-foreground=2"], cwd=data_set, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "failed: cutouts/opaque.png: nothing in it is transparent; expected a cut-out" in done.stderr
    assert "2 merged images written, 0 already there, 2 failed" in done.stdout
    for number in range(2):
        expected = published_merge(cutout, Image.fromarray(alpha), Image.open(data_set / f"bg/{number}.jpg"))
        np.testing.assert_array_equal(pixels(data_set / f"merged/leaf_{number}.png"), np.asarray(expected))
        np.testing.assert_array_equal(pixels(data_set / f"alphas/leaf_{number}.png"), alpha)


def test_too_few_backgrounds_and_a_missing_alpha(data_set):
    (data_set / "bg.txt").write_text("0.jpg\n1.jpg\n2.jpg\n3.jpg\n")
    (data_set / "alpha/pear.png").unlink()
    done = run(data_set)
    assert done.returncode == 1
    assert "fg/pear.png: no alpha named pear.* in alpha [3 images]" in done.stderr
    assert ("fg/apple.png: too few backgrounds: numbers 3 to 5 are needed, but there are only 4 [2 images]"
            in done.stderr)
    expect_merged(data_set, "apple", 0, "3.jpg")


def test_what_stops_the_command_is_one_line(data_set):
    (data_set / "twice.txt").write_text("pear.png\npear.png\n")
    for options, reason in ((("--bg-dir", "nowhere"), "nowhere: no such folder"),
                            (("--fg-names", "twice.txt"), "2 foregrounds are named pear")):
        done = run(data_set, *options)
        assert done.returncode == 1
        assert done.stderr.startswith(f"composite_test_set.py: {reason}")
        assert done.stderr.count("\n") == 1


def test_output_that_cannot_be_written(data_set):
    (data_set / "merged").write_text("a file where the folder should be")
    done = run(data_set)
    assert done.returncode == 1
    assert "failed: merged: cannot be written to (File exists) [6 images]\n" in done.stderr
