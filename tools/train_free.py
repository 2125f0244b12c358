"""Trains a network on generated data within a given time, in one call or several.

    python tools/train_free.py --config=config/gca-free.toml --minutes=9 --total=27 --parts=parts
    python tools/train_free.py --config=config/gca-free.toml --minutes=9 --total=27 --parts=parts    # goes on
    python tools/train_free.py --config=config/gca-free.toml --parts=parts --checkpoint=gca-free.pth # only joins

docs/training_free_weights.md tells how to go about it. Crops grow (`STAGES`): small ones, of which there can be many,
teach what alpha is, large ones what wide unknown regions hold. A network without model.colour_samples first guesses
alpha from the trimap alone and stays on that plateau for long, the longer the larger its crops are. What starts from
weights (model.init_checkpoint) needs no small ones: --first-crop=256. The learning rate stays as it is until the last
fifth of the time, in which it falls to nothing.

A call leaves weights in half precision as files of at most 15 MiB, and a line of JSON a minute; the next one starts
from them with a fresh optimiser and a short warm-up. When the time is over, the finished checkpoint is written beside
them.
"""

import argparse
import copy
import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import cycle
from pathlib import Path

import torch
from easydict import EasyDict
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.dataset import make_training_dataset
from dataloader.image_file import ImageFileError
from dataloader.on_device.batches import DeviceSamples, make_banks
from dataloader.on_device.layer_banks import Banks
from networks import build_network, to_published_names
from trainer import (
    TrainingError,
    agree,
    made_ahead,
    next_batches,
    parallel_model,
    set_arithmetic,
    take_step,
    training_loader,
    validate,
    validation_images,
)
from training.run_log import FORMAT, RunLog, logging_to_file
from training.signals import StopRequest
from training.state import TrainingState, start_or_resume
from training.timed_training import STAGES, Clock, Progress, Stage, chosen_stages, in_turn, rate_at, stage_at
from training.weight_shards import ABOUT, half_precision, load_about, load_parts, save_parts, write_about
from utils.arguments import positive_float
from utils.checkpoint import CheckpointError, load_weights
from utils.config import ConfigError, add_config_arguments, architecture, load_config
from utils.device import device_argument
from utils.distributed import World, copy_from_main, join_world, leave_world
from utils.files import atomic_path
from utils.precision import arithmetic

SAVE_EVERY = 5.0  # minutes
FIRST_SAVE = 1 / 3  # of a call's minutes
RECALIBRATION_SHARE = 0.03  # of a call's minutes, at most, for each save
MOST_STEPS = 10**9  # of a stage, which ends by the clock
SEED_STRIDE = 10**9  # between the seeds of crops that steps have in turn: more than there are samples
WORTH_COMPILING = 4.0  # minutes
FEWEST_SAMPLES = 4  # of a batch, which batch normalisation needs
RECALIBRATION_PIXELS = 2**24  # for the statistics of batch normalisation that belong to the averaged weights
PROGRESS = "progress.jsonl"  # beside the parts

log = logging.getLogger(__name__)


