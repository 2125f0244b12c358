"""Training on generated data by the clock, in several calls, with weights in parts."""

import itertools
import json
import shutil
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from networks import build_network, to_published_names
from tools import stage_batches, train_free
from tools.make_generated_data import make_data_set
from tools.train_free import main
from training import clock as clock_module
from training import progress, stages
from training.batchnorm_recalibration import recalibrate
from training.clock import Clock
from training.stages import STAGES, Stage, stage_config
from training.weight_shards import load_about, load_shards, save_shards
from utils.checkpoint import CheckpointError, load_network, read_checkpoint
from utils.config import architecture, load_config
from utils.distributed import World

ARCHITECTURE = {"width": 0.06}


def test_batches_shrink_as_crops_grow():
    config = load_config(overrides=["model.batch_size=32"])
    configs = [stage_config(config, stage, samples) for samples, stage in enumerate(STAGES)]
    sizes = [(each.data.crop_size, each.model.batch_size) for each in configs]
    assert sizes[0] == (64, 32)
    assert (256, 8) in sizes
    assert config.data.crop_size == 512  # left as it was
    assert len({each.train.seed for each in configs}) == len(STAGES)


def test_little_time_is_not_spent_on_compiling():
    config = load_config(overrides=["train.compile=true"])
    assert [stage_config(config, STAGES[0], 0, minutes).train.compile for minutes in (3.9, 4.0)] == [False, True]
    assert not stage_config(load_config(), STAGES[0], 0).train.compile


def test_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("training.weight_shards.LARGEST_SHARD", 300_000)
    weights = to_published_names(build_network(**ARCHITECTURE).state_dict())
    save_shards(tmp_path, weights, {"steps": 1})
    save_shards(tmp_path, weights, {"steps": 22})
    files = sorted(tmp_path.glob("weights-*.pth"))
    assert len(files) > 2
    assert all(path.name.startswith("weights-22-") for path in files)  # those before are gone
    tensors = [torch.load(path) for path in files]
    assert all(sum(value.nbytes for value in part.values()) <= 300_000 or len(part) == 1 for part in tensors)
    loaded, about = load_shards(tmp_path)
    assert about["steps"] == 22
    assert about["files"] == [path.name for path in files]
    assert loaded.keys() == weights.keys()
    for name, value in weights.items():
        assert loaded[name].dtype == value.dtype
        assert torch.allclose(loaded[name], value, rtol=1e-3, atol=1e-7)
    save_shards(tmp_path, weights, {"steps": 22})  # the same steps once more: under other names
    assert load_shards(tmp_path)[1]["files"][0] == "weights-22b-0.pth"
    assert not any(path.exists() for path in files)
    files = sorted(tmp_path.glob("weights-*.pth"))
    files[1].write_bytes(files[1].read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"weights-22b-1\.pth"):
        load_shards(tmp_path)


def test_values_beyond_half_precision_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="large: holds values outside the range of float16, up to 1e\\+06"):
        save_shards(tmp_path, {"large": torch.tensor([1e6])}, {"steps": 0})
    with pytest.raises(CheckpointError, match="none: holds values"):
        save_shards(tmp_path, {"none": torch.tensor([float("nan")])}, {"steps": 0})
    assert list(tmp_path.iterdir()) == []


def short_and_small(monkeypatch) -> None:
    """Two stages of small crops, and a clock that moves a fifth of a second each time that it is looked at."""
    monkeypatch.setattr(train_free, "recalibrate", partial(recalibrate, pixels=1))
    ticks = itertools.count()
    time = SimpleNamespace(monotonic=lambda: 0.2 * next(ticks), perf_counter=lambda: 0.2 * next(ticks))
    for module in (clock_module, progress):
        monkeypatch.setattr(module, "time", time)
    for module in (train_free, stages):
        monkeypatch.setattr(module, "STAGES", (Stage(0.5, 64, 1.0), Stage(1.0, 96, 0.0)))


