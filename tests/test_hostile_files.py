"""Checkpoints, ONNX files, configurations and environments that claim what they should not: refused in one line."""

import queue
import signal
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from matting.onnx_predictor import OnnxFileError, OnnxMatting
from networks import build_network, to_published_names
from utils.checkpoint import CheckpointError, load_network
from utils.config import ConfigError, load_config
from utils.distributed import end_with_launcher, join_world, world_size
from utils.errors import InputError
from utils.preprocessing import finished_alpha

WEIGHT = "encoder.conv1.module.weight_bar"
TENSORS = {
    "claiming 160 GB": (lambda _: torch.zeros(1).expand(40_000_000_000), "claims 40,000,000,000 numbers, of which the "
                        "file holds 4 bytes"),
    "meta": (lambda weight: weight.to("meta"), "is on the device meta, without content"),
    "quantised": (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "is quantised"),
    "sparse": (lambda weight: weight.to_sparse(), "is sparse_coo"),
    "sparse rows": (lambda weight: weight.flatten(1).to_sparse_csr(), "is sparse_csr"),
    "complex": (lambda weight: weight.to(torch.complex64), "is complex64"),
    "bool": (lambda weight: weight.bool(), "is bool"),
    "integers": (lambda weight: weight.long(), "1 have another type (encoder.conv1.module.weight_bar is int64)"),
    "too large": (lambda weight: weight.double() * 1e300, "contain NaN, Inf, or values too large for single precision"),
    "NaN": (lambda weight: weight * float("nan"), "contain NaN, Inf, or values too large for single precision"),
}


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    return to_published_names(build_network(width=0.1).state_dict())


def save(path: Path, weights: dict) -> Path:
    torch.save({"iter": 0, "loss": 0.0, "state_dict": weights}, path)
    return path


