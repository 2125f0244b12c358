"""Learning rate, gradient clipping and the order of samples."""

import math
from itertools import pairwise

import pytest
import torch

from dataloader.sampler import StepBatches
from training.schedule import clip_to_moving_norm, learning_rate


def test_learning_rate():
    rates = [learning_rate(step, 4e-4, 5, 25) for step in range(26)]
    assert rates[:5] == pytest.approx([0.8e-4, 1.6e-4, 2.4e-4, 3.2e-4, 4e-4])
    assert rates[5] == pytest.approx(4e-4)
    assert rates[15] == pytest.approx(2e-4)  # half way down the cosine
    assert rates[25] == pytest.approx(0)
    assert learning_rate(0, 1.0, 0, 10) == 1.0
    assert all(earlier > later for earlier, later in pairwise(rates[5:]))


def gradient_of_norm(norm: float) -> list[torch.nn.Parameter]:
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([0.6, 0.8]) * norm
    return [parameter]


def test_clipping_to_the_moving_norm():
    parameters = gradient_of_norm(3.0)
    norm, moving = clip_to_moving_norm(parameters, None)  # the first step sets the average
    assert (norm.item(), moving) == (pytest.approx(3), pytest.approx(3))
    assert parameters[0].grad.norm().item() == pytest.approx(3)

    parameters = gradient_of_norm(10.0)
    norm, moving = clip_to_moving_norm(parameters, moving)
    assert norm.item() == pytest.approx(10)
    assert parameters[0].grad.norm().item() == pytest.approx(6, rel=1e-5)  # twice the average
    assert moving == pytest.approx(0.999 * 3 + 0.001 * 10)

    parameters = gradient_of_norm(10.0)
    clip_to_moving_norm(parameters, 3.0, clip=False)
    assert parameters[0].grad.norm().item() == pytest.approx(10)

    norm, moving = clip_to_moving_norm(gradient_of_norm(math.nan), 3.0)
    assert math.isnan(norm.item())
    assert moving == 3.0


def steps(world_size: int, rank: int, first_step: int = 0, batch_size: int = 2, accumulate: int = 1) -> list:
    batches = list(StepBatches(7, batch_size, accumulate, first_step, 6, seed=3, rank=rank, world_size=world_size))
    return [[key for batch in batches[i:i + accumulate] for key in batch] for i in range(0, len(batches), accumulate)]


def test_two_processes_see_what_one_sees_with_twice_the_batch():
    together = [sorted(a + b) for a, b in zip(steps(2, 0), steps(2, 1), strict=True)]
    assert together == [sorted(step) for step in steps(1, 0, batch_size=4)]
    assert together == [sorted(step) for step in steps(1, 0, batch_size=2, accumulate=2)]


def test_resuming_sees_what_would_have_come():
    assert steps(2, 1, first_step=4) == steps(2, 1)[4:]


def test_each_epoch_holds_every_sample_once_in_an_order_of_its_own():
    keys = [key for step in steps(1, 0, batch_size=7) for key in step]
    epochs = [[index for epoch, index in keys if epoch == number] for number in range(6)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
