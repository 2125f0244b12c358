"""Training: it learns, processes agree, what is killed resumes exactly, what is broken is refused."""

import copy
import errno
import os
import shutil
import signal
import subprocess

import pytest
import torch
from training_runs import ALONE, ROOT, command, config_of, run_main, settings, steps_saved, table, wait_until, weights

from networks import build_network
from trainer import train
from training.start import start_or_resume
from training.state import run_folder
from utils.checkpoint import CheckpointError, load_network, read_checkpoint, save_checkpoint
from utils.config import ConfigError, load_config


def test_a_run_leaves_logs_and_checkpoints(finished):
    folder = finished / "checkpoints" / "trial"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock", "best_model.pth", "config.toml", "latest_model.pth", "step_00000003.pth", "step_00000006.pth"]
    rows = table(finished)
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["learning_rate"] == pytest.approx(1e-3)  # half way through the warm-up to 2e-3
    content = read_checkpoint(folder / "latest_model.pth")
    assert {"iter", "loss", "state_dict", "opt_state_dict", "lr_state_dict"} < set(content)
    assert content["iter"] == 6
    assert content["loss"] == pytest.approx(rows[-1]["loss"], rel=1e-6)
    assert load_config(folder / "config.toml").model.width == 0.25
    text = (finished / "log" / "trial.log").read_text()
    assert text.count("validation at step") == 3
    assert list((finished / "board" / "trial").iterdir())


