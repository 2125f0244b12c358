"""Progress where there is no terminal: lines, not too many; and the first line of a program before PyTorch."""

import io
import itertools
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from matting import matte_folder
from utils.file_writing import write_png
from utils.preprocessing import Matte
from utils.progress_bar import ProgressBar, batch_name, in_steps

ROOT = Path(__file__).parent.parent


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_tiles_are_lines_ten_seconds_apart(clock):
    file = io.StringIO()
    bar = ProgressBar(1, "matting", file=file, clock=clock)
    for second in range(1, 36):
        clock.seconds = second
        bar.within("a.png", second, 35)
    assert file.getvalue() == ("a.png: 10 of 35 tiles after 10 s, about 25 s left\n"
                               "a.png: 20 of 35 tiles after 20 s, about 15 s left\n"
                               "a.png: 30 of 35 tiles after 30 s, about 5 s left\n")


def test_the_time_left_is_that_of_the_present_item(clock):
    """The first image took a minute; half of the second has taken 20 seconds since its first tile."""
    file = io.StringIO()
    bar = ProgressBar(2, "matting", file=file, clock=clock)
    bar.within("a.png", 1, 8)
    clock.seconds = 60
    bar.update()
    for second, done in ((60, 1), (80, 5), (100, 7)):
        clock.seconds = second
        bar.within("b.png", done, 9)
    assert file.getvalue() == ("matting: 1 of 2 images after 60 s\nb.png: 5 of 9 tiles after 80 s, about 20 s left\n"
                               "b.png: 7 of 9 tiles after 100 s, about 13 s left\n")


def test_any_other_line_puts_the_next_off(clock, capsys):
    file = io.StringIO()
    bar = ProgressBar(9, "matting", file=file, clock=clock)
    for second in (8, 16, 24):
        clock.seconds = second
        bar.write(f"image after {second} s")
        bar.update()
    assert capsys.readouterr().out == "image after 8 s\nimage after 16 s\nimage after 24 s\n"
    assert file.getvalue() == ""
    clock.seconds = 34
    bar.update(2)
    assert file.getvalue() == "matting: 5 of 9 images after 34 s\n"


def test_one_tile_is_no_progress(clock):
    file = io.StringIO()
    bar = ProgressBar(1, "matting", file=file, clock=clock)
    clock.seconds = 60
    bar.within("a.png", 1, 1)
    assert file.getvalue() == ""


def test_a_long_step_is_told_to_go_on(clock):
    file = io.StringIO()
    bar = ProgressBar(1, "matting", file=file, clock=clock)
    bar.within("a.png", 3, 8)
    for second in range(25):
        clock.seconds = second
        bar.beat()
    assert file.getvalue() == "a.png: 3 of 8 tiles after 10 s\na.png: 3 of 8 tiles after 20 s\n"


def test_it_beats_within_its_block_only(monkeypatch):
    """A clock on which 11 seconds pass between two looks."""
    monkeypatch.setattr("utils.progress_bar.BEAT", 0)
    beaten, seconds = threading.Event(), itertools.count(0, 11)

    class File(io.StringIO):
        def write(self, text):
            beaten.set()
            return super().write(text)

    file = File()
    with ProgressBar(2, "matting", file=file, clock=lambda: next(seconds)):
        assert beaten.wait(60)
    assert file.getvalue().startswith("matting: 0 of 2 images after ")
    assert not [thread for thread in threading.enumerate() if "_beat_until_ended" in thread.name]


def test_other_processes_show_no_progress(clock):
    file = io.StringIO()
    bar = ProgressBar(4, "matting", shown=False, file=file, clock=clock)
    clock.seconds = 60
    bar.update()
    bar.within("a.png", 1, 9)
    bar.note("a.png begun")
    assert file.getvalue() == ""


def test_items_pass_unchanged(capsys):
    assert list(in_steps(iter("abc"), 3, "reading")) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_the_name_of_a_batch():
    assert batch_name(["a\n.png"]) == "a\\n.png"
    assert batch_name(["a.png", "b.png", "c.png"]) == "a.png and 2 more"


class SlowNetwork:
    """A predictor that takes seven seconds per tile, by a clock of its own."""

    device, precision = "cpu", "fp32"

    def __init__(self, clock: Clock):
        self.clock = clock

    def attention_for(self, height, width):
        return "near"

    def predict_batch(self, pairs, report):
        for tile in range(1, 5):
            self.clock.seconds += 7
            report(tile, 4)
        return [Matte(np.zeros(trimap.shape, np.float32), (), ()) for _, trimap in pairs]


