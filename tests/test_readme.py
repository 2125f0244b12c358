"""Every command of the README runs, and does what the README says."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import toml
from fresh_clone import ROOT, fresh_clone, run, shrink_samples
from PIL import Image
from training_runs import config_of

from networks import build_network
from utils.checkpoint import save_checkpoint
from utils.file_writing import write_png

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.partition("    #")[0].strip() for block in re.findall(r"```bash\n(.*?)```", README, re.S)
            for line in block.splitlines() if line.strip() and not line.startswith("git clone")]
COMMANDS += re.findall(r"`(python [^`]+\.toml)`", README)


@pytest.fixture(scope="module")
def clone(tmp_path_factory, data) -> Path:
    """The project with what its users bring: a photo, data (so little that training takes seconds), weights."""
    clone = fresh_clone(tmp_path_factory.mktemp("readme") / "project")
    photo = Image.open(ROOT / "demo" / "input_lowres" / "astronaut.png").convert("RGB")
    (clone / "photos").mkdir()
    photo.resize((1000, 1100)).save(clone / "photos" / "portrait.jpg")
    photo.resize((100, 90)).save(clone / "photo.jpg")
    write_png(clone / "trimap.png", np.full((90, 100), 128, np.uint8))
    config = config_of(data, clone, model__width=0.1, train__total_step=2, version="gca-dist")
    (clone / "config" / "gca-dist.toml").write_text(toml.dumps(
        {name: {key: value for key, value in table.items() if value is not None} if isinstance(table, dict) else table
         for name, table in config.items()}))
    save_checkpoint(clone / "checkpoints" / "gca-dist-all-data" / "gca-dist-all-data.pth", build_network())
    return clone


def in_ci(_: Path, command: str) -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    requirements, program = re.fullmatch(r"pip install -r (\S+) && (.*)", command).groups()
    assert "pip install --quiet -r requirements-dev.txt" in script
    assert requirements in ("requirements-dev.txt", "requirements.txt")  # which the former includes
    assert f"\n{program}" in script


def needs_network(_: Path, command: str) -> None:
    assert "python" not in command.split()  # only what installs packages


def cut_out(clone: Path, command: str) -> None:
    assert "1 of 1 cut-outs" in run(clone, command)
    names = [f"photo_{kind}.png" for kind in ("check", "composite", "cutout", "matte", "trimap")]
    assert sorted(path.name for path in (clone / "cutouts").iterdir()) == names
    alpha = np.array(Image.open(clone / "cutouts" / "photo_cutout.png"))[..., 3]
    assert (alpha.shape, alpha.min(), alpha.max()) == ((90, 100), 0, 255)


def trimap(clone: Path, command: str) -> None:
    assert "1 of 1 trimaps: trimaps" in run(clone, command)
    assert (clone / "trimaps" / "portrait.png").exists()
    assert (clone / "check" / "portrait.png").exists()


def small_demo(clone: Path, command: str) -> None:
    for path in (clone / "photos" / "portrait.jpg", clone / "trimaps" / "portrait.png"):  # of the command before
        Image.open(path).resize((100, 110), Image.Resampling.NEAREST).save(path)
    assert "1 of 1 mattes" in run(clone, command)
    written = {path.name for path in (clone / "results").rglob("*.png")}
    assert {"portrait.png", "portrait_cutout.png", "portrait_composite.png"} <= written


def webpage(clone: Path, command: str) -> None:
    if find_spec("gradio") is None:
        pytest.skip("Gradio is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    program = command.rpartition("&& python ")[2].split()
    with subprocess.Popen([sys.executable, *program, f"--port={port}", "--device=cpu"], cwd=clone, text=True,
                          stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "app.py: starting the page\n"
        assert process.stdout.readline().startswith(f"Open http://127.0.0.1:{port} ")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}") as page:
            assert b"Image matting" in page.read()
        process.send_signal(signal.SIGTERM)


def published_demo(clone: Path, command: str) -> None:
    shrink_samples(clone)
    run(clone, command)
    assert (clone / "demo/pred/Trimap3/gca-dist-all-data_gca-dist-all-data.pth/astronaut.png").exists()


def trial(clone: Path, command: str) -> None:
    path = clone / "config" / "trial.toml"
    path.write_text(path.read_text().replace("step = 250", "step = 2").replace("step = 25\n", "step = 1\n")
                    .replace("= 400", "= 8"))
    assert run(clone, command) == "main.py: training, configured by config/trial.toml\n"
    assert (clone / "checkpoints" / "trial" / "best_model.pth").exists()


def training(clone: Path, command: str) -> None:
    run(clone, command)
    assert (clone / "checkpoints" / "gca-dist" / "best_model.pth").exists()


def test_phase(clone: Path, command: str) -> None:
    run(clone, command)
    assert (clone / "prediction" / "gca-dist" / "errors.csv").exists()


def evaluation(clone: Path, command: str) -> None:
    config = toml.loads((clone / "config" / "gca-dist.toml").read_text())
    for name, folder in (("PREDICTIONS", "prediction/gca-dist"), ("TRUTHS", config["test"]["alpha"]),
                         ("TRIMAPS", config["test"]["trimap"])):
        command = command.replace(name, folder)
    assert "mean of 3" in run(clone, command)
    assert len((clone / "errors.csv").read_text().splitlines()) == 4


test_phase.__test__ = False  # a step of the test below
STEPS: dict[str, Callable[[Path, str], None]] = {
    "pip install -r requirements.txt && python demo.py": in_ci,
    "pip install -r requirements-dev.txt && python -m pytest -n 2": in_ci, "pip install torch ": needs_network,
    "python cutout_photo.py ": cut_out,
    "python tools/make_trimap.py ": trimap, "python demo.py --image-dir ": small_demo,
    "pip install -r requirements-app.txt && python app.py": webpage, "./train.sh": training,
    "python main.py --config=config/trial.toml": trial,
    "python main.py --config=config/gca-dist.toml --phase=test": test_phase, "python evaluate.py ": evaluation,
    "python demo.py --config=config/gca-dist-all-data.toml": published_demo}


NEEDED = {small_demo: trimap, test_phase: training, evaluation: test_phase}  # steps that use what others write


def step_of(command: str) -> Callable[[Path, str], None]:
    steps = [step for start, step in STEPS.items() if command.startswith(start)]
    assert len(steps) == 1, "a new command in the README: say above how it is tested"
    return steps[0]


@pytest.fixture(scope="module")
def done() -> set[str]:
    """The commands that have run in this process's clone: tests of one file can be in several processes."""
    return set()


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(clone, done, command):
    commands = [command]
    while (step := step_of(commands[-1])) in NEEDED:
        commands.append(next(each for each in COMMANDS if step_of(each) is NEEDED[step]))
    for each in reversed(commands):
        if each not in done:
            step_of(each)(clone, each)
            done.add(each)


def test_no_command_is_gone():
    assert len(COMMANDS) == len(STEPS)


def test_the_python_example(clone):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.S)
    subprocess.run([sys.executable, "-c", example], cwd=clone, check=True,
                   env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    alpha = np.array(Image.open(clone / "alpha.png"))
    assert (alpha.dtype, alpha.shape) == (np.uint8, (90, 100))