def test_killed_again_and_again_it_ends_with_the_same_weights(data, tmp_path):
    """Killed after its first checkpoint and once more after a later one, wherever it then is in its steps."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    more = {"train__total_step": 30, "data__test_merged": "", "log__checkpoint_step": 1000}
    assert run_main(*settings(data, whole, **more)).returncode == 0
    latest = killed / "checkpoints" / "trial" / "latest_model.pth"
    resume, done = {}, 0
    for _ in range(2):
        process = subprocess.Popen(command(*settings(data, killed, **more, **resume)), cwd=ROOT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = done
        wait_until(lambda before=before: latest.exists() and steps_saved(latest) > before, process)
        process.kill()
        process.wait()
        done, resume = steps_saved(latest), {"train__resume_checkpoint": "latest_model"}
        assert before < done < 30
    result = run_main(*settings(data, killed, **more, **resume))
    assert result.returncode == 0, result.stderr
    expected, resumed = weights(whole), weights(killed)
    assert [name for name in expected if not torch.equal(expected[name], resumed[name])] == []
    assert [row["loss"] for row in table(killed)] == [row["loss"] for row in table(whole)]
    assert not list(latest.parent.glob(".*.tmp"))
    assert f"resumed {latest} at step {done}" in (killed / "log" / "trial.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_stop(data, finished, tmp_path, number):
    process = subprocess.Popen(command(*settings(data, tmp_path, train__total_step=1000)), cwd=ROOT,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until((tmp_path / "log" / "trial.csv").exists, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    content = read_checkpoint(tmp_path / "checkpoints" / "trial" / "latest_model.pth")
    assert content["resume"]["step"] == table(tmp_path)[-1]["step"]
    assert "resume with train.resume_checkpoint=latest_model" in output


def test_two_processes_train_as_one_with_twice_the_batch(data, tmp_path):
    """Batch normalisation is frozen: on the CPU it cannot be synchronised."""
    start = tmp_path / "start.pth"
    torch.manual_seed(5)
    network = build_network(width=0.25)
    for module in network.modules():  # past the zeros of the initialisation, so that all of the network takes part
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(module.weight, 0.5)
    save_checkpoint(start, network)
    frozen = {"train__freeze_bn": "true", "model__init_checkpoint": start, "train__total_step": 4, "train__G_lr": 1e-4,
              "train__comp_weight": 0.5, "train__sample_balance": 0.5}
    runs = {"one": ({"model__batch_size": 4}, 1), "two": ({"model__batch_size": 2, "dist": "true"}, 2),
            "accumulated": ({"model__batch_size": 2, "train__accumulate": 2}, 1)}
    tables = {}
    for name, (more, processes) in runs.items():
        result = run_main(*settings(data, tmp_path / name, **frozen, **more), processes=processes)
        assert result.returncode == 0, result.stderr
        tables[name] = table(tmp_path / name)
    for name in ("two", "accumulated"):
        for row, expected in zip(tables[name], tables["one"], strict=True):
            for column in ("loss", "rec", "comp"):
                assert row[column] == pytest.approx(expected[column], rel=2e-4)
        text = (tmp_path / name / "log" / "trial.log").read_text().splitlines()
        expected = (tmp_path / "one" / "log" / "trial.log").read_text().splitlines()
        assert validation_mse(text) == pytest.approx(validation_mse(expected), rel=1e-3)


def test_colour_samples_from_a_network_without(data, tmp_path):
    """Two processes, from weights of the published kind; the checkpoint tells that it has colour samples."""
    save_checkpoint(tmp_path / "plain.pth", build_network(width=0.25))
    result = run_main(*settings(data, tmp_path, model__colour_samples="true", train__total_step=2, dist="true",
                                model__init_checkpoint=tmp_path / "plain.pth"), processes=2)
    assert result.returncode == 0, result.stderr
    log = (tmp_path / "log" / "trial.log").read_text()
    assert "it has no colour samples: their input channels start at zero in encoder.conv1.module.weight_bar" in log
    path = tmp_path / "checkpoints" / "trial" / "latest_model.pth"
    assert load_network(path).architecture["colour_samples"] is True
    assert weights(tmp_path)["encoder.conv1.module.weight_bar"][:, 6:].any()


def validation_mse(lines: list[str]) -> list[float]:
    return [float(line.rpartition("mse ")[2]) for line in lines if "validation at" in line]


def test_precision_and_average_options(data, tmp_path):
    """bf16, channels last, moving average, narrow trimap, all losses, workers: a run with each, resumed exactly."""
    more = {"train__precision": "bf16", "train__channels_last": "true", "train__ema": 0.5, "model__trimap_channel": 1,
            "train__gabor_weight": 0.1, "train__grad_weight": 0.1, "train__smooth_l1_weight": 0.1,
            "train__comp_weight": 0.1, "train__total_step": 3, "data__workers": 1, "log__checkpoint_step": 2}
    result = run_main(*settings(data, tmp_path, **more))
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "checkpoints" / "trial"
    averaged, raw = weights(tmp_path), read_checkpoint(folder / "latest_model.pth")["resume"]["weights"]
    assert any(not torch.equal(averaged[name], raw[name]) for name in raw)
    assert {"rec", "gabor", "grad", "smooth_l1", "comp"} < set(table(tmp_path)[0])
    result = run_main(*settings(data, tmp_path, **more, train__resume_checkpoint="step_00000002"))
    assert result.returncode == 0, result.stderr
    again = weights(tmp_path)
    assert [name for name in again if not torch.equal(again[name], averaged[name])] == []


def test_loss_that_is_no_number(data, tmp_path):
    """A loss beyond single precision: every step is skipped, nothing changes, and the batch is kept for inspection."""
    result = run_main(*settings(data, tmp_path, train__rec_weight=1e300, train__max_skipped=2))
    assert result.returncode == 1
    assert "main.py: 2 steps in a row had non-finite gradients; the last batches are in" in result.stderr
    assert "skipped: non-finite gradients (1 in a row)" in result.stderr
    batches = torch.load(tmp_path / "checkpoints" / "trial" / "skipped_step_00000001_rank_0.pth", weights_only=True)
    assert batches[0]["image"].shape == (2, 3, 64, 64)


def test_truncated_checkpoint_is_refused_and_the_one_before_offered(data, finished, tmp_path):
    folder = tmp_path / "checkpoints" / "trial"
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    latest = folder / "latest_model.pth"
    for other in (folder / "step_00000006.pth", folder / "best_model.pth"):
        other.unlink()
    latest.write_bytes(latest.read_bytes()[:-500])
    config = config_of(data, tmp_path, train__resume_checkpoint="latest_model")
    with pytest.raises(CheckpointError, match=r"truncated.*the one before it is readable: .*step_00000003.pth"):
        start_or_resume(config, ALONE)


@pytest.mark.parametrize(("more", "error", "message"), [
    ({"train__resume_checkpoint": "lastest_model"}, CheckpointError,
     "lastest_model.pth: no such file; .*trial holds latest_model, "),
    ({"train__resume_checkpoint": "latest_model", "train__total_step": 5}, ConfigError,
     "latest_model.pth: is at step 6; expected at most train.total_step, 5, or train.reset_lr=true"),
    ({"model__imagenet_pretrain": "true", "version": "other"}, ConfigError,
     "model.imagenet_pretrain_path: .*no such file"),
    ({"train__resume_checkpoint": "plain.pth"}, CheckpointError, "no training state; start from its weights with"),
    ({"train__resume_checkpoint": "latest_model", "train__ema": 0.9}, CheckpointError, "was written without train.ema"),
])
def test_refused_starts(data, finished, monkeypatch, tmp_path, more, error, message):
    monkeypatch.chdir(tmp_path)
    save_checkpoint("plain.pth", build_network(width=0.25))
    with pytest.raises(error, match=message):
        start_or_resume(config_of(data, finished, **more), ALONE)


def test_a_resumed_run_tells_which_settings_are_other_ones(data, finished, tmp_path, caplog):
    """If they are known; `reset_lr` begins at step 0 with any number of steps."""
    caplog.set_level("INFO", "training")
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    known = tmp_path / "checkpoints" / "trial" / "config.toml"
    more = {"train__resume_checkpoint": known.with_name("latest_model.pth"), "train__reset_lr": "true",
            "train__total_step": 5, "train__seed": 7}
    config = config_of(data, finished, **more)
    known.rename(tmp_path / "known.toml")
    assert start_or_resume(config, ALONE).step == 0
    assert [line.split()[0] for line in caplog.messages] == ["resumed"]
    (tmp_path / "known.toml").rename(known)
    start_or_resume(config, ALONE)
    assert caplog.messages[-1].endswith("config.toml: train.total_step=5 (was 6), train.seed=7 (was 0), "
                                        "train.reset_lr=True (was False)")


def test_two_runs_do_not_share_a_folder(data, tmp_path):
    """The second one is refused while the first one runs, before it removes temporary files; not afterwards."""
    config = config_of(data, tmp_path)
    with run_folder(config, ALONE) as folder:
        temporary = folder / ".latest_model.pth.0123.tmp"
        temporary.touch()
        with pytest.raises(ConfigError, match="trial: another run that has not ended"), run_folder(config, ALONE):
            pass
        assert temporary.exists()
    with run_folder(config, ALONE):
        assert not temporary.exists()
    assert not folder.exists()  # no run has left anything there
    with run_folder(config, ALONE):
        (folder / "latest_model.pth").touch()
    assert (folder / "latest_model.pth").exists()


def test_a_checkpoint_is_read_when_no_other_run_can_replace_it(data, monkeypatch, tmp_path):
    config = config_of(data, tmp_path)

    def another_run(*_: object) -> None:
        with run_folder(config, ALONE):
            pass

    monkeypatch.setattr("trainer.start_or_resume", another_run)
    with pytest.raises(ConfigError, match="another run that has not ended"):
        train(config, ALONE)


def test_a_file_system_without_locks(data, monkeypatch, tmp_path, caplog):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", fail)
    with run_folder(config_of(data, tmp_path), ALONE) as folder:
        assert caplog.messages == [f"{folder} cannot be locked ([Errno {errno.ENOLCK}] No locks available); "
                                   "start no other run of this version"]


def test_an_earlier_run_is_not_overwritten(data, finished):
    before = (finished / "checkpoints" / "trial" / "best_model.pth").read_bytes()
    result = run_main(*settings(data, finished, train__total_step=2))
    assert result.returncode == 1
    assert "latest_model.pth: an earlier run is here and would be overwritten" in result.stderr
    assert (finished / "checkpoints" / "trial" / "best_model.pth").read_bytes() == before


def test_started_in_parallel_without_dist(data, tmp_path):
    result = run_main(*settings(data, tmp_path), processes=2)
    assert result.returncode != 0
    assert "started as 2 processes, but dist is false" in result.stderr


def test_missing_data(data, tmp_path):
    result = run_main("--local-rank=0", *settings(data, tmp_path, data__train_fg=tmp_path / "nowhere"))
    assert result.returncode == 1
    assert result.stderr.strip() == f"main.py: data.train_fg, data.train_alpha: {tmp_path / 'nowhere'}: no such folder"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []  # no empty log


def test_broken_validation_image_costs_itself(data, tmp_path):
    shutil.copytree(data / "test", tmp_path / "test")
    broken = tmp_path / "test" / "merged" / "000001.png"
    broken.write_bytes(broken.read_bytes()[:-100])
    more = {f"data__test_{name}": tmp_path / "test" / name for name in ("merged", "alpha", "trimap")}
    result = run_main(*settings(data, tmp_path, **more, train__total_step=2, train__warmup_step=1))
    assert result.returncode == 0, result.stderr
    assert f"left out of the validation: {broken}: " in (tmp_path / "log" / "trial.log").read_text()
    assert (tmp_path / "checkpoints" / "trial" / "best_model.pth").exists()


def test_signal_to_the_whole_process_group(data, tmp_path):
    """As job schedulers send it: workers leave it to the process they work for."""
    arguments = settings(data, tmp_path, train__total_step=1000, data__workers=1)
    process = subprocess.Popen(command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, start_new_session=True)
    wait_until((tmp_path / "log" / "trial.csv").exists, process)
    os.killpg(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert (tmp_path / "checkpoints" / "trial" / "latest_model.pth").exists()


def test_the_configuration_is_left_as_it_was(data, tmp_path):
    config = config_of(data, tmp_path, train__total_step=1, train__warmup_step=0)
    before = copy.deepcopy(config)
    assert train(config, ALONE) == 0
    assert config == before
