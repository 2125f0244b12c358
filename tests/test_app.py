"""The program that serves the web page, and the page's events. Needs Gradio."""

import os
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio")

import gradio as gr
from page_client import free_port

import app
from dataloader.image_file import ImageFileError, Photo
from matting.options import MISSING_PUBLISHED, build_predictor
from utils.config import load_config
from webpage import page as events
from webpage.marks import Marks

ROOT = Path(app.__file__).parent


@pytest.fixture
def matting():
    return build_predictor(load_config("config/trial.toml", ["model.width=0.1"]), None, "cpu")


def silent(share: float, text: str) -> None:
    pass


def cut_out(matting, results: OrderedDict, session: events.Session, *background) -> tuple:
    """What "Cut out" answers, without marks."""
    return events.cut_out(matting, results, session, Marks(), "medium", False,
                          *(background or (events.COLOUR, "#102030", None)), silent)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--checkpoint", "nowhere.pth"], "nowhere.pth: no such file"),
    (["--config", "config/gca-dist.toml"], f"checkpoints/gca-dist/gca-dist.pth: no such file\n{MISSING_PUBLISHED}")])
def test_a_missing_checkpoint_is_told_as_the_demo_does(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    assert app.main() == 1
    assert capsys.readouterr().err == f"app.py: {message}\n"


def test_a_taken_port_is_told(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["app.py", "--random-weights", "--config", "config/trial.toml", "--device",
                                          "cpu", "--port", str(port)])
        assert app.main() == 1
    assert capsys.readouterr().err == (f"app.py: cannot listen on 127.0.0.1, port {port}; the port may be taken: "
                                       "choose another with --port\n")


@pytest.mark.parametrize(("error", "line"), [
    (OSError(28, "No space left on device", "{folder}/1a2b/my photo.png"),
     "[Errno 28] No space left on device: 'my photo.png'"),
    (ImageFileError("{folder}/1a2b/my photo.png: the file is empty"), "my photo.png: the file is empty"),
    (cv2.error("OpenCV(5): a.cpp:1: error: (-215) size > 0\nmore"), "OpenCV(5): a.cpp:1: error: (-215) size > 0"),
    (MemoryError(), "Not enough memory."),
    (ValueError("{folder}/1a2b/"), "ValueError"),
    (ValueError(" \n"), "ValueError"),
])
def test_errors_are_told_in_one_line_without_folders(monkeypatch, tmp_path, error, line):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(cv2.error, "err", None, raising=False)  # OpenCV sets it on the class, for its latest error
    arguments = [text.format(folder=tmp_path) if isinstance(text, str) else text for text in error.args]
    if isinstance(error, OSError):
        arguments.append(error.filename.format(folder=tmp_path))
    with pytest.raises(gr.Error) as told, events.show_errors():
        raise type(error)(*arguments)
    assert told.value.message == line


def test_results_of_the_latest_are_kept(monkeypatch, tmp_path, matting):
    """Of three, two; with the files of these alone. A visitor whose result is gone is told."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(events, "KEPT_RESULTS", 2)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    results = OrderedDict()
    session = events.Session("photo", Photo(image, image, None), np.full((64, 64), 128, np.uint8))
    sessions = [cut_out(matting, results, session)[0] for _ in range(3)]
    assert list(results) == [session.folder for session in sessions[1:]]
    assert sorted(tmp_path.glob("tmp*")) == sorted(results)
    with pytest.raises(gr.Error, match="cut out again"):
        events.background_changed(results, sessions[0], events.COLOUR, "#ffffff", None)
    with pytest.raises(gr.Error, match="cannot be decoded"):  # an unusable background costs no result
        (tmp_path / "bad.png").write_text("no image")
        cut_out(matting, results, sessions[2], events.PICTURE, "#102030", str(tmp_path / "bad.png"))
    assert len(list(sessions[2].folder.iterdir())) == 4


def test_a_cut_out_without_a_trimap_is_proposed_first(monkeypatch, tmp_path, matting):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    image = np.full((60, 80, 3), (20, 40, 200), np.uint8)
    image[15:45, 20:60] = (220, 30, 10)
    session, view, remarks, *_ = cut_out(matting, OrderedDict(), events.Session("photo", Photo(image, image, None)))
    assert session.proposed
    assert (session.trimap[20:40, 25:55] == 255).all()
    assert not session.trimap[:10].any()
    assert Path(view["tint"]["path"]).is_file()
    assert remarks == events.MEND


def test_strokes_of_one_kind_are_no_error(monkeypatch, tmp_path, matting):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    image = np.full((60, 80, 3), (20, 40, 200), np.uint8)
    image[15:45, 20:60] = (220, 30, 10)
    painted = np.zeros((60, 80), bool)
    painted[20:30, 30:40] = True
    marks = Marks((0.1, 0.1, 0.9, 0.9), np.full((60, 80), 255, np.uint8), painted)
    session, *_ = events.trimap_proposed(matting, events.Session("photo", Photo(image, image, None)), marks, "medium",
                                         False, silent)
    assert (session.trimap[20:40, 25:55] == 255).all()
    assert not session.trimap[:10].any()


def test_that_nothing_is_found_in_a_new_photo_is_advice_and_later_an_error(monkeypatch, tmp_path, matting):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def find_nothing(*_, **__):
        raise ValueError("no subject found")

    monkeypatch.setattr(events, "propose", find_nothing)
    image = np.zeros((40, 50, 3), np.uint8)
    session = events.Session("photo", Photo(image, image, None))
    again, view, remarks = events.first_proposed(matting, session, "medium", False, silent)
    assert (again.trimap, view["tint"], remarks) == (None, None, events.NOTHING_FOUND)
    with pytest.raises(gr.Error, match="no subject found"):
        events.trimap_proposed(matting, session, Marks(), "medium", False, silent)


def test_a_port_beyond_the_last_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", "--port", "65536"])
    with pytest.raises(SystemExit, match="2"):
        app.main()
    assert "argument --port: 65536 is above 65535" in capsys.readouterr().err


def test_a_stopped_program_leaves_no_files(tmp_path):
    """Started as a program, and ended as a service manager ends it."""
    command = [sys.executable, "app.py", "--random-weights", "--config", "config/trial.toml", "--device", "cpu",
               "--port", str(free_port())]
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)},
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            line = next(line for line in program.stdout if line.startswith("Open "))
            assert f":{command[-1]} in a browser" in line
            assert list(tmp_path.glob("matting-*"))
        finally:
            program.send_signal(signal.SIGTERM)
        program.wait(timeout=60)
    assert not list(tmp_path.glob("matting-*"))
