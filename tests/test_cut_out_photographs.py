"""Subjects cut out along outlines: trimaps against worked-out ones, the tool on files, the outlines it comes with."""

import sys

import cv2
import numpy as np
import pytest

from tools import cut_out_photographs, fetch_further_photographs, fetch_photographs
from tools.outlines import OUTLINES, Outline, draw_trimap, read_outlines
from utils.errors import InputError
from utils.file_writing import write_png

SQUARE = (np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]),)


def test_a_square_with_a_hole():
    """200 pixels: the square's edge is at 49.5, unknown 4 pixels about it; the hole's is at 89.5 and 109.5."""
    hole = (np.array([[0.45, 0.45], [0.55, 0.45], [0.55, 0.55], [0.45, 0.55]]),)
    row = draw_trimap(Outline(0.02, SQUARE, hole), 200, 200)[100].astype(int)
    changes = np.flatnonzero(np.diff(row)) + 1
    assert np.abs(changes - (46, 54, 86, 94, 106, 114, 146, 154)).max() <= 1
    assert row[[0, 50, 70, 90, 100]].tolist() == [0, 128, 255, 128, 0]


def test_unknown_regions_and_strands_lie_over_the_rest():
    """On 100 x 200 pixels x and y have units of their own; widths are shares of the longer side."""
    corner = (np.array([[0, 0], [0.5, 0], [0.5, 0.5], [0, 0.5]]),)
    strand = ((0.05, np.array([[0.75, 0.5], [1, 0.5]])),)
    trimap = draw_trimap(Outline(0, SQUARE, (), corner, strand), 100, 200)
    assert (trimap[1:49, 1:99] == 128).all()
    assert (trimap[60:70, 60:140] == 255).all()
    assert np.abs(np.count_nonzero(trimap[:, 180] == 128) - 10) <= 1
    assert trimap[80, 20] == trimap[20, 180] == 0


TRIANGLE = "foreground = [[1, 2, 3, 4, 5, 6]]\n"


@pytest.mark.parametrize(("text", "message"), [
    (TRIANGLE + "bend = 3", "unknown key bend; expected one of band, foreground, background, unknown, strands"),
    ("band = 3", "no foreground; expected at least one polygon"),
    ("foreground = [[1, 2, 3, 4]]", "foreground, number 1, has 4 coordinates; expected x and y of at least 3 points"),
    ("foreground = [[1, 2, 3, 4, 5, 6, 7]]", "has 7 coordinates"),
    ("foreground = [1, 2, 3, 4, 5, 6]", "foreground, number 1, is not a list of integers"),
    ("foreground = [[1.5, 2.5, 3.5, 4.5, 5.5, 6.5]]", "is not a list of integers"),
    ("foreground = 3", "foreground is 3; expected a list of lists"),
    (TRIANGLE + "strands = [[9, 1, 2]]", "strands, number 1, has 2 coordinates; expected x and y of at least 2 points"),
    (TRIANGLE + "strands = [[]]", "strands, number 1, is not a list of integers"),
    (TRIANGLE + 'band = "8"', "band is '8'; expected a number"),
    (TRIANGLE + "band = -3", "band is -3; expected a number"),
])
def test_outlines_that_cannot_be_used(tmp_path, text, message):
    path = tmp_path / "outlines.toml"
    path.write_text(f'["owl.jpg"]\n{text}\n')
    with pytest.raises(InputError, match=rf"outlines\.toml: owl\.jpg: .*{message}"):
        read_outlines(path)


def test_outlines_that_cannot_be_read(tmp_path):
    path = tmp_path / "outlines.toml"
    with pytest.raises(InputError, match=r"outlines\.toml: no such file"):
        read_outlines(path)
    for text, message in (("[", ""), ("x = 3", "x: not a table of polygons"), (f"[owl.jpg]\n{TRIANGLE}", "in quotes"),
                          (f'["owl.jpg"]\n{TRIANGLE}["owl.png"]\n{TRIANGLE}', "two photographs are named owl")):
        path.write_text(text)
        with pytest.raises(InputError, match=rf"outlines\.toml: .*{message}"):
            read_outlines(path)


