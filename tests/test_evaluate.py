"""The evaluation script on folders."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import evaluate
from dataloader.image_file import read_grey
from utils.file_writing import write_png

DATA = Path(__file__).parent / "data" / "metrics"


@pytest.fixture
def folders(tmp_path) -> Path:
    for name in ("pred", "gt", "trimap"):
        shutil.copytree(DATA / name, tmp_path / name)
    return tmp_path


def run(monkeypatch, folders: Path, *more: str) -> int:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--pred-dir", str(folders / "pred"), "--alpha-dir",
                                      str(folders / "gt"), "--trimap-dir", str(folders / "trimap"), *more])
    return evaluate.main()


def test_table_csv_and_json(monkeypatch, capsys, folders):
    files = ["--csv", str(folders / "out" / "errors.csv"), "--json", str(folders / "errors.json")]
    assert run(monkeypatch, folders, "--per-image", "--processes", "2", *files) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == f"evaluate.py: mattes in {folders / 'pred'}, alphas in {folders / 'gt'}"
    assert lines[0].split() == ["SAD", "MSE", "Grad", "Conn"]
    assert lines[1].split()[0] == "all_zero_prediction.png"
    assert lines[-1].split()[:3] == ["mean", "of", "8"]
    expected = list(csv.DictReader((DATA / "expected.csv").open()))
    written = list(csv.DictReader((folders / "out" / "errors.csv").open()))
    content = json.loads((folders / "errors.json").read_text())
    for row, expected_row in zip(written, expected, strict=True):
        assert row["name"] == expected_row["name"]
        for error in ("sad", "mse", "grad", "conn"):
            assert float(row[error]) == pytest.approx(float(expected_row[error]), rel=1e-5)
            assert content["images"][row["name"]][error] == pytest.approx(float(row[error]))
    mean_sad = np.mean([float(row["sad"]) for row in expected])
    assert content["mean"]["sad"] == pytest.approx(mean_sad, rel=1e-5)
    assert float(lines[-1].split()[3]) == pytest.approx(mean_sad, abs=1e-4)
    assert content["failed"] == {}


def test_without_per_image_only_the_mean(monkeypatch, capsys, folders):
    assert run(monkeypatch, folders) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_other_extension(monkeypatch, folders):
    (folders / "pred" / "perfect.png").rename(folders / "pred" / "perfect.bmp.png")
    write_png(folders / "pred" / "perfect.bmp.png", read_grey(folders / "gt" / "perfect.png"))
    assert run(monkeypatch, folders) == 1
    (folders / "pred" / "perfect.bmp.png").rename(folders / "pred" / "perfect.webp")
    assert run(monkeypatch, folders) == 0  # contents decide how a file is decoded, the stem how it is paired


def test_each_bad_image_is_refused_and_the_rest_scored(monkeypatch, capsys, folders):
    (folders / "pred" / "perfect.png").unlink()
    (folders / "trimap" / "blurred.png").unlink()
    write_png(folders / "pred" / "stranger.png", np.zeros((4, 4), np.uint8))
    write_png(folders / "pred" / "tenths.png", np.zeros((4, 4), np.uint8))
    write_png(folders / "trimap" / "low_contrast.png", np.full((120, 160), 100, np.uint8))
    (folders / "pred" / "noisy_odd_size.png").write_bytes(b"broken")
    assert run(monkeypatch, folders, "--json", str(folders / "errors.json")) == 1
    captured = capsys.readouterr()
    for line in ("perfect.png: no prediction named perfect.*", "blurred.png: no trimap named blurred.*",
                 "stranger.png: no alpha named stranger.*", "tenths.png is 4 x 4, but", "noisy_odd_size.png: cannot be",
                 "low_contrast.png contains 1 value other than 0, 128 and 255: 100"):
        assert line in captured.err
    assert "mean of 3" in captured.out
    assert len(json.loads((folders / "errors.json").read_text())["failed"]) == 6


def test_nothing_to_score(monkeypatch, capsys, folders):
    shutil.rmtree(folders / "pred")
    assert run(monkeypatch, folders) == 1
    assert capsys.readouterr().err == f"evaluate.py: {folders / 'pred'}: no such folder\n"
