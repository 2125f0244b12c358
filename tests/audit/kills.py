"""Kills programs at random moments, goes on, and compares the end with that of an undisturbed run.

    python tests/audit/kills.py --kills 50

Prints how many kills of each kind lost nothing. A training must end with the same weights, bit for bit, the same best
model, and a complete table; a demo with the same files; a timed training with weights that load after each kill.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from training_runs import ROOT, command, settings, table, weights

from tools.make_generated_data import make_data_set
from training.weight_shards import load_shards

STEPS = 12
WAIT = 300  # seconds, for a run that should end
LAUNCHERS = {"torchrun": ["torch.distributed.run", "--standalone"],
             "torch.distributed.launch": ["torch.distributed.launch", "--master_port=29655"]}


class LostError(Exception):
    """What a kill has lost."""


def training_command(data: Path, run: Path, launcher: str | None) -> list[str]:
    arguments = settings(data, run, model__width=0.1, train__total_step=STEPS, train__val_step=3,
                         log__checkpoint_step=2, dist="true" if launcher else "false")
    if (run / "checkpoints" / "trial" / "latest_model.pth").exists():
        arguments += ["--set", "train.resume_checkpoint=latest_model"]
    _, *program = command(*arguments)
    return [sys.executable, *(["-m", *LAUNCHERS[launcher], "--nproc_per_node=2"] if launcher else []), *program]


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(arguments, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    """Waits for a run that must succeed."""
    _, errors = process.communicate(timeout=WAIT)
    if process.returncode:
        raise LostError(f"status {process.returncode}: {errors.strip().splitlines()[-1:]}")


def kill(process: subprocess.Popen, seconds: float, whom: str) -> bool:
    """Kills a run after a while: the "program" or "launcher", or one "rank"; False if it had ended before."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        pass
    victims = children(process.pid) if whom == "rank" else [process.pid]
    if not victims:
        return False
    os.kill(random.choice(victims), signal.SIGKILL)
    process.communicate(timeout=WAIT)
    deadline = time.monotonic() + WAIT
    while group_lives(process.pid):  # the ranks of a killed launcher finish their step
        if time.monotonic() > deadline:
            raise LostError("processes train on after their launcher was killed")
        time.sleep(0.1)
    return True


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in listed.stdout.split()]


def group_lives(pid: int) -> bool:
    """Whether other processes of a session that began with `pid` run."""
    return subprocess.run(["pgrep", "-s", str(pid)], capture_output=True, check=False).returncode == 0


def kill_trainings(data: Path, folder: Path, count: int, launcher: str | None, whom: str) -> int:
    """Kills a training until it ends; again and again, up to a number of kills. Returns that number."""
    begin = time.monotonic()
    finish(start(training_command(data, folder / "undisturbed", launcher)))
    duration, killed = time.monotonic() - begin, 0
    while killed < count:
        run = folder / f"killed{killed}"
        for _ in range(min(3, count - killed)):
            killed += kill(start(training_command(data, run, launcher)), random.uniform(0.3, 1) * duration, whom)
        finish(start(training_command(data, run, launcher)))
        compare_trainings(folder / "undisturbed", run)
    return killed


def compare_trainings(undisturbed: Path, run: Path) -> None:
    for name in ("latest_model", "best_model"):
        expected, found = weights(undisturbed, name), weights(run, name)
        if not all(torch.equal(value, found[key]) for key, value in expected.items()):
            raise LostError(f"{name} differs from the undisturbed run's")
    steps = [row["step"] for row in table(run)]
    if steps != list(range(1, STEPS + 1)):
        raise LostError(f"the table holds the steps {steps}")
    leftover = list((run / "checkpoints").rglob("*.tmp"))
    if leftover:
        raise LostError(f"{leftover[0].name} is left")


def kill_timed_trainings(data: Path, folder: Path, count: int) -> int:
    """Kills timed trainings; returns how often."""
    parts, killed, minutes = folder / "parts", 0, 0.0
    arguments = [sys.executable, "tools/train_free.py", "--config=config/trial.toml", "--device=cpu", "--minutes=0.4",
                 "--total=100", f"--parts={parts}", *settings(data, folder, model__width=0.1, train__precision="fp32")]
    while killed < count:
        killed += kill(start(arguments), random.uniform(10, 30), "program")
        if (parts / "about.json").exists():
            _, about = load_shards(parts)
            if about["minutes"] < minutes:
                raise LostError(f"{about['minutes']} minutes of {minutes} are left")
            minutes = about["minutes"]
    return killed


def kill_demos(folder: Path, count: int) -> int:
    """Kills demos and starts them again; returns how often."""
    def demo(output: Path) -> list[str]:
        return [sys.executable, "demo.py", "--device=cpu", f"--output={output}"]

    begin = time.monotonic()
    finish(start(demo(folder / "undisturbed")))
    duration, killed = time.monotonic() - begin, 0
    expected = contents(folder / "undisturbed")
    while killed < count:
        output = folder / f"killed{killed}"
        killed += kill(start(demo(output)), random.uniform(0.3, 0.95) * duration, "program")
        early = contents(output)
        if any(expected[name] != data for name, data in early.items()):
            raise LostError("a file is incomplete after the kill")
        finish(start(demo(output)))
        if contents(output) != expected:
            raise LostError("the second run's files differ from the undisturbed run's")
    return killed


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*.png")}


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill programs at random moments and look for what is lost.")
    parser.add_argument("--kills", type=int, default=50, help="in all, about (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    args = parser.parse_args()
    random.seed(args.seed)
    failed = 0
    print(f"{'':56} {'kills':>5}")
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = Path(name)
        data = folder / "data"
        make_data_set(data, foregrounds=3, backgrounds=8, tests=3, size=128, seed=1)
        kinds = {"training": (0.36, partial(kill_trainings, data, launcher=None, whom="program")),
                 "timed training": (0.16, partial(kill_timed_trainings, data)), "demo": (0.16, kill_demos)}
        kinds |= {f"training under {launcher}, one {whom}": (
            0.08, partial(kill_trainings, data, launcher=launcher, whom=whom))
            for launcher in LAUNCHERS for whom in ("rank", "launcher")}
        for kind, (part, run) in kinds.items():
            try:
                count = run(folder / kind.replace(" ", "-"), count=max(1, round(part * args.kills)))
                print(f"{kind:56} {count:5} lost nothing", flush=True)
            except LostError as error:
                failed += 1
                print(f"{kind:56}       LOST: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