def refused(path: Path) -> str:
    """The message with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as error:
        load_network(path, width=0.1)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.filterwarnings("ignore")  # PyTorch's, on making these
@pytest.mark.parametrize("kind", TENSORS)
def test_tensors_that_are_not_dense_and_finite(tmp_path, published, capfd, kind):
    make, message = TENSORS[kind]
    path = save(tmp_path / "a.pth", published | {WEIGHT: make(published[WEIGHT])})
    assert message in refused(path)
    assert capfd.readouterr().err == ""


def test_other_precisions_are_welcome(tmp_path, published):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        path = save(tmp_path / "a.pth", published | {WEIGHT: published[WEIGHT].to(dtype)})
        assert load_network(path, width=0.1).state_dict()


def test_a_flipped_byte_anywhere_in_the_tensors(tmp_path, published):
    data = save(tmp_path / "a.pth", published).read_bytes()
    load_network(tmp_path / "a.pth", width=0.1)
    for position in range(len(data) // 4, 3 * len(data) // 4, len(data) // 12):
        (tmp_path / "b.pth").write_bytes(data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1:])
        assert "does not match its checksum" in refused(tmp_path / "b.pth")


def test_compressed_archives_are_not_expanded(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10**7))
    assert refused(tmp_path / "a.pth").endswith("a compressed archive; expected a PyTorch file")


def onnx_file(path: Path, channels: int = 1, inputs: tuple[str, str] = ("image", "trimap"), **metadata: str) -> Path:
    """A network whose alpha is one colour plane minus a tiny number, in the manner of tools/export_onnx.py."""
    onnx = pytest.importorskip("onnx")
    helper, image = onnx.helper, inputs[0]

    def value(name: str, planes: int):
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", planes, "h", "w"])

    def constant(name: str, values: list, kind: type):
        return onnx.numpy_helper.from_array(np.array(values, kind), name)

    nodes = [helper.make_node("Slice", [image, "start", "end", "axis"], ["plane"]),
             helper.make_node("Mul", ["plane", "zero"], ["black"]),
             helper.make_node("Sub", ["black", "tiny"], ["alpha"])]
    graph = helper.make_graph(nodes, "graph", [value(inputs[0], 3), value(inputs[1], 3)], [value("alpha", channels)], [
        constant("start", [0], np.int64), constant("end", [channels], np.int64), constant("axis", [1], np.int64),
        constant("zero", 0, np.float32), constant("tiny", 6e-8, np.float32)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    given = {"version": "tiny", "trimap_channel": "3", "width": "1", "encoder": "e", "decoder": "d", "stride": "32"}
    helper.set_model_props(model, given | metadata)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(("change", "message"), [
    *(({"version": version}, "expected the name of a folder") for version in
      ("/elsewhere", "../../x", "..", "", "a/b", "a\0b", "a\nb", "x" * 300)),
    ({"trimap_channel": "abc"}, "its trimap_channel is 'abc'; expected 1 or 3"),
    ({"width": "x"}, "its width is 'x'; expected a factor"), ({"width": "nan"}, "its width is 'nan'"),
    ({"width": "-1"}, "its width is '-1'"), ({"stride": "8"}, "its stride is '8'; expected 32"),
    ({"channels": 3}, "its alpha has shape ['n', 3, 'h', 'w']; expected 4 dimensions, of which the second is 1"),
    ({"trimap_channel": "1"}, "its trimap has shape ['n', 3, 'h', 'w']; expected 4 dimensions, of which the second"),
    ({"inputs": ("photo", "trimap")}, "its inputs and outputs are alpha, photo, trimap; expected alpha, image, trimap"),
])
def test_onnx_files_of_other_kinds(tmp_path, change, message):
    pytest.importorskip("onnxruntime")
    path = onnx_file(tmp_path / "a.onnx", **change)
    with pytest.raises(OnnxFileError) as error:
        OnnxMatting(path)
    assert str(error.value).startswith(f"{path}: not a matting network of tools/export_onnx.py: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_alpha_below_0_is_0(tmp_path):
    """As needed by the estimation of foregrounds, which takes alpha in 0..1 only."""
    pytest.importorskip("onnxruntime")
    alpha = OnnxMatting(onnx_file(tmp_path / "a.onnx"), threads=1)(
        np.zeros((4, 5, 3), np.uint8), np.full((4, 5), 128, np.uint8))
    assert (alpha == 0).all()


def test_the_last_step_clips_and_keeps_nan():
    alpha = np.float32([[-6e-8, 1.0001, 0.5, np.nan]])
    alpha = np.append(alpha, np.float32([[np.inf, -np.inf]]), axis=1)
    expected = np.float32([[0, 1, 0.5, np.nan, np.nan, np.nan]])
    assert np.array_equal(finished_alpha(alpha, np.ones((1, 6), np.uint8), 0), expected, equal_nan=True)


DEEP = "[" * 4000 + "]" * 4000
CONFIGURATIONS = {
    f"version = {DEEP}": "nested too deeply", "a" + ".a" * 4000 + " = 1": "unknown key a",
    "version = " + "{a=" * 4000 + "1" + "}" * 4000: "nested too deeply",
    "model = 3": "model is 3; expected a table of keys",
    "[train]\nseed = 1" + "0" * 28: "train.seed is 10000000000000000000000000000; expected at most 9007199254740992",
    "[train]\nseed = 1" + "0" * 5000: "not valid TOML", "[data]\ncrop_size = 3200000": "expected at most 8192",
    "[model]\nbatch_size = 1\n[data]\ncrop_size = 32": "which leaves batch normalisation one value per channel",
    "k" * 5000 + " = 1": "unknown key kkkkk", f"[train]\nprecision = '{'v' * 5000}'": 'train.precision is "vvv',
    "[model.a]\nb = 1": "unknown key model.a", '"a\\nINJECTED" = 1': "unknown key a\\nINJECTED",
    **{f"version = {version!r}".replace("'", '"'): "version is" for version in
       ("", "..", ".", "/x", "a/b", "../x", "x" * 300)},
    'version = "a\\u0000b"': 'version is "a\\x00b"', "x" * 2_000_000: "more than 1000000 characters",
}


@pytest.mark.parametrize("text", CONFIGURATIONS, ids=lambda text: text[:30])
def test_hostile_configurations(tmp_path, text):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(tmp_path / "a.toml")
    assert CONFIGURATIONS[text] in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize(("text", "message"), [
    (f"train.seed={DEEP}", "train.seed is"), (f"train.seed={'9' * 5000}", "train.seed is"),
    ("train.seed=1\nversion = 'x'", "expected an integer"), ("train.seed=[1]", "train.seed is a list; expected"),
    ("model=3", "model is 3; expected a table of keys"), ("\x1b[31m=1", "unknown key \\x1b[31m"),
    ("version=../x", "expected the name of a folder"), ("x" * 9000, "expected KEY=VALUE"),
])
def test_hostile_settings(text, message):
    with pytest.raises(ConfigError) as error:
        load_config(None, [text])
    assert message in str(error.value)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfversion = "mine"\n')
    assert load_config(tmp_path / "a.toml").version == "mine"


LAUNCHED = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(("variables", "message"), [
    ({"WORLD_SIZE": "abc"}, "WORLD_SIZE is 'abc'; expected a number of at least 1"), ({"WORLD_SIZE": "-3"}, "-3"),
    ({"WORLD_SIZE": ""}, "WORLD_SIZE is ''"), ({"LOCAL_RANK": "x"}, "LOCAL_RANK is 'x'"),
    ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK, MASTER_ADDR, MASTER_PORT not set; start the program with"),
    (LAUNCHED | {"RANK": "7"}, "RANK is '7'; expected a number of 0 to 1"), (LAUNCHED | {"RANK": "x"}, "RANK is 'x'"),
    (LAUNCHED | {"MASTER_PORT": "x"}, "MASTER_PORT is 'x'; expected a number of 0 to 65535"),
])
def test_environments_that_no_launcher_makes(monkeypatch, variables, message):
    for name in (*LAUNCHED, "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        join_world(torch.device("cpu"))
    assert message in str(error.value)


def test_a_process_ends_with_its_launcher(monkeypatch):
    parents, killed = iter((7, 7, 7)), queue.Queue()
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    monkeypatch.setattr("utils.distributed.os.getppid", lambda: next(parents, 1))
    monkeypatch.setattr("utils.distributed.os.kill", lambda *call: killed.put(call))
    monkeypatch.setattr("utils.distributed.time.sleep", lambda _: None)
    end_with_launcher()
    assert killed.get(timeout=60)[1] == signal.SIGTERM
    assert next(parents, None) is None  # it was there three times


def test_a_launcher_that_is_gone_is_told(monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    with pytest.raises(InputError, match=f"the launcher does not answer at 127.0.0.1:{port} .*refused"):
        end_with_launcher()


def test_without_a_launcher_there_is_one_process(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert world_size() == 1
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    assert world_size() == 2
