"""The benchmark that compares checkpoints with PyMatting's methods."""

import csv
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from benchmarks.compared_methods import (
    THREAD_VARIABLES,
    MethodError,
    MethodProcess,
    NetworkMethod,
    PyMattingMethod,
)
from benchmarks.memory import peak_memory
from benchmarks.methods import chosen_methods, chosen_sets, compare, main, parse_arguments, unique_names
from benchmarks.methods_report import Row, draw_worst, file_name, move_apart, print_table, summaries
from dataloader.image_file import read_grey, read_image
from dataloader.image_folders import Triple, find_test_images
from evaluation.metrics import Errors, matting_errors
from matting.cutout import refined_alpha
from matting.ensemble import Ensemble
from matting.predictor import Matting
from networks import build_network
from utils.checkpoint import save_checkpoint
from utils.errors import InputError
from utils.file_writing import write_png
from utils.preprocessing import alpha_to_uint8

GENERATED = Path(__file__).parent.parent / "demo" / "generated"


def arguments(monkeypatch, *options: object):
    monkeypatch.setattr(sys, "argv", ["methods.py", *map(str, options)])
    return parse_arguments()


def row(image: str, method: str, sad: float, seconds: float = 1.0, memory: int = 2**30) -> Row:
    return Row("drawn", image, method, Errors(sad, sad / 10, 2 * sad, 3 * sad), seconds, memory)


def test_tables_hold_means_and_the_largest_memory(capsys):
    rows = [row("a", "KNN", 1), row("a", "net", 4, 0.5), row("b", "KNN", 2, 4, 3 * 2**30), row("b", "net", 6, 0.7)]
    summary = summaries(rows)["KNN"]
    assert (*summary.errors, *summary[1:]) == pytest.approx((1.5, 0.15, 3, 4.5, 2.5, 3))
    print_table(rows, left_out=3)
    assert capsys.readouterr().out.splitlines() == [
        "drawn: means of 2 images; 3 left out",
        "method      SAD      MSE     Grad     Conn  s/image    GiB",
        "KNN        1.50   0.1500     3.00     4.50     2.50   3.00",
        "net        5.00   0.5000    10.00    15.00     0.60   1.00"]


def test_the_worst_images_of_the_first_method_are_drawn_beside_the_best_other_one(tmp_path, monkeypatch):
    grey = {"net": 200, "net --flip": 220, "network": 50, "closed form": 90}
    rows = [row(image, method, sad) for image, sads in
            {"a": (3, 0, 2, 1), "b": (1, 0, 2, 1), "c": (5, 0, 1, 2)}.items()
            for method, sad in zip(grey, sads, strict=True)]
    files = {}
    for image in "abc":
        write_png(tmp_path / "image.png", np.zeros((24, 30, 3), np.uint8))
        write_png(tmp_path / "alpha.png", np.full((24, 30), 255, np.uint8))
        files["drawn", image] = Triple(*(tmp_path / f"{name}.png" for name in ("image", "alpha", "alpha")), (30, 24))
        for method, level in grey.items():
            folder = tmp_path / "mattes" / "drawn" / file_name(method)
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{image}.png", np.full((24, 30), level, np.uint8))
    captions = []
    monkeypatch.setattr("benchmarks.methods_report.contact_sheet",
                        lambda sheet: captions.extend(sheet) or sheet[0][1])
    draw_worst(tmp_path, rows, files, 2)
    assert [caption for caption, _ in captions] == [
        "drawn, c. SAD: net 5.00; network 1.00", "drawn, a. SAD: net 3.00; closed form 1.00"]
    middles = [picture[120, 150 + 304 * np.arange(5), 0].tolist() for _, picture in captions]
    assert middles == [[0, 255, 200, 50, 255], [0, 255, 200, 90, 255]]
    assert read_image(tmp_path / "worst.jpg").shape == (240, 5 * 300 + 4 * 4, 3)


