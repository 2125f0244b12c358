"""Training state, and saving it."""

import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from easydict import EasyDict
from filelock import FileLock, Timeout
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from networks import MattingNetwork, to_published_names
from utils.checkpoint import checkpoint_folder, save_checkpoint
from utils.config import ConfigError
from utils.distributed import World, all_reduce_sum
from utils.errors import one_line

LOCK = ".lock"  # in the folder

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
    loss: float = 0.0  # of the latest step
    validated: int = 0  # step of the latest validation

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
    def is_finite(self) -> bool:
        """Whether all weights are."""
        return all(bool(value.isfinite().all()) for value in self.network.state_dict().values())

    @property
    def rate(self) -> float:
        """The learning rate of the latest step."""
        return self.optimizer.param_groups[0]["lr"]


@contextmanager
def run_folder(config: EasyDict, world: World) -> Iterator[Path]:
    """The folder of a run's checkpoints, reserved for this run within the block; removed afterwards if still empty.

    Temporary files of a process that was killed while writing a checkpoint are removed.

    Raises:
        ConfigError: on all processes, if another run that has not ended uses the folder.
    """
    folder = checkpoint_folder(config)
    lock = reserve(folder) if world.is_main else None
    refused = world.is_main and lock is None
    if all_reduce_sum(world, torch.tensor(float(refused), device=world.device)).item():
        raise ConfigError(f"{folder}: another run that has not ended saves its checkpoints here; choose another "
                          f"version, or end that one first (if there is none: remove {folder / LOCK})")
    try:
        for path in folder.glob(".*.pth.*.tmp") if world.is_main else ():
            path.unlink()
        yield folder
    finally:
        if world.is_main:
            lock.release()
            if folder.exists() and {path.name for path in folder.iterdir()} <= {LOCK}:
                shutil.rmtree(folder, ignore_errors=True)


def reserve(folder: Path) -> FileLock | None:
    """A lock of a folder, which is created; it ends with this process, however that ends. None if another has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except (OSError, NotImplementedError) as error:
        log.warning("%s cannot be locked (%s); start no other run of this version", folder, one_line(error))
    return lock


def save_state(path: Path, state: TrainingState) -> None:
    """Writes a published-format checkpoint, extended by what exact resuming needs."""
    resume = {"step": state.step, "moving_norm": state.moving_norm, "best_mse": state.best_mse,
              "skipped": state.skipped, "validated": state.validated, "scaler": state.scaler.state_dict(),
              "random_state": torch.get_rng_state()}
    if torch.cuda.is_available():
        resume["cuda_random_state"] = torch.cuda.get_rng_state()
    if state.ema is not None:
        resume["weights"] = to_published_names(state.network.state_dict())
        resume["averaged"] = state.ema.n_averaged
    save_checkpoint(path, state.result, state.step, state.loss, architecture=state.result.architecture,
                    opt_state_dict=state.optimizer.state_dict(),
                    lr_state_dict={"last_epoch": state.step}, resume=resume)


def save_numbered(folder: Path, state: TrainingState, keep: int) -> None:
    """Writes a checkpoint named by its step, and removes all but the `keep` newest ones (0: keeps all)."""
    save_state(folder / f"step_{state.step:08d}.pth", state)
    numbered = sorted(folder.glob("step_*.pth"), key=lambda path: path.stat().st_mtime_ns)
    for path in numbered[:-keep] if keep else []:
        path.unlink()
