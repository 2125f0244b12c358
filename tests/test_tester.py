"""The test phase: predictions, errors, and what it keeps or rejects."""

import json
import math
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from training_runs import ALONE, ROOT, config_of, run_main, settings

from dataloader.image_file import ImageFileError, read_grey
from dataloader.image_folders import find_test_images
from evaluation.validation import validate, validation_images
from matting.predictor import Matting
from tester import write_predictions
from utils.checkpoint import load_network
from utils.file_writing import write_png
from utils.preprocessing import Matte
from utils.progress_bar import ProgressBar


def test_test_phase(data, finished):
    """Predictions and errors, one process; then two, which find the predictions and agree."""
    arguments = settings(data, finished)
    result = run_main(*arguments, "--phase=test")
    assert result.returncode == 0, result.stderr
    output = finished / "prediction" / "trial"
    names = ["000000.png", "000001.png", "000002.png"]
    assert sorted(path.name for path in output.iterdir()) == [
        *names, "errors.csv", "errors.json", "made_with.json", "worst_images"]
    first, *lines = result.stdout.splitlines()
    assert first == "main.py: testing, configured by config/trial.toml"
    assert [line.split()[0] for line in lines] == ["SAD", *names, "mean"]
    errors = (output / "errors.csv").read_text()
    scored = subprocess.run([sys.executable, "evaluate.py", "--pred-dir", str(output), "--alpha-dir",
                             str(data / "test" / "alpha"), "--trimap-dir", str(data / "test" / "trimap"),
                             "--csv", str(finished / "again.csv")], cwd=ROOT, check=True, capture_output=True)
    assert scored.returncode == 0
    assert (finished / "again.csv").read_text() == errors

    (output / "000001.png").unlink()
    before = (output / "000000.png").stat().st_mtime_ns
    result = run_main(*arguments, "--phase=test", "--set", "dist=true", "--set", "test.batch_size=2", processes=2)
    assert result.returncode == 0, result.stderr
    assert (output / "errors.csv").read_text() == errors
    assert (output / "000000.png").stat().st_mtime_ns == before


@pytest.mark.parametrize("scale", ["resize", "crop"])
def test_other_scales(data, finished, tmp_path, scale):
    result = run_main(*settings(data, finished, test__scale=scale, test__alpha_path=tmp_path, test__fast_eval="true"),
                      "--phase=test")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].split() == ["SAD", "MSE"]
    height, width = read_grey(data / "test" / "alpha" / "000000.png").shape
    expected = (height // 32 * 32, width // 32 * 32) if scale == "crop" else (height, width)
    assert read_grey(tmp_path / "trial" / "000000.png").shape == expected


def test_folder_of_other_pictures_is_left_alone(data, finished, tmp_path):
    (tmp_path / "trial").mkdir()
    shutil.copy(data / "test" / "alpha" / "000000.png", tmp_path / "trial" / "holiday.png")
    result = run_main(*settings(data, finished, test__alpha_path=tmp_path), "--phase=test")
    assert result.returncode == 1
    assert "holds images that are not predictions of this program" in result.stderr
    assert (tmp_path / "trial" / "holiday.png").exists()


def test_predictions_of_other_trimaps_are_not_taken(data, finished, tmp_path):
    """The same weights and names, but another folder of trimaps: everything is predicted anew."""
    assert run_main(*settings(data, finished, test__alpha_path=tmp_path), "--phase=test").returncode == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trial").glob("*.png")}
    shutil.copytree(data / "test" / "trimap", tmp_path / "trimap")
    arguments = settings(data, finished, test__alpha_path=tmp_path, test__trimap=tmp_path / "trimap")
    assert run_main(*arguments, "--phase=test").returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "trial").glob("*.png")}
    assert before.keys() == after.keys()
    assert all(after[name] > before[name] for name in after)


def test_validation_during_training_scores_as_the_test_phase(data, finished, tmp_path):
    """The same weights, images and trimaps give the same SAD and MSE, from 8-bit alpha where the trimap is 128."""
    arguments = settings(data, finished, test__alpha_path=tmp_path, test__checkpoint="latest_model")
    assert run_main(*arguments, "--phase=test").returncode == 0
    tested = json.loads((tmp_path / "trial" / "errors.json").read_text())["mean"]
    config = config_of(data, finished)
    network = load_network(finished / "checkpoints" / "trial" / "latest_model.pth")
    validated = validate(Matting(network, "cpu", border=0), validation_images(config), ALONE)
    assert validated == pytest.approx({"sad": tested["sad"], "mse": tested["mse"]}, rel=1e-6)


def test_soft_trimaps_are_left_out_of_the_validation(data, tmp_path, caplog):
    """As the test phase rejects them. Without any image that can be scored, training does not start."""
    shutil.copytree(data / "test", tmp_path / "test")
    config = config_of(data, tmp_path, **{f"data__test_{kind}": tmp_path / "test" / kind
                                          for kind in ("merged", "alpha", "trimap")})
    for count, path in enumerate(sorted((tmp_path / "test" / "trimap").iterdir()), start=1):
        trimap = read_grey(path)
        trimap[trimap == 128] = 127
        write_png(path, trimap)
        if count < 3:
            assert len(validation_images(config)) == 3 - count
            assert f"{count} of 3 validation images cannot be scored: " in caplog.messages[-1]
            assert "000000.png contains 1 value other than 0, 128 and 255: 127" in caplog.messages[-1]
    with pytest.raises(ImageFileError, match="3 of 3 validation images cannot be scored"):
        validation_images(config)


def test_folders_set_in_part_are_no_validation(data, tmp_path, caplog):
    assert not validation_images(config_of(data, tmp_path, data__test_alpha="", data__test_trimap=""))
    assert caplog.messages == ["no validation: data.test_alpha and data.test_trimap not set"]
    with pytest.raises(ImageFileError, match=r"^data\.test_\*: .*nowhere: no such folder"):
        validation_images(config_of(data, tmp_path, data__test_merged=tmp_path / "nowhere"))


def test_output_that_is_not_finite_has_no_score(data):
    """Although it has 8-bit values: a network that computes NaN must not become the best one."""
    images = find_test_images(*(data / "test" / kind for kind in ("merged", "alpha", "trimap")))
    errors = validate(lambda image, trimap: np.full(trimap.shape, np.nan, np.float32), images, ALONE)
    assert math.isnan(errors["sad"]) and math.isnan(errors["mse"])


def test_predictions_that_are_not_finite_are_not_written(data, tmp_path):
    images = find_test_images(*(data / "test" / kind for kind in ("merged", "alpha", "trimap")))
    network = SimpleNamespace(predict_batch=lambda pairs, report: [
        Matte(np.full(trimap.shape, np.inf, np.float32), (), ()) for _, trimap in pairs])
    failed = write_predictions(network, images[:1], tmp_path, "origin", ProgressBar(1, "predicting"))
    assert failed == {"000000.png": f"{images[0].image}: the network's output contains NaN or Inf"}
    assert list(tmp_path.iterdir()) == []
