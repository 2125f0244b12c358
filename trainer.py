"""The training phase: the published recipe as one loop, for one process or many."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from easydict import EasyDict

from dataloader.dataset import Layers, find_layers
from dataloader.image_folders import Triple
from dataloader.loader import next_batches, to_device, training_batches
from evaluation.validation import validate, validation_images
from matting.predictor import Matting
from training.model import set_arithmetic, training_model
from training.run_log import RunLog, text_log
from training.schedule import learning_rate
from training.start import start_or_resume
from training.state import TrainingState, run_folder, save_numbered, save_state
from training.step import StepResult, TrainingError, training_step
from training.stop_signals import StopRequest
from utils.config import save_config
from utils.distributed import World, broadcast_from_main
from utils.errors import system_reason

log = logging.getLogger(__name__)


def train(config: EasyDict, world: World) -> int:
    """Trains to the end, or until SIGTERM or SIGINT.

    Returns:
        The exit status: 0 at the end, 128 + the signal's number if stopped by one.

    Raises:
        ConfigError, ImageFileError, CheckpointError: before the first step, if files or settings do not fit.
        TooManyBrokenFilesError: later, if too many files have become unreadable.
        TrainingError: after too many non-finite steps in a row.
    """
    set_arithmetic(config)
    test_images = validation_images(config)
    layers = find_layers(config, config.train.seed)
    with run_folder(config, world) as folder:  # before a checkpoint is read that another run might still replace
        return run_steps(config, world, test_images, layers, folder)


def run_steps(config: EasyDict, world: World, test_images: list[Triple], layers: Layers, folder: Path) -> int:
    """As `train`, with all files found and the folder reserved."""
    state = start_or_resume(config, world)
    model = training_model(state.network, config, world)
    if world.is_main:
        log.info("training on %s, %d process(es): %d foregrounds, %d backgrounds, %d validation images, step %d of %d",
                 world.device, world.size, *map(len, layers), len(test_images), state.step, config.train.total_step)
        save_config(config, folder / "config.toml")
    with (training_batches(config, world, state.step, layers, text_log(config)) as batches,
          StopRequest() as stop,
          RunLog(config, world, state.step) as run_log,
          saved_on_full_disk(state, folder, world)):
        if 0 < state.step != state.validated and validation_due(state, config):  # the run was ended while validating
            validate_and_save(run_log, state, test_images, folder, world)
        while state.step < config.train.total_step:
            start = time.perf_counter()
            step_batches = next_batches(batches, config)
            run_log.waited(time.perf_counter() - start)
            step_batches = to_device(step_batches, world.device)
            rate = learning_rate(state.step, config.train.G_lr, config.train.warmup_step, config.train.total_step)
            result = training_step(model, state, step_batches, rate, config, world, stop)
            record(run_log, state, result, step_batches[-1], config, world)
            save_and_validate(run_log, state, result.stop_signal, test_images, folder, config, world)
            if result.stop_signal:
                log.info("stopped at step %d; resume with train.resume_checkpoint=latest_model", state.step)
                return 128 + result.stop_signal
    if world.is_main:
        log.info("finished at step %d; checkpoints are in %s", state.step, folder)
    return 0


@contextmanager
def saved_on_full_disk(state: TrainingState, folder: Path, world: World) -> Iterator[None]:
    """If the block ends because a file cannot be written, saves the state where that is still possible.

    Raises:
        TrainingError: then; says which file it was, and from which step training can go on.
    """
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or 'a file'}: {system_reason(error)}; training stopped at step {state.step}"
        if not world.is_main:
            raise TrainingError(reason) from None
        if not state.is_finite:
            raise TrainingError(f"{reason}; its weights contain NaN or Inf and are not saved") from None
        try:
            save_state(folder / "latest_model.pth", state)
            raise TrainingError(f"{reason}, where train.resume_checkpoint=latest_model goes on") from None
        except OSError:
            raise TrainingError(f"{reason}, which could not be saved; latest_model.pth is as it was before") from None


def record(run_log: RunLog, state: TrainingState, result: StepResult, batch: dict, config: EasyDict,
           world: World) -> None:
    """Logs a step, and pictures of its last batch, when due."""
    run_log.advance(state.step)
    if run_log.due(state.step):
        images = config.model.batch_size * config.train.accumulate * world.size
        run_log.record(state.step, result.values | {"learning_rate": state.rate}, images)
    if world.is_main and state.step % config.log.tensorboard_image_step == 0:
        run_log.record_pictures(state.step, batch, result.output)


def save_and_validate(run_log: RunLog, state: TrainingState, stopping: int, test_images: list[Triple], folder: Path,
                      config: EasyDict, world: World) -> None:
    """Saves checkpoints and validates, when due, at the end and before stopping.

    Raises:
        TrainingError: if the weights are not finite; nothing is overwritten by them.
    """
    numbered = state.step % config.log.checkpoint_step == 0
    if not (numbered or stopping or validation_due(state, config)):
        return
    if not state.is_finite:
        raise TrainingError(f"the weights of step {state.step} contain NaN or Inf and are not saved; resume an earlier "
                            f"checkpoint of {folder}, perhaps with a lower train.G_lr")
    if numbered and world.is_main:
        save_numbered(folder, state, config.log.checkpoint_keep)
    if stopping or validation_due(state, config):
        if world.is_main:  # before the validation, which takes long and reads files
            save_state(folder / "latest_model.pth", state)
        if not stopping:
            validate_and_save(run_log, state, test_images, folder, world)


def validation_due(state: TrainingState, config: EasyDict) -> bool:
    """Whether the latest step is one after which to validate."""
    return state.step % config.train.val_step == 0 or state.step == config.train.total_step


def validate_and_save(run_log: RunLog, state: TrainingState, test_images: list[Triple], folder: Path,
                      world: World) -> None:
    """Validates, and saves the state with the outcome; also as the best one, if it is."""
    if not test_images:
        return
    # Without synchronised batch normalisation each process has its own statistics; rank 0's are saved.
    broadcast_from_main(world, state.result.buffers())
    errors = validate(Matting(state.result, world.device, border=0, attention="exact"), test_images, world)
    run_log.record_validation(state.step, errors)
    is_best = errors["mse"] < state.best_mse
    state.best_mse, state.validated = min(errors["mse"], state.best_mse), state.step
    if world.is_main:
        for name in ("best_model", "latest_model") if is_best else ("latest_model",):
            save_state(folder / f"{name}.pth", state)
