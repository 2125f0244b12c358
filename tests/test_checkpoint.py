"""Checkpoint files: the published forms load, everything else is refused in one line."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from networks import build_network, to_published_names
from utils.checkpoint import (
    CheckpointError,
    checkpoint_path,
    load_network,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from utils.config import load_config

BASELINE = {"encoder": "res_shortcut_encoder_29", "decoder": "res_shortcut_decoder_22"}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """A published state dict of the baseline."""
    torch.manual_seed(1)
    return to_published_names(build_network(**BASELINE).state_dict())


def assert_loads(path, weights):
    loaded = to_published_names(load_network(path, **BASELINE).state_dict())
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def training_state() -> dict:
    """What a published training checkpoint holds beside the weights; the loss as trainers really stored it."""
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], lr=4e-4, betas=(0.5, 0.999))
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    parameter.sum().backward()
    optimizer.step()
    return {"iter": 2000, "loss": np.float64(0.25), "opt_state_dict": optimizer.state_dict(),
            "lr_state_dict": scheduler.state_dict()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("extra", [{}, training_state()], ids=["inference", "training"])
@pytest.mark.parametrize("zipped", [True, False])
def test_published_forms(tmp_path, weights, prefix, extra, zipped):
    path = tmp_path / "published.pth"
    prefixed = {prefix + name: value for name, value in weights.items()}
    torch.save({"iter": 0, "loss": 0.0, **extra, "state_dict": prefixed}, path,
               _use_new_zipfile_serialization=zipped)
    assert_loads(path, weights)
    assert read_checkpoint(path)["loss"] == extra.get("loss", 0.0)


def test_half_precision_weights(tmp_path, weights):
    torch.save({"state_dict": {name: value.half() if value.is_floating_point() else value
                               for name, value in weights.items()}}, tmp_path / "half.pth")
    network = load_network(tmp_path / "half.pth", **BASELINE)
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    torch.testing.assert_close(to_published_names(network.state_dict()), weights, atol=1e-3, rtol=1e-3)


def test_saved_checkpoint_has_the_published_form(tmp_path, weights):
    network = build_network(**BASELINE)
    load_weights(network, weights, "weights")
    save_checkpoint(tmp_path / "deep" / "saved.pth", network, iteration=7, loss=0.5, opt_state_dict={"state": {}})
    content = torch.load(tmp_path / "deep" / "saved.pth", weights_only=True)
    assert {key: content[key] for key in ("iter", "loss", "opt_state_dict")} == {
        "iter": 7, "loss": 0.5, "opt_state_dict": {"state": {}}}
    assert list(content["state_dict"]) == list(weights)
    assert all(torch.equal(content["state_dict"][name], weights[name]) for name in weights)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["saved.pth"]


class RunsCode:
    """Unpickling this would call print."""

    def __reduce__(self):
        return print, ("this must not be printed",)


def write_bad_file(kind: str, path, weights) -> None:
    if kind == "truncated":
        torch.save({"state_dict": weights}, path)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "truncated legacy":
        torch.save({"state_dict": weights}, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "web page":
        path.write_text("<html>Sign in to download</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "code":
        torch.save({"state_dict": {}, "loss": RunsCode()}, path)
    elif kind == "pickled code":
        path.write_bytes(pickle.dumps({"state_dict": {}, "loss": RunsCode()}, protocol=2))
    elif kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("notes.txt", "no weights")
    elif kind == "bare":
        torch.save(weights, path)
    elif kind == "no tensors":
        torch.save({"state_dict": {"encoder.conv1.module.weight_bar": 3}}, path)
    elif kind == "NaN":
        torch.save({"state_dict": {**weights, "decoder.conv2.bias": torch.tensor([float("nan")])}}, path)


@pytest.mark.parametrize(("kind", "message"), [
    ("missing", "no such file"),
    ("truncated", "truncated"),
    ("truncated legacy", "truncated or damaged"),
    ("web page", r"not a PyTorch file \(32 bytes, starting with b'<htm'\)"),
    ("empty", "the file is empty"),
    ("code", r"would run code \(\S*print\)"),
    ("pickled code", r"would run code \(\S*print\)"),
    ("archive", "another kind of zip archive"),
    ("bare", "expected a dictionary with a 'state_dict'"),
    ("no tensors", "not tensors: encoder.conv1.module.weight_bar"),
    ("NaN", "1 tensors contain NaN, Inf, or values too large for single precision: decoder.conv2.bias"),
])
def test_unusable_files(tmp_path, weights, capsys, kind, message):
    path = tmp_path / "file.pth"
    write_bad_file(kind, path, weights)
    with pytest.raises(CheckpointError, match=message) as error:
        load_network(path, **BASELINE)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert "must not" not in capsys.readouterr().out


@pytest.mark.parametrize(("change", "arguments", "message"), [
    (lambda weights: {}, {},
     r"40 of 578 tensors are missing \(encoder.guidance_head.*it is the baseline"),
    (lambda weights: {}, {**BASELINE, "trimap_channel": 1},
     r"weight_bar is \(32, 6, 3, 3\), expected \(32, 4, 3, 3\).*trimap_channel"),
    (lambda weights: {"decoder.renamed": weights.pop("decoder.conv2.bias")}, BASELINE,
     r"1 of 538 tensors are missing \(decoder.conv2.bias\), 1 are unexpected \(decoder.renamed\)"),
    (lambda weights: {"encoder.gca.guidance_conv.bias": torch.zeros(64)}, BASELINE, "it has attention: choose"),
    (lambda weights: {"decoder.conv2.bias": torch.zeros(2)}, BASELINE,
     r"1 have another shape \(decoder.conv2.bias is \(2,\), expected \(1,\)\)"),
])
def test_mismatched_weights(tmp_path, weights, change, arguments, message):
    changed = dict(weights)
    changed |= change(changed)
    torch.save({"state_dict": changed}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        load_network(tmp_path / "other.pth", **arguments)


@pytest.mark.parametrize("told", [{"width": "wide"}, {"depth": 3}, {"encoder": "none"}, "narrow"])
def test_an_architecture_that_cannot_be_built(tmp_path, told):
    save_checkpoint(tmp_path / "other.pth", build_network(width=0.1), architecture=told)
    with pytest.raises(CheckpointError, match=r"other\.pth: its architecture is invalid") as error:
        load_network(tmp_path / "other.pth")
    assert len(str(error.value).splitlines()) == 1


def test_a_file_from_before_colour_samples_has_none(tmp_path):
    """Its architecture counts, not what a configuration asks for."""
    save_checkpoint(tmp_path / "own.pth", build_network(width=0.1), architecture={"width": 0.1})
    assert load_network(tmp_path / "own.pth", width=0.1, colour_samples=True).colour_channels is None


def test_colour_samples_need_weights_for_them(tmp_path):
    save_checkpoint(tmp_path / "own.pth", build_network(width=0.1))
    with pytest.raises(CheckpointError, match=r"it is for model\.colour_samples=false$"):
        load_network(tmp_path / "own.pth", width=0.1, colour_samples=True)


@pytest.mark.parametrize(("other", "cause"), [
    ({"width": 0.2}, "; it may have been trained with another model.width"),
    ({"width": 0.1, "trimap_channel": 1}, "; it may have been trained with another model.trimap_channel"),
    ({"width": 0.2, "trimap_channel": 1},
     "; it may have been trained with another model.trimap_channel and model.width"),
    ({"width": 0.2, "colour_samples": True}, "; it is for model.colour_samples=false and another model.width"),
])
def test_the_likely_cause_of_other_shapes(tmp_path, other, cause):
    save_checkpoint(tmp_path / "own.pth", build_network(width=0.1))
    with pytest.raises(CheckpointError) as error:
        load_network(tmp_path / "own.pth", **other)
    assert str(error.value).endswith(cause)


def test_checkpoints_by_name_and_by_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = load_config(overrides=["version=run"])
    own = Path("checkpoints/run/best_model.pth")
    own.parent.mkdir(parents=True)
    for path in (own, Path("best.pth"), Path("mine.pt")):
        path.touch()
    assert {name: checkpoint_path(config, name) for name in (
        "best_model", "best_model.pth", str(own), str(own.resolve()), "best.pth", "mine.pt", "other/none.pth", "none",
        "none.pth")} == {
        "best_model": own, "best_model.pth": own, str(own): own, str(own.resolve()): own.resolve(),
        "best.pth": Path("best.pth"), "mine.pt": Path("mine.pt"), "other/none.pth": Path("other/none.pth"),
        "none": own.with_name("none.pth"), "none.pth": own.with_name("none.pth")}


def test_the_network_tells_how_it_was_built(tmp_path):
    save_checkpoint(tmp_path / "own.pth", build_network(width=0.1), architecture={"width": 0.1})
    assert load_network(tmp_path / "own.pth", width=0.5).architecture == {
        "encoder": "resnet_gca_encoder_29", "decoder": "res_gca_decoder_22", "trimap_channel": 3, "width": 0.1,
        "colour_samples": False}