def test_names_tell_methods_and_sets_apart(monkeypatch, tmp_path):
    paths = [Path("a/x.pth"), Path("b/x.pth"), Path("knn.pth"), Path("y.pth")]
    assert unique_names([(path.stem, path) for path in paths], ("KNN",)) == ["a/x.pth", "b/x.pth", "knn.pth", "y"]
    for names in ([("a b", Path("p")), ("a_b", Path("p"))], [("x", Path("KNN"))] * 2):
        with pytest.raises(InputError, match="given twice, or the same name as something else"):
            unique_names(names, ("KNN",))
    assert file_name("..") == "_"
    monkeypatch.chdir(GENERATED)
    assert list(chosen_sets(arguments(monkeypatch, "--data", "."))) == ["generated"]
    for folder in ("first/test", "second/test", "photographs"):
        shutil.copytree(GENERATED, tmp_path / folder)
    sets = chosen_sets(arguments(
        monkeypatch, "--data", *(tmp_path / name for name in ("first/test", "second/test", "photographs")),
        "--image-dir", GENERATED / "merged", "--alpha-dir", GENERATED / "alpha", "--trimap-dir", GENERATED / "trimap"))
    assert list(sets) == ["first", "second", "photographs", "merged"]
    assert len(sets["second"]) == len(list((GENERATED / "merged").iterdir()))


def test_each_checkpoint_comes_alone_and_averaged(monkeypatch):
    args = arguments(monkeypatch, "--checkpoint", "a/n.pth", "--config", "c.toml", "--flip", "--scales", "1", "0.5",
                     "--refine", "--methods", "cf", "--device", "cpu")
    alone = NetworkMethod(Path("a/n.pth"), "c.toml", device="cpu")
    assert chosen_methods(args) == {
        "n": alone, "n --refine": alone._replace(refine=True),
        "n --flip --refine": alone._replace(flip=True, refine=True),
        "n --flip --scales 1 0.5 --refine": alone._replace(flip=True, scales=(1.0, 0.5), refine=True),
        "closed form": PyMattingMethod("cf")}
    for options in (["--flip"], ["--scales", "1", "0.5"]):
        args = arguments(monkeypatch, "--checkpoint", "n.pth", *options, "--methods")
        assert list(chosen_methods(args)) == ["n", " ".join(["n", *options])]


@pytest.mark.parametrize("options", [["--image-dir", "a"], ["--checkpoint", "--methods"],
                                     ["--checkpoint", "a", "--config", "b", "c"], ["--threads", "0"]])
def test_options_that_do_not_fit_are_refused(monkeypatch, options, capsys):
    with pytest.raises(SystemExit, match="2"):
        arguments(monkeypatch, *options)
    assert "methods.py: error: " in capsys.readouterr().err


def test_the_program_measures_each_method_as_it_is(tmp_path, monkeypatch, capsys):
    """Errors equal those of the predictor, called directly; an image on which KNN fails is left out for all."""
    for part in ("merged", "alpha", "trimap"):
        (tmp_path / "set" / part).mkdir(parents=True)
        for name in ("000000", "000002", "000004"):  # the first one has no known foreground
            shutil.copy(GENERATED / part / f"{name}.png", tmp_path / "set" / part)
    torch.manual_seed(3)
    save_checkpoint(tmp_path / "small.pth", build_network(width=0.1), architecture={"width": 0.1})
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")  # as the program does; put back afterwards
    monkeypatch.setattr(sys, "argv", [
        "methods.py", "--data", str(tmp_path / "set"), "--checkpoint", str(tmp_path / "small.pth"), "--flip",
        "--refine", "--methods", "knn", "--output", str(tmp_path / "out"), "--device", "cpu"])
    assert main() == 0
    out, err = capsys.readouterr()
    assert "set: means of 2 images; 1 left out" in out and "000000.png: left out (" in err
    with (tmp_path / "out" / "errors.csv").open() as file:
        rows = {(row["image"], row["method"]): row for row in csv.DictReader(file)}
    methods = ["small", "small --refine", "small --flip --refine", "KNN"]
    assert list(rows) == [(image, method) for image in ("000002", "000004") for method in methods]
    matting = Matting.from_checkpoint(tmp_path / "small.pth", "cpu")
    for (name, method), values in rows.items():
        image, truth, trimap = (read(GENERATED / part / f"{name}.png") for part, read in (
            ("merged", read_image), ("alpha", read_grey), ("trimap", read_grey)))
        matte = read_grey(tmp_path / "out" / "mattes" / "set" / file_name(method) / f"{name}.png")
        if method != "KNN":
            alpha = (Ensemble(matting, flip=True) if "flip" in method else matting)(image, trimap)
            alpha = refined_alpha(image, alpha) if "refine" in method else alpha
            assert np.abs(alpha_to_uint8(alpha).astype(int) - matte).max() <= 1
        found = [float(values[column]) for column in Errors._fields]
        assert found == pytest.approx(matting_errors(matte, truth, trimap))
        assert float(values["seconds"]) > 0 and 2**25 < int(values["peak_bytes"]) < 2**35
    for picture in ("methods.png", "worst.jpg"):
        assert min(read_image(tmp_path / "out" / picture).shape[:2]) > 100


