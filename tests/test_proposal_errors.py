"""The benchmark that compares proposed trimaps with GrabCut's."""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.proposal_errors import COLUMNS, by_grab_cut, by_proposal, errors_of, main, rectangle_around
from dataloader.image_file import read_grey, read_image

GENERATED = Path(__file__).parent.parent / "demo" / "generated"
NAME = "000004.png"


def test_the_rectangle_has_a_margin_and_stays_in_the_image():
    alpha = np.zeros((100, 50))
    alpha[30:60, 1:21] = 0.5
    alpha[0, 40] = 0.05  # as good as transparent
    assert rectangle_around(alpha) == (0, 28, 23, 62)
    with pytest.raises(ValueError, match=r"shows nothing: no alpha is above 0\.05"):
        rectangle_around(alpha / 10)


def test_errors_are_counted_where_the_alpha_contradicts():
    alpha = np.array([[0, 0.04, 0.2, 0.94, 1.0]])
    trimap = np.array([[255, 0, 0, 255, 128]], np.uint8)
    errors = errors_of(trimap, alpha, np.zeros((1, 5, 3), np.uint8), lambda image, trimap: trimap / 255)
    sad = (1 + 0.04 + 0.2 + 0.06 + 127 / 255) / 1000
    assert errors == pytest.approx((0.4, 0.2, 0.2, sad))


def test_both_ways_keep_to_the_rectangle():
    image, alpha = read_image(GENERATED / "merged" / NAME), read_grey(GENERATED / "alpha" / NAME) / 255
    left, top, right, bottom = box = rectangle_around(alpha)
    for trimap in (by_grab_cut(image, box), by_proposal(image, box, None, True)):
        assert (trimap == 255).any()
        trimap[top:bottom, left:right] = 0
        assert not (trimap == 255).any()


def test_where_nothing_is_found_everything_is_unknown(monkeypatch):
    def nothing(*_: object, **__: object) -> None:
        raise ValueError("no subject found")

    image = read_image(GENERATED / "merged" / NAME)
    monkeypatch.setattr("benchmarks.proposal_errors.propose", nothing)
    for trimap in (by_grab_cut(image, (0, 0, 128, 128)), by_proposal(image, (9, 9, 90, 90), None, True)):
        assert np.unique(trimap).tolist() == [128]


def test_the_program_prints_and_writes_both_methods(tmp_path, monkeypatch, capsys):
    for part in ("merged", "alpha"):
        (tmp_path / part).mkdir()
        shutil.copy(GENERATED / part / NAME, tmp_path / part)
    monkeypatch.setattr(sys, "argv", [
        "proposal_errors.py", "--image-dir", str(tmp_path / "merged"), "--alpha-dir", str(tmp_path / "alpha"),
        "--methods", "GrabCut", "rectangle", "--csv", str(tmp_path / "errors.csv"), "--device", "cpu"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-3:]] == ["mean", "GrabCut", "rectangle"]
    with (tmp_path / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["method"]) for row in rows] == [(NAME, "GrabCut"), (NAME, "rectangle")]
    for line, row in zip(lines[-2:], rows, strict=True):
        assert f"{float(row['SAD']):.2f}" in line.split()
        assert all(float(row[column]) >= 0 for column in COLUMNS)