def call(monkeypatch, tmp_path, *arguments: str) -> int:
    options = ["version=light", "model.width=0.06", "model.imagenet_pretrain=false", "model.batch_size=4",
               "data.generated=4", "data.generated_size=96", "data.finish=true",
               "train.ema=0.9", "train.warmup_step=1", "log.logging_step=1",
               f"log.logging_path={tmp_path / 'logs'}", f"log.tensorboard_path={tmp_path / 'board'}",
               *(f"data.test_{kind}={tmp_path / 'data' / 'test' / kind}" for kind in ("merged", "alpha", "trimap"))]
    config = tmp_path / "empty.toml"
    config.touch()
    monkeypatch.setattr(sys, "argv", ["train_free.py", f"--config={config}", "--device=cpu",
                                      *(f"--set={option}" for option in options), *arguments])
    return main()


@pytest.mark.parametrize("on_device", [False, True])
def test_goes_on_when_called_again(monkeypatch, tmp_path, capsys, on_device):
    """Two calls of a few steps each: time, steps and samples add up, and the weights become a checkpoint."""
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # training does without
    data = ["data.on_device=true", "data.bank=3", "data.renew=3"] if on_device else [f"data.cache={tmp_path / 'cache'}"]
    data = [f"--set={option}" for option in data]
    short_and_small(monkeypatch)
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    parts = tmp_path / "parts"
    told = []
    for options in (["--total=0.1"], []):
        assert call(monkeypatch, tmp_path, f"--parts={parts}", "--minutes=0.05", *options, *data) == 0
        told.append(json.loads((parts / "about.json").read_text()))
    first, second = told
    assert 0 < first["steps"] < second["steps"]
    assert 0.03 < first["minutes"] < second["minutes"] < 0.13
    assert second["total"] == 0.1
    assert first["samples"] < second["samples"]
    assert len(first["validations"]) == 2  # one a third through the call, to learn how long a save takes
    assert len(second["validations"]) == 4
    assert np.isfinite(second["validations"][-1]["mse"])
    if not on_device:
        assert len(list((tmp_path / "cache").glob("*.rgba.npy"))) == 4  # drawn once for all stages and calls
    lines = [json.loads(line) for line in (parts / "progress.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == [first["samples"], second["samples"]]
    assert lines[1]["validation"]["sad"] == pytest.approx(second["validations"][-1]["sad"], abs=1e-3)
    assert lines[1]["learning_rate"] < 1e-3  # nearly at its end
    assert (first["finished"], second["finished"]) == (False, True)
    assert load_network(parts / "light.pth").architecture["width"] == 0.06  # the finished checkpoint
    assert call(monkeypatch, tmp_path, f"--parts={parts}", "--minutes=0.05", "--total=0.1", *data) == 1
    assert "parts: its 0.1 minutes are over; give a larger --total" in capsys.readouterr().err
    path = tmp_path / "light.pth"
    assert call(monkeypatch, tmp_path, f"--parts={parts}", f"--checkpoint={path}") == 0
    assert all(value.dtype != torch.float32 for value in read_checkpoint(path)["state_dict"].values())
    network = load_network(path).eval()  # the file tells its width
    assert network(torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)).alpha.isfinite().all()


def test_frozen_statistics_are_not_measured_anew(monkeypatch, tmp_path):
    """A last call with train.freeze_bn goes on from the statistics that the calls before measured."""
    short_and_small(monkeypatch)
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    parts, weights = tmp_path / "parts", []
    for options in (["--total=0.1"], ["--set=train.freeze_bn=true"]):
        assert call(monkeypatch, tmp_path, f"--parts={parts}", "--minutes=0.05", "--set=data.on_device=true",
                    *options) == 0
        weights.append(load_shards(parts)[0])
    same = {name for name, value in weights[0].items() if torch.equal(value, weights[1][name])}
    statistics = {name for name in weights[0] if name.endswith(("running_mean", "running_var"))}
    assert len(statistics) > 50
    assert statistics <= same
    assert len(weights[0].keys() - same) > 50  # the weights have changed


def test_stages_with_smaller_crops_are_left_out(monkeypatch, tmp_path, caplog):
    short_and_small(monkeypatch)
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    with caplog.at_level("INFO"):
        assert call(monkeypatch, tmp_path, f"--parts={tmp_path / 'parts'}", "--minutes=0.02", "--first-crop=96") == 0
        assert call(monkeypatch, tmp_path, f"--parts={tmp_path / 'parts'}", "--minutes=0.02", "--total=0.2") == 0
    crops = [message[:18] for message in caplog.messages if message.startswith("crops of")]
    assert crops == 2 * ["crops of 96 pixels"]  # the second call remembers


def test_crops_in_turn(monkeypatch, tmp_path, caplog, capsys):
    """Steps have the crops of all stages in turn, in a second call, too, which is not told; a third is told not to."""
    short_and_small(monkeypatch)
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    shapes, step = [], train_free.training_step

    def noted(model, state, step_batches, *others):
        shapes.append([tuple(batch["alpha"].shape[::3]) for batch in step_batches])
        return step(model, state, step_batches, *others)

    monkeypatch.setattr(train_free, "training_step", noted)
    options = [f"--parts={tmp_path / 'parts'}", "--minutes=0.05", "--set=train.accumulate=2",
               "--set=model.batch_size=8"]
    assert call(monkeypatch, tmp_path, *options, "--mixed-crops") == 1
    assert "data.on_device is false; crops of several sizes in turn (--mixed-crops) need it" in capsys.readouterr().err
    options += ["--set=data.on_device=true", "--set=data.bank=3", "--set=data.renew=3"]
    samples = 0
    with caplog.at_level("INFO"):
        for further in (["--mixed-crops", "--total=0.25"], []):
            shapes.clear()
            assert call(monkeypatch, tmp_path, *options, *further) == 0
            assert len(shapes) >= 2
            assert shapes == [[(8, 64)] * 2 if step % 2 == 0 else [(5, 96)] * 2 for step in range(len(shapes))]
            samples += sum(n for step in shapes for n, _ in step)
    about = json.loads((tmp_path / "parts/about.json").read_text())
    assert about["samples"] == samples
    assert len(about["validations"]) >= 4  # statistics were measured between steps
    assert sum(message.startswith("crops of 64, 96 pixels, 16, 10 per step") for message in caplog.messages) == 2
    line = json.loads((tmp_path / "parts/progress.jsonl").read_text().splitlines()[-1])
    assert line["crop"] == [64, 96]
    assert call(monkeypatch, tmp_path, *options, "--no-mixed-crops") == 0
    assert json.loads((tmp_path / "parts/progress.jsonl").read_text().splitlines()[-1])["crop"] == 96


def test_crops_in_turn_are_of_random_numbers_of_their_own():
    config, alone = load_config("config/gca-free-light.toml"), World(0, 1, torch.device("cpu"))
    made = []

    def noted(banks, config, world):
        made.append((config.data.crop_size, config.train.seed))
        return itertools.cycle([config.data.crop_size])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_batches, "DeviceSamples", noted)
        batches = stage_batches.alternating_batches(config, Stage(1.0, 512, 0.0, (256, 384)), None, alone, 7)
        assert [next(batches) for _ in range(4)] == [256, 384, 512, 256]
    assert [side for side, _ in made] == [256, 384, 512]
    assert len({seed for _, seed in made}) == 3