def test_the_tool(tmp_path, monkeypatch, capsys):
    """A soft disc is found again, tightly framed, in its own colour; others are named, and it is done all the same."""
    y, x = np.mgrid[:120, :160] + 0.5
    alpha = np.clip(30.5 - np.hypot(x - 80, y - 60), 0, 1)[..., None]
    image = (alpha * (220, 60, 30) + (1 - alpha) * (20, 90, 200)).round().astype(np.uint8)
    for name in ("disc", "thin"):
        write_png(tmp_path / "photos" / f"{name}.png", image)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = np.column_stack([80 + 31 * np.cos(angle), 60 + 31 * np.sin(angle)]) / (0.16, 0.12)
    entries = {"none.png": {"foreground": [[1, 2, 3, 4, 5, 6]]},
               "thin.png": {"foreground": [[500, 500, 501, 500, 501, 501]]},
               "disc.png": {"band": 25, "foreground": [outline.ravel().round().astype(int).tolist()]}}
    (tmp_path / "outlines.toml").write_text("".join(
        f'["{name}"]\n' + "".join(f"{key} = {value}\n" for key, value in entry.items())
        for name, entry in entries.items()))
    arguments = ["cut_out_photographs.py", "--photographs", str(tmp_path / "empty"), str(tmp_path / "photos"),
                 "--outlines", str(tmp_path / "outlines.toml"), "--output", str(tmp_path / "cutouts"),
                 "--trimaps", str(tmp_path / "trimaps"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert cut_out_photographs.main() == 1
    output = capsys.readouterr()
    assert "cut_out_photographs.py: none.png: not found in" in output.err
    assert "thin.png: its outline leaves no foreground" in output.err
    assert "1 of 3 cut-outs" in output.out
    pixels = cv2.cvtColor(cv2.imread(str(tmp_path / "cutouts/disc.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
    assert np.abs(np.array(pixels.shape[:2]) - 61).max() <= 2
    assert pixels[..., 3].sum() / 255 == pytest.approx(np.pi * 30**2, rel=0.01)
    colours = pixels[pixels[..., 3] > 100][:, :3].astype(int)
    assert np.abs(colours - (220, 60, 30)).mean() < 3  # from a background that differs by up to 200
    assert set(np.unique(cv2.imread(str(tmp_path / "trimaps/disc.png"), cv2.IMREAD_UNCHANGED))) == {0, 128, 255}
    (tmp_path / "cutouts/disc.png").write_bytes(b"kept")
    cut_out_photographs.main()
    assert (tmp_path / "cutouts/disc.png").read_bytes() == b"kept"


def test_a_matte_that_does_not_converge_and_a_folder_that_cannot_be_written(tmp_path, monkeypatch, capsys):
    write_png(tmp_path / "disc.png", np.zeros((60, 60, 3), np.uint8))
    (tmp_path / "outlines.toml").write_text('["disc.png"]\nforeground = [[300, 300, 700, 300, 700, 700]]\n')
    (tmp_path / "file").write_bytes(b"")
    arguments = ["cut_out_photographs.py", "--photographs", str(tmp_path), "--outlines",
                 str(tmp_path / "outlines.toml"), "--device", "cpu", "--output"]
    monkeypatch.setattr(sys, "argv", [*arguments, str(tmp_path / "file")])
    assert cut_out_photographs.main() == 1
    error = capsys.readouterr().err
    assert "file" in error
    assert error.count("\n") == 1

    def diverging(image, trimap):
        raise ValueError("did not converge")

    monkeypatch.setattr("pymatting.estimate_alpha_cf", diverging)
    monkeypatch.setattr(sys, "argv", [*arguments, str(tmp_path / "cutouts")])
    assert cut_out_photographs.main() == 1
    assert "disc.png: closed-form matting failed (did not converge)" in capsys.readouterr().err
    assert not list(tmp_path.glob("cutouts/*"))


def test_the_outlines_that_come_with_it():
    """They can be read, are of photographs that the lists name, and know both sides."""
    first = fetch_photographs.read_list(fetch_photographs.LIST)
    names = {f"{each.name}.jpg" for each in first if not fetch_photographs.is_held_out(each.name)}
    names |= {entry.name for entry in fetch_further_photographs.read_list(fetch_further_photographs.LIST)}
    outlines = read_outlines(OUTLINES)
    assert len(outlines) == 71
    assert not set(outlines) - names
    for outline in outlines.values():
        assert {0, 128, 255} == set(np.unique(draw_trimap(outline, 600, 800)))
