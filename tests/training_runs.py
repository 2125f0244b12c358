"""Runs of main.py on a tiny configuration, and what they leave."""

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from easydict import EasyDict

from utils.checkpoint import read_checkpoint
from utils.config import load_config
from utils.distributed import World

ROOT = Path(__file__).parent.parent
ALONE = World(0, 1, torch.device("cpu"))


def settings(data: Path, run: Path, **more: object) -> list[str]:
    """--set arguments for a tiny run: its data in `data`, its results in `run`."""
    values = {
        "data.generated": 0, "data.finish": "false", "data.on_device": "false", "data.cache": "",
        "model.colour_samples": "false",
        "data.train_fg": data / "train" / "fg", "data.train_alpha": data / "train" / "alpha",
        "data.train_bg": data / "train" / "bg", "data.test_merged": data / "test" / "merged",
        "data.test_alpha": data / "test" / "alpha", "data.test_trimap": data / "test" / "trimap",
        "test.merged": data / "test" / "merged", "test.alpha": data / "test" / "alpha",
        "test.trimap": data / "test" / "trimap", "test.alpha_path": run / "prediction",
        "log.checkpoint_path": run / "checkpoints", "log.logging_path": run / "log",
        "log.tensorboard_path": run / "board", "log.logging_step": 1, "log.tensorboard_image_step": 4,
        "model.batch_size": 2, "train.total_step": 6, "train.warmup_step": 2, "train.val_step": 2,
        "log.checkpoint_step": 3, **{name.replace("__", "."): value for name, value in more.items()}}
    return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


def command(*arguments: str, processes: int = 1) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    return [sys.executable, *launcher, "main.py", "--config=config/trial.toml", "--device=cpu", *arguments]


def run_main(*arguments: str, processes: int = 1) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments, processes=processes), cwd=ROOT, capture_output=True, text=True,
                          check=False, timeout=300)


def table(run: Path) -> list[dict[str, float]]:
    with (run / "log" / "trial.csv").open() as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def weights(run: Path, name: str = "latest_model") -> dict[str, torch.Tensor]:
    return read_checkpoint(run / "checkpoints" / "trial" / f"{name}.pth")["state_dict"]


def config_of(data: Path, run: Path, **more: object) -> EasyDict:
    arguments = settings(data, run, **more)
    return load_config(ROOT / "config" / "trial.toml", arguments[1::2])


def steps_saved(path: Path) -> int:
    return read_checkpoint(path)["resume"]["step"]


def wait_until(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    """Waits for a file that a running process is going to write."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "the run ended before it was to be stopped"
        assert time.monotonic() < deadline, "nothing happened"
        os.sched_yield()
