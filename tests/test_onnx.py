"""The exported network and the predictor on it: the same alpha as PyTorch's, without PyTorch; and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx_networks import (
    BASELINE,
    METADATA,
    ROOT,
    WIDTH,
    demo_command,
    random_pair,
    run_without_torch,
)
from PIL import Image

from benchmarks.published import random_network
from dataloader.image_file import read_grey
from matting.predictor import Matting
from networks import MattingNetwork, known_colours
from utils.checkpoint import save_checkpoint
from utils.file_writing import write_png
from utils.preprocessing import UNKNOWN, normalised_planes, trimap_labels
from utils.tensors import encode_trimap, normalise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

if torch.__version__ < "2.11":
    pytest.skip("this PyTorch cannot export attention", allow_module_level=True)

from matting import onnx_export, onnx_predictor  # noqa: E402
from matting.onnx_export import export  # noqa: E402
from matting.onnx_predictor import OnnxFileError, OnnxMatting  # noqa: E402
from tools import export_onnx  # noqa: E402


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return random_network(width=WIDTH)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, network) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "narrow.onnx"
    assert export(network, path, METADATA, "fp32") < 1e-5
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    return path


def test_inputs_are_those_of_training():
    """By hand: white is (1 - mean) / deviation, black -mean / deviation."""
    planes = normalised_planes(np.array([[[255, 0, 255]]], np.uint8))
    assert planes[:, 0, 0] == pytest.approx([(1 - 0.485) / 0.229, -0.456 / 0.224, (1 - 0.406) / 0.225], rel=1e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (70, 45), (200, 130)])
def test_the_predictors_alpha(network, exported, height, width):
    matting, onnx_matting = Matting(network, "cpu"), OnnxMatting(exported, threads=1)
    image, trimap = random_pair(height, width)
    alpha = onnx_matting(image, trimap)
    assert alpha.dtype == np.float32
    assert np.abs(alpha - matting(image, trimap)).max() < 1e-4
    assert alpha[trimap == 128].std() > 0.01


def test_baseline_with_one_trimap_channel(tmp_path):
    network = random_network(trimap_channel=1, width=WIDTH, **BASELINE)
    export(network, tmp_path / "baseline.onnx", METADATA, "fp32")
    pair = random_pair(50, 70)
    alpha = OnnxMatting(tmp_path / "baseline.onnx", threads=1)(*pair)
    assert np.abs(alpha - Matting(network, "cpu")(*pair)).max() < 1e-4


def test_colour_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(known_colours, "SPREADS", 1)  # of six, which take the exporter a minute more, as do
    monkeypatch.setattr(known_colours, "DIRECTIONS", ((0, 1), (-1, 0)))  # the other directions
    network = random_network(width=0.1, colour_samples=True, **BASELINE)
    export(network, tmp_path / "colours.onnx", METADATA | {"colour_samples": "True"}, "fp32")
    matting = OnnxMatting(tmp_path / "colours.onnx", threads=1)
    image, trimap = random_pair(110, 170)
    levels = np.array([[128, 128, 128], [0, 128, 128], [0, 128, 255]], np.uint8)
    for pair in [(image, known[trimap // 127]) for known in levels]:  # nothing known, no foreground, as it is
        assert np.abs(matting(*pair) - Matting(network, "cpu")(*pair)).max() < 1e-4
    with torch.no_grad():
        for layer in (network.encoder.conv1, network.encoder.shortcut[0][0]):
            layer.parametrizations.weight.original[:, 6:] = 0
    assert np.abs(matting(*pair) - Matting(network, "cpu")(*pair)).max() > 1e-3  # the colours count


def test_a_batch_is_its_images(exported):
    matting = OnnxMatting(exported, border=0, threads=1)
    (image, trimap), (other, _) = random_pair(64, 64), random_pair(64, 65)
    pairs = [(image, trimap), (other[:, :64], np.full_like(trimap, 128))]
    for matte, pair in zip(matting.predict_batch(pairs), pairs, strict=True):
        assert np.abs(matte.alpha - matting(*pair)).max() < 1e-5


def test_metadata(exported):
    matting = OnnxMatting(exported, threads=1)
    assert (matting.version, matting.trimap_channel) == ("narrow", 3)
    metadata = matting.network.session.get_modelmeta().custom_metadata_map
    assert metadata == {**METADATA, "trimap_channel": "3", "stride": "32"}


def test_nothing_unknown_is_the_trimap(exported):
    image, trimap = random_pair(20, 30)
    trimap[trimap == 128] = 0
    assert np.array_equal(OnnxMatting(exported, threads=1)(image, trimap), trimap / np.float32(255))


def test_the_demo_needs_no_torch(tmp_path, network, exported):
    """Its mattes are the PyTorch demo's, to the level where rounding decides."""
    for name, size in (("a", (50, 40)), ("b", (50, 40)), ("c", (33, 70))):
        image, trimap = random_pair(*size)
        write_png(tmp_path / "images" / f"{name}.png", image)
        write_png(tmp_path / "trimaps" / f"{name}.png", trimap)
    (tmp_path / "images" / "broken.png").write_bytes(b"no image")
    write_png(tmp_path / "trimaps" / "broken.png", np.zeros((4, 4), np.uint8))
    result = run_without_torch(*demo_command(tmp_path, "--onnx", str(exported), "--batch", "2"))
    assert result.returncode == 1
    assert "3 of 4 mattes" in result.stdout
    share = (trimap_labels(read_grey(tmp_path / "trimaps" / "c.png")) == UNKNOWN).mean()
    assert f"c.png: 70 x 33, {share:.1%} unknown, " in result.stdout
    assert f"{tmp_path / 'images' / 'broken.png'}: cannot be decoded" in result.stderr
    save_checkpoint(tmp_path / "narrow.pth", network)
    subprocess.run([sys.executable, *demo_command(tmp_path, "--checkpoint", str(tmp_path / "narrow.pth"), "--device",
                                                  "cpu", "--set", f"model.width={WIDTH}", "--set", "version=narrow")],
                   cwd=ROOT, capture_output=True, check=False)
    written = sorted(path.name for path in (tmp_path / "out" / "narrow_narrow.onnx").iterdir())
    assert written == ["a.png", "b.png", "c.png"]
    for name in written:
        matte, expected = (read_grey(tmp_path / "out" / folder / name).astype(int)
                           for folder in ("narrow_narrow.onnx", "narrow_narrow.pth"))
        assert np.abs(matte - expected).max() <= 1


