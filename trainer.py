"""Training: the published recipe as one loop, for one process or many."""

import logging
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from easydict import EasyDict
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from dataloader.dataset import Layers, TrainingData, find_layers, make_training_dataset, start_worker
from dataloader.folders import Triple, find_test_images
from dataloader.image_file import ImageFileError, read_grey, read_image
from dataloader.on_device.batches import DeviceSamples, encode_labels, make_banks
from dataloader.sampler import StepBatches
from evaluation.metrics import mse, sad
from matting.predictor import UNKNOWN, Matting, trimap_labels
from networks import MattingNetwork, MattingOutput
from training import losses
from training.run_log import RunLog, text_log
from training.schedule import clip_to_moving_norm, learning_rate
from training.signals import StopRequest
from training.state import (
    TrainingState,
    checkpoint_folder,
    remove_halves,
    save_numbered,
    save_state,
    start_or_resume,
)
from utils.config import save_config
from utils.distributed import World, copy_from_main, total
from utils.files import atomic_path
from utils.pictures import training_pictures
from utils.precision import arithmetic
from utils.processes import in_advance

log = logging.getLogger(__name__)


class TrainingError(RuntimeError):
    """Training cannot go on. The message says why, in one line."""


def train(config: EasyDict, world: World) -> int:
    """Trains as the configuration says, to the end or until SIGTERM or SIGINT asks to stop.

    Returns:
        The exit status: 0 at the end, 128 + the signal's number where one stopped training.

    Raises:
        ConfigError, ImageFileError, CheckpointError: if files or settings do not fit, before the first step.
        TrainingError: if the loss is no number for too many steps in a row.
    """
    set_arithmetic(config)
    test_images = validation_images(config)
    layers = find_layers(config, config.train.seed)
    state = start_or_resume(config, world)
    model = parallel_model(state.network, config, world)
    folder = checkpoint_folder(config)
    if world.is_main:
        log.info("training on %s, %d process(es): %d foregrounds, %d backgrounds, %d validation images, step %d of %d",
                 world.device, world.size, *map(len, layers), len(test_images), state.step, config.train.total_step)
        remove_halves(folder)
        save_config(config, folder / "config.toml")
    with (StopRequest() as stop, training_batches(config, world, state.step, layers) as batches,
          RunLog(config, world, state.step) as run_log):
        while state.step < config.train.total_step:
            set_learning_rate(state, config)
            step_batches = next_batches(batches, config, world, run_log)
            count, stopping = agree(world, step_batches, stop)
            values, output = take_step(model, state, step_batches, count, config, world)
            state.step += 1
            record(run_log, state, values, step_batches[-1], output, config, world)
            if world.is_main and state.step % config.log.checkpoint_step == 0:
                save_numbered(folder, state, values["loss"], config.log.checkpoint_keep)
            last = state.step == config.train.total_step
            if state.step % config.train.val_step == 0 or last or stopping:
                if world.is_main:  # before the validation, which takes long and reads files
                    save_state(folder / "latest_model.pth", state, values["loss"])
                if test_images and not stopping:
                    validate_and_save(run_log, state, test_images, values["loss"], folder, world)
            if stopping:
                log.info("stopped at step %d; train.resume_checkpoint=latest_model goes on from there", state.step)
                return 128 + stopping
    if world.is_main:
        log.info("finished at step %d; checkpoints are in %s", state.step, folder)
    return 0


