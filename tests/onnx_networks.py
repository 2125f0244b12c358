"""Networks and programs for the tests of ONNX export."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from utils.file_writing import write_png

ROOT = Path(__file__).parent.parent
WIDTH = 0.25
BASELINE = {"encoder": "res_shortcut_encoder_29", "decoder": "res_shortcut_decoder_22"}
METADATA = {"version": "narrow", "width": str(WIDTH), "encoder": "resnet_gca_encoder_29",
            "decoder": "res_gca_decoder_22"}


def random_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), (height // 8 + 1, width // 8 + 1))
    return (rng.integers(0, 256, (height, width, 3), dtype=np.uint8),
            trimap.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def demo_command(folder: Path, *more: str) -> list[str]:
    """The demo on a folder, which gets an image and its trimap if it has none: they are looked for first."""
    for kind, array in zip(("images", "trimaps"), random_pair(20, 30), strict=True):
        if not (folder / kind).exists():
            write_png(folder / kind / "a.png", array)
    return ["demo.py", "--image-dir", str(folder / "images"), "--trimap-dir", str(folder / "trimaps"),
            "--output", str(folder / "out"), *more]


def run_without_torch(*arguments: str) -> subprocess.CompletedProcess:
    absent = "torch", "torchvision", "toml", "easydict", "pymatting"  # all that requirements-onnx-run.txt lacks
    code = f"import runpy, sys; sys.modules |= dict.fromkeys({absent}); sys.argv = sys.argv[1:]; " \
           "runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True,
                          check=False)