def test_a_large_image_is_announced_and_its_tiles_told(tmp_path, monkeypatch, capsys, clock):
    monkeypatch.setattr("utils.progress_bar.BEAT", 3600)
    monkeypatch.setattr(matte_folder, "LARGE", 40 * 50)
    monkeypatch.setattr(matte_folder, "ProgressBar", lambda *args, **more: ProgressBar(*args, **more, clock=clock))
    for name, size in (("large", (40, 50)), ("small", (40, 49))):
        write_png(tmp_path / "images" / f"{name}.png", np.zeros((*size, 3), np.uint8))
        write_png(tmp_path / "trimaps" / f"{name}.png", np.full(size, 128, np.uint8))
    counts = matte_folder.matte_folder(SlowNetwork(clock), tmp_path / "images", tmp_path / "trimaps", tmp_path / "out")
    assert counts == (2, 2)
    lines = [line.partition(" unknown")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["large.png: 50 x 40, begun", "large.png: 2 of 4 tiles after 14 s, about 14 s left",
                         "large.png: 4 of 4 tiles after 28 s"]
    assert "small.png: 49 x 40, begun" not in lines
    assert lines[-1] == "small.png: 49 x 40, 100.0%"
    assert not any("\r" in line for line in lines)


def test_an_images_line_does_not_wait_for_the_next_image(monkeypatch, tmp_path):
    """The second image takes, tile by tile, until the first one's line has been printed."""
    told = threading.Event()

    class Bar(ProgressBar):
        def write(self, line, file=None):
            if line.startswith("a.png: 9 x 8"):
                told.set()

    class Network(SlowNetwork):
        def predict_batch(self, pairs, report):
            turns = range(10**7) if pairs[0][1].shape == (7, 9) else ()
            assert not turns or any(report(1, 3) or told.is_set() for _ in turns)
            return [Matte(np.zeros(trimap.shape, np.float32), (), ()) for _, trimap in pairs]

    monkeypatch.setattr(matte_folder, "ProgressBar", Bar)
    for name, size in (("a", (8, 9)), ("b", (7, 9))):
        write_png(tmp_path / "images" / f"{name}.png", np.zeros((*size, 3), np.uint8))
        write_png(tmp_path / "trimaps" / f"{name}.png", np.full(size, 128, np.uint8))
    counts = matte_folder.matte_folder(Network(Clock()), tmp_path / "images", tmp_path / "trimaps", tmp_path / "out")
    assert counts == (2, 2)


PROGRAMS = {
    "demo.py": (["--device=cpu", "--random-weights"], "demo.py: images: 5 in demo/input_lowres; trimaps: 5 in "),
    "main.py": (["--config=config/trial.toml", "--device=cpu"], "main.py: training, configured by config/trial.toml"),
    "evaluate.py": (["--pred-dir=a", "--alpha-dir=b", "--trimap-dir=c"], "evaluate.py: mattes in a, alphas in b"),
    "tools/make_generated_data.py": (["--foregrounds=0", "--backgrounds=1", "--tests=0", "--size=64", "--output=OUT"],
                                     "make_generated_data.py: drawing 1 images\nOUT: "),
    "tools/cut_out_photographs.py": (["--photographs=a", "--device=cpu"], "cut_out_photographs.py: "),
    "tools/matte_photographs.py": (["--photographs=a", "--device=cpu"], "matte_photographs.py: "),
    "tools/export_onnx.py": ([], "export_onnx.py: loading PyTorch"),
    "tools/train_free.py": (["--parts=a"], "train_free.py: loading PyTorch"),
    "tools/average_checkpoints.py": (["a", "b", "--output=c"], "average_checkpoints.py: loading PyTorch"),
    "benchmarks/inference.py": ([], "inference.py: loading PyTorch"),
    "benchmarks/methods.py": (["--checkpoint=a", "--methods", "cf"], "methods.py: methods: a, closed form\n")}

WITHOUT_PYTORCH = "evaluate.py", "tools/make_generated_data.py", "benchmarks/methods.py"  # or which import it later


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_first_line_comes_before_pytorch(tmp_path, name):
    """A PyTorch that ends the program as soon as it is imported: the line is there already, in a pipe."""
    arguments, line = PROGRAMS[name]
    arguments, line = [text.replace("OUT", str(tmp_path)) for text in arguments], line.replace("OUT", str(tmp_path))
    (tmp_path / "torch.py").write_text("import os\nos._exit(9)\n")
    result = subprocess.run([sys.executable, name, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
                            env={"PYTHONPATH": str(tmp_path), "PATH": ""}, timeout=60)
    if name not in WITHOUT_PYTORCH:
        assert result.returncode == 9, result.stderr
    assert (result.stdout or result.stderr).startswith(line)
