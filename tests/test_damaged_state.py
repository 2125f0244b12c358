"""Damaged training states, full disks and runs that were ended while validating: one line, and nothing lost."""

import json
import logging
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import ALONE, ROOT, command, config_of, run_main, settings, steps_saved, weights

import trainer
from tester import prepare_output
from training.board import Board
from training.run_log import LogFile, RunLog, logging_to_file
from training.start import start_or_resume
from training.step import TrainingError
from utils.checkpoint import CheckpointError, read_checkpoint

NAN = float("nan")


def damage(path: Path, keys: tuple, value: object) -> None:
    """Sets an entry of a checkpoint file; DELETED removes it."""
    content = torch.load(path, weights_only=False)
    table = content
    for key in keys[:-1]:
        table = table[key]
    if value is DELETED:
        del table[keys[-1]]
    else:
        table[keys[-1]] = value(table[keys[-1]]) if callable(value) else value
    torch.save(content, path)


DELETED = object()
MOMENT = ("opt_state_dict", "state", 0, "exp_avg")
DAMAGES = [
    (("resume",), 3), (("resume",), []), (("resume", "step"), DELETED), (("resume", "step"), "5"),
    (("resume", "step"), -1), (("resume", "step"), 2.5), (("resume", "moving_norm"), NAN),
    (("resume", "moving_norm"), "x"), (("resume", "best_mse"), NAN), (("resume", "best_mse"), None),
    (("resume", "skipped"), None), (("resume", "scaler"), DELETED), (("resume", "random_state"), torch.zeros(3)),
    (("resume", "random_state"), "x"), (("loss",), []), (("opt_state_dict",), []), (("opt_state_dict",), {}),
    (("opt_state_dict", "param_groups"), []), (("opt_state_dict", "param_groups", 0, "betas"), (NAN, 0.9)),
    (("opt_state_dict", "param_groups", 0, "eps"), DELETED), (("opt_state_dict", "state", 0), DELETED), (MOMENT, 3),
    (("opt_state_dict", "param_groups", 0, "lr"), -1.0), (("resume", "validated"), "x"),
    (MOMENT, lambda moment: moment * NAN), (MOMENT, lambda moment: moment[:1]),
    (("opt_state_dict", "state", 0, "exp_avg_sq"), lambda moment: moment - 1),
    (("opt_state_dict", "state", 0, "step"), lambda step: step * NAN),
]


@pytest.fixture(scope="module")
def narrow(data, tmp_path_factory) -> Path:
    """A tiny training state, for the version "trial"."""
    run = tmp_path_factory.mktemp("narrow")
    assert trainer.train(config_of(data, run, model__width=0.1, train__total_step=2), ALONE) == 0
    return run


@pytest.fixture
def copy(narrow, tmp_path) -> Path:
    path = tmp_path / "checkpoints" / "trial" / "latest_model.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes((narrow / "checkpoints" / "trial" / "latest_model.pth").read_bytes())
    return path


def resumed(data: Path, run: Path, **more: object):
    return config_of(data, run, model__width=0.1, train__resume_checkpoint="latest_model", **more)


