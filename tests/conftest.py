"""A drawn data set and a finished run on it, for all tests of training and testing."""

import os
from pathlib import Path

import pytest
import torch
from training_runs import run_main, settings

from tools.make_generated_data import make_data_set

# Programs that tests start: two threads each would wait for one another beside further processes. This one has PyTorch
# already, and keeps its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nor with those of the other processes of pytest -n, which share the cores.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    torch.set_num_threads(max(1, torch.get_num_threads() // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])))


@pytest.fixture(autouse=True)
def same_random_numbers():
    """What a test draws itself depends on none before it. Not a seed with which a program may draw its weights."""
    torch.manual_seed(20201)


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Three foregrounds, eight backgrounds and three test images of 128 pixels."""
    folder = tmp_path_factory.mktemp("data")
    make_data_set(folder, foregrounds=3, backgrounds=8, tests=3, size=128, seed=1)
    return folder


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory) -> Path:
    """The folder of an undisturbed run of six steps."""
    run = tmp_path_factory.mktemp("run")
    result = run_main(*settings(data, run))
    assert result.returncode == 0, result.stderr
    return run