def test_statistics_take_whole_rounds():
    """Although enough pixels are seen after the first of three sizes."""
    config = load_config(overrides=["model.width=0.06", "model.imagenet_pretrain=false"])
    network = build_network(**architecture(config))
    alone = World(0, 1, torch.device("cpu"))
    sides = itertools.cycle([32, 64, 96])
    batches = ({"image": torch.randn(4, 3, side, side), "trimap": torch.ones(4, 3, side, side),
                "alpha": torch.zeros(4, 1, side, side)} for side in sides)
    recalibrate(network, batches, config, alone, pixels=1, round_length=3)
    assert next(batches)["alpha"].shape[-1] == 32
    recalibrate(network, batches, config, alone, pixels=1, round_length=3)
    assert next(batches)["alpha"].shape[-1] == 64


def test_a_copy_is_finished_and_training_goes_on_without(monkeypatch, tmp_path, capsys):
    """The rate falls to nothing over the copy's only call, however long the training was to be."""
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    short_and_small(monkeypatch)
    parts, branch = (f"--parts={tmp_path / name}" for name in ("parts", "branch"))
    assert call(monkeypatch, tmp_path, parts, "--minutes=0.05", "--total=60", "--last-crop=64") == 0
    shutil.copytree(tmp_path / "parts", tmp_path / "branch")
    before = load_about(tmp_path / "parts")
    rates, step = [], train_free.training_step
    monkeypatch.setattr(train_free, "training_step", lambda *args: rates.append(args[3]) or step(*args))
    assert [call(monkeypatch, tmp_path, branch, "--minutes=0.06", "--finish") for _ in range(2)] == [0, 1]
    assert load_about(tmp_path / "branch")["total"] == pytest.approx(before["minutes"] + 0.06)
    assert (tmp_path / "branch" / "light.pth").exists()
    assert len(rates) > 4 and -np.diff(rates).max() * len(rates) > rates[0] / 2  # from the first step on
    assert rates[-1] < rates[0] / 9
    assert not before["finished"] and load_about(tmp_path / "parts") == before
    assert call(monkeypatch, tmp_path, parts, "--minutes=0.05") == 0  # of the 60
    with pytest.raises(SystemExit, match="2"):
        call(monkeypatch, tmp_path, parts, "--finish", "--minutes=1", "--total=3")
    assert "--finish needs --minutes, and no --total" in capsys.readouterr().err


