"""From a photo alone to its cut-out, by the program."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trimap_pictures import disc, photo

import cutout_photo
from dataloader.image_file import read_grey, read_image
from utils.file_writing import write_png

KINDS = ("check", "composite", "cutout", "matte", "trimap")


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The program's exit status for some arguments; results are written to `out`."""
    def start(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["cutout_photo.py", *map(str, arguments), "--output", str(tmp_path / "out"),
                                          "--device", "cpu"])
        return cutout_photo.main()
    return start


@pytest.fixture
def photos(tmp_path) -> Path:
    """A folder with a photo of a disc."""
    write_png(tmp_path / "photos" / "disc.png", photo(160))
    return tmp_path / "photos"


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_photo_alone(run, photos, capsys):
    """No question asked: the disc on a transparent, and on a white background."""
    out = photos.parent / "out"
    assert run(photos / "disc.png") == 0
    assert written(out) == [f"disc_{kind}.png" for kind in KINDS]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"cutout_photo.py: 1 photo: {photos / 'disc.png'}"
    assert lines[-1].startswith("1 of 1 cut-outs in ")
    inside, outside = disc(160, 36) == 255, disc(160, 44) == 0
    pixels = np.array(Image.open(out / "disc_cutout.png"))
    assert (pixels[inside, 3] == 255).mean() > 0.99
    assert (pixels[outside, 3] == 0).mean() > 0.99
    assert np.array_equal(pixels[inside][:, :3], photo(160)[inside])
    white = read_image(out / "disc_composite.png")
    assert (white[outside] == 255).mean() > 0.99


def test_a_mended_trimap_is_taken_as_it_is(run, photos):
    """It may lie where the program writes trimaps; there it is not written again."""
    out = photos.parent / "out"
    trimap = np.where(disc(160, 30) == 255, 250, np.where(disc(160, 45) == 255, 120, 3)).astype(np.uint8)
    write_png(out / "disc_trimap.png", trimap)
    assert run(photos / "disc.png", "--trimap", out / "disc_trimap.png", "--background", "#00b140") == 0
    assert np.array_equal(read_grey(out / "disc_trimap.png"), trimap)
    matte = read_grey(out / "disc_matte.png")
    assert set(np.unique(matte[trimap == 250])) == {255}
    assert set(np.unique(matte[trimap == 3])) == {0}
    assert (read_image(out / "disc_composite.png")[trimap == 3] == (0, 0xb1, 0x40)).all()


def test_a_painted_trimap_is_kept_when_another_is_proposed(run, photos, capsys):
    out = photos.parent / "out"
    painted = np.where(disc(160, 20) == 255, 255, 0).astype(np.uint8)
    write_png(out / "disc_trimap.png", painted)
    assert run(photos / "disc.png") == 0
    assert "the earlier trimap is now disc_trimap_earlier.png" in capsys.readouterr().out
    assert np.array_equal(read_grey(out / "disc_trimap_earlier.png"), painted)
    proposed = read_grey(out / "disc_trimap.png")
    assert run(photos / "disc.png") == 0  # the same again replaces nothing
    assert np.array_equal(read_grey(out / "disc_trimap_earlier.png"), painted)
    assert np.array_equal(read_grey(out / "disc_trimap.png"), proposed)
    assert run(photos / "disc.png", "--width", "wide") == 0
    assert "the earlier trimap is now disc_trimap_earlier2.png" in capsys.readouterr().out
    assert np.array_equal(read_grey(out / "disc_trimap_earlier.png"), painted)
    assert np.array_equal(read_grey(out / "disc_trimap_earlier2.png"), proposed)


def test_several_photos(run, photos, capsys):
    write_png(photos.parent / "more" / "wide.png", np.hstack([photo(120), photo(120)])[:, :200])
    assert run(photos / "disc.png", photos.parent / "more", "--rectangle", "10%,10%,90%,90%") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"cutout_photo.py: 2 photos: {photos / 'disc.png'}, {photos.parent / 'more'}"
    assert written(photos.parent / "out") == sorted(f"{name}_{kind}.png" for name in ("disc", "wide") for kind in KINDS)


