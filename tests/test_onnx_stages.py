"""Networks exported in stages: PyTorch's alpha in tiles of any size, weights in half precision, and what is refused."""

import json
import shutil
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
from torch import nn

from benchmarks.published import random_network
from matting.predictor import Matting
from networks import MattingNetwork, known_colours
from utils.checkpoint import save_checkpoint
from utils.file_writing import atomic_folder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

if torch.__version__ < "2.11":
    pytest.skip("this PyTorch cannot export attention", allow_module_level=True)

from matting import export_stages, onnx_attention, onnx_export, onnx_predictor, onnx_tiling  # noqa: E402
from matting.folded_network import folded  # noqa: E402
from matting.half_weights import HalfWeights, with_half_weights  # noqa: E402
from matting.onnx_export import ExportError, export  # noqa: E402
from matting.onnx_predictor import OnnxFileError, OnnxMatting  # noqa: E402
from tools import export_onnx  # noqa: E402


def in_half_precision(network: MattingNetwork) -> MattingNetwork:
    """With weights that half precision holds exactly, as those of the shipped checkpoint."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half())
    return network


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return in_half_precision(random_network(width=WIDTH))


@pytest.fixture(scope="module")
def exported(tmp_path_factory, network) -> Path:
    """With weights in half precision, which change nothing."""
    path = tmp_path_factory.mktemp("stages") / "narrow"
    said = []
    assert export(network, path, METADATA, say=said.append) < 1e-5
    assert not any("fp32" in line for line in said)
    assert [other.name for other in path.parent.iterdir()] == [path.name]
    return path


@pytest.fixture(scope="module")
def matting(exported) -> OnnxMatting:
    return OnnxMatting(exported, threads=2)


def small_tiles(monkeypatch) -> None:
    """Several tiles of everything in small images, with keys and queries that do not fill their last tiles."""
    monkeypatch.setattr(onnx_predictor, "LARGEST_CPU_TILE", 300)
    monkeypatch.setattr(onnx_tiling, "ESTIMATED_CELLS", 60)
    monkeypatch.setattr(onnx_attention, "QUERIES", (3, 4))
    monkeypatch.setattr(onnx_attention, "KEYS", (4, 5))


@pytest.mark.parametrize(("height", "width", "tiles"), [(64, 96, False), (1, 1, False), (70, 45, True),
                                                        (200, 330, True)])
def test_the_predictors_alpha(monkeypatch, network, matting, height, width, tiles):
    if tiles:
        small_tiles(monkeypatch)
    image, trimap = random_pair(height, width)
    trimap[:, width // 2:] |= 128  # unknown or foreground
    trimap[height // 3:, :width // 3] = 0  # alpha is not computed everywhere, nor are the messages that it needs
    alpha = matting(image, trimap)
    assert alpha.dtype == np.float32
    assert np.abs(alpha - Matting(network, "cpu").predict(image, trimap).alpha).max() < 1e-4
    assert (trimap == 128).sum() < 100 or alpha[trimap == 128].std() > 0.01


def test_baseline_with_one_trimap_channel_and_colours(tmp_path, monkeypatch):
    monkeypatch.setattr(known_colours, "SPREADS", 1)  # of six, which take the exporter a minute more, as do
    for module in (known_colours, export_stages):  # the other directions
        monkeypatch.setattr(module, "DIRECTIONS", ((1, 0),))
    network = random_network(width=0.1, trimap_channel=1, colour_samples=True, **BASELINE)
    export(network, tmp_path / "colours", METADATA, "fp32")
    small_tiles(monkeypatch)
    matting = OnnxMatting(tmp_path / "colours", threads=1)
    image, trimap = random_pair(110, 170)
    levels = np.array([[128, 128, 128], [0, 128, 128], [0, 128, 255]], np.uint8)
    for pair in [(image, known[trimap // 127]) for known in levels]:  # nothing known, no foreground, as it is
        assert np.abs(matting(*pair) - Matting(network, "cpu")(*pair)).max() < 1e-4
    with torch.no_grad():
        for layer in (network.encoder.conv1, network.encoder.shortcut[0][0]):
            layer.parametrizations.weight.original[:, 4:] = 0
    assert np.abs(matting(*pair) - Matting(network, "cpu")(*pair)).max() > 1e-3  # the colours count


def test_every_step_is_reported(monkeypatch, matting):
    small_tiles(monkeypatch)
    image, trimap = random_pair(100, 150)
    known = np.zeros_like(trimap)
    told = []
    mattes = matting.predict_batch([(image, trimap), (image, known), (image[::-1], trimap)],
                                   lambda done, total: told.append((done, total)))
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    assert len(told) > 2 * 2 * 4  # two images, two blocks of attention, several tiles
    assert np.abs(mattes[0].alpha - matting(image, trimap)).max() < 1e-6
    assert (mattes[1].alpha == 0).all()


def test_half_weights_are_exact(network):
    """Half times scale is the folded weight, if the checkpoint's weights are half precision numbers."""
    plain, half = folded(network), with_half_weights(folded(network), network)
    pairs = [(layer, dict(plain.named_modules())[name]) for name, layer in half.named_modules()
             if isinstance(layer, HalfWeights)]
    assert len(pairs) == sum(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in plain.modules()) > 60
    for layer, reference in pairs:
        assert layer.half_weight.dtype == torch.float16
        assert (layer.weight - reference.weight).abs().max() <= 1e-6 * reference.weight.abs().max()
    image, trimap = torch.randn(1, 3, 64, 64), torch.eye(3)[:, torch.randint(3, (64, 64))][None]
    with torch.no_grad():
        assert (half(image, trimap).alpha - plain(image, trimap).alpha).abs().max() < 1e-5


