"""The demo on folders: what it writes, what it refuses, and that it does the rest all the same."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from reference import reference_network

import demo
from dataloader.image_file import ImageFileError, read_grey, read_image
from matting import matte_folder, predictor
from matting.cutout_files import NO_CUTOUT_FILES
from matting.options import add_matting_arguments, chosen_network
from matting.predictor import Matting
from networks import build_network
from utils.checkpoint import save_checkpoint
from utils.errors import InputError
from utils.file_writing import write_png
from utils.preprocessing import Matte, alpha_to_uint8
from utils.progress_bar import ProgressBar

ROOT = Path(__file__).parent.parent
BASELINE = ["--config", str(ROOT / "config" / "baseline-dist.toml")]


@pytest.fixture(scope="module")
def networks(tmp_path_factory) -> dict[str, Path]:
    """Checkpoint files of the reference networks."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for kind in ("gca", "baseline"):
        save_checkpoint(folder / f"{kind}.pth", reference_network(kind))
    return {kind: folder / f"{kind}.pth" for kind in ("gca", "baseline")}


@pytest.fixture
def pictures(tmp_path) -> Path:
    """images/a.png and trimaps/a.png, 50 x 40."""
    rng = np.random.default_rng(0)
    write_png(tmp_path / "images" / "a.png", rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    write_png(tmp_path / "trimaps" / "a.png", rng.choice(np.array([0, 128, 255], np.uint8), (40, 50)))
    return tmp_path


def run(monkeypatch, pictures: Path, *more: str) -> int:
    folders = ["--image-dir", str(pictures / "images"), "--trimap-dir", str(pictures / "trimaps"),
               "--output", str(pictures / "out")]
    monkeypatch.setattr(sys, "argv", ["demo.py", *folders, "--device", "cpu", *more])
    monkeypatch.chdir(ROOT)
    return demo.main()


def written(pictures: Path) -> list[str]:
    return sorted(str(path.relative_to(pictures / "out")) for path in (pictures / "out").rglob("*") if path.is_file())


def test_mattes_and_offset_pictures(monkeypatch, capsys, pictures, networks):
    assert run(monkeypatch, pictures, "--checkpoint", str(networks["gca"])) == 0
    folder = "gca_gca.pth"
    assert written(pictures) == [f"{folder}/a.png", f"{folder}/a_offset1.png", f"{folder}/a_offset2.png"]
    alpha = Matting(reference_network("gca"), "cpu")(read_image(pictures / "images" / "a.png"),
                                                     read_grey(pictures / "trimaps" / "a.png"))
    matte = cv2.imread(str(pictures / "out" / folder / "a.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(matte, alpha_to_uint8(alpha))
    offsets = read_image(pictures / "out" / folder / "a_offset1.png")
    assert offsets.shape == (512, 512, 3)  # 8 x 8 positions
    lines = capsys.readouterr().out.splitlines()
    unknown = (read_grey(pictures / "trimaps" / "a.png") == 128).mean()
    assert lines[0] == f"demo.py: images: 1 in {pictures / 'images'}; trimaps: 1 in {pictures / 'trimaps'}"
    assert lines[1].startswith(f"a.png: 50 x 40, {unknown:.1%} unknown, ")
    assert lines[2].startswith("1 of 1 mattes in ")


def test_baseline_has_no_offset_pictures(monkeypatch, pictures, networks):
    assert run(monkeypatch, pictures, *BASELINE, "--checkpoint", str(networks["baseline"])) == 0
    assert written(pictures) == ["baseline-dist_baseline.pth/a.png"]


def test_each_bad_image_is_named_and_the_rest_done(monkeypatch, capsys, pictures, networks):
    images, trimaps = pictures / "images", pictures / "trimaps"
    grey = np.full((40, 50), 128, np.uint8)
    for name in ("missing", "small", "labels", "b"):
        write_png(images / f"{name}.png", np.zeros((40, 50, 3), np.uint8))
    write_png(trimaps / "small.png", grey[:20])
    write_png(trimaps / "labels.png", grey // 64)
    write_png(images / "a.jpg.png", np.zeros((4, 4, 3), np.uint8))
    (images / "a.jpg.png").rename(images / "a.webp")
    (images / "broken.png").write_bytes(b"no image")
    write_png(trimaps / "broken.png", grey)
    Image.fromarray(np.dstack([grey] * 3)).save(trimaps / "b.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(images / "turned.jpg", exif=exif)
    write_png(trimaps / "turned.png", grey)
    (images / "notes.txt").write_text("not an image")
    assert run(monkeypatch, pictures, *BASELINE, "--checkpoint", str(networks["baseline"])) == 1
    captured = capsys.readouterr()
    for line in (f"{images / 'missing.png'}: no trimap named missing.* in {trimaps}",
                 f"{trimaps / 'small.png'}: the trimap is 50 x 20, but small.png is 50 x 40",
                 f"{trimaps / 'labels.png'}: not a trimap: its brightest value is 2",
                 f"{images / 'a.webp'}: would be written over the matte of a.png; rename one",
                 f"{images / 'broken.png'}: cannot be decoded",
                 "turned.jpg is 40 x 50 (the image after the rotation its EXIF data asks for)"):
        assert f"failed: {line}" in captured.err or line in captured.err
    assert f"skipped: {images / 'notes.txt'}: not one of .png" in captured.err
    assert "2 of 8 mattes" in captured.out
    assert written(pictures) == ["baseline-dist_baseline.pth/a.png", "baseline-dist_baseline.pth/b.png"]


def test_running_out_of_memory_costs_one_image(monkeypatch, capsys, pictures, networks):
    for kind in ("images", "trimaps"):
        picture = read_image(pictures / kind / "a.png")
        write_png(pictures / kind / "b.png", picture)
    predict_batch, calls = Matting.predict_batch, []

    def failing_once(self, pairs, report):
        calls.append(pairs)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return predict_batch(self, pairs)

    monkeypatch.setattr(Matting, "predict_batch", failing_once)
    assert run(monkeypatch, pictures, *BASELINE, "--checkpoint", str(networks["baseline"])) == 1
    assert "a.png: not enough memory on cpu for 50 x 40 pixels" in capsys.readouterr().err
    assert written(pictures) == ["baseline-dist_baseline.pth/b.png"]


def test_batches_of_one_size(monkeypatch, capsys, pictures, networks):
    """Neighbours of one size go through together, the others alone; where a batch is too large, one by one."""
    for name, size in (("b", (40, 50)), ("c", (33, 20)), ("d", (40, 50)), ("e", (40, 50)), ("f", (40, 50))):
        write_png(pictures / "images" / f"{name}.png", np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))
        write_png(pictures / "trimaps" / f"{name}.png", np.full(size, 128, np.uint8))
    (pictures / "images" / "e.png").write_bytes(b"broken")
    checkpoint = ["--checkpoint", str(networks["baseline"])]
    assert run(monkeypatch, pictures, *BASELINE, *checkpoint) == 1
    folder = pictures / "out" / "baseline-dist_baseline.pth"
    alone = {path.name: read_grey(path) for path in folder.iterdir()}
    predict_batch, sizes = Matting.predict_batch, []

    def limited(self, pairs, report):
        sizes.append(len(pairs))
        if len(pairs) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return predict_batch(self, pairs)

    monkeypatch.setattr(Matting, "predict_batch", limited)
    assert run(monkeypatch, pictures, *BASELINE, *checkpoint, "--batch", "2") == 1
    assert sizes == [2, 1, 1, 1]
    assert sorted(alone) == ["a.png", "b.png", "c.png", "d.png", "f.png"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(alone)
    for name, matte in alone.items():
        assert np.abs(read_grey(folder / name).astype(int) - matte).max() <= 1
    sizes.clear()
    (pictures / "images" / "c.png").unlink()
    assert run(monkeypatch, pictures, *BASELINE, *checkpoint, "--batch", "9") == 1
    assert sizes == [3, 1, 1, 1, 1]


def test_processes_share_a_folder(pictures):
    """Under torchrun each process does its share, and one tells the sum."""
    for name in ("b", "c"):
        for kind in ("images", "trimaps"):
            shutil.copy(pictures / kind / "a.png", pictures / kind / f"{name}.png")
    (pictures / "trimaps" / "c.png").unlink()
    arguments = ["--random-weights", *BASELINE, "--device", "cpu", "--image-dir", str(pictures / "images"),
                 "--trimap-dir", str(pictures / "trimaps"), "--output", str(pictures / "out")]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    result = subprocess.run([*launcher, "demo.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stdout.count("2 of 3 mattes") == 1
    assert result.stdout.count("RANDOM WEIGHTS") == 1
    assert "no trimap named c.*" in result.stderr
    assert written(pictures) == ["baseline-dist_random-weights/a.png", "baseline-dist_random-weights/b.png"]


def test_nothing_unknown_is_told(monkeypatch, capsys, pictures, networks):
    write_png(pictures / "trimaps" / "a.png", np.full((40, 50), 255, np.uint8))
    assert run(monkeypatch, pictures, *BASELINE, "--checkpoint", str(networks["baseline"])) == 0
    assert "0.0% unknown" in (output := capsys.readouterr().out)
    assert "(the trimap decides every pixel)" in output


def test_missing_weights_are_explained(monkeypatch, capsys, pictures):
    published = ["--config", str(ROOT / "config" / "gca-dist.toml")]
    for more, parts in ((["--checkpoint", str(pictures / "none.pth")], [f"{pictures / 'none.pth'}: no such file\n"]),
                        (published, ["gca-dist.pth: no such file\n", "https://github.com/Yaoyi-Li/GCA-Matting"])):
        assert run(monkeypatch, pictures, *more) == 1
        message = capsys.readouterr().err
        assert all(part in message for part in parts)
        assert len(message.splitlines()) == (4 if more == published else 1)
    assert not (pictures / "out").exists()


def test_random_weights_are_labelled(monkeypatch, capsys, pictures):
    assert run(monkeypatch, pictures, *BASELINE, "--random-weights") == 0
    assert "RANDOM WEIGHTS" in capsys.readouterr().out
    assert written(pictures) == ["baseline-dist_random-weights/a.png"]


def test_options_of_the_predictor(monkeypatch, pictures, networks):
    made = []
    monkeypatch.setattr(predictor, "Matting", lambda *arguments, **options: made.append(options) or Matting(*arguments))
    assert run(monkeypatch, pictures, *BASELINE, "--checkpoint", str(networks["baseline"]),
               "--precision", "bf16", "--memory-limit", "1.5GB", "--compile", "--attention", "near") == 0
    assert made == [{"precision": "bf16", "memory_limit": 1_500_000_000, "compile": True, "attention": "near"}]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--memory-limit", "4"], "--memory-limit: '4' is not an amount of memory; expected one such as 4GB or 512MB"),
    (["--memory-limit", "0GB"], "argument --memory-limit: '0GB' is not an amount of memory"),
    (["--precision", "int8"], "argument --precision: invalid choice: 'int8'"),
])
def test_refused_options(monkeypatch, capsys, pictures, arguments, message):
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, pictures, *arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--image-dir", "nowhere", "--random-weights"], "demo.py: nowhere: no such folder"),
    (["--config", "none.toml", "--random-weights"], "demo.py: none.toml: no such file"),
    (["--set", "model.trimap_channel=4", "--random-weights"], "model.trimap_channel is 4; expected 1 or 3"),
    (["--checkpoint", "README.md"], "demo.py: README.md: not a PyTorch file"),
])
def test_refused_before_the_first_image(monkeypatch, capsys, pictures, arguments, message):
    assert run(monkeypatch, pictures, *arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_included_samples():
    """Every sample has three trimaps of its size that hold 0, 128 and 255, tight to wide."""
    images = sorted((ROOT / "demo" / "input_lowres").iterdir())
    assert len(images) >= 4
    for path in images:
        trimaps = [read_grey(ROOT / "demo" / "trimap_lowres" / f"Trimap{i}" / path.name) for i in (1, 2, 3)]
        for trimap in trimaps:
            assert trimap.shape == read_image(path).shape[:2]
            assert np.unique(trimap).tolist() == [0, 128, 255]
            assert not ((trimaps[0] == 128) & (trimap != 128)).any()


@pytest.mark.parametrize(("precision", "advice"), [
    ("fp16", "try --precision fp32"), ("fp32", "its weights may be damaged")])
def test_mattes_that_are_not_finite_are_failures(tmp_path, precision, advice):
    job = matte_folder.Job(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 128, np.uint8), 1.0, None)
    mattes = [Matte(np.full((4, 5), level, np.float32), (), ()) for level in (np.nan, 1)]
    matting = SimpleNamespace(predict_batch=lambda pairs, report: mattes, precision=precision,
                              attention_for=lambda height, width: "near")
    failure, result = matte_folder.predict_jobs(matting, [job, job], ProgressBar(2, "matting"))
    assert str(failure) == f"{job.path}: the network's output contains NaN or Inf; {advice}"
    assert result.matte is mattes[1]
    line = matte_folder.write_result(result, tmp_path, matte_folder.NO_CUTOUT_FILES)
    assert line.startswith("a.png: 5 x 4, 100.0% unknown, ")
    assert line.endswith(" s, near attention (--attention exact: slower)")


def test_what_opencv_refuses_after_the_network_costs_one_picture(tmp_path):
    job = matte_folder.Job(tmp_path / "a.png", np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 128, np.uint8), 1.0, None)
    result = matte_folder.MatteResult(job, Matte(np.zeros((4, 5, 7), np.float32), (), ()), 1.0, "exact")
    line = matte_folder.write_result(result, tmp_path, NO_CUTOUT_FILES)
    assert isinstance(line, ImageFileError)
    assert str(line).startswith(f"{job.path}: its output cannot be computed (")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [[], ["--set", "version=mine"]])
def test_a_label_of_ones_own_moves_no_weights(monkeypatch, tmp_path, arguments):
    """The checkpoint stays the one of the configuration file's version; and the advice fits that version."""
    parser = argparse.ArgumentParser()
    add_matting_arguments(parser)
    (tmp_path / "own.toml").write_text('version = "own"\n')
    monkeypatch.chdir(tmp_path)
    args = parser.parse_args(["--config", "own.toml", *arguments])
    with pytest.raises(InputError) as error:
        chosen_network(args)
    assert str(error.value) == f"{Path('checkpoints/own/own.pth')}: no such file; train it first, " \
                               "or name a file with --checkpoint"
    save_checkpoint(tmp_path / "checkpoints" / "own" / "best_model.pth", build_network(width=0.1))
    with pytest.raises(InputError, match=r"own\.pth: no such file; its training's is --checkpoint=.*best_model\.pth$"):
        chosen_network(args)
    save_checkpoint(tmp_path / "checkpoints" / "own" / "own.pth", build_network(width=0.1))
    config, checkpoint = chosen_network(args)
    assert (config.version, checkpoint) == ("mine" if arguments else "own", Path("checkpoints/own/own.pth"))