def test_what_cannot_be_used_is_said_in_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["methods.py", "--data", str(GENERATED), "--checkpoint",
                                      str(tmp_path / "none.pth"), "--methods"])
    for variable in THREAD_VARIABLES:
        monkeypatch.setenv(variable, "1")
    assert main() == 1
    assert str(tmp_path / "none.pth") in capsys.readouterr().err
    monkeypatch.setattr("benchmarks.methods.find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["methods.py", "--data", str(GENERATED), "--output", str(tmp_path / "out")])
    assert main() == 1
    assert "methods.py: --output needs matplotlib: pip install matplotlib" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pymatting", None)  # cannot be imported
    with pytest.raises(InputError, match=r"PyMatting cannot be imported \(.*\): pip install pymatting"):
        PyMattingMethod("knn").load()


class Pretended(NamedTuple):
    """A method that ends its process at the second image, and keeps away from memory."""

    def load(self):
        images = iter(["first use", "first image"])
        return lambda image, trimap: trimap / 255 if next(images, None) else os._exit(9), peak_memory


def test_a_process_has_its_own_memory_and_its_end_is_said():
    held = np.ones(2**27)  # a GiB, which a process that is started now has nothing to do with
    trimap = np.full((8, 9), 128, np.uint8)
    with MethodProcess("made up", Pretended()) as process:
        process.wait()
        alpha, seconds, memory = process(np.zeros((8, 9, 3), np.uint8), trimap)
        assert np.array_equal(alpha, trimap)
        assert seconds > 0 and 2**24 < memory < held.nbytes
        for _ in range(2):  # it ends, and has ended
            with pytest.raises(MethodError, match="made up: its process was killed, perhaps out of memory"):
                process(np.zeros((8, 9, 3), np.uint8), trimap)
    assert not multiprocessing.active_children()


def test_out_of_memory_names_method_and_image(tmp_path, monkeypatch):
    class Answers:
        name, wait = "KNN", print

        def __init__(self, *_: object): ...
        def __enter__(self): return self
        def __exit__(self, *_: object): ...
        def __call__(self, *_: object): raise MethodError("KNN: not enough memory")

    monkeypatch.setattr("benchmarks.methods.MethodProcess", Answers)
    triples = find_test_images(*(GENERATED / part for part in ("merged", "alpha", "trimap")))
    with pytest.raises(MethodError, match=r"000000\.png: KNN: not enough memory"):
        compare("drawn", triples, {"KNN": NetworkMethod(Path("unused"))}, None)


def test_names_in_the_chart_do_not_cover_each_other():
    """Two names at one place: the second lies below the first. A third one, far away, stays."""
    figure = pytest.importorskip("matplotlib.figure").Figure()
    axis = figure.subplots()
    labels = [axis.annotate(text, at, (6, -4), textcoords="offset points")
              for text, at in (("one", (0.2, 0.5)), ("two", (0.2, 0.5)), ("three", (0.8, 0.9)))]
    before = [label.get_window_extent().y0 for label in labels]
    move_apart(labels)
    boxes = [label.get_window_extent() for label in labels]
    assert boxes[1].y1 < boxes[0].y0
    assert [boxes[0].y0, boxes[2].y0] == pytest.approx([before[0], before[2]])