def test_weights_are_stored_in_half_precision(exported):
    weights = onnx.load(exported / "between_attention.onnx").graph.initializer
    sizes = {kind: sum(np.prod(weight.dims) for weight in weights if weight.data_type == kind)
             for kind in (onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT)}
    assert sizes[onnx.TensorProto.FLOAT] < 0.02 * sizes[onnx.TensorProto.FLOAT16]


def test_weights_that_half_precision_changes(monkeypatch, tmp_path, network):
    """They are stored in single precision, with a line that says so; on request they are refused."""
    written, said = [], []

    def write(stored: MattingNetwork, folder: Path, metadata: dict[str, str]) -> None:
        written.append(any(isinstance(layer, HalfWeights) for layer in stored.modules()))

    monkeypatch.setattr(onnx_export, "write_stages", write)
    monkeypatch.setattr(onnx_export, "largest_difference", lambda *_: 2e-4 if written[-1] else 1e-7)
    assert export(network, tmp_path / "new", METADATA, say=said.append) == 1e-7
    assert written == [True, False]
    assert "alpha differs from PyTorch's by 2.0e-04; expected at most 1e-04: storing weights in fp32" in said[2]
    with pytest.raises(ExportError, match="not written: ONNX Runtime's alpha differs"):
        export(network, tmp_path / "other", METADATA, "fp16")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_the_demo_needs_no_torch(tmp_path, exported):
    result = run_without_torch(*demo_command(tmp_path, "--onnx", str(exported)))
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "out" / "narrow_narrow" / "a.png").is_file()


def test_too_little_memory(monkeypatch, matting):
    pair = random_pair(64, 64)
    monkeypatch.setattr(onnx_predictor, "available_memory", lambda: 10**6)
    assert matting(*pair).shape == (64, 64)
    monkeypatch.setattr(onnx_predictor, "available_memory", lambda: 10**5)
    with pytest.raises(MemoryError, match="128 x 128 pixels take about"):
        matting(*pair)


