"""Trains a network on generated data within a given time, in one call or several.

    python tools/train_free.py --config=config/gca-free.toml --minutes=10 --total=30 --parts=parts
    python tools/train_free.py --config=config/gca-free.toml --minutes=10 --total=30 --parts=parts   # goes on
    python tools/train_free.py --config=config/gca-free.toml --parts=parts --checkpoint=gca-free.pth # only joins

Crops grow (`STAGES`): small ones, of which there can be many, teach what alpha is, large ones what wide unknown regions
hold. A network without model.colour_samples first guesses alpha from the trimap alone and stays on that plateau for
long, the longer the larger its crops are. What starts from weights (model.init_checkpoint) needs no small ones:
--first-crop=128. The learning rate falls as a cosine of the time. A call leaves weights in half precision as
files of at most 16 MiB; the next one starts from them with a fresh optimiser and a short warm-up.
"""

import argparse
import copy
import itertools
import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from easydict import EasyDict
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError
from dataloader.training import make_training_dataset
from networks import build_network, to_published_names
from trainer import (
    TrainingError,
    agree,
    next_batches,
    parallel_model,
    set_arithmetic,
    take_step,
    training_loader,
    validate,
    validation_images,
)
from utils.arguments import positive_float
from utils.checkpoint import CheckpointError, load_weights
from utils.config import ConfigError, add_config_arguments, architecture, load_config
from utils.device import device_argument
from utils.distributed import World, copy_from_main, join_world, leave_world
from utils.files import atomic_path
from utils.parts import ABOUT, half_precision, load_parts, save_parts, write_about
from utils.precision import arithmetic
from utils.run_log import FORMAT, RunLog, logging_to_file
from utils.signals import StopRequest
from utils.training_state import TrainingState, start_or_resume

SAVE_EVERY = 5.0  # minutes
LONGEST_GAP = 60.0  # seconds between two steps; what is longer is a halt, which does not count
MOST_STEPS = 10**9  # of a stage, which ends by the clock
FEWEST_SAMPLES = 4  # of a batch, which batch normalisation needs
RECALIBRATION_BATCHES = 50  # for the statistics of batch normalisation that belong to the averaged weights

log = logging.getLogger(__name__)


class Stage(NamedTuple):
    """A stretch of the training."""

    end: float  # as a share of the whole time
    crop: int  # side in pixels
    plain_share: float  # of the samples


STAGES = (Stage(0.10, 64, 0.03), Stage(0.25, 128, 0.03), Stage(1.00, 256, 0.02))


class Clock:
    """How much of the whole time is over, the same on all processes. While a process is halted it stands still."""

    def __init__(self, world: World, minutes: float, done: float, total: float):
        self.world, self.minutes, self.done, self.total = world, minutes, done, total
        self.elapsed = 0.0  # minutes of this call
        self.reserve = 0.0  # minutes that a last save takes
        self._last = time.monotonic()

    def read(self) -> float:
        """The share of the whole time that is over."""
        now = time.monotonic()
        elapsed = torch.tensor(self.elapsed + min(now - self._last, LONGEST_GAP) / 60, device=self.world.device)
        self._last = now
        copy_from_main(self.world, [elapsed])
        self.elapsed = elapsed.item()
        return min(1.0, (self.done + self.elapsed) / self.total)

    @property
    def is_over(self) -> bool:
        return self.elapsed + self.reserve >= min(self.minutes, self.total - self.done)