def test_a_training_that_is_over(monkeypatch, tmp_path, capsys):
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    weights = to_published_names(build_network(**ARCHITECTURE).state_dict())
    save_shards(tmp_path / "parts", weights, {"steps": 3, "minutes": 2.0, "samples": 12, "total": 2.0})
    assert call(monkeypatch, tmp_path, f"--parts={tmp_path / 'parts'}", "--minutes=1") == 1
    assert "parts: its 2 minutes are over; give a larger --total" in capsys.readouterr().err


def test_missing_parts(monkeypatch, tmp_path, capsys):
    assert call(monkeypatch, tmp_path, f"--parts={tmp_path / 'none'}", f"--checkpoint={tmp_path / 'x.pth'}") == 1
    assert "none/about.json: no such file or directory\n" in capsys.readouterr().err


def test_no_stage_is_left(monkeypatch, tmp_path, capsys):
    make_data_set(tmp_path / "data", foregrounds=0, backgrounds=0, tests=1, size=96)
    assert call(monkeypatch, tmp_path, f"--parts={tmp_path}", "--minutes=1", "--first-crop=512", "--last-crop=64") == 1
    assert "no stage has crops of 512 to 64 pixels" in capsys.readouterr().err
    weights = to_published_names(build_network(**ARCHITECTURE).state_dict())
    about = {"steps": 3, "minutes": 1.0, "samples": 12, "total": 2.0, "first_crop": 512}
    save_shards(tmp_path / "parts", weights, about)
    assert call(monkeypatch, tmp_path, f"--parts={tmp_path / 'parts'}", "--minutes=1", "--last-crop=64") == 1
    assert "no stage has crops of 512 to 64 pixels" in capsys.readouterr().err


def test_a_call_that_ends_behind_a_save_saves_no_second_time(monkeypatch, tmp_path):
    """Only the time is written: neither weights nor errors have changed."""
    config = load_config(overrides=["model.width=0.06", "model.imagenet_pretrain=false", "train.ema=0"])
    alone = World(0, 1, torch.device("cpu"))
    run = train_free.TimedRun(config, alone, tmp_path, total=2.0)
    validated = []
    monkeypatch.setattr(train_free, "validate", lambda *_: validated.append(1) or {"sad": 1.0, "mse": 0.5})
    run.test_images = ["some"]
    clock = Clock(alone, minutes=2.0, done=0.0, total=2.0)
    run.state.step = 3
    run.save(clock, iter([{}]))
    first = json.loads((tmp_path / "about.json").read_text())
    clock.elapsed = 2.0
    run.save(clock, iter([{}]))
    second = json.loads((tmp_path / "about.json").read_text())
    assert (first["finished"], second["finished"]) == (False, True)
    assert first["files"] == second["files"]
    assert len(validated) == 1
    run.state.step = 4
    run.save(clock, iter([{}]))
    assert len(validated) == 2
    assert load_shards(tmp_path)[1]["steps"] == 4