def set_arithmetic(config: EasyDict) -> None:
    """Full single precision on GPUs too, unless the configuration allows TF32; for the backward pass as well."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = config.train.precision == "tf32"


def validation_images(config: EasyDict) -> list[Triple]:
    """The images of data.test_*, checked; none where they are not set."""
    folders = (config.data.test_merged, config.data.test_alpha, config.data.test_trimap)
    return find_test_images(*folders) if all(folders) else []


def parallel_model(network: MattingNetwork, config: EasyDict, world: World) -> nn.Module:
    """The network in training mode, compiled if that is wanted, and wrapped for several processes."""
    set_training(network, config)
    model = compiled_if_possible(network, config, world) if config.train.compile else network
    if world.size > 1:
        model = DistributedDataParallel(model, [world.device.index] if world.device.type == "cuda" else None)
    return model


def compiled_if_possible(network: MattingNetwork, config: EasyDict, world: World) -> nn.Module:
    """The network compiled for one size of crops; as it is, with a warning, where that fails on any process.

    A step on noise tells; it leaves the network as it was.
    """
    torch.compiler.reset()  # else what another size has left would be made to do for both, or hold the compiler back
    compiled = torch.compile(network, dynamic=False)
    statistics = [buffer.clone() for buffer in network.buffers()]
    start, reason = time.perf_counter(), ""
    try:
        forward(compiled, noise_batch(network, config, world.device), config)[1]["loss"].backward()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever a compiler's many parts may raise
        reason = (str(error).strip() or repr(error)).splitlines()[0]
    finally:
        network.zero_grad(set_to_none=True)
        for buffer, before in zip(network.buffers(), statistics, strict=True):
            buffer.copy_(before)
    failures = total(world, torch.tensor(float(bool(reason)), device=world.device)).item()
    if failures:
        log.warning("torch.compile failed, training goes on without it: %s", reason or "on another process")
        return network
    log.info("compiled in %.0f s", time.perf_counter() - start)
    return compiled


def noise_batch(network: MattingNetwork, config: EasyDict, device: torch.device) -> dict[str, Tensor]:
    """A batch of the size of those to come, without meaning."""
    size = (config.model.batch_size, 3, config.data.crop_size, config.data.crop_size)
    labels = torch.randint(3, (size[0], *size[2:]), device=device)
    image = torch.randn(size, device=device)
    return {"image": image, "trimap": encode_labels(labels, network.trimap_channel), "alpha": labels[:, None] / 2,
            "foreground": image, "background": image}


def set_training(network: nn.Module, config: EasyDict) -> None:
    """Training mode, with batch normalisation left out where its statistics are frozen."""
    network.train()
    for module in network.modules() if config.train.freeze_bn else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


@contextmanager
def training_batches(config: EasyDict, world: World, first_step: int, layers: Layers) -> Iterator[Iterator[dict]]:
    """All batches of this process from a step on: of samples made one by one, or in batches on the device."""
    if not config.data.on_device:
        data = make_training_dataset(config, config.train.seed, layers=layers)
        yield iter(training_loader(data, config, world, first_step))
        return
    with (make_banks(config, world, first_step * config.train.accumulate * config.model.batch_size, layers) as banks,
          closing(made_ahead(DeviceSamples(banks, config, world, first_step), world.device)) as batches):
        yield batches


def made_ahead(batches: Iterator[dict], device: torch.device) -> Iterator[dict]:
    """The batches; on GPUs a thread makes the next one while the network works on one."""
    if device.type == "cpu":  # whose cores are busy in either case
        yield from batches
        return
    stream = torch.cuda.Stream(device)  # of its own: else each look at a value would wait for the network's step
    stream.wait_stream(torch.cuda.current_stream(device))

    def make(_: int) -> dict:
        with torch.cuda.stream(stream):
            batch = next(batches)
        stream.synchronize()
        return batch

    with ThreadPoolExecutor(1) as thread:
        for batch in in_advance(thread, make, count(), 1):
            for value in batch.values():
                value.record_stream(torch.cuda.current_stream(device))  # its memory is not to be used again before
            yield batch


def training_loader(dataset: TrainingData, config: EasyDict, world: World, first_step: int) -> DataLoader:
    """All batches of this process from `first_step` to the end."""
    order = StepBatches(len(dataset), config.model.batch_size, config.train.accumulate, first_step,
                        config.train.total_step, config.train.seed, world.rank, world.size)
    workers = config.data.workers
    # Workers are spawned: forking a process that has threads, as OpenCV's, can hang.
    return DataLoader(dataset, batch_sampler=order, num_workers=workers, pin_memory=world.device.type == "cuda",
                      worker_init_fn=partial(start_worker, log_file=text_log(config)) if workers else None,
                      multiprocessing_context="spawn" if workers else None)


def set_learning_rate(state: TrainingState, config: EasyDict) -> None:
    rate = learning_rate(state.step, config.train.G_lr, config.train.warmup_step, config.train.total_step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate


def next_batches(batches: Iterator[dict], config: EasyDict, world: World, run_log: RunLog) -> list[dict]:
    """The batches of one step, on the device."""
    start = time.perf_counter()
    try:
        step_batches = [next(batches) for _ in range(config.train.accumulate)]
    except ImageFileError as error:  # a worker's comes with its traceback
        raise ImageFileError(str(error).strip().splitlines()[-1].rpartition("Error: ")[2]) from None
    run_log.waited(time.perf_counter() - start)
    return [{name: value.to(world.device, non_blocking=True) if isinstance(value, Tensor) else value
             for name, value in batch.items()} for batch in step_batches]


def agree(world: World, step_batches: list[dict], stop: StopRequest) -> tuple[float, int]:
    """The number of unknown pixels of the step, and the signal to stop for, over all processes."""
    count = sum(unknown_mask(batch).sum() for batch in step_batches)
    sums = total(world, torch.stack([count.double(), torch.tensor(float(stop.signal), device=world.device).double()]))
    # All processes may have got the signal, or one: a sum above 0 stops them all.
    return max(1.0, sums[0].item()), 0 if sums[1] == 0 else stop.signal or signal.SIGTERM


def unknown_mask(batch: dict) -> Tensor:
    """(N, 1, H, W) float32, 1 where the trimap is unknown."""
    trimap = batch["trimap"]
    return trimap[:, 1:2] if trimap.shape[1] == 3 else (trimap == UNKNOWN).float()


def take_step(model: nn.Module, state: TrainingState, step_batches: list[dict], count: float, config: EasyDict,
              world: World) -> tuple[dict[str, float], MattingOutput]:
    """Forward, backward, clip and update.

    A step whose loss or gradients are no numbers changes nothing; too many of them in a row end training.

    Returns:
        Loss and its parts, over all processes, and the norm of the gradients; the last output.
    """
    statistics = [buffer.clone() for buffer in state.network.buffers()]
    state.optimizer.zero_grad(set_to_none=True)
    sums = {}
    for i, batch in enumerate(step_batches):
        gather_gradients = i == len(step_batches) - 1 or world.size == 1
        with nullcontext() if gather_gradients else model.no_sync():
            output, parts = forward(model, batch, config)
            loss = parts["loss"] * world.size / count  # DistributedDataParallel averages over the processes
            state.scaler.scale(loss).backward()
        sums = {name: sums.get(name, 0) + part.detach().double() / count for name, part in parts.items()}
    values = dict(zip(sums, total(world, torch.stack(list(sums.values()))).tolist(), strict=True))

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
        skip(state, step_batches, config, world)
    state.scaler.update()
    return {**values, "grad_norm": norm.item()}, output


def forward(model: nn.Module, batch: dict, config: EasyDict) -> tuple[MattingOutput, dict[str, Tensor]]:
    """The network's output for a batch, and the weighted loss with its parts, summed over the unknown pixels."""
    image, trimap = batch["image"], batch["trimap"]
    if config.train.channels_last:
        image, trimap = (x.contiguous(memory_format=torch.channels_last) for x in (image, trimap))
    with arithmetic(image.device, config.train.precision):
        output = model(image, trimap)
    return output, losses.weighted_losses(config.train, output.alpha.float(), batch, unknown_mask(batch))


