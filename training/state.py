"""Training state: create, save, resume."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from easydict import EasyDict
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from networks import MattingNetwork, build_network, from_published_names, to_published_names
from training.pretrained import load_imagenet_encoder, with_colour_inputs
from utils.checkpoint import (
    CheckpointError,
    checkpoint_folder,
    checkpoint_path,
    load_weights,
    read_checkpoint,
    save_checkpoint,
)
from utils.config import ConfigError, architecture
from utils.distributed import World

log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Everything the next step depends on; samples depend on `step` and the seed."""

    network: MattingNetwork
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: AveragedModel | None
    step: int = 0  # steps done
    moving_norm: float | None = None  # moving average of the gradient norm
    best_mse: float = math.inf  # of all validations
    skipped: int = 0  # consecutive steps without an update

    @classmethod
    def of(cls, network: MattingNetwork, config: EasyDict) -> "TrainingState":
        """The state before the first step; the network must be on its device."""
        device = next(network.parameters()).device
        optimizer = torch.optim.Adam(network.parameters(), config.train.G_lr, (config.train.beta1, config.train.beta2))
        scaler = torch.amp.GradScaler(device.type, enabled=config.train.precision == "fp16")
        ema = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.train.ema)) if config.train.ema else None
        return cls(network, optimizer, scaler, ema)

    @property
    def result(self) -> MattingNetwork:
        """The network that is validated and saved: the moving average, if there is one."""
        return self.network if self.ema is None else self.ema.module

    @property
    def rate(self) -> float:
        """The learning rate of the latest step."""
        return self.optimizer.param_groups[0]["lr"]


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
        _restore(state, config)
    return state


def load_initial_weights(network: MattingNetwork, config: EasyDict, world: World) -> None:
    """Loads model.init_checkpoint or the ImageNet backbone, if configured.

    Raises:
        CheckpointError: if the checkpoint is unreadable or does not fit.
        ConfigError: if the backbone is missing.
    """
    if config.model.init_checkpoint:
        path = config.model.init_checkpoint
        weights, extended = with_colour_inputs(network, read_checkpoint(path)["state_dict"])
        load_weights(network, weights, path)
        if world.is_main:
            log.info("weights start from %s", path)
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


def remove_temporary(folder: Path) -> None:
    """Removes temporary files of a process that was killed while writing a checkpoint."""
    for path in folder.glob(".*.pth.*.tmp"):
        path.unlink()


def save_state(path: Path, state: TrainingState, loss: float) -> None:
    """Writes a published-format checkpoint, extended by what exact resuming needs."""
    resume = {"step": state.step, "moving_norm": state.moving_norm, "best_mse": state.best_mse,
              "skipped": state.skipped, "scaler": state.scaler.state_dict(), "random_state": torch.get_rng_state()}
    if torch.cuda.is_available():
        resume["cuda_random_state"] = torch.cuda.get_rng_state()
    if state.ema is not None:
        resume["weights"] = to_published_names(state.network.state_dict())
        resume["averaged"] = state.ema.n_averaged
    save_checkpoint(path, state.result, state.step, loss, architecture=state.result.architecture,
                    opt_state_dict=state.optimizer.state_dict(),
                    lr_state_dict={"last_epoch": state.step}, resume=resume)


def _restore(state: TrainingState, config: EasyDict) -> None:
    path = checkpoint_path(config, config.train.resume_checkpoint)
    try:
        content = read_checkpoint(path)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_suggest_another(path)}") from None
    load_weights(state.result, content["state_dict"], path)
    if "resume" not in content or "opt_state_dict" not in content:
        raise CheckpointError(f"{path}: contains weights but no training state; "
                              "start from it with model.init_checkpoint")
    resume = content["resume"]
    if ("weights" in resume) != (state.ema is not None):
        raise CheckpointError(f"{path}: was written {'with' if 'weights' in resume else 'without'} train.ema; "
                              "resume it the same way, or start from it with model.init_checkpoint")
    if state.ema is not None:
        state.network.load_state_dict(from_published_names(resume["weights"]))
        state.ema.n_averaged.copy_(resume["averaged"])
    state.optimizer.load_state_dict(content["opt_state_dict"])
    if resume["scaler"] and state.scaler.is_enabled():
        state.scaler.load_state_dict(resume["scaler"])
    state.moving_norm, state.best_mse = resume["moving_norm"], resume["best_mse"]
    state.skipped = resume["skipped"]
    state.step = 0 if config.train.reset_lr else resume["step"]
    torch.set_rng_state(resume["random_state"])
    if "cuda_random_state" in resume and torch.cuda.is_available():
        torch.cuda.set_rng_state(resume["cuda_random_state"])
    log.info("resumed %s at step %d", path, state.step)


def _suggest_another(path: Path) -> str:
    """A hint at the newest other readable checkpoint of the folder."""
    others = sorted((other for other in path.parent.glob("*.pth") if other != path),
                    key=lambda other: other.stat().st_mtime, reverse=True)
    for other in others:
        try:
            if "resume" in read_checkpoint(other):
                return f"; the one before it is readable: train.resume_checkpoint={other}"
        except CheckpointError:
            continue
    return "; there is no other checkpoint beside it to resume"


def save_numbered(folder: Path, state: TrainingState, loss: float, keep: int) -> None:
    """Writes a checkpoint named by its step, and removes all but the `keep` newest ones (0: keeps all)."""
    save_state(folder / f"step_{state.step:08d}.pth", state, loss)
    numbered = sorted(folder.glob("step_*.pth"), key=lambda path: path.stat().st_mtime_ns)
    for path in numbered[:-keep] if keep else []:
        path.unlink()
