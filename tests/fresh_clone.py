"""A copy of the project, as after cloning it, in which documented commands run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns("data", ".*", "__pycache__", "pred", "logs", "prediction", "tests", "*.jpg")


def fresh_clone(folder: Path) -> Path:
    """Copies what users clone to a folder that does not exist; returns it."""
    shutil.copytree(ROOT, folder, ignore=LEFT_OUT)
    return folder


def shrink_samples(clone: Path, width: int = 64, height: int = 48) -> None:
    """Makes the sample photographs and their trimaps so small that mattes take no time."""
    for path in (path for folder in ("input_lowres", "trimap_lowres/Trimap3")
                 for path in (clone / "demo" / folder).iterdir()):
        Image.open(path).resize((width, height), Image.Resampling.NEAREST).save(path)


def run(clone: Path, command: str) -> str:
    """Runs a command with this Python, without installing anything; returns what it printed."""
    command = command.rpartition("&& ")[2].replace("python ", f"{sys.executable} ", 1)
    result = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True, check=False, timeout=300,
                            env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                                 "CUDA_VISIBLE_DEVICES": ""})
    assert result.returncode == 0, result.stderr
    return result.stdout