class Run:
    """A call's training: the state, its records, and what the parts tell about all calls together."""

    def __init__(self, config: EasyDict, world: World, parts: Path, total: float | None, first_crop: int = 0):
        self.config, self.world, self.parts = config, world, parts
        self.test_images = validation_images(config)
        self.about = {"minutes": 0.0, "samples": 0, "steps": 0, "validations": []}
        config.log.checkpoint_path = str(parts)  # for batches that gave no numbers
        self.state = start_or_resume(config, world)
        if (parts / ABOUT).exists():
            weights, about = load_parts(parts)
            self.about |= about
            for network in {id(each): each for each in (self.state.network, self.state.result)}.values():
                load_weights(network, weights, parts)
        self.about["total"] = total or self.about.get("total")
        self.about["first_crop"] = first_crop or self.about.get("first_crop", 0)
        self.stages = tuple(stage for stage in STAGES if stage.crop >= self.about["first_crop"])
        self.state.step = self.first_step = self.about["steps"]
        self.minutes_before = self.about["minutes"]
        self.saved_at = 0.0  # minutes of this call

    def save(self, clock: Clock, batches: Iterator[dict] | None) -> None:
        """Leaves the weights as they are now, in half precision, and then their errors on the validation images.

        Args:
            batches: to measure the statistics of batch normalisation with; None leaves these and the errors away,
                where the process has been asked to end.
        """
        state, world = self.state, self.world
        clock.read()
        start = self.saved_at = clock.elapsed
        if batches and state.ema is not None:
            recalibrate(state.result, batches, self.config, world)
        self.about |= {"minutes": self.minutes_before + clock.elapsed, "steps": state.step}
        copy_from_main(world, state.result.buffers())
        if world.is_main:
            self.about = save_parts(self.parts, to_published_names(state.result.state_dict()), self.about)
        if batches and self.test_images:
            errors = validate(state.result, self.test_images, world)
            now = {name: self.about[name] for name in ("minutes", "samples", "steps")}
            self.about["validations"].append(now | errors)
            log.info("after %.1f minutes and %d samples: %s", self.about["minutes"], self.about["samples"], errors)
            if world.is_main:
                write_about(self.parts, self.about)
        clock.read()
        clock.reserve = max(clock.reserve, clock.elapsed - start)


def train_for(config: EasyDict, world: World, minutes: float, total: float | None, parts: Path,
              first_crop: int = 0) -> int:
    """Trains for some minutes of a training that is to last `total`; returns the exit status.

    Args:
        total: None takes that of the earlier calls, and for a first call `minutes`.
        first_crop: leaves out the stages whose crops are smaller, for this call and those that follow; 0 does as the
            earlier calls did. The largest of `STAGES` at most.

    Raises:
        ConfigError, ImageFileError, CheckpointError, TrainingError: as `trainer.train` does; also where the total time
            is over.
    """
    set_arithmetic(config)
    run = Run(config, world, parts, total, first_crop)
    run.about["total"] = run.about["total"] or minutes
    clock = Clock(world, minutes, run.minutes_before, run.about["total"])
    if clock.is_over:
        raise TrainingError(f"{parts}: its {run.about['total']:g} minutes are over; give a larger --total")
    with RunLog(config, world, run.first_step) as run_log, StopRequest() as stop:
        stopping = 0
        while not (stopping or clock.is_over):
            stopping = train_stage(run, stage_at(clock.read(), run.stages), clock, run_log, stop)
    return 128 + stopping if stopping else 0


def train_stage(run: Run, stage: Stage, clock: Clock, run_log: RunLog, stop: StopRequest) -> int:
    """Trains until the stage or the call's time is over, or a signal, which is returned, asks to stop; saves."""
    config, state, world = staged(run.config, stage, run.about["samples"]), run.state, run.world
    images = config.model.batch_size * config.train.accumulate * world.size
    model = parallel_model(state.network, config, world)
    # A cache keeps foregrounds for all stages; without one they are others in each.
    data = make_training_dataset(config, config.train.seed, run.config.train.seed if config.data.cache else None)
    batches = iter(training_loader(data, config, world, 0))
    log.info("crops of %d pixels, %d in a step, %.0f %% of them plain", stage.crop, images, 100 * stage.plain_share)
    stopping = 0
    while not stopping and stage_at(share := clock.read(), run.stages) == stage and not clock.is_over:
        set_rate(state, config, share, run.first_step)
        step_batches = next_batches(batches, config, world, run_log)
        count, stopping = agree(world, step_batches, stop)
        values, _ = take_step(model, state, step_batches, count, config, world)
        state.step += 1
        run.about["samples"] += images
        run_log.advance(state.step)
        if run_log.due(state.step):
            run_log.record(state.step, values | {"learning_rate": state.optimizer.param_groups[0]["lr"]}, images)
        if clock.elapsed - run.saved_at > SAVE_EVERY:
            run.save(clock, batches)
    if stopping or clock.is_over:
        run.save(clock, None if stopping else batches)
    return stopping


