"""Training on samples made on the device, and what a compiler that fails means."""

from collections.abc import Callable

import pytest
import torch
from test_trainer import ALONE, run_main, settings, table, weights

from networks import build_network
from trainer import parallel_model
from utils.config import load_config


def test_samples_made_on_the_device_resume_exactly(tmp_path):
    """On two processes, with pictures that are replaced before the checkpoint and after it."""
    more = {"data__train_fg": "", "data__train_alpha": "", "data__train_bg": "", "data__generated": 5,
            "data__generated_size": 96, "data__finish": "true", "data__on_device": "true", "data__bank": 4,
            "data__renew": 3, "data__test_merged": "", "train__total_step": 8, "log__checkpoint_step": 4,
            "dist": "true"}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run_main(*settings(tmp_path, whole, **more), processes=2).returncode == 0
    checkpoint = whole / "checkpoints" / "sample" / "step_00000004.pth"
    result = run_main(*settings(tmp_path, resumed, **more, train__resume_checkpoint=checkpoint), processes=2)
    assert result.returncode == 0, result.stderr
    losses = {row["step"]: row["loss"] for row in table(whole)}
    assert len(set(losses.values())) == 8  # no batch comes twice
    assert {row["step"]: row["loss"] for row in table(resumed)} == {step: losses[step] for step in (5, 6, 7, 8)}
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())


@pytest.mark.parametrize("works", [True, False])
def test_compiled_if_possible(monkeypatch, caplog, works):
    """A compiler that fails is told of, and the network is what it was."""
    def compiled(model: torch.nn.Module) -> Callable:
        def run(*inputs: torch.Tensor) -> object:
            if not works:
                raise RuntimeError("no C compiler\nand much more")
            return model(*inputs)
        return run

    monkeypatch.setattr(torch, "compile", compiled)
    config = load_config(overrides=["train.compile=true", "model.batch_size=2", "data.crop_size=32"])
    network = build_network(width=0.06)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level("INFO"):
        model = parallel_model(network, config, ALONE)
    assert (model is network) == (not works)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    message = caplog.messages[-1]
    if works:
        assert message.startswith("compiled in ")
    else:
        assert message == "torch.compile failed, training goes on without it: no C compiler"
