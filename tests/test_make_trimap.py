"""The trimap tool on files and folders."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from trimap_pictures import disc, hairy_picture, photo

from dataloader.image_file import read_grey
from matting.options import DEFAULT_CHECKPOINT, DEFAULT_CONFIG
from matting.trimaps import WIDTHS, overlay, subject_size, trimap_from_mask, widen_at_hair
from tools import make_trimap
from tools.make_trimap import Length, length
from utils.file_writing import write_png


def test_lengths():
    mask = np.zeros((100, 100), np.uint8)
    mask[10:60, 20:40] = 200
    assert subject_size(mask) == 50
    assert length("10").pixels(mask) == 10
    assert length("4%").pixels(mask) == 2
    assert length("2.5") == Length(2.5, False)


def test_scribbles_are_not_written_over(monkeypatch, capsys, tmp_path):
    write_png(tmp_path / "photos" / "a.png", photo(50))
    write_png(tmp_path / "strokes" / "a.png", np.full((50, 50), 128, np.uint8))
    before = (tmp_path / "strokes" / "a.png").read_bytes()
    strokes = tmp_path / "strokes"
    assert run(monkeypatch, tmp_path / "photos" / "a.png", "--scribbles", strokes / "a.png", "--output", strokes) == 1
    assert f"{strokes / 'a.png'}: would be overwritten" in capsys.readouterr().err
    assert (strokes / "a.png").read_bytes() == before


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
    assert lines[0] == f"make_trimap.py: sources of trimaps: 4: {masks}"
    assert lines[1].startswith("alpha.png: 200 x 200, ")
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
    """A rectangle in pixels and shares, none, and strokes on transparent ground."""
    write_png(tmp_path / "photos" / "a.png", photo(200))
    strokes = np.zeros((200, 200, 4), np.uint8)
    strokes[100, 90:110] = 255
    strokes[5, :, 3] = 255
    write_png(tmp_path / "strokes.png", strokes)
    for i, marks in enumerate((("--rectangle", "40,40,160,160"), ("--rectangle", "20%,20%,80%,160"),
                               ("--rectangle", "auto"), ("--scribbles", tmp_path / "strokes.png"))):
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
                 f"failed: {masks / 'grey.webp'}: would overwrite the trimap of grey.png; rename one"):
        assert sum(error.startswith(line) for error in errors) == 1
    assert "4 of 7 trimaps" in captured.out
    assert len(list(out.iterdir())) == 4


@pytest.mark.parametrize(("arguments", "message"), [
    (["none.png"], "failed: none.png: no such file"),
    (["masks", "--hair"], "make_trimap.py: masks: --hair needs the photos; give their folder with --image-dir"),
    (["masks", "--scribbles", "a.png"], "make_trimap.py: masks: is a folder; --scribbles needs a single photo"),
    (["photo.png", "--rectangle", "auto", "--device", "nonsense"], "make_trimap.py: "),
    (["photo.png", "--rectangle", "auto", "--erode", "3"], "make_trimap.py: photo.png: --erode and --dilate are for"),
    (["masks", "--output", "masks"], "make_trimap.py: masks: already an input or output folder"),
    (["masks", "--image-dir", "none", "--hair"], "make_trimap.py: none: no such folder"),
    (["masks/grey.png", "--rectangle", "900,0,950,9"], "failed: masks/grey.png: the rectangle 900,0,950,9 contains"),
    (["masks/grey.png", "--scribbles", "none.png"], "failed: none.png: no such file"),
])
def test_refused(monkeypatch, capsys, masks, arguments, message):
    write_png(masks.parent / "photo.png", photo(60))
    project, checkpoint = Path.cwd(), DEFAULT_CHECKPOINT.resolve()
    monkeypatch.chdir(masks.parent)
    network = ["--config", project / DEFAULT_CONFIG, "--checkpoint", checkpoint] if "--rectangle" in arguments else []
    assert run(monkeypatch, *arguments, *network) == 1
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert len(error.splitlines()) == 1
    assert not (masks.parent / "trimaps").exists()


@pytest.mark.parametrize(("arguments", "message"), [
    (["a.png", "--erode", "2px"], "'2px' is not a length; expected pixels such as 10, or a share such as 2%"),
    (["a.png", "--rectangle", "1,2,3"], "'1,2,3' is not a rectangle; expected LEFT,TOP,RIGHT,BOTTOM in pixels"),
])
def test_refused_arguments(monkeypatch, capsys, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, *arguments)
    assert message in capsys.readouterr().err


def test_what_is_suspicious_is_said(monkeypatch, capsys, tmp_path):
    write_png(tmp_path / "photos" / "a.png", photo(120))
    assert run(monkeypatch, tmp_path / "photos", "--output", tmp_path / "out") == 0
    remark = capsys.readouterr().out.splitlines()[2]
    assert remark == "  check: 100% of it is unknown; if it is a photo and no mask, add --rectangle auto."
    assert run(monkeypatch, tmp_path / "photos", "--rectangle", "0,0,100%,80%", "--output", tmp_path / "out") == 0
    _, line, remark, *_ = capsys.readouterr().out.splitlines()
    assert line.startswith("a.png: 120 x 120, ")
    assert remark.startswith("  check: The rectangle touches three sides of the photo")
