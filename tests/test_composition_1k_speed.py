"""The benchmark of the test phase and of the errors: its images, its baseline, and what it reports."""

import json
import sys

import numpy as np
import pytest

from benchmarks import composition_1k_speed, published_test
from benchmarks.composition_1k_speed import Run, difference_of_errors, difference_of_predictions, spread
from benchmarks.published import random_network
from benchmarks.published_errors import published_errors
from benchmarks.typical_images import LARGEST_PIXELS, MEAN_PIXELS, draw_example, draw_sizes, write_examples
from dataloader.image_file import read_grey
from dataloader.image_folders import Triple, find_test_images
from evaluation.metrics import matting_errors
from matting.predictor import Matting
from utils.checkpoint import save_checkpoint
from utils.file_writing import write_png
from utils.preprocessing import alpha_to_uint8


@pytest.fixture
def folder(tmp_path):
    """Two small images."""
    write_examples(tmp_path / "data", [(70, 93), (96, 64)])
    return tmp_path / "data"


def noisy(alpha: np.ndarray, trimap: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, alpha.shape)
    return np.where(trimap == 128, np.clip(alpha + noise, 0, 255), alpha).astype(np.uint8)


def test_sizes_are_those_of_composition_1k():
    sizes = np.array(draw_sizes(50))
    pixels = sizes.prod(axis=1)
    assert pixels.mean() == pytest.approx(MEAN_PIXELS, rel=0.02)
    assert pixels.max() <= LARGEST_PIXELS
    assert (pixels > 5e6).sum() == 5
    assert sizes.min() >= 600 and 5000 < sizes.max() <= 6000
    short, long = np.sort(sizes, axis=1).T
    assert ((short >= 1080) & (short <= 1300) & (long >= 1300) & (long <= 2000)).mean() > 0.8
    assert np.array_equal(sizes, draw_sizes(50))


def test_examples_are_test_images_with_the_share_of_unknown_pixels():
    image, alpha, trimap = draw_example(300, 400, seed=3)
    assert image.shape == (300, 400, 3) and image.dtype == np.uint8
    assert np.unique(trimap).tolist() == [0, 128, 255]
    assert (trimap == 128).mean() == pytest.approx(0.26, abs=0.005)
    assert np.array_equal(alpha[trimap != 128], trimap[trimap != 128])
    assert len(np.unique(alpha)) > 50
    again = draw_example(300, 400, seed=3)
    assert all(np.array_equal(*pair) for pair in zip((image, alpha, trimap), again, strict=True))


@pytest.mark.parametrize("deviation", [10, 100])
def test_published_errors_are_those_of_the_metrics(deviation):
    _, alpha, trimap = draw_example(200, 300, seed=1)
    prediction = noisy(alpha, trimap, deviation)
    assert published_errors(prediction, alpha, trimap) == pytest.approx(matting_errors(prediction, alpha, trimap),
                                                                        rel=1e-5)


def test_the_chosen_images_are_spread_over_the_sizes():
    triples = [Triple(None, None, None, (10, size)) for size in (7, 3, 9, 1, 5, 8, 2, 6, 4, 10)]
    assert [triple.size[1] for triple in spread(triples, 2)] == [3, 8]
    assert sorted(spread(triples, 99)) == sorted(triples)


def test_the_published_loop_predicts_and_scores_as_the_predictor(folder, tmp_path, monkeypatch):
    network = random_network(width=0.25)
    save_checkpoint(tmp_path / "network.pth", network, architecture={"width": 0.25})
    (tmp_path / "predictions").mkdir()
    arguments = ["published_test.py", "--data", str(folder), "--predictions", str(tmp_path / "predictions"),
                 "--errors", str(tmp_path / "errors.json")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--checkpoint", str(tmp_path / "network.pth")])
    assert published_test.main() == 0
    errors = json.loads((tmp_path / "errors.json").read_text())
    matting = Matting(network, "cpu", border=0)
    for triple in find_test_images(*(folder / kind for kind in composition_1k_speed.KINDS)):
        _, truth, trimap = example = draw_example(*triple.size[::-1], seed=int(triple.image.stem))
        prediction = read_grey(tmp_path / "predictions" / triple.image.name)
        expected = alpha_to_uint8(matting(example.image, trimap))
        assert np.abs(prediction.astype(int) - expected).max() <= 1  # rounding before truncation
        assert errors[triple.image.name] == pytest.approx(matting_errors(prediction, truth, trimap)._asdict(), rel=1e-5)

    monkeypatch.setattr(sys, "argv", arguments)  # scores the existing predictions
    (tmp_path / "errors.json").unlink()
    assert published_test.main() == 0
    assert json.loads((tmp_path / "errors.json").read_text()) == errors


def test_the_table(folder, tmp_path, monkeypatch, capsys):
    """Of runs that take 60 s here and 600 s as published; the second image differs by 2 levels and 1 % of an error."""
    commands = []

    def run(seconds: float, name: str, sad: float, levels: int) -> Run:
        output = tmp_path / name
        output.mkdir(exist_ok=True)
        names = ("0000.png", "0001.png")
        for level, file in zip((0, levels), names, strict=True):
            write_png(output / file, np.full((4, 4), level, np.uint8))
        commands.append(name)
        return Run(seconds, output, {names[0]: {"sad": 1.0}, names[1]: {"sad": sad}})

    monkeypatch.setattr(composition_1k_speed, "random_network", lambda: random_network(width=0.25))
    monkeypatch.setattr(composition_1k_speed, "run_test_phase", lambda *_: run(60, "here", 2.02, 2))
    monkeypatch.setattr(composition_1k_speed, "run_evaluate", lambda *_: run(3, "evaluate", 2.0, 0))
    monkeypatch.setattr(composition_1k_speed, "run_published", lambda *_: run(600, "published", 2.0, 0))
    monkeypatch.setattr(sys, "argv", ["composition_1k_speed.py", "--folder", str(folder)])
    assert composition_1k_speed.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "test phase: 60.0 s, 2.0 images per minute"
    test_phase, errors = (" ".join(line.split()) for line in lines[3:])
    assert test_phase == "test phase 2 600.0 s 60.0 s 10.0 2 of 255; errors: 1e-02 (relative)"
    assert errors == "the four errors 2 600.0 s 3.0 s 200.0 0e+00 (relative)"
    assert commands == ["here", "published", "evaluate", "published"]


def test_a_command_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match=r"the errors failed:\n[^$]*nowhere: no such folder"):
        composition_1k_speed.timed("the errors", "evaluate.py", "--pred-dir", "nowhere", "--alpha-dir", "nowhere",
                                   "--trimap-dir", "nowhere")


def test_differences_are_the_largest(tmp_path):
    ours = Run(1, tmp_path, {"a.png": {"sad": 1.0, "conn": 2.0}})
    published = Run(1, tmp_path, {"a.png": {"sad": 1.0, "conn": 2.5}})
    write_png(tmp_path / "a.png", np.zeros((2, 2), np.uint8))
    assert difference_of_errors(ours, published) == pytest.approx(0.2)
    assert difference_of_predictions(ours, published) == 0
