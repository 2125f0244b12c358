"""One optimiser step: forward, backward, clip, update. Shared by all trainings."""

import logging
import math
import signal
from contextlib import nullcontext
from typing import NamedTuple

import torch
from easydict import EasyDict
from torch import Tensor, nn

from networks import MattingOutput
from training.losses import weighted_losses
from training.schedule import clip_to_moving_norm
from training.state import TrainingState
from training.stop_signals import StopRequest
from utils.checkpoint import checkpoint_folder, write_tensors
from utils.distributed import World, all_reduce_sum
from utils.errors import ReportedError
from utils.precision import arithmetic
from utils.tensors import unknown_mask

log = logging.getLogger(__name__)


class TrainingError(ReportedError):
    """Training cannot continue. The message says why."""


class StepResult(NamedTuple):
    """What a step computed."""

    values: dict[str, float]  # loss and its parts, over all processes; "grad_norm", before clipping
    output: MattingOutput  # of the last batch
    stop_signal: int  # received by any process; 0: none


def training_step(model: nn.Module, state: TrainingState, batches: list[dict], rate: float, config: EasyDict,
                  world: World, stop: StopRequest) -> StepResult:
    """Updates the network once; `state.step` is counted up.

    A step with non-finite loss or gradients changes nothing.

    Args:
        batches: `train.accumulate` batches on the device, whose gradients are added up.
        rate: learning rate.

    Raises:
        TrainingError: after train.max_skipped non-finite steps in a row; the batches are saved.
    """
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    pixels, stop_signal = sync_step(batches, stop, world)
    values, output = optimise(model, state, batches, pixels, config, world)
    state.step += 1
    state.loss = values["loss"]
    return StepResult(values, output, stop_signal)


def sync_step(batches: list[dict], stop: StopRequest, world: World) -> tuple[float, int]:
    """What all processes must agree on before a step: its number of unknown pixels, and the signal to stop for."""
    pixels = sum(unknown_mask(batch["trimap"]).sum() for batch in batches).double()
    signals = torch.tensor(float(stop.signal), device=world.device, dtype=torch.float64)
    pixels, signals = all_reduce_sum(world, torch.stack([pixels, signals])).tolist()
    # One process may have received the signal, or all: any sum above 0 stops them all.
    return max(1.0, pixels), 0 if signals == 0 else stop.signal or signal.SIGTERM


def optimise(model: nn.Module, state: TrainingState, batches: list[dict], pixels: float, config: EasyDict,
             world: World) -> tuple[dict[str, float], MattingOutput]:
    """Forward, backward, clip, update; returns `StepResult.values` and `StepResult.output`.

    Args:
        pixels: number of unknown pixels of the step, over all processes: the losses are means over them.
    """
    mean_pixels = pixels / (world.size * sum(len(batch["alpha"]) for batch in batches))
    statistics = [buffer.clone() for buffer in state.network.buffers()]
    state.optimizer.zero_grad(set_to_none=True)
    sums = {}
    for i, batch in enumerate(batches):
        synchronise = i == len(batches) - 1 or world.size == 1
        with nullcontext() if synchronise else model.no_sync():
            output, parts = forward(model, batch, config, mean_pixels)
            loss = parts["loss"] * world.size / pixels  # DistributedDataParallel averages over the processes
            state.scaler.scale(loss).backward()
        sums = {name: sums.get(name, 0) + part.detach().double() / pixels for name, part in parts.items()}
    values = dict(zip(sums, all_reduce_sum(world, torch.stack(list(sums.values()))).tolist(), strict=True))

    state.scaler.unscale_(state.optimizer)
    norm, moving_norm = clip_to_moving_norm(list(state.network.parameters()), state.moving_norm, config.train.clip_grad)
    if math.isfinite(values["loss"]) and torch.isfinite(norm):
        state.scaler.step(state.optimizer)
        state.moving_norm, state.skipped = moving_norm, 0
        if state.ema is not None:
            state.ema.update_parameters(state.network)
    else:
        for buffer, before in zip(state.network.buffers(), statistics, strict=True):
            buffer.copy_(before)
        _skip(state, batches, config, world)
    state.scaler.update()
    return {**values, "grad_norm": norm.item()}, output


def forward(model: nn.Module, batch: dict, config: EasyDict,
            mean_pixels: float) -> tuple[MattingOutput, dict[str, Tensor]]:
    """The network's output for a batch, and its weighted losses, summed over the unknown pixels.

    Args:
        mean_pixels: number of unknown pixels of a sample, mean over the step.
    """
    image, trimap = batch["image"], batch["trimap"]
    if config.train.channels_last:
        image, trimap = (x.contiguous(memory_format=torch.channels_last) for x in (image, trimap))
    with arithmetic(image.device, config.train.precision):
        output = model(image, trimap)
    unknown = unknown_mask(batch["trimap"])
    return output, weighted_losses(config.train, output.alpha.float(), batch, unknown, mean_pixels)


def _skip(state: TrainingState, batches: list[dict], config: EasyDict, world: World) -> None:
    """Counts a skipped step; at the limit saves its batches and raises TrainingError."""
    state.skipped += 1
    log.warning("step %d skipped: non-finite gradients (%d in a row)", state.step, state.skipped)
    if state.skipped >= config.train.max_skipped:
        path = checkpoint_folder(config) / f"skipped_step_{state.step:08d}_rank_{world.rank}.pth"
        write_tensors(path, batches)
        raise TrainingError(f"{state.skipped} steps in a row had non-finite gradients; the last batches are in {path}")
