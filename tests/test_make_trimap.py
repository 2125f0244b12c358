"""Trimaps from masks, rectangles and scribbles, against worked-out ones; the tool on files."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataloader.image_file import read_grey
from matting.trimaps import (
    WIDTHS,
    mask_from_rectangle,
    mask_from_scribbles,
    overlay,
    subject_size,
    trimap_from_mask,
    widen_at_hair,
)
from tools import make_trimap
from tools.make_trimap import Length, length, rectangle
from utils.files import write_png


def disc(size: int, radius: float, inner: int = 255) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return np.where(np.hypot(x, y) <= radius, inner, 0).astype(np.uint8)


def test_a_rectangle():
    """3 pixels inside and 5 outside; the frame, which the subject touches at the bottom, is no outline."""
    mask = np.zeros((40, 60), np.uint8)
    mask[15:, 20:40] = 255
    trimap = trimap_from_mask(mask, erode=3, dilate=5)
    assert (trimap == 255).nonzero()[0].min() == 18
    assert (trimap[18:, 23:37] == 255).all()
    assert (trimap == 255).sum() == 22 * 14
    assert trimap[30].tolist() == [0] * 15 + [128] * 8 + [255] * 14 + [128] * 8 + [0] * 15
    assert (trimap[:10] == 0).all()
    assert (trimap[10, 20:40] == 128).all()


def test_a_disc():
    """The band is a ring of the radii it should have, to the pixel."""
    trimap = trimap_from_mask(disc(101, 30), erode=6, dilate=9)
    y, x = np.mgrid[:101, :101] - 50
    radius = np.hypot(x, y)
    assert (trimap[radius < 23.3] == 255).all()
    assert (trimap[radius > 39.8] == 0).all()
    assert (trimap[(radius > 25) & (radius < 38.5)] == 128).all()


def test_soft_values_stay_unknown():
    mask = np.array([[0, 5, 12, 13, 100, 242, 243, 255]], np.uint8)
    assert trimap_from_mask(mask, 0, 0).tolist() == [[0, 0, 0, 128, 128, 128, 255, 255]]
    assert trimap_from_mask(mask, 1, 2).tolist() == [[0, 128, 128, 128, 128, 128, 128, 255]]


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (255, 255), (77, 128)])
def test_masks_without_outline(value, expected):
    assert (trimap_from_mask(np.full((9, 7), value, np.uint8), 3, 3) == expected).all()


def test_lengths():
    mask = np.zeros((100, 100), np.uint8)
    mask[10:60, 20:40] = 200
    assert subject_size(mask) == 50
    assert length("10").pixels(mask) == 10
    assert length("4%").pixels(mask) == 2
    assert length("2.5") == Length(2.5, False)
    assert rectangle("1,2,30,40") == (1, 2, 30, 40)


def hairy_picture() -> tuple[np.ndarray, np.ndarray]:
    """A dark disc before a bright ground, with thin strands on its right half; its mask without them."""
    size, centre = 400, 200
    image = np.full((size, size, 3), 200, np.uint8)
    for angle in np.arange(-70, 71, 3) * np.pi / 180:
        root, tip = (tuple(int(centre + r * f(angle)) for f in (np.cos, np.sin)) for r in (95, 135))
        cv2.line(image, root, tip, (40, 40, 40), 1, cv2.LINE_AA)
    cv2.circle(image, (centre, centre), 100, (40, 40, 40), -1, cv2.LINE_AA)
    return image, disc(size, 100)


@pytest.mark.parametrize("enlarged", [1, 4])
def test_hair_widens_the_band(enlarged):
    """At the strands only; and alike in a photo four times as large."""
    image, mask = (cv2.resize(x, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_NEAREST)
                   for x in hairy_picture())
    trimap = trimap_from_mask(mask, 6 * enlarged, 8 * enlarged)
    widened = widen_at_hair(trimap, image, 24 * enlarged)
    assert set(np.unique(widened)) == {0, 128, 255}
    assert (widened[trimap == 128] == 128).all()
    y, x = (np.mgrid[:400 * enlarged, :400 * enlarged] - 200 * enlarged) / enlarged
    radius, angle = np.hypot(x, y), np.degrees(np.arctan2(y, x))
    at_hair = (radius > 109) & (radius < 120) & (np.abs(angle) < 60)
    assert (widened[at_hair] == 128).mean() > 0.95
    assert np.array_equal(widened[np.abs(angle) > 110], trimap[np.abs(angle) > 110])


def test_grass_is_no_hair():
    """What the whole background looks like does not widen the band."""
    image, mask = hairy_picture()
    noise = np.random.default_rng(0).normal(0, 30, image.shape)
    image = np.where(mask[..., None] == 255, 40, 150 + noise).clip(0, 255).astype(np.uint8)
    trimap = trimap_from_mask(mask, 6, 8)
    assert np.array_equal(widen_at_hair(trimap, image, 24), trimap)


def photo(size: int) -> np.ndarray:
    """An orange disc of a radius of a quarter, before blue."""
    rng = np.random.default_rng(1)
    image = np.where(disc(size, size / 4)[..., None] == 255, (230, 130, 20), (30, 60, 160))
    return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return ((mask == 255) & (truth == 255)).sum() / ((mask == 255) | (truth == 255)).sum()


@pytest.mark.parametrize("size", [200, 1600])
def test_mask_from_a_rectangle(size):
    image, truth = photo(size), disc(size, size / 4)
    mask = mask_from_rectangle(image, (size // 5, size // 5, size - size // 5, size + 10))
    assert np.unique(mask).tolist() == [0, 255]
    assert overlap(mask, truth) > 0.98


@pytest.mark.parametrize("size", [200, 1600])
def test_mask_from_scribbles(size):
    image, truth = photo(size), disc(size, size / 4)
    scribbles = np.full((size, size), 128, np.uint8)
    cv2.line(scribbles, (size // 2, size // 2), (size // 2 + size // 6, size // 2), 255, 1)
    cv2.line(scribbles, (5, 5), (size - 5, 10), 0, 1)
    scribbles[size // 2, size // 2 + 2] = 0
    mask = mask_from_scribbles(image, scribbles)
    assert np.unique(mask).tolist() == [0, 255]
    assert overlap(mask, truth) > 0.98
    assert mask[size // 2, size // 2 + 2] == 0
    assert np.array_equal(mask_from_scribbles(image, scribbles), mask)


def test_specks_and_pinholes_go():
    """A dot of the subject's colour beside it, and one of the background's within, do not count; a hole does."""
    image = photo(200)
    background, foreground = image[:30, :30].copy(), image[80:84, 80:84].copy()
    image[73:77, 98:102], image[95:125, 85:115], image[43:47, 43:47] = background[:4, :4], background, foreground
    mask = mask_from_rectangle(image, (30, 30, 170, 170))
    assert mask[75, 100] == 255
    assert mask[45, 45] == 0
    assert mask[110, 100] == 0


@pytest.mark.parametrize(("box", "message"), [
    ((300, 0, 400, 50), "the rectangle 300,0,400,50 holds none of the 200 x 200 pixels"),
    ((50, 20, 50, 60), "holds none"),
    ((0, 0, 200, 200), "leaves too little outside"),
])
def test_refused_rectangles(box, message):
    with pytest.raises(ValueError, match=message):
        mask_from_rectangle(photo(200), box)


def test_refused_scribbles():
    scribbles = np.full((200, 200), 128, np.uint8)
    with pytest.raises(ValueError, match="no white strokes"):
        mask_from_scribbles(photo(200), scribbles)
    scribbles[3:5] = 255
    with pytest.raises(ValueError, match="no black strokes"):
        mask_from_scribbles(photo(200), scribbles)
    with pytest.raises(ValueError, match="the scribbles are 200 x 100, but the image is 200 x 200"):
        mask_from_scribbles(photo(200), scribbles[:100])


def test_strokes_that_vanish_where_grabcut_reduces_the_photo():
    """In every 10 x 10 pixels that become one, there is more black than white."""
    image, scribbles = np.zeros((10, 10_000, 3), np.uint8), np.full((10, 10_000), 128, np.uint8)
    scribbles[:, 5000:5010], scribbles[5, 5005] = 0, 255
    with pytest.raises(ValueError, match=r"the white strokes vanish under the black ones .* 1000 x 1 pixels"):
        mask_from_scribbles(image, scribbles)


def test_scribbles_are_not_written_over(monkeypatch, capsys, tmp_path):
    write_png(tmp_path / "photos" / "a.png", photo(50))
    write_png(tmp_path / "strokes" / "a.png", np.full((50, 50), 128, np.uint8))
    before = (tmp_path / "strokes" / "a.png").read_bytes()
    strokes = tmp_path / "strokes"
    assert run(monkeypatch, tmp_path / "photos" / "a.png", "--scribbles", strokes / "a.png", "--output", strokes) == 1
    assert f"{strokes / 'a.png'}: would be written over" in capsys.readouterr().err
    assert (strokes / "a.png").read_bytes() == before


def test_overlay():
    image = np.full((1, 3, 3), 100, np.uint8)
    assert overlay(image, np.array([[0, 128, 255]], np.uint8)).tolist() == [[[25] * 3, [177, 160, 50], [100] * 3]]


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["make_trimap.py", *map(str, arguments)])
    return make_trimap.main()


@pytest.fixture
def masks(tmp_path) -> Path:
    """A folder with a mask, the same as the alpha of a picture, in grey, and as an opaque RGBA picture."""
    mask = disc(200, 60)
    colour = np.full((200, 200, 3), 90, np.uint8)
    write_png(tmp_path / "masks" / "grey.png", mask)
    write_png(tmp_path / "masks" / "alpha.png", np.dstack([colour, mask]))
    write_png(tmp_path / "masks" / "opaque.png", np.dstack([mask] * 3 + [np.full_like(mask, 255)]))
    Image.fromarray(mask).save(tmp_path / "masks" / "jpeg.jpg", quality=60)
    return tmp_path / "masks"


@pytest.mark.parametrize("width", WIDTHS)
def test_folder(monkeypatch, capsys, masks, width):
    out = masks.parent / "out"
    assert run(monkeypatch, masks, "--output", out, "--width", width) == 0
    assert sorted(path.name for path in out.iterdir()) == ["alpha.png", "grey.png", "jpeg.png", "opaque.png"]
    band = 200 * WIDTHS[width]
    for name in ("alpha", "grey", "opaque"):
        assert np.array_equal(read_grey(out / f"{name}.png"), trimap_from_mask(disc(200, 60), band, band))
    assert set(np.unique(read_grey(out / "jpeg.png"))) == {0, 128, 255}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("alpha.png: 200 x 200, ")
    assert lines[-1] == f"4 of 4 trimaps: {out}"


def test_lengths_and_pictures_to_check(monkeypatch, masks):
    out, checks = masks.parent / "out", masks.parent / "checks"
    assert run(monkeypatch, masks / "alpha.png", "--output", out, "--erode", "10%", "--dilate", 4,
               "--overlay", checks) == 0
    trimap = trimap_from_mask(disc(200, 60), 12.1, 4)  # the disc is 121 pixels wide
    assert np.array_equal(read_grey(out / "alpha.png"), trimap)
    picture = cv2.imread(str(checks / "alpha.png"))[..., ::-1]
    assert np.array_equal(picture, overlay(np.full((200, 200, 3), 90, np.uint8), trimap))


def test_hair_of_files(monkeypatch, tmp_path):
    image, mask = hairy_picture()
    write_png(tmp_path / "images" / "a.png", image)
    write_png(tmp_path / "masks" / "a.png", mask)
    assert run(monkeypatch, tmp_path / "masks", "--output", tmp_path / "out", "--erode", 6, "--dilate", 8,
               "--hair", "--image-dir", tmp_path / "images") == 0
    assert np.array_equal(read_grey(tmp_path / "out" / "a.png"),
                          widen_at_hair(trimap_from_mask(mask, 6, 8), image, 24))


def test_marked_photos(monkeypatch, tmp_path):
    """A rectangle, and strokes on transparent ground."""
    write_png(tmp_path / "photos" / "a.png", photo(200))
    strokes = np.zeros((200, 200, 4), np.uint8)
    strokes[100, 90:110] = 255
    strokes[5, :, 3] = 255
    write_png(tmp_path / "strokes.png", strokes)
    for i, marks in enumerate((("--rectangle", "40,40,160,160"), ("--scribbles", tmp_path / "strokes.png"))):
        out = tmp_path / f"out{i}"
        assert run(monkeypatch, tmp_path / "photos" / "a.png", *marks, "--output", out, "--hair") == 0
        trimap = read_grey(out / "a.png")
        assert set(np.unique(trimap)) == {0, 128, 255}
        assert ((trimap == 255) & (disc(200, 50) == 0)).sum() == 0
        assert trimap[100, 100] == 255


def test_each_bad_mask_is_named_and_the_rest_done(monkeypatch, capsys, masks):
    write_png(masks / "labels.png", disc(50, 20, inner=1))
    (masks / "broken.png").write_bytes(b"no image")
    (masks / "grey.webp").write_bytes((masks / "grey.png").read_bytes())
    out = masks.parent / "out"
    assert run(monkeypatch, masks, "--output", out) == 1
    captured = capsys.readouterr()
    errors = captured.err.splitlines()
    for line in (f"failed: {masks / 'labels.png'}: no subject: its brightest value is 1; expected a mask",
                 f"failed: {masks / 'broken.png'}: cannot be decoded",
                 f"failed: {masks / 'grey.webp'}: would be written over the trimap of grey.png; rename one"):
        assert sum(error.startswith(line) for error in errors) == 1
    assert "4 of 7 trimaps" in captured.out
    assert len(list(out.iterdir())) == 4


@pytest.mark.parametrize(("arguments", "message"), [
    (["none.png"], "failed: none.png: no such file"),
    (["masks", "--hair"], "make_trimap.py: masks: --hair looks at the photos; name their folder with --image-dir"),
    (["masks", "--rectangle", "1,1,9,9"], "make_trimap.py: masks: a folder; a rectangle or scribbles belong to one"),
    (["masks", "--output", "masks"], "make_trimap.py: masks: also the folder of something else"),
    (["masks", "--image-dir", "none", "--hair"], "make_trimap.py: none: no such folder"),
    (["masks/grey.png", "--rectangle", "900,0,950,9"], "failed: masks/grey.png: the rectangle 900,0,950,9 holds none"),
    (["masks/grey.png", "--scribbles", "none.png"], "failed: none.png: no such file"),
])
def test_refused(monkeypatch, capsys, masks, arguments, message):
    monkeypatch.chdir(masks.parent)
    assert run(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert len(error.splitlines()) == 1
    assert not (masks.parent / "trimaps").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["a.png", "--erode", "2px"], "'2px' is no length; expected pixels such as 10, or a share such as 2%"),
    (["a.png", "--rectangle", "1,2,3"], "'1,2,3' is no rectangle; expected LEFT,TOP,RIGHT,BOTTOM in pixels"),
])
def test_refused_arguments(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err
