"""Trains a network on generated data for a given time, in one call or several.

    python tools/train_free.py --config=config/gca-free.toml --minutes=9 --total=27 --parts=parts
    python tools/train_free.py --config=config/gca-free.toml --minutes=9 --total=27 --parts=parts    # continues
    python tools/train_free.py --config=config/gca-free.toml --parts=parts --checkpoint=gca-free.pth # only joins

See docs/training_free_weights.md. Crops grow (`training.stages.STAGES`): many small ones teach what alpha is,
large ones what wide unknown regions contain. Training from given weights (model.init_checkpoint) needs no small
ones: --first-crop=256. The learning rate is constant until the last fifth of the time, in which it falls to zero.
Each call leaves half-precision weights in files of at most 15 MiB and a line of JSON per minute; the next one continues
with a new optimiser and a short warm-up. After the total time the finished checkpoint is written beside them.
"""

import argparse
import copy
import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("train_free.py: loading PyTorch", file=sys.stderr)

from easydict import EasyDict

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.loader import next_batches, to_device
from dataloader.on_device.batches import make_banks
from dataloader.on_device.layer_banks import LayerBanks
from evaluation.validation import validate, validation_images
from matting.predictor import Matting
from networks import to_published_names
from tools.stage_batches import stage_batches
from training.batchnorm_recalibration import recalibrate
from training.clock import Clock
from training.model import set_arithmetic, training_model
from training.progress import Progress
from training.run_log import FORMAT, RunLog, logging_to_file
from training.stages import DECAY, STAGES, WHOLE, Stage, planned_stages, rate_at, stage_at, stage_config
from training.start import start_or_resume
from training.step import StepResult, TrainingError, training_step
from training.stop_signals import StopRequest
from training.weight_shards import ABOUT, join_shards, load_about, load_shards, save_shards, write_about
from utils.arguments import add_config_arguments, any_path, positive_float
from utils.checkpoint import load_weights
from utils.config import architecture, load_config
from utils.device import usable_device
from utils.distributed import World, broadcast_from_main, join_world, leave_world
from utils.program import program

SAVE_EVERY = 5.0  # minutes
FIRST_SAVE = 1 / 3  # of a call's minutes
RECALIBRATION_SHARE = 0.03  # of a call's minutes, at most, per save
PROGRESS = "progress.jsonl"  # beside the weights

log = logging.getLogger(__name__)


class TimedRun:
    """One call of a timed training: training state, logs, and what is stored about all calls."""

    def __init__(self, config: EasyDict, world: World, parts: Path, total: float | None, first_crop: int = 0,
                 last_crop: int = 0, mixed: bool | None = None):
        self.config, self.world, self.parts = copy.deepcopy(config), world, parts
        self.config.log.checkpoint_path = str(parts)  # for the batches of skipped steps
        self.test_images = validation_images(config)
        self.about = {"minutes": 0.0, "samples": 0, "steps": 0, "validations": [], "decay": DECAY,
                      "architecture": architecture(config)}
        self.state = start_or_resume(self.config, world)
        if (parts / ABOUT).exists():
            weights, about = load_shards(parts)
            self.about |= about
            for network in {id(each): each for each in (self.state.network, self.state.result)}.values():
                load_weights(network, weights, parts)
        if self.about.get("finished") and (total or 0) <= self.about["total"]:
            raise TrainingError(f"{parts}: its {self.about['total']:g} minutes are over; give a larger --total, and no "
                                "--finish")
        self.about["total"] = total or self.about.get("total")
        self.about["first_crop"] = first_crop or self.about.get("first_crop", 0)
        self.about["last_crop"] = last_crop or self.about.get("last_crop", 0)
        self.about["mixed_crops"] = self.about.get("mixed_crops", False) if mixed is None else mixed
        self.stages = self._stages()
        self.state.step = self.first_step = self.about["steps"]
        self.minutes_before = self.about["minutes"]
        self.saved_at, self.saved_step = 0.0, None  # minutes of this call
        self.progress = Progress(parts / PROGRESS, world, self.minutes_before)
        self.banks: LayerBanks | None = None  # with data.on_device, for all stages
        self.round_length = 1  # batches until the crop sizes repeat
        if total:
            self.about["decay"] = DECAY  # last share of the total time, in which the learning rate falls

    def finish_in(self, minutes: float, crop: int = 0) -> None:
        """Lets the total time end after so many minutes, over which the learning rate falls; crops stay as they are.

        Or they get as large as `crop`, unless sizes are mixed. Raises TrainingError if there is no training yet, and
        nothing says how large crops are.
        """
        if not self.about["mixed_crops"]:
            if not (self.about["steps"] or self.about["first_crop"] or crop):
                raise TrainingError(f"{self.parts}: holds no training to finish; give --first-crop for one that begins")
            share = self.minutes_before / (self.about["total"] or math.inf)
            self.about["first_crop"] = self.about["last_crop"] = crop or stage_at(share, self.stages).crop
            self.stages = self._stages()
        self.about["total"] = self.minutes_before + minutes
        self.about["decay"] = minutes / self.about["total"]

    def _stages(self) -> tuple[Stage, ...]:
        return planned_stages(self.config, *(self.about[name] for name in ("first_crop", "last_crop", "mixed_crops")))

    def report(self, clock: Clock, run_log: RunLog, stage: Stage, at_once: bool = False) -> None:
        """Writes a line of progress per minute."""
        latest = self.about["validations"][-1] if self.about["validations"] else None
        self.progress.report(
            clock.elapsed, run_log.seconds_waited, at_once,
            minutes=round(clock.minutes_spent, 2), samples=self.about["samples"],
            crop=list(stage.crops) if stage.others else stage.crop, learning_rate=self.state.rate,
            validation=latest and {name: round(latest[name], 4) for name in ("sad", "mse")})

    def is_save_due(self, clock: Clock) -> bool:
        """Every five minutes, except shortly before the end; earlier at first, to learn how long a save takes."""
        first = not clock.reserve and clock.elapsed > FIRST_SAVE * clock.minutes
        regular = clock.elapsed - self.saved_at > SAVE_EVERY and clock.left(1.0) > 2 * clock.reserve + 0.5
        return first or regular

    def save(self, clock: Clock, batches: Iterator[dict] | None) -> None:
        """Saves the weights in half precision, then their errors on the validation images.

        Args:
            batches: for recalibration; None skips it and the validation, if the process was asked to stop.
        """
        clock.read()
        start = self.saved_at = clock.elapsed
        if self.state.step != self.saved_step:  # otherwise only the time has changed
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
        broadcast_from_main(world, state.result.buffers())
        if world.is_main:
            self.about = save_shards(self.parts, to_published_names(state.result.state_dict()), self.about)
        if batches and self.test_images:
            errors = validate(Matting(state.result, world.device, border=0, attention="exact"), self.test_images, world)
            now = {name: self.about[name] for name in ("minutes", "samples", "steps")}
            self.about["validations"].append(now | errors)
            log.info("after %.1f minutes and %d samples: %s", self.about["minutes"], self.about["samples"], errors)


