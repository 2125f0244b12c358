"""The state in which a training starts: fresh, from given weights, or resumed."""

import logging
import math
from pathlib import Path

import torch
from easydict import EasyDict
from torch import Tensor, nn

from networks import MattingNetwork, build_network, from_published_names
from training.pretrained import load_imagenet_encoder, with_colour_inputs
from training.state import TrainingState
from training.widening import is_narrower, load_widened
from utils.checkpoint import (
    CheckpointError,
    check_tensors,
    checkpoint_folder,
    checkpoint_path,
    first_few,
    load_weights,
    read_checkpoint,
)
from utils.config import ConfigError, architecture, flat, load_config
from utils.device import is_out_of_memory
from utils.distributed import World
from utils.errors import one_line

ADAM = {"params", "lr", "betas", "eps", "weight_decay"}  # settings
INITIALISE = "start from its weights with model.init_checkpoint"

log = logging.getLogger(__name__)


def start_or_resume(config: EasyDict, world: World) -> TrainingState:
    """A run's state: freshly initialised, from initial weights, or resumed from a checkpoint.

    Raises:
        CheckpointError: if a file is missing, damaged or of another network.
        ConfigError: if the ImageNet backbone is missing, or an earlier run would be overwritten.
    """
    latest = checkpoint_folder(config) / "latest_model.pth"
    if not config.train.resume_checkpoint and latest.exists():
        raise ConfigError(f"{latest}: an earlier run is here and would be overwritten; resume it with "
                          "train.resume_checkpoint=latest_model, choose another version, or move it away")
    torch.manual_seed(config.train.seed)
    network = build_network(**architecture(config))
    if not config.train.resume_checkpoint:
        load_initial_weights(network, config, world)
    memory_format = torch.channels_last if config.train.channels_last else torch.contiguous_format
    network = network.to(world.device, memory_format=memory_format)
    if world.size > 1 and world.device.type == "cuda":
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    state = TrainingState.of(network, config)
    if config.train.resume_checkpoint:
        path = checkpoint_path(config, config.train.resume_checkpoint)
        restore(state, path)
        if config.train.reset_lr:
            state.step = state.validated = 0
        if state.step > config.train.total_step:
            raise ConfigError(f"{path}: is at step {state.step}; expected at most train.total_step, "
                              f"{config.train.total_step}, or train.reset_lr=true")
        log.info("resumed %s at step %d", path, state.step)
        if world.is_main:
            log_changed_settings(config, path.parent / "config.toml")
    return state


def log_changed_settings(config: EasyDict, before: Path) -> None:
    """Logs which settings of the training differ from those of an earlier run, saved in a file, if it is there."""
    try:
        earlier = flat(load_config(before))
    except ConfigError:
        return
    changed = [f"{name}={value} (was {earlier[name]})" for name, value in flat(config).items()
               if value != earlier[name] and name.startswith(("model.", "data.", "train."))
               and name != "train.resume_checkpoint"]
    if changed:
        log.info("settings other than in %s: %s", before, ", ".join(changed))


def load_initial_weights(network: MattingNetwork, config: EasyDict, world: World) -> None:
    """Loads model.init_checkpoint or the ImageNet backbone, if configured.

    Raises:
        CheckpointError: if the checkpoint is unreadable or does not fit.
        ConfigError: if the backbone is missing.
    """
    if config.model.init_checkpoint:
        path = config.model.init_checkpoint
        weights, extended = with_colour_inputs(network, read_checkpoint(path)["state_dict"])
        narrower = is_narrower(weights, network)
        if narrower:
            load_widened(network, weights)
        else:
            load_weights(network, weights, path)
        if world.is_main:
            log.info("weights start from %s%s", path, ", of fewer channels; the others are random" * narrower)
            if extended:
                log.info("it has no colour samples: their input channels start at zero in %s", ", ".join(extended))
    elif config.model.imagenet_pretrain:
        path = config.model.imagenet_pretrain_path
        if not Path(path).is_file():
            raise ConfigError(f"model.imagenet_pretrain_path: {path}: no such file; see pretrain/README.md, "
                              "or set model.imagenet_pretrain=false to start from random weights")
        transfer = load_imagenet_encoder(network, path)
        if world.is_main:
            log.info("%d encoder tensors start from %s", len(transfer.loaded), path)
            log.info("initialised at random: %s", ", ".join(transfer.kept) or "none of the encoder's")
            log.info("ignored in the file: %s", ", ".join(transfer.passed_over) or "nothing")


