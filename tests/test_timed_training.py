"""Training by the clock: stages, learning rate, halts, and the line a minute."""

import json
import math
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch

from tools.train_free import TimedRun
from training import clock as clock_module
from training import progress as progress_module
from training.clock import Clock
from training.progress import Progress
from training.stages import STAGES, WHOLE, alternating, chosen_stages, planned_stages, rate_at, stage_at
from training.step import TrainingError
from utils.config import ConfigError, load_config
from utils.distributed import World

ALONE = World(0, 1, torch.device("cpu"))


def test_stages_cover_the_time():
    assert all(first.end < second.end and first.crop < second.crop for first, second in pairwise(STAGES))
    assert STAGES[-1].end == 1
    assert (STAGES[0].crop, STAGES[-1].crop) == (64, 512)
    assert stage_at(0.0, STAGES) == STAGES[0]
    assert stage_at(STAGES[0].end, STAGES) == STAGES[1]
    assert stage_at(1.0, STAGES) == STAGES[-1]


def test_stages_are_left_out_at_either_end():
    assert chosen_stages(0, 0) == STAGES
    assert chosen_stages(128, 256) == STAGES[1:3]
    assert chosen_stages(512, 256) == ()
    assert stage_at(0.0, chosen_stages(256, 0)) == STAGES[2]
    assert stage_at(0.99, chosen_stages(0, 128)) == STAGES[1]  # the last one takes all the time that is left
    (mixed,) = alternating(chosen_stages(256, 0))
    assert mixed.crops == (256, 384, 512)
    assert (mixed.end, mixed.plain_share) == (1.0, STAGES[-1].plain_share)
    assert alternating(STAGES[:1])[0].crops == STAGES[0].crops == (64,)


def test_crops_while_a_training_is_finished(tmp_path):
    """They stay as they are after a third of the time, or are as large as asked for; a new training has none yet."""
    config = load_config(overrides=["model.width=0.06", "model.imagenet_pretrain=false", "data.generated_size=832"])

    def crops(steps: int, **limits: int) -> list[int]:
        run = TimedRun(config, ALONE, tmp_path, 30.0, **limits)
        run.about["steps"], run.minutes_before = steps, 10.0 * (steps > 0)
        run.finish_in(5.0, limits.get("last_crop", 0))
        return [stage.crop for stage in run.stages]

    assert crops(7) == [256]
    assert crops(7, first_crop=384) == [384]
    assert crops(7, last_crop=800) == [800]
    assert crops(0, first_crop=384) == [384]
    with pytest.raises(TrainingError, match="holds no training to finish; give --first-crop"):
        crops(0)


def test_whole_photographs_come_last_if_asked_for():
    *others, before, last = chosen_stages(0, 800)
    assert tuple(others) == STAGES[:-1]
    assert (before.crop, before.end, last) == (512, 0.9, WHOLE)
    assert chosen_stages(800, 0) == (WHOLE,)
    assert alternating(chosen_stages(384, 800))[0].crops == (384, 512, 800)


@pytest.mark.parametrize("overrides, message", [
    (["data.generated=1", "data.generated_size=768"], "data.generated_size is 768; expected at least 800 for crops"),
    (["data.generated=1", "data.generated_size=800"], "data.on_device is false"),
    (["data.generated_size=768"], "data.on_device is false")])
def test_stages_that_the_configuration_does_not_allow(overrides, message):
    config = load_config(overrides=overrides)
    with pytest.raises(ConfigError, match=message):
        planned_stages(config, 512, 800, mixed=True)
    assert planned_stages(config, 512, 0, mixed=False) == STAGES[-1:]


def test_the_rate_warms_up_stays_and_falls():
    assert rate_at(0.0, 0, 10) == pytest.approx(0.1)
    assert rate_at(0.1, 9, 10) == 1
    assert rate_at(0.8, 500, 10) == pytest.approx(1)
    assert rate_at(0.9, 500, 10) == pytest.approx(0.5)
    assert rate_at(1.0, 500, 10) == 0
    assert rate_at(0.9, 4, 10) == pytest.approx(0.25)  # a call that begins in the fall
    assert rate_at(0.5, 0, 0) == 1
    assert rate_at(0.5, 500, 10, decay=0.8) == pytest.approx(0.625)