def train_for(config: EasyDict, world: World, minutes: float, total: float | None, parts: Path,
              first_crop: int = 0, last_crop: int = 0, mixed: bool | None = None, finish: bool = False) -> int:
    """Trains for some minutes of a training that takes `total`; returns the exit status.

    Args:
        total: default: that of earlier calls; in a first call, `minutes`.
        first_crop, last_crop: `training.stages.chosen_stages`, in this and later calls; 0: as in earlier calls.
        mixed: alternate between the crop sizes of these stages step by step, instead of one stage after the
            other; None: as in earlier calls.
        finish: end the training after these minutes, in which the learning rate falls, whatever `total` was.

    Raises:
        ConfigError, ImageFileError, CheckpointError, TrainingError: as `trainer.train` does; also if the total
            time is over, no stage is left, or crops are mixed without data.on_device.
    """
    set_arithmetic(config)
    run = TimedRun(config, world, parts, total, first_crop, last_crop, mixed)
    if finish:
        run.finish_in(minutes, last_crop)
    run.about["total"] = run.about["total"] or minutes
    clock = Clock(world, minutes, run.minutes_before, run.about["total"])
    if clock.is_over:
        raise TrainingError(f"{parts}: its {run.about['total']:g} minutes are over; give a larger --total")
    with ExitStack() as resources:
        if config.data.on_device:
            run.banks = resources.enter_context(make_banks(config, world, run.about["samples"] // world.size))
        stop = resources.enter_context(StopRequest())
        run_log = resources.enter_context(RunLog(config, world, run.first_step))
        clock.read(worked=True)
        stop_signal = 0
        try:
            while not (stop_signal or clock.is_over):
                stop_signal = train_stage(run, stage_at(clock.read(), run.stages), clock, run_log, stop)
        except OSError:  # such as of a full disk, which may be that of the logs only
            if world.size == 1:  # other processes would not take part
                with suppress(OSError):
                    run.save(clock, None)
            raise
    return 128 + stop_signal if stop_signal else 0


def train_stage(run: TimedRun, stage: Stage, clock: Clock, run_log: RunLog, stop: StopRequest) -> int:
    """Trains until the stage's or the call's time is over, or a signal asks to stop; returns the signal or 0."""
    minutes = clock.left(1.0 if stage is run.stages[-1] else stage.end)
    config = stage_config(run.config, stage, run.about["samples"], minutes)
    sizes = [stage_config(run.config, stage._replace(crop=crop), 0).model.batch_size for crop in stage.crops]
    sizes = [size * config.train.accumulate * run.world.size for size in sizes]
    log.info("crops of %s pixels, %s per step, %.0f %% of them plain", *(
        ", ".join(map(str, numbers)) for numbers in (stage.crops, sizes)), 100 * stage.plain_share)
    run.round_length = len(stage.crops) * config.train.accumulate
    model = training_model(run.state.network, config, run.world)
    clock.read(worked=True)
    with closing(stage_batches(run.config, stage, run.banks, run.world, run.about["samples"])) as batches:
        run.progress.begin(run_log.seconds_waited)
        stop_signal = 0
        while not stop_signal and stage_at(share := clock.read(), run.stages) == stage and not clock.is_over:
            start = time.perf_counter()
            step_batches = next_batches(batches, config)
            run_log.waited(time.perf_counter() - start)
            rate = config.train.G_lr * rate_at(share, run.state.step - run.first_step, config.train.warmup_step,
                                               run.about["decay"])
            result = training_step(model, run.state, to_device(step_batches, run.world.device), rate, config,
                                   run.world, stop)
            stop_signal = result.stop_signal
            record_step(run, run_log, result, step_batches, sum(sizes) / len(sizes))
            if run.is_save_due(clock):
                run.save(clock, batches)
            run.report(clock, run_log, stage)
        if stop_signal or clock.is_over:
            run.save(clock, None if stop_signal else batches)
            run.report(clock, run_log, stage, at_once=True)
    return stop_signal


def record_step(run: TimedRun, run_log: RunLog, result: StepResult, step_batches: list[dict], mean_size: float) -> None:
    """Counts and logs a step; `mean_size` is the number of samples per step, averaged over the crop sizes."""
    images = run.world.size * sum(len(batch["alpha"]) for batch in step_batches)
    run.about["samples"] += images
    run_log.advance(run.state.step)
    run.progress.add(result.values, images)
    if run_log.due(run.state.step):
        run_log.record(run.state.step, result.values | {"learning_rate": run.state.rate}, mean_size)


def parse_arguments() -> argparse.Namespace:
    crops = [stage.crop for stage in (*STAGES, WHOLE)]
    parser = argparse.ArgumentParser(description="Train a network on generated data for a number of minutes.")
    add_config_arguments(parser, default="config/gca-free.toml")
    parser.add_argument("--parts", type=any_path, required=True, metavar="DIR",
                        help="folder of the weights: training continues from them and saves to it")
    parser.add_argument("--minutes", type=positive_float, help="time for this call; without it nothing is trained")
    parser.add_argument("--total", type=positive_float,
                        help="time for all calls together (default: as in earlier calls, or --minutes)")
    parser.add_argument("--finish", action="store_true",
                        help="end the training after these minutes, over which the learning rate falls to zero, "
                             "whatever --total was; in a copy of DIR, if training may go on from there")
    parser.add_argument("--first-crop", type=int, choices=crops, default=0,
                        help="skip stages with smaller crops, to train from given weights (default: as earlier)")
    parser.add_argument("--last-crop", type=int, choices=crops, default=0,
                        help="skip the stages with larger crops; 800 adds one with whole photographs, which needs "
                             "data.generated_size=800 (default: 512, or as in earlier calls)")
    parser.add_argument("--mixed-crops", action=argparse.BooleanOptionalAction,
                        help="alternate between the crop sizes of the remaining stages step by step; needs "
                             "data.on_device, not compiled (default: as in earlier calls)")
    parser.add_argument("--checkpoint", type=any_path, metavar="FILE",
                        help="join the weights to this file now; after the total time they are also joined to "
                             "VERSION.pth beside them")
    parser.add_argument("--device", metavar="NAME", help="such as cpu (default: one GPU per process, or the CPU)")
    args = parser.parse_args()
    if args.finish and (args.total or not args.minutes):
        parser.error("--finish needs --minutes, and no --total")
    return args


@program
def main() -> int:
    args = parse_arguments()
    config = load_config(args.config, args.set)
    world = join_world(usable_device(args.device))
    logging.basicConfig(level="INFO" if world.is_main else "WARNING", format=FORMAT)
    status = 0
    if args.minutes:
        with logging_to_file(config, world):
            status = train_for(config, world, args.minutes, args.total, args.parts, args.first_crop, args.last_crop,
                               args.mixed_crops, args.finish)
    if world.is_main:
        finished = args.minutes and load_about(args.parts).get("finished")
        paths = [args.parts / f"{config.version}.pth"] if finished else []
        for path in [*paths, args.checkpoint] if args.checkpoint else paths:
            join_shards(args.parts, path, architecture(config))
            log.info("the weights are in %s", path)
    leave_world(world)
    return status


if __name__ == "__main__":
    sys.exit(main())