def test_other_files_are_refused(tmp_path, exported):
    strange = tmp_path / "strange.onnx"
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "graph",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), strange)
    truncated = tmp_path / "truncated.onnx"
    truncated.write_bytes(exported.read_bytes()[:100_000])
    for path, message in ((strange, f"{strange}: not a matting network of tools/export_onnx.py: its metadata lacks "
                                    "version, trimap_channel, width, encoder, decoder, stride"),
                          (truncated, f"{truncated}: cannot be loaded as an ONNX network"),
                          (tmp_path / "none.onnx", "none.onnx: no such file"), (tmp_path, "it has no network.json")):
        with pytest.raises(OnnxFileError) as error:
            OnnxMatting(path)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_what_else_needs_no_torch(tmp_path):
    write_png(tmp_path / "masks" / "a.png", np.pad(np.full((20, 20), 255, np.uint8), 10))
    result = run_without_torch("tools/make_trimap.py", str(tmp_path / "masks"), "--output", str(tmp_path / "out"))
    assert (result.returncode, (tmp_path / "out" / "a.png").exists()) == (0, True), result.stderr
    result = run_without_torch(*demo_command(tmp_path))
    assert result.returncode == 1
    assert result.stderr == "demo.py: PyTorch is not installed: pip install -r requirements.txt, or use --onnx\n"


def test_one_process_is_enough(monkeypatch, tmp_path):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    result = run_without_torch(*demo_command(tmp_path, "--onnx", "x.onnx"))
    assert result.returncode == 1
    assert result.stderr == ("demo.py (process 1): --onnx runs in one process, on all cores; start it "
                             "without torchrun\n")


def test_too_little_memory_is_told_before_it_is_taken(monkeypatch, exported):
    matting = OnnxMatting(exported, border=0, threads=1)
    pair = random_pair(64, 64)
    needed = 64 * 64 * (onnx_predictor.BYTES_PER_PIXEL + onnx_predictor.BYTES_BY_WIDTH * WIDTH)
    monkeypatch.setattr(onnx_predictor, "available_memory", lambda: needed)
    assert matting(*pair).shape == (64, 64)
    with pytest.raises(MemoryError):
        matting.predict_batch([pair, pair])