class Run:
    """A call's training: the state, its records, and what the parts tell about all calls together."""

    def __init__(self, config: EasyDict, world: World, parts: Path, total: float | None, first_crop: int = 0,
                 last_crop: int = 0, mixed: bool | None = None):
        self.config, self.world, self.parts = config, world, parts
        self.test_images = validation_images(config)
        self.about = {"minutes": 0.0, "samples": 0, "steps": 0, "validations": [], "architecture": architecture(config)}
        config.log.checkpoint_path = str(parts)  # for batches that gave no numbers
        self.state = start_or_resume(config, world)
        if (parts / ABOUT).exists():
            weights, about = load_parts(parts)
            self.about |= about
            for network in {id(each): each for each in (self.state.network, self.state.result)}.values():
                load_weights(network, weights, parts)
        if self.about.get("finished") and (total or 0) <= self.about["total"]:
            raise TrainingError(f"{parts}: its {self.about['total']:g} minutes are over; give a larger --total")
        self.about["total"] = total or self.about.get("total")
        self.about["first_crop"] = first_crop or self.about.get("first_crop", 0)
        self.about["last_crop"] = last_crop or self.about.get("last_crop", 0)
        self.about["mixed_crops"] = self.about.get("mixed_crops", False) if mixed is None else mixed
        self.stages = chosen_stages(self.about["first_crop"], self.about["last_crop"])
        if not self.stages:
            raise TrainingError(
                f"no stage has crops of {self.about['first_crop']} to {self.about['last_crop']} pixels")
        if self.about["mixed_crops"]:
            if not config.data.on_device:
                raise ConfigError("data.on_device is false; crops of several sizes in turn (--mixed-crops) need it")
            self.stages = in_turn(self.stages)
        self.state.step = self.first_step = self.about["steps"]
        self.minutes_before = self.about["minutes"]
        self.saved_at, self.saved_step = 0.0, None  # minutes of this call
        self.progress = Progress(parts / PROGRESS, world, self.minutes_before)
        self.banks: Banks | None = None  # with data.on_device, for all stages
        self.round_length = 1  # batches until the stage's crops begin anew

    def report(self, clock: Clock, run_log: RunLog, stage: Stage, at_once: bool = False) -> None:
        """Writes a line about the progress, once a minute."""
        latest = self.about["validations"][-1] if self.about["validations"] else None
        self.progress.report(
            clock.elapsed, run_log.seconds_waited, at_once,
            minutes=round(clock.minutes_spent, 2), samples=self.about["samples"],
            crop=list(stage.crops) if stage.others else stage.crop,
            learning_rate=self.state.optimizer.param_groups[0]["lr"],
            validation=latest and {name: round(latest[name], 4) for name in ("sad", "mse")})

    def is_to_be_saved(self, clock: Clock) -> bool:
        """Every five minutes, but not shortly before the end; sooner at first, to learn how long it takes."""
        first = not clock.reserve and clock.elapsed > FIRST_SAVE * clock.minutes
        regular = clock.elapsed - self.saved_at > SAVE_EVERY and clock.left(1.0) > 2 * clock.reserve + 0.5
        return first or regular

    def save(self, clock: Clock, batches: Iterator[dict] | None) -> None:
        """Leaves the weights as they are now, in half precision, and then their errors on the validation images.

        Args:
            batches: to measure the statistics of batch normalisation with; None leaves these and the errors away,
                where the process has been asked to end.
        """
        clock.read()
        start = self.saved_at = clock.elapsed
        if self.state.step != self.saved_step:  # else a call ends just behind a save: nothing has changed but the time
            self._save_weights(clock, batches)
            self.saved_step = self.state.step
        clock.read(worked=True)
        self.about |= {"minutes": clock.minutes_spent, "finished": clock.is_finished}
        if self.world.is_main:
            write_about(self.parts, self.about)
        clock.reserve = max(clock.reserve, clock.elapsed - start)

    def _save_weights(self, clock: Clock, batches: Iterator[dict] | None) -> None:
        state, world = self.state, self.world
        if batches and state.ema is not None:
            recalibrate(state.result, batches, self.config, world, RECALIBRATION_SHARE * 60 * clock.minutes,
                        round_length=self.round_length)
        clock.read(worked=True)
        self.about |= {"minutes": clock.minutes_spent, "steps": state.step, "finished": clock.is_finished}
        copy_from_main(world, state.result.buffers())
        if world.is_main:
            self.about = save_parts(self.parts, to_published_names(state.result.state_dict()), self.about)
        if batches and self.test_images:
            errors = validate(state.result, self.test_images, world)
            now = {name: self.about[name] for name in ("minutes", "samples", "steps")}
            self.about["validations"].append(now | errors)
            log.info("after %.1f minutes and %d samples: %s", self.about["minutes"], self.about["samples"], errors)