def described(folder: Path, **changes: object) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(("damage", "message"), [
    (lambda folder: (folder / "half.onnx").unlink(), "half.onnx: no such file"),
    (lambda folder: (folder / "half.onnx").write_bytes(b"x"), "half.onnx: cannot be loaded as an ONNX network"),
    (lambda folder: shutil.copy(folder / "stem.onnx", folder / "half.onnx"),
     "half.onnx: not this stage of tools/export_onnx.py: its inputs and outputs are full, guidance, quarter; "
     "expected features, finer, full"),
    (lambda folder: (folder / "network.json").unlink(), "not a network of tools/export_onnx.py: it has no network"),
    (lambda folder: (folder / "network.json").write_text("{"), "network.json: not a description of a network"),
    (lambda folder: described(folder, format=2), "network.json: its format is 2; expected 1"),
    (lambda folder: described(folder, version="../x"), "its version is '../x'; expected the name of a folder"),
    (lambda folder: described(folder, attention="?"), "its attention is '?'; expected true or false"),
])
def test_damaged_folders_are_refused(tmp_path, exported, damage, message):
    folder = tmp_path / "damaged"
    shutil.copytree(exported, folder)
    damage(folder)
    with pytest.raises(OnnxFileError) as error:
        OnnxMatting(folder)
    assert message in str(error.value)
    assert str(folder) in str(error.value)
    assert "\n" not in str(error.value)


def test_stages_of_other_networks_are_refused_when_run(monkeypatch, tmp_path, exported):
    shutil.copytree(exported, tmp_path / "mixed")
    described(tmp_path / "mixed", trimap_channel=1)
    with pytest.raises(OnnxFileError, match=r"stem\.onnx: cannot be run"):
        OnnxMatting(tmp_path / "mixed")(*random_pair(40, 30))
    matting = OnnxMatting(exported)
    run = matting.network.network.run
    monkeypatch.setattr(matting.network.network, "run", lambda *name, **maps: [x[..., :1] for x in run(*name, **maps)])
    with pytest.raises(OnnxFileError, match=r"narrow: its stages do not fit together \("):
        matting(*random_pair(40, 30))


def test_no_half_written_folder(tmp_path):
    for name in ("new", "old"):
        if name == "old":
            (tmp_path / name).mkdir()
            (tmp_path / name / "kept").touch()
        with pytest.raises(RuntimeError), atomic_folder(tmp_path / name) as temporary:
            (temporary / "a").touch()
            raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "kept"]
    with atomic_folder(tmp_path / "old") as temporary:
        (temporary / "a").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["old", "a"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--output", "{}/notes"], "notes: exists and is not an exported network; expected a new folder, or one that"),
    (["--output", "{}/notes/todo.txt"], "todo.txt: exists and is not a folder"),
    (["--output", "{}/gca.onnx"], "gca.onnx: expected a name that ends in .onnx with --single, another one without it"),
    (["--output", "{}/gca", "--single"], "gca: expected a name that ends in .onnx with --single"),
])
def test_what_is_in_the_way_stays(monkeypatch, capsys, tmp_path, network, arguments, message):
    save_checkpoint(tmp_path / "narrow.pth", network)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("much")
    arguments = [argument.format(tmp_path) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", "--config", str(ROOT / "config" / "gca-dist.toml"),
                                      "--checkpoint", str(tmp_path / "narrow.pth"), *arguments])
    assert export_onnx.main() == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["narrow.pth", "notes", "todo.txt"]


def test_an_exported_folder_is_replaced(monkeypatch, capsys, tmp_path, network, exported):
    shutil.copytree(exported, tmp_path / "gca-onnx")
    save_checkpoint(tmp_path / "narrow.pth", network)
    monkeypatch.setattr(onnx_export, "write_stages", lambda network, folder, metadata: (folder / "a.onnx").touch())
    monkeypatch.setattr(onnx_export, "largest_difference", lambda *_: 0)
    config = ROOT / "config" / "gca-dist.toml"
    monkeypatch.setattr(sys, "argv", ["export_onnx.py", "--config", str(config), "--set", f"model.width={WIDTH}",
                                      "--checkpoint", "narrow.pth"])
    monkeypatch.chdir(tmp_path)
    assert export_onnx.main() == 0
    assert capsys.readouterr().out.endswith("gca-onnx: 0.0 MB; alpha within 0.0e+00 of PyTorch's\n")
    assert [path.name for path in (tmp_path / "gca-onnx").iterdir()] == ["a.onnx"]
