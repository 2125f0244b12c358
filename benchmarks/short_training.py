"""A short training with the recipe of the free weights, for benchmarks that compare training inputs."""

import math
import sys
from collections.abc import Iterator

import torch
from easydict import EasyDict

from networks import MattingNetwork
from training.batchnorm_recalibration import recalibrate
from training.model import training_model
from training.state import TrainingState
from training.step import optimise
from utils.distributed import World
from utils.progress_bar import in_steps
from utils.tensors import unknown_mask

EMA = 0.99  # shorter than in long trainings
WARMUP = 50  # steps
RECALIBRATION_PIXELS = 2**23
ON_CPU = World(0, 1, torch.device("cpu"))


def train_shortly(network: MattingNetwork, batches: Iterator[dict], config: EasyDict, steps: int,
                  description: str) -> tuple[MattingNetwork, float]:
    """Trains with a cosine learning rate; returns the averaged network and its mean loss over the last fifth."""
    state = TrainingState.of(network.to(memory_format=torch.channels_last), config)
    model = training_model(network, config, ON_CPU)
    errors = []
    for step in in_steps(range(steps), steps, description, "step", sys.stderr):
        rate = config.train.G_lr * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        batch = next(batches)
        pixels = max(1.0, unknown_mask(batch["trimap"]).sum().item())
        values, _ = optimise(model, state, [batch], pixels, config, ON_CPU)
        state.step += 1
        errors.append(values["rec"])
    recalibrate(state.result, batches, config, ON_CPU, pixels=RECALIBRATION_PIXELS)
    last = errors[-max(1, len(errors) // 5):]
    return state.result, sum(last) / len(last)
