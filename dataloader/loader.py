"""Training batches of a process, from any step on: made by workers sample by sample, or on the device in batches."""

import logging
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import cv2
import torch
from easydict import EasyDict
from torch import Tensor
from torch.utils.data import DataLoader

from dataloader.dataset import Layers, TrainingData, make_training_dataset
from dataloader.image_file import ImageFileError
from dataloader.on_device.batches import DeviceSamples, make_banks
from dataloader.sampler import StepBatches
from utils.distributed import World
from utils.processes import in_advance


@contextmanager
def training_batches(config: EasyDict, world: World, first_step: int, layers: Layers,
                     log_file: Path | None = None) -> Iterator[Iterator[dict]]:
    """The batches of this process from `first_step` on.

    Args:
        log_file: text log to which spawned workers add their warnings.
    """
    if not config.data.on_device:
        data = make_training_dataset(config, config.train.seed, layers=layers)
        with closing(loaded(training_loader(data, config, world, first_step, log_file))) as batches:
            yield batches
        return
    samples = first_step * config.train.accumulate * config.model.batch_size
    with (make_banks(config, world, samples, layers) as banks,
          closing(prefetched(DeviceSamples(banks, config, world, first_step), world.device)) as batches):
        yield batches


def training_loader(dataset: TrainingData, config: EasyDict, world: World, first_step: int,
                    log_file: Path | None = None) -> DataLoader:
    """A DataLoader of this process's batches from `first_step` to the end."""
    order = StepBatches(len(dataset), config.model.batch_size, config.train.accumulate, first_step,
                        config.train.total_step, config.train.seed, world.rank, world.size)
    workers = config.data.workers
    # Spawned: forking a process with threads, such as OpenCV's, can deadlock.
    return DataLoader(dataset, batch_sampler=order, num_workers=workers, pin_memory=world.device.type == "cuda",
                      worker_init_fn=partial(start_worker, log_file=log_file) if workers else None,
                      multiprocessing_context="spawn" if workers else None)


def loaded(loader: DataLoader) -> Iterator[dict]:
    """A DataLoader's batches. Its workers start with the first one, and end with the last, an error, or `close`.

    Left to the garbage collector, as after an error, workers may not be told to end; as they ignore SIGTERM, the
    program would wait for them forever.
    """
    batches = iter(loader)
    try:
        yield from batches
    finally:
        if loader.num_workers:
            batches._shutdown_workers()  # there is no public way


def start_worker(_: int, log_file: str | Path | None = None) -> None:
    """DataLoader's `worker_init_fn`: one thread, signals left to the parent, warnings to console and log file.

    Workers must be spawned, or forked from a parent that called cv2.setNumThreads(1): a forked process waits
    forever for the threads of its parent's pool.

    Args:
        log_file: for workers that do not inherit logging, such as spawned ones.
    """
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent finishes its step, for which it needs its workers
        signal.signal(number, signal.SIG_IGN)
    handlers = [logging.StreamHandler(), *([logging.FileHandler(log_file, delay=True)] if log_file else [])]
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", handlers=handlers)


def prefetched(batches: Iterator[dict], device: torch.device) -> Iterator[dict]:
    """The batches; on GPUs a thread computes the next one while the network processes the current one."""
    if device.type == "cpu":  # whose cores are busy anyway
        yield from batches
        return
    stream = torch.cuda.Stream(device)  # a separate one: otherwise every .item() would wait for the network's step
    stream.wait_stream(torch.cuda.current_stream(device))

    def make(_: int) -> dict:
        with torch.cuda.stream(stream):
            batch = next(batches)
        stream.synchronize()
        return batch

    with ThreadPoolExecutor(1) as thread:
        for batch in in_advance(thread, make, count(), 1):
            for value in batch.values():
                value.record_stream(torch.cuda.current_stream(device))  # its memory must not be reused too early
            yield batch


def next_batches(batches: Iterator[dict], config: EasyDict) -> list[dict]:
    """The batches of one optimiser step.

    Raises:
        ImageFileError: if too many files are unreadable; also if raised in a worker.
    """
    try:
        return [next(batches) for _ in range(config.train.accumulate)]
    except ImageFileError as error:
        message = str(error.args[0])
        if message.startswith("Caught "):  # by PyTorch, in a worker; its traceback follows
            message = re.sub(r"^[\w.]+Error: ", "", message.strip().splitlines()[-1])
        raise ImageFileError(message) from None


def to_device(batches: list[dict], device: torch.device) -> list[dict]:
    """The batches with their tensors on the device."""
    return [{name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
             for name, value in batch.items()} for batch in batches]