def train_for(config: EasyDict, world: World, minutes: float, total: float | None, parts: Path,
              first_crop: int = 0, last_crop: int = 0, mixed: bool | None = None) -> int:
    """Trains for some minutes of a training that is to last `total`; returns the exit status.

    Args:
        total: None takes that of the earlier calls, and for a first call `minutes`.
        first_crop, last_crop: leave out the stages whose crops are smaller, or larger, for this call and those that
            follow; 0 does as the earlier calls did.
        mixed: whether steps have the crops of these stages in turn, instead of one stage after the other; None does as
            the earlier calls did.

    Raises:
        ConfigError, ImageFileError, CheckpointError, TrainingError: as `trainer.train` does; also where the total time
            is over, no stage is left, or crops are mixed without data.on_device.
    """
    set_arithmetic(config)
    run = Run(config, world, parts, total, first_crop, last_crop, mixed)
    run.about["total"] = run.about["total"] or minutes
    clock = Clock(world, minutes, run.minutes_before, run.about["total"])
    if clock.is_over:
        raise TrainingError(f"{parts}: its {run.about['total']:g} minutes are over; give a larger --total")
    with StopRequest() as stop, ExitStack() as resources:
        if config.data.on_device:
            run.banks = resources.enter_context(make_banks(config, world, run.about["samples"] // world.size))
        run_log = resources.enter_context(RunLog(config, world, run.first_step))
        clock.read(worked=True)
        stopping = 0
        while not (stopping or clock.is_over):
            stopping = train_stage(run, stage_at(clock.read(), run.stages), clock, run_log, stop)
    return 128 + stopping if stopping else 0


def stage_batches(run: Run, stage: Stage, config: EasyDict) -> Iterator[dict]:
    """All batches of a stage; from the banks, which serve all stages, or of samples made one by one."""
    if run.banks is not None:
        return made_ahead(batches_in_turn(run, stage), run.world.device)
    # A cache keeps foregrounds for all stages; without one they are others in each.
    data = make_training_dataset(config, config.train.seed, run.config.train.seed if config.data.cache else None)
    return (batch for batch in training_loader(data, config, run.world, 0))


def batches_in_turn(run: Run, stage: Stage) -> Iterator[dict]:
    """Batches of the stage's crops, those of a step of one side, from streams of random numbers of their own."""
    sizes = []
    for number, crop in enumerate(stage.crops):
        config = staged(run.config, stage._replace(crop=crop), run.about["samples"])
        config.train.seed += number * SEED_STRIDE
        sizes.append(DeviceSamples(run.banks, config, run.world))
    for samples in cycle(sizes):
        for _ in range(run.config.train.accumulate):
            yield next(samples)


def train_stage(run: Run, stage: Stage, clock: Clock, run_log: RunLog, stop: StopRequest) -> int:
    """Trains until the stage or the call's time is over, or a signal, which is returned, asks to stop; saves."""
    state, world = run.state, run.world
    minutes = clock.left(1.0 if stage is run.stages[-1] else stage.end)
    config = staged(run.config, stage, run.about["samples"], minutes)
    sizes = [staged(run.config, stage._replace(crop=crop), 0).model.batch_size for crop in stage.crops]
    sizes = [size * config.train.accumulate * world.size for size in sizes]
    log.info("crops of %s pixels, %s in a step, %.0f %% of them plain", *(
        ", ".join(map(str, numbers)) for numbers in (stage.crops, sizes)), 100 * stage.plain_share)
    run.round_length = len(stage.crops) * config.train.accumulate
    model = parallel_model(state.network, config, world)
    clock.read(worked=True)
    with closing(stage_batches(run, stage, config)) as batches:
        run.progress.begin(run_log.seconds_waited)
        stopping = 0
        while not stopping and stage_at(share := clock.read(), run.stages) == stage and not clock.is_over:
            set_rate(state, config, share, run.first_step)
            step_batches = next_batches(batches, config, world, run_log)
            images = world.size * sum(len(batch["alpha"]) for batch in step_batches)
            count, stopping = agree(world, step_batches, stop)
            values, _ = take_step(model, state, step_batches, count, config, world)
            state.step += 1
            run.about["samples"] += images
            run_log.advance(state.step)
            run.progress.add(values, images)
            if run_log.due(state.step):
                run_log.record(state.step, values | {"learning_rate": state.optimizer.param_groups[0]["lr"]},
                               sum(sizes) / len(sizes))
            if run.is_to_be_saved(clock):
                run.save(clock, batches)
            run.report(clock, run_log, stage)
        if stopping or clock.is_over:
            run.save(clock, None if stopping else batches)
            run.report(clock, run_log, stage, at_once=True)
    return stopping


def staged(config: EasyDict, stage: Stage, samples: int, minutes: float = math.inf) -> EasyDict:
    """The configuration for a stage that begins after so many samples, with samples that were not seen before.

    Its batches shrink as crops grow; model.batch_size is that of the first of `STAGES`. In few minutes nothing is
    compiled, which takes one or two itself, nor where steps have crops of several sizes, each of which would be.
    """
    config = copy.deepcopy(config)
    config.train.seed += samples
    config.data.crop_size, config.data.plain_share = stage.crop, stage.plain_share
    config.model.batch_size = max(FEWEST_SAMPLES, round(config.model.batch_size * STAGES[0].crop / stage.crop))
    config.train.total_step = MOST_STEPS
    config.train.compile = config.train.compile and minutes >= WORTH_COMPILING and not stage.others
    return config


def set_rate(state: TrainingState, config: EasyDict, share: float, first_step: int) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = config.train.G_lr * rate_at(share, state.step - first_step, config.train.warmup_step)


def recalibrate(network: nn.Module, batches: Iterator[dict], config: EasyDict, world: World,
                seconds: float = math.inf, pixels: int | None = None, round_length: int = 1) -> None:
    """Measures the statistics of batch normalisation anew, with the averaged weights, for about so long at most.

    With train.freeze_bn they stay as they are: they are those that the network was trained with. Whole rounds of
    batches are taken, after which the next one is of the side that it would have been of.
    """
    if config.train.freeze_bn:
        return
    pixels = RECALIBRATION_PIXELS if pixels is None else pixels
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean of all batches
    network.train()
    seen, end = 0, time.monotonic() + seconds
    for number, batch in enumerate(batches, 1):
        seen += batch["alpha"].numel()
        with torch.no_grad(), arithmetic(world.device, config.train.precision):
            network(batch["image"].to(world.device), batch["trimap"].to(world.device))
        if number % round_length == 0 and (seen >= pixels or time.monotonic() > end):
            break
    network.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def join(config: EasyDict, parts: Path, path: Path) -> None:
    """Writes the parts as one checkpoint in half precision, under the published names; it tells its architecture."""
    weights, about = load_parts(parts)
    of = about.get("architecture", architecture(config))
    load_weights(build_network(**of), weights, parts)
    with atomic_path(path) as temporary:
        torch.save({"iter": about["steps"], "loss": 0.0, "architecture": of,
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
    parser.add_argument("--last-crop", type=int, choices=[stage.crop for stage in STAGES], default=0,
                        help="leave out the stages with larger crops (default: the earlier calls')")
    parser.add_argument("--mixed-crops", action=argparse.BooleanOptionalAction,
                        help="let steps have the crops of the stages that are not left out in turn, instead of one "
                             "stage after the other; with data.on_device, not compiled (default: the earlier calls')")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="join the parts to this file, whatever the time; when the time is over they are joined to "
                             "VERSION.pth beside them in any case")
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
                status = train_for(config, world, args.minutes, args.total, args.parts, args.first_crop,
                                   args.last_crop, args.mixed_crops)
        if world.is_main:
            finished = args.minutes and load_about(args.parts).get("finished")
            for path in [args.parts / f"{config.version}.pth"] * bool(finished) + [args.checkpoint] * bool(
                    args.checkpoint):
                join(config, args.parts, path)
                log.info("the weights are in %s", path)
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