@pytest.mark.parametrize(("keys", "value"), DAMAGES)
def test_damaged_training_states_are_refused_in_one_line(data, copy, tmp_path, keys, value):
    start_or_resume(resumed(data, tmp_path), ALONE)  # as it is
    damage(copy, keys, value)
    with pytest.raises(CheckpointError) as error:
        start_or_resume(resumed(data, tmp_path), ALONE)
    assert str(error.value).startswith(f"{copy}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_validation_that_was_killed_is_made_up_for(data, monkeypatch, tmp_path):
    def killed(*_):
        raise KeyboardInterrupt  # like a kill, it leaves what is on the disk

    config = config_of(data, tmp_path, model__width=0.1, train__total_step=2, train__val_step=2)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(trainer, "validate", killed)
        trainer.train(config, ALONE)
    folder = tmp_path / "checkpoints" / "trial"
    assert not (folder / "best_model.pth").exists()
    again = resumed(data, tmp_path, train__total_step=2, train__val_step=2)
    assert trainer.train(again, ALONE) == 0
    assert steps_saved(folder / "best_model.pth") == steps_saved(folder / "latest_model.pth") == 2
    monkeypatch.setattr(trainer, "validate", killed)
    assert trainer.train(again, ALONE) == 0  # nothing is left to make up for


def test_undisturbed_resuming_validates_nothing_twice(data, finished, monkeypatch):
    state = start_or_resume(config_of(data, finished, train__resume_checkpoint="latest_model"), ALONE)
    assert state.validated == state.step == 6


@pytest.mark.parametrize("part", ["text log", "table", "board", "numbered checkpoint"])
def test_a_full_disk_ends_the_training_saved(data, monkeypatch, caplog, tmp_path, part):
    def full(*values, **__):
        if part != "text log" or "step 1:" in values[-1].getMessage():
            raise OSError(28, "No space left on device", "some/file")

    target = {"text log": "training.run_log.LogFile.emit", "table": "training.run_log.append_row",
              "board": "training.board.Board.add", "numbered checkpoint": "trainer.save_numbered"}[part]
    monkeypatch.setattr(target, full)
    config = config_of(data, tmp_path, model__width=0.1, log__checkpoint_step=1, log__tensorboard_step=1)
    state = start_or_resume(config, ALONE)
    monkeypatch.setattr(trainer, "start_or_resume", lambda *_: state)
    with caplog.at_level("INFO"), pytest.raises(TrainingError) as error, logging_to_file(config, ALONE):
        trainer.train(config, ALONE)
    assert str(error.value) == ("some/file: no space left on device; training stopped at step 1, where "
                                "train.resume_checkpoint=latest_model goes on")
    assert steps_saved(tmp_path / "checkpoints" / "trial" / "latest_model.pth") == 1


def test_a_checkpoint_that_does_not_fit_on_the_disk(data, tmp_path):
    """A limit on the size of files acts like a full disk."""
    resource = pytest.importorskip("resource")
    arguments = settings(data, tmp_path, model__width=0.1, train__val_step=2)
    assert run_main(*arguments, "--set", "train.total_step=2").returncode == 0
    before = weights(tmp_path)
    result = subprocess.run(
        command(*arguments, "--set", "train.resume_checkpoint=latest_model"), cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
    folder = tmp_path / "checkpoints" / "trial"
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        f"main.py: {folder / 'step_00000003.pth'}: file too large; training stopped at step 3, which could not be "
        "saved; latest_model.pth is as it was before")
    assert "Traceback" not in result.stderr
    assert all(torch.equal(value, before[name]) for name, value in weights(tmp_path).items())
    assert not [path for path in folder.iterdir() if path.suffix == ".tmp"]


def test_settings_of_another_pytorch_are_no_damage(data, copy, tmp_path):
    damage(copy, ("opt_state_dict", "param_groups", 0, "capturable"), DELETED)
    damage(copy, ("opt_state_dict", "param_groups", 0, "of_the_future"), None)
    assert start_or_resume(resumed(data, tmp_path), ALONE).step == 2


def test_a_full_disk_saves_no_weights_that_are_not_finite(data, narrow, tmp_path):
    state = start_or_resume(resumed(data, narrow), ALONE)
    next(state.network.parameters()).data.fill_(NAN)
    with pytest.raises(TrainingError, match="its weights contain NaN or Inf and are not saved"), \
            trainer.saved_on_full_disk(state, tmp_path, ALONE):
        raise OSError(28, "No space left on device", "a.csv")
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_finite_overwrite_nothing(data, monkeypatch, tmp_path):
    step = trainer.training_step

    def spoiled(model, state, *more):
        result = step(model, state, *more)
        next(state.network.parameters()).data.fill_(NAN)
        return result

    monkeypatch.setattr(trainer, "training_step", spoiled)
    with pytest.raises(TrainingError, match="the weights of step 2 contain NaN or Inf and are not saved; resume an"):
        trainer.train(config_of(data, tmp_path, model__width=0.1), ALONE)
    assert not list((tmp_path / "checkpoints").rglob("*.pth"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_logs_on_a_full_disk_raise_what_they_would_otherwise_print(monkeypatch, tmp_path, capsys):
    board = Board(tmp_path / "board")
    board.add(1, {"train/loss": 0.5}, {"picture": np.zeros((8, 8, 3), np.uint8)})
    (file,) = (tmp_path / "board").iterdir()
    assert b"train/loss" in file.read_bytes()
    assert b"picture" in file.read_bytes()
    other, handler = LogFile("/dev/full"), LogFile("/dev/full")
    monkeypatch.setattr(board.events._py_recordio_writer, "_writer", other.stream.buffer)
    record = logging.LogRecord("name", logging.INFO, "file.py", 1, "message", (), None)
    for write, name in ((lambda: board.add(2, {"train/loss": 0.4}), tmp_path / "board"),
                        (lambda: handler.emit(record), "/dev/full")):
        with pytest.raises(OSError, match="No space left") as error:
            write()
        assert error.value.filename == str(name)
    board.close()
    assert capsys.readouterr().err == ""


def test_half_a_marker_of_predictions_means_new_ones(tmp_path):
    for name in ("a.png", "b.png"):
        (tmp_path / name).touch()
    made_with = {"scale": "origin", "files": "1234"}
    (tmp_path / "made_with.json").write_text(json.dumps(made_with)[:20])
    prepare_output(tmp_path, made_with)
    assert [path.name for path in tmp_path.iterdir()] == ["made_with.json"]
    (tmp_path / "a.png").touch()
    prepare_output(tmp_path, made_with)
    assert (tmp_path / "a.png").exists()


def test_a_damaged_table_keeps_its_good_rows(data, tmp_path):
    config = config_of(data, tmp_path)
    table = tmp_path / "log" / "trial.csv"
    table.parent.mkdir()
    table.write_bytes(b"step,loss\n1,0.5\nx,0.4\n2\n\x80\0,1\n2,0.3\n3,0.2\n")
    with RunLog(config, ALONE, 2):
        pass
    assert table.read_text().splitlines() == ["step,loss", "1,0.5", "2,0.3"]


def test_the_loss_of_the_step_is_saved(finished):
    assert np.isfinite(read_checkpoint(finished / "checkpoints" / "trial" / "latest_model.pth")["loss"])