def test_a_folder_of_which_one_cannot_be_read(run, photos, capsys):
    (photos / "broken.jpg").write_bytes(b"no image")
    write_png(photos / "wide.png", np.hstack([photo(120), photo(120)])[:, :200])
    Image.fromarray(photo(50)).save(photos / "disc.bmp")
    assert run(photos, "--rectangle", "auto") == 1
    output = capsys.readouterr()
    assert [line.split(":")[1].strip() for line in output.err.splitlines() if line.startswith("failed")] == [
        str(photos / "broken.jpg"), str(photos / "disc.png")]
    assert "another photo has the same name but for the extension" in output.err
    assert "2 of 4 cut-outs" in output.out
    assert written(photos.parent / "out") == sorted(f"{name}_{kind}.png" for name in ("disc", "wide") for kind in KINDS)


@pytest.mark.parametrize(("arguments", "message"), [
    (["none.jpg"], "cutout_photo.py: none.jpg: no such file"),
    (["photos", "--scribbles", "small.png"], "cutout_photo.py: photos: is a folder; --scribbles needs a single photo"),
    (["photos", "--rectangle", "1,2,30%,40%"], "cutout_photo.py: photos: is a folder; --rectangle needs shares"),
    (["photos", "--trimap", "photos/disc.png"], "cutout_photo.py: photos/disc.png: not a folder; expected one with a"),
    (["photos/disc.png", "small.png", "--scribbles", "small.png"], "cutout_photo.py: 2 photos are given; --scribbles"),
    (["photos/disc.png", "small.png", "--trimap", "small.png"], "cutout_photo.py: small.png: not a folder; expected"),
    (["photos/disc.png", "none.png"], "cutout_photo.py: none.png: no such file"),
    (["photos/disc.png", "--background", "#12"], "cutout_photo.py: #12: not a colour; expected #rrggbb"),
    (["photos/disc.png", "--trimap", "none.png"], "cutout_photo.py: none.png: no such file"),
    (["photos/disc.png", "--scribbles", "out/disc_trimap.png"], "cutout_photo.py: out/disc_trimap.png: would"),
    (["photos/disc.png", "--trimap", "out/disc_check.png"], "cutout_photo.py: out/disc_check.png: would be over"),
    (["photos/dot.png"], "failed: photos/dot.png: 1 x 1 pixels are too thin to find a subject in"),
    (["photos/disc.png", "--trimap", "small.png"], "failed: small.png: the trimap is 40 x 40, but disc.png"),
    (["photos/disc.png", "--rectangle", "900,0,950,9"], "failed: photos/disc.png: the rectangle 900,0,950,9 contains"),
    (["out/disc_check.png"], "out: is the photos' folder; choose another --output"),
])
def test_refused(monkeypatch, photos, run, capsys, arguments, message):
    project = Path.cwd()
    monkeypatch.chdir(photos.parent)
    write_png("small.png", disc(40, 10))
    write_png("photos/dot.png", photo(1))
    for kind in ("trimap", "check"):
        write_png(f"out/disc_{kind}.png", disc(160, 40))
    monkeypatch.setattr(cutout_photo, "chosen_network", lambda args, chosen=cutout_photo.chosen_network: chosen(
        args_in(args, project)))
    assert run(*arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(lines) == 1
    assert message in lines[0]
    assert written(Path("out")) == ["disc_check.png", "disc_trimap.png"]


def args_in(args, project: Path):
    """The arguments with the network's files of the project, whatever the working folder."""
    args.config = project / "config" / "gca-free.toml"
    args.checkpoint = project / "checkpoints" / "gca-free" / "gca-free.pth"
    return args