def stage_at(share: float, stages: tuple[Stage, ...]) -> Stage:
    """The stage of a share of the whole time."""
    return next(stage for stage in stages if share < stage.end or stage is stages[-1])


def staged(config: EasyDict, stage: Stage, samples: int) -> EasyDict:
    """The configuration for a stage that begins after so many samples, with samples that were not seen before.

    Its batches shrink as crops grow; model.batch_size is that of the first of `STAGES`.
    """
    config = copy.deepcopy(config)
    config.train.seed += samples
    config.data.crop_size, config.data.plain_share = stage.crop, stage.plain_share
    config.model.batch_size = max(FEWEST_SAMPLES, round(config.model.batch_size * STAGES[0].crop / stage.crop))
    config.train.total_step = MOST_STEPS
    return config


def set_rate(state: TrainingState, config: EasyDict, share: float, first_step: int) -> None:
    """A cosine of the time, after a linear warm-up at the start of each call, whose optimiser is fresh."""
    warmup = min(1.0, (state.step - first_step + 1) / max(1, config.train.warmup_step))
    for group in state.optimizer.param_groups:
        group["lr"] = config.train.G_lr * warmup * (1 + math.cos(math.pi * share)) / 2


def recalibrate(network: nn.Module, batches: Iterator[dict], config: EasyDict, world: World) -> None:
    """Measures the statistics of batch normalisation anew, with the averaged weights."""
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean of all batches
    network.train()
    with torch.no_grad(), arithmetic(world.device, config.train.precision):
        for batch in itertools.islice(batches, RECALIBRATION_BATCHES):
            network(batch["image"].to(world.device), batch["trimap"].to(world.device))
    network.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def join(config: EasyDict, parts: Path, path: Path) -> None:
    """Writes the parts as one checkpoint in half precision, under the published names; it tells its architecture."""
    weights, about = load_parts(parts)
    load_weights(build_network(**architecture(config)), weights, parts)
    with atomic_path(path) as temporary:
        torch.save({"iter": about["steps"], "loss": 0.0, "architecture": architecture(config),
                    "state_dict": half_precision(weights)}, temporary)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a network on generated data for a number of minutes.")
    add_config_arguments(parser, default="config/gca-free.toml")
    parser.add_argument("--parts", type=Path, required=True, metavar="DIR",
                        help="folder of the weights in parts, which training goes on from and leaves")
    parser.add_argument("--minutes", type=positive_float, help="time for this call; without it nothing is trained")
    parser.add_argument("--total", type=positive_float,
                        help="time for all calls together (default: the earlier calls', or --minutes)")
    parser.add_argument("--first-crop", type=int, choices=[stage.crop for stage in STAGES], default=0,
                        help="leave out the stages with smaller crops, for a training that starts from weights "
                             "(default: the earlier calls')")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="join the parts to this file at the end")
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu (default: each process its GPU, or the CPU)")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    try:
        config = load_config(args.config, args.set)
        world = join_world(args.device)
        logging.basicConfig(level="INFO" if world.is_main else "WARNING", format=FORMAT)
        status = 0
        if args.minutes:
            with logging_to_file(config, world):
                status = train_for(config, world, args.minutes, args.total, args.parts, args.first_crop)
        if args.checkpoint and world.is_main:
            join(config, args.parts, args.checkpoint)
        leave_world(world)
        return status
    except (ConfigError, ImageFileError, CheckpointError, TrainingError) as error:
        print(f"train_free.py: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"train_free.py: {error.filename or args.parts}: {error.strerror or error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