def test_images_of_pillow(exported):
    matting = OnnxMatting(exported, threads=1)
    image, trimap = random_pair(40, 30)
    assert np.array_equal(matting(Image.fromarray(image), Image.fromarray(trimap)), matting(image, trimap))


@pytest.mark.parametrize(("more", "status", "message"), [
    (["--onnx", "README.md"], 1, "demo.py: README.md: cannot be loaded as an ONNX network"),
    (["--onnx", "x.onnx", "--precision", "bf16", "--compile"], 2, "--onnx: not allowed with --precision, --compile"),
    (["--onnx", "x.onnx", "--random-weights"], 2, "not allowed with argument"),
])
def test_refused_by_the_demo(tmp_path, more, status, message):
    result = run_without_torch(*demo_command(tmp_path, *more))
    assert result.returncode == status
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def run_export(monkeypatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", "--config", str(ROOT / "config" / "gca-dist.toml"), *arguments])
    return export_onnx.main()


@pytest.fixture
def checkpoint(tmp_path, network) -> list[str]:
    save_checkpoint(tmp_path / "narrow.pth", network)
    return ["--checkpoint", str(tmp_path / "narrow.pth"), "--set", f"model.width={WIDTH}"]


def test_another_alpha_leaves_no_file(monkeypatch, capsys, tmp_path, checkpoint, exported):
    """An exporter that writes another network: the one of before, whose alpha layer adds something."""
    model = onnx.load(exported)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("decoder.conv2.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.01), bias.name))
    monkeypatch.setattr(onnx_export, "write_onnx", lambda network, path, metadata: onnx.save(model, path))
    assert run_export(monkeypatch, *checkpoint, "--single", "--output", str(tmp_path / "out" / "gca.onnx")) == 1
    error = capsys.readouterr().err
    assert "gca.onnx: not written: ONNX Runtime's alpha differs from PyTorch's by" in error
    assert "expected at most 1e-04" in error
    assert list((tmp_path / "out").iterdir()) == []


def test_a_failing_exporter_leaves_no_file(monkeypatch, capsys, tmp_path, checkpoint):
    def failing(*_, **__):
        raise RuntimeError("an operator is missing\nand more")

    monkeypatch.setattr(torch.onnx, "export", failing)
    assert run_export(monkeypatch, *checkpoint, "--single", "--output", str(tmp_path / "out" / "gca.onnx")) == 1
    assert capsys.readouterr().err.endswith("cannot export the network (an operator is missing)\n")
    assert list((tmp_path / "out").iterdir()) == []


def test_metadata_is_the_networks_own(monkeypatch, tmp_path, network):
    """A checkpoint that tells its architecture needs no configuration."""
    save_checkpoint(tmp_path / "own.pth", network, architecture={"width": WIDTH})
    told = []
    monkeypatch.setattr(export_onnx, "export", lambda _, path, data, *__: told.append(data) or path.touch() or 0)
    arguments = ["export_onnx.py", "--checkpoint", str(tmp_path / "own.pth"), "--single", "--output",
                 str(tmp_path / "own.onnx")]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.chdir(ROOT)
    assert export_onnx.main() == 0
    assert told == [{**METADATA, "version": "own", "trimap_channel": "3", "colour_samples": "False"}]


def test_missing_packages_are_named(monkeypatch, capsys, tmp_path, exported):
    monkeypatch.setattr(export_onnx, "PACKAGES", ("onnx", "no_such_package"))
    assert run_export(monkeypatch, "--output", str(tmp_path / "gca.onnx")) == 1
    expected = "export_onnx.py: no_such_package not installed: pip install -r requirements-onnx.txt\n"
    assert capsys.readouterr().err == expected
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(OnnxFileError, match="ONNX Runtime is not installed: pip install"):
        OnnxMatting(exported)


def test_trimap_planes_are_the_tensors():
    image, trimap = random_pair(8, 8)
    assert normalise(image).shape == (3, 8, 8)
    labels = (trimap // 127).astype(np.uint8)
    assert encode_trimap(labels, 1)[0].tolist() == labels.tolist()
    assert torch.equal(encode_trimap(labels, 3).argmax(dim=0), torch.from_numpy(labels).long())
