"""Training on samples made on the device, and what a compiler that fails means."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from training_runs import ALONE, ROOT, config_of, run_main, settings, table, weights

from dataloader.image_file import ImageFileError
from dataloader.loader import prefetched
from networks import build_network
from trainer import train
from training.model import training_model
from utils.config import load_config
from utils.processes import process_pool


def test_samples_made_on_the_device_resume_exactly(tmp_path):
    """On two processes, with pictures that are replaced before the checkpoint and after it."""
    more = {"data__train_fg": "", "data__train_alpha": "", "data__train_bg": "", "data__generated": 5,
            "data__generated_size": 96, "data__finish": "true", "data__on_device": "true", "data__bank": 4,
            "data__renew": 3, "data__test_merged": "", "train__total_step": 8, "log__checkpoint_step": 4,
            "dist": "true"}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert run_main(*settings(tmp_path, whole, **more), processes=2).returncode == 0
    checkpoint = whole / "checkpoints" / "trial" / "step_00000004.pth"
    result = run_main(*settings(tmp_path, resumed, **more, train__resume_checkpoint=checkpoint), processes=2)
    assert result.returncode == 0, result.stderr
    losses = {row["step"]: row["loss"] for row in table(whole)}
    assert len(set(losses.values())) == 8  # no batch comes twice
    assert {row["step"]: row["loss"] for row in table(resumed)} == {step: losses[step] for step in (5, 6, 7, 8)}
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())


def test_signals_while_banks_are_filled_have_their_usual_effect(monkeypatch, tmp_path):
    """Nothing has been trained that would have to be saved."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    usual = [signal.getsignal(number) for number in numbers]

    def fill(*_: object) -> None:
        assert [signal.getsignal(number) for number in numbers] == usual
        raise ImageFileError("filled")

    monkeypatch.setattr("dataloader.loader.make_banks", fill)
    config = config_of(tmp_path, tmp_path, data__train_fg="", data__train_alpha="", data__train_bg="",
                       data__generated=5, data__generated_size=96, data__finish="true", data__on_device="true",
                       data__test_merged="", data__test_alpha="", data__test_trimap="")
    with pytest.raises(ImageFileError, match="filled"):
        train(config, ALONE)


@pytest.mark.parametrize("works", [True, False])
def test_compiled_if_possible(monkeypatch, caplog, works):
    """A compiler that fails is told of, and the network is what it was."""
    def compiled(model: torch.nn.Module, dynamic: bool) -> Callable:
        def run(*inputs: torch.Tensor) -> object:
            if not works:
                raise RuntimeError("no C compiler\nand much more")
            return model(*inputs)
        return run

    monkeypatch.setattr(torch, "compile", compiled)
    config = load_config(overrides=["train.compile=true", "model.batch_size=2", "data.crop_size=32",
                                    "train.comp_weight=0.5"])
    network = build_network(width=0.06)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with caplog.at_level("INFO"):
        model = training_model(network, config, ALONE)
    assert (model is network) == (not works)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    message = caplog.messages[-1]
    if works:
        assert message.startswith("compiled in ")
    else:
        assert message == "torch.compile failed, training goes on without it: no C compiler"


def test_too_little_memory_is_no_compiler_that_fails(monkeypatch):
    def compiled(model: torch.nn.Module, dynamic: bool) -> Callable:
        def run(*_: torch.Tensor) -> object:
            raise torch.OutOfMemoryError("too little")
        return run

    monkeypatch.setattr(torch, "compile", compiled)
    config = load_config(overrides=["train.compile=true", "model.batch_size=2", "data.crop_size=32"])
    with pytest.raises(torch.OutOfMemoryError):
        training_model(build_network(width=0.06), config, ALONE)


def test_batches_for_gpus_are_made_ahead_on_a_stream_of_their_own(monkeypatch):
    """With a stand-in for CUDA: each batch is made on the other stream, waited for, and known to the consumer's."""
    events = []

    class Stream:
        def wait_stream(self, other: object) -> None:
            events.append(f"waits for {other}")

        def synchronize(self) -> None:
            events.append("synchronised")

    class Value:
        def record_stream(self, stream: object) -> None:
            events.append(f"used on {stream}")

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "the network's")
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    batches = prefetched(({"image": Value(), "number": Value()} for _ in range(9)), torch.device("cuda"))
    assert len([next(batches), next(batches)]) == 2
    batches.close()
    assert events[0] == "waits for the network's"
    assert events.count("used on the network's") == 4
    assert 2 <= events.count("synchronised") <= 5  # no more than one or two ahead


def test_an_exception_drops_tasks_that_have_not_begun(tmp_path):
    """Such as SIGTERM's: the files of thousands of tasks would be waited for."""
    with pytest.raises(KeyboardInterrupt), process_pool(1) as pool:
        for number in range(100):
            pool.submit(Path.touch, tmp_path / str(number))
        raise KeyboardInterrupt
    assert len(list(tmp_path.iterdir())) < 10


def test_processes_end_with_their_parent(tmp_path):
    """Killed without a chance to tell them."""
    script = ("import os, sys\nfrom utils.processes import process_pool\n"
              "if __name__ == '__main__':\n    pool = process_pool(1)\n"
              "    print(pool.submit(os.getpid).result(), flush=True)\n    sys.stdin.read()\n")
    (tmp_path / "parent.py").write_text(script)
    parent = subprocess.Popen([sys.executable, tmp_path / "parent.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    worker = int(parent.stdout.readline())
    os.kill(worker, signal.SIGTERM)  # left to the parent
    assert parent.poll() is None
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while is_running(worker):
        assert time.monotonic() < deadline, "the worker has outlived its parent"
        os.sched_yield()


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