def skip(state: TrainingState, step_batches: list[dict], config: EasyDict, world: World) -> None:
    """Counts a step that changed nothing; at the limit the batches are saved and training ends."""
    state.skipped += 1
    log.warning("step %d skipped: its gradients are no numbers (%d in a row)", state.step, state.skipped)
    if state.skipped >= config.train.max_skipped:
        path = checkpoint_folder(config) / f"skipped_step_{state.step:08d}_rank_{world.rank}.pth"
        with atomic_path(path) as temporary:
            torch.save(step_batches, temporary)
        raise TrainingError(f"{state.skipped} steps in a row gave no finite gradients; the last batches are in {path}")


def record(run_log: RunLog, state: TrainingState, values: dict[str, float], batch: dict, output: MattingOutput,
           config: EasyDict, world: World) -> None:
    """Passes on what the log wants to know of a step, and pictures of its last batch."""
    run_log.advance(state.step)
    if run_log.due(state.step):
        images = config.model.batch_size * config.train.accumulate * world.size
        run_log.record(state.step, values | {"learning_rate": state.optimizer.param_groups[0]["lr"]}, images)
    if world.is_main and state.step % config.log.tensorboard_image_step == 0:
        run_log.record_pictures(state.step, training_pictures(batch, output))


def validate_and_save(run_log: RunLog, state: TrainingState, test_images: list[Triple], loss: float, folder: Path,
                      world: World) -> None:
    """Validates, and saves `best_model` where the MSE is the best so far."""
    # Without synchronised batch normalisation each process has statistics of its own; rank 0's are saved.
    copy_from_main(world, state.result.buffers())
    errors = validate(state.result, test_images, world)
    run_log.record_validation(state.step, errors)
    if errors["mse"] < state.best_mse:
        state.best_mse = errors["mse"]
        if world.is_main:
            save_state(folder / "best_model.pth", state, loss)
            save_state(folder / "latest_model.pth", state, loss)


def validate(network: MattingNetwork, test_images: list[Triple], world: World) -> dict[str, float]:
    """Mean SAD and MSE over the unknown region of the test images, at their own size, each predicted once."""
    modes = [(module, module.training) for module in network.modules()]
    matting = Matting(network, world.device, border=0)
    sums = torch.zeros(3, dtype=torch.float64, device=world.device)
    for triple in test_images[world.rank::world.size]:
        try:
            image, truth, trimap = read_image(triple.image), read_grey(triple.alpha), read_grey(triple.trimap)
        except ImageFileError as error:
            log.warning("left out of the validation: %s", error)
            continue
        unknown = trimap_labels(trimap) == UNKNOWN
        if unknown.any():
            alpha, truth = matting(image, trimap), truth / np.float32(255)
            sums += sums.new_tensor([sad(alpha, truth, unknown), mse(alpha, truth, unknown), 1])
    for module, training in modes:
        module.training = training
    sad_sum, mse_sum, images = total(world, sums).tolist()
    return {"sad": sad_sum / images, "mse": mse_sum / images} if images else {"sad": math.nan, "mse": math.nan}