def ticking(monkeypatch, *seconds: float) -> None:
    times = iter(seconds)
    for module in (clock_module, progress_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(times),
                                                            perf_counter=lambda: next(times)))


def test_a_halt_does_not_count(monkeypatch):
    ticking(monkeypatch, 0.0, 1.0, 2.0, 3602.0, 3603.0)
    clock = Clock(ALONE, minutes=5, done=1, total=10)
    for _ in range(4):
        clock.read()
    assert clock.elapsed == pytest.approx((1 + 1 + clock_module.LONGEST_GAP + 1) / 60)
    assert not clock.is_over


def test_the_last_save_is_part_of_the_time(monkeypatch):
    ticking(monkeypatch, 0.0, 60.0, 120.0)
    clock = Clock(ALONE, minutes=3, done=0, total=6)
    assert clock.left(0.25) == 1.5
    assert clock.left(1.0) == 3.0  # of this call
    assert clock.read() == pytest.approx(1 / 6)
    clock.reserve = 1.0
    assert clock.read() == pytest.approx(2 / 5)  # of the five minutes that are left for training
    assert clock.is_over
    assert not clock.is_finished
    assert clock.minutes_spent == 3.0  # the save included


def test_three_calls_with_saves_make_the_whole(monkeypatch):
    """Each ends before its last save, whose time is part of the call's."""
    done, finished = 0.0, []
    for _ in range(3):
        ticking(monkeypatch, 0.0, 30.0, 8.6 * 60)
        clock = Clock(ALONE, minutes=9, done=done, total=27)
        clock.reserve = 0.4
        assert not clock.is_over
        clock.read()
        share = clock.read(worked=True)
        assert clock.is_over
        done = clock.minutes_spent
        finished.append(clock.is_finished)
    assert finished == [False, False, True]
    assert done == 27
    assert share == pytest.approx(1, abs=1e-3)  # the rate has fallen to nothing


def test_long_work_counts_in_full(monkeypatch):
    ticking(monkeypatch, 0.0, 400.0)
    clock = Clock(ALONE, minutes=9, done=0, total=9)
    clock.read(worked=True)
    assert clock.elapsed == pytest.approx(400 / 60)


def test_a_line_a_minute(monkeypatch, tmp_path, capsys):
    ticking(monkeypatch, 0.0, 20.0, 30.0, 40.0, 50.0)
    progress = Progress(tmp_path / "parts" / "progress.jsonl", ALONE)
    progress.add({"loss": math.nan, "rec": math.nan}, samples=8)  # skipped
    progress.add({"loss": 0.4, "rec": 0.3}, samples=8)
    progress.report(0.5, 1.0, minutes=0.5)  # too soon
    progress.add({"loss": 0.2, "rec": 0.1}, samples=8)
    progress.report(1.5, 5.0, minutes=1.5, crop=64)
    progress.add({"loss": 1.0, "rec": 1.0}, samples=8)
    progress.report(1.6, 5.0, at_once=True, minutes=1.6)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "progress.jsonl").read_text().splitlines()]
    assert lines[0] == {"minutes": 1.5, "crop": 64, "samples_per_second": 1.2, "waiting_share": 0.25, "loss": 0.3,
                        "rec": 0.2}
    assert lines[1]["loss"] == 1.0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == lines


def test_lines_of_a_call_that_was_killed_are_dropped(tmp_path):
    path = tmp_path / "progress.jsonl"
    path.write_text('{"minutes": 4.0}\n{"minutes": 5.0}\n{"minutes": 6.2}\n{"minu')
    Progress(path, ALONE, minutes=5.0)
    assert path.read_text() == '{"minutes": 4.0}\n{"minutes": 5.0}\n'


def test_other_processes_write_nothing(tmp_path, capsys):
    progress = Progress(tmp_path / "progress.jsonl", World(1, 2, torch.device("cpu")))
    progress.add({"loss": 0.4}, samples=8)
    progress.report(9.0, 0.0, at_once=True)
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""