def restore(state: TrainingState, path: Path) -> None:
    """Sets a state to that of a checkpoint file.

    Raises:
        CheckpointError: if the file is missing, damaged, of another network, or without a complete training state.
    """
    try:
        content = read_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_suggest_another(path)}") from None
    load_weights(state.result, content["state_dict"], path)
    if "resume" not in content or "opt_state_dict" not in content:
        raise CheckpointError(f"{path}: contains weights but no training state; {INITIALISE}")
    resume = content["resume"]
    if isinstance(resume, dict) and ("weights" in resume) != (state.ema is not None):
        raise CheckpointError(f"{path}: was written {'with' if 'weights' in resume else 'without'} train.ema; "
                              f"resume it the same way, or {INITIALISE}")
    try:
        _restore_network(state, resume, path)
        _restore_optimizer(state, content["opt_state_dict"], resume["scaler"], path)
        _restore_numbers(state, resume)
        state.loss = float(content["loss"])
        torch.set_rng_state(resume["random_state"])
        if "cuda_random_state" in resume and torch.cuda.is_available():
            torch.cuda.set_rng_state(resume["cuda_random_state"])
    except CheckpointError:
        raise
    except Exception as error:  # of what the file holds instead of the state's parts
        if is_out_of_memory(error):
            raise
        reason = f"no {error}" if isinstance(error, KeyError) else one_line(error)
        raise CheckpointError(f"{path}: its training state is damaged ({reason}); {INITIALISE}") from None


def _restore_network(state: TrainingState, resume: dict, path: Path) -> None:
    if state.ema is not None:
        check_tensors(path, resume["weights"])
        state.network.load_state_dict(from_published_names(resume["weights"]))
        state.ema.n_averaged.copy_(resume["averaged"])


def _restore_optimizer(state: TrainingState, optimizer: dict, scaler: dict, path: Path) -> None:
    for group in optimizer["param_groups"]:
        # Other versions of PyTorch have further settings.
        if not group.keys() >= ADAM or not all(map(_is_finite, group.values())) or not group["lr"] >= 0:
            raise ValueError("the optimizer's settings are not those of Adam")
    check_tensors(path, {f"opt_state_dict.{number}.{name}": value for number, moments in optimizer["state"].items()
                         for name, value in moments.items()})
    state.optimizer.load_state_dict(optimizer)
    parameters = [parameter for group in state.optimizer.param_groups for parameter in group["params"]]
    for parameter in parameters if optimizer["state"] else ():
        moments = state.optimizer.state[parameter]
        if not moments["exp_avg"].shape == moments["exp_avg_sq"].shape == parameter.shape:
            raise ValueError("the optimizer's moments have other shapes than the weights")
        if (moments["exp_avg_sq"] < 0).any() or not moments["step"] >= 0:
            raise ValueError("the optimizer's moments are negative")
    if scaler and state.scaler.is_enabled():
        state.scaler.load_state_dict(scaler)


def _restore_numbers(state: TrainingState, resume: dict) -> None:
    step, skipped, norm, best = (resume[name] for name in ("step", "skipped", "moving_norm", "best_mse"))
    for name, value in {"step": step, "skipped": skipped}.items():
        if type(value) is not int or value < 0:
            raise ValueError(f"{name} is {value!r}; expected a whole number")
    if norm is not None and not (_is_finite(norm) and norm >= 0):
        raise ValueError(f"moving_norm is {norm!r}; expected a number")
    if type(best) not in (int, float) or not best >= 0:
        raise ValueError(f"best_mse is {best!r}; expected a number")
    validated = resume.get("validated", step)
    if type(validated) is not int:
        raise ValueError(f"validated is {validated!r}; expected a whole number")
    state.step, state.skipped, state.moving_norm, state.best_mse = step, skipped, norm, best
    state.validated = validated


def _is_finite(value: object) -> bool:
    """Whether all numbers in a setting are finite."""
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, Tensor):
        return bool(value.isfinite().all())
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _suggest_another(path: Path) -> str:
    """A hint at the other checkpoints of the folder: if the file is damaged, at the newest readable one."""
    others = sorted((other for other in path.parent.glob("*.pth") if other != path),
                    key=lambda other: other.stat().st_mtime, reverse=True)
    if others and not path.exists():
        return f"; {path.parent} holds {first_few([other.stem for other in others])}"
    for other in others:
        try:
            if "resume" in read_checkpoint(other):
                return f"; the one before it is readable: train.resume_checkpoint={other}"
        except CheckpointError:
            continue
    return "; there is no other checkpoint beside it to resume"
