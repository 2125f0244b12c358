"""Run logging: progress bar, text log, CSV table, TensorBoard."""

import csv
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
import torch
from easydict import EasyDict
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from networks import MattingOutput
from training.board import Board
from utils.distributed import World
from utils.file_writing import atomic_path, check_writable, naming
from utils.preprocessing import UNKNOWN
from utils.tensors import denormalise
from utils.visualisation import offset_picture, panel

COLUMNS = ("step", "loss", "rec", "comp", "gabor", "grad", "smooth_l1", "laplacian", "learning_rate", "grad_norm",
           "images_per_second", "waiting_share")
FORMAT = "%(asctime)s %(levelname)s %(message)s"

log = logging.getLogger(__name__)


class RunLog:
    """The logs of one run. Ranks other than 0 only log warnings, to the console.

    The table, `<logging_path>/<version>.csv`, has a row per logged step: step, loss and its parts, learning
    rate, gradient norm before clipping, images per second of all processes, and the share of time spent
    waiting for data.

    Args:
        first_step: where the run starts. Rows of later steps, left by a killed run, are dropped; a new run
            renames the table of an earlier one.
    """

    def __init__(self, config: EasyDict, world: World, first_step: int):
        self.config, self.world = config.log, world
        self.bar = self.table = self.board = None
        self._clock = (time.perf_counter(), first_step)
        self._waited = self.seconds_waited = 0.0  # since the last record, and in total
        if world.is_main:
            self.table = text_log(config).with_suffix(".csv")
            self.table.parent.mkdir(parents=True, exist_ok=True)
            drop_rows_from(self.table, first_step)
            self.board = Board(Path(config.log.tensorboard_path) / config.version)
            self.bar = tqdm(total=config.train.total_step, initial=first_step, unit="step", disable=None)
            self._redirect = logging_redirect_tqdm()
            self._redirect.__enter__()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self.world.is_main:
            self._redirect.__exit__(None, None, None)
            self.bar.close()
            self.board.close()

    def waited(self, seconds: float) -> None:
        """Adds time spent waiting for data."""
        self._waited += seconds
        self.seconds_waited += seconds

    def advance(self, step: int) -> None:
        """Advances the progress bar to `step`."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def due(self, step: int) -> bool:
        """Whether `step` is recorded; the same on all processes."""
        return step % self.config.logging_step == 0 or step % self.config.tensorboard_step == 0

    def record(self, step: int, values: dict[str, float], images_per_step: int) -> None:
        """Records a step's values in progress bar, text log, table and TensorBoard."""
        now, (then, last_step) = time.perf_counter(), self._clock
        values = {**values, "images_per_second": (step - last_step) * images_per_step / (now - then),
                  "waiting_share": self._waited / (now - then)}
        self._clock, self._waited = (now, step), 0.0
        if not self.world.is_main:
            return
        self.bar.set_postfix({"loss": f"{values['loss']:.4f}", "lr": f"{values['learning_rate']:.1e}",
                              "images/s": f"{values['images_per_second']:.1f}",
                              "waiting": f"{values['waiting_share']:.0%}"}, refresh=False)
        if step % self.config.logging_step == 0:
            log.info("step %d: %s", step, _listed(values))
            append_row(self.table, {"step": step, **{name: f"{value:.9g}" for name, value in values.items()}})
        if step % self.config.tensorboard_step == 0:
            self.board.add(step, {f"train/{name}": value for name, value in values.items()})

    def record_validation(self, step: int, values: dict[str, float]) -> None:
        """Records validation errors in text log and TensorBoard."""
        if self.world.is_main:
            log.info("validation at step %d: %s", step, _listed(values))
            self.board.add(step, {f"validation/{name}": value for name, value in values.items()})

    def record_pictures(self, step: int, batch: dict[str, Tensor], output: MattingOutput) -> None:
        """Records `training_pictures` in TensorBoard."""
        if self.board and self.board.is_written:
            self.board.add(step, images=training_pictures(batch, output))


def training_pictures(batch: dict[str, Tensor], output: MattingOutput) -> dict[str, np.ndarray]:
    """The first sample of a batch: image, trimap, alpha and prediction in a row; and its attention offsets."""
    image = _grey_levels(denormalise(batch["image"][0].float())).permute(1, 2, 0)
    trimap = batch["trimap"][0]
    labels = trimap.argmax(dim=0) if len(trimap) == 3 else trimap[0]
    prediction = torch.where(labels == UNKNOWN, output.alpha[0, 0].float(), labels / 2)
    row = [image, _grey_levels(labels / 2), _grey_levels(batch["alpha"][0, 0]), _grey_levels(prediction)]
    pictures = {"image_trimap_alpha_prediction": panel([picture.cpu().numpy() for picture in row], len(image))}
    for i, (offset, scale) in enumerate(zip(output.offsets, output.scales, strict=True), start=1):
        pictures[f"offset{i}"] = offset_picture(offset[0].cpu().numpy(), scale[0].float().cpu().numpy())
    return pictures


def _grey_levels(values: Tensor) -> Tensor:
    return (values.detach().float().clamp(0, 1) * 255).byte()


def text_log(config: EasyDict) -> Path:
    """The file of a run's text log."""
    return Path(config.log.logging_path) / f"{config.version}.log"


@contextmanager
def logging_to_file(config: EasyDict, world: World) -> Iterator[None]:
    """Within the block, rank 0 also logs to the text log's file."""
    if not world.is_main:
        yield
        return
    path = text_log(config)
    check_writable(path.parent)
    handler = LogFile(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        with suppress(OSError):  # raised before
            handler.close()


class LogFile(logging.FileHandler):
    """A log file whose OSErrors, such as of a full disk, are raised; `logging` would print tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        with naming(self.baseFilename):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            raise
        super().handleError(record)


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())


def append_row(path: Path, row: dict[str, object]) -> None:
    """Appends a row to a CSV table, after a header if the file is new; missing values stay empty."""
    new = not path.exists()
    with naming(path), path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def drop_rows_from(path: Path, first_step: int) -> None:
    """Removes rows of steps after `first_step` from a run's table; a new run renames the whole table instead."""
    if not path.exists():
        return
    if first_step == 0:
        number = next(number for number in count(1) if not path.with_suffix(f".{number}.csv").exists())
        path.rename(path.with_suffix(f".{number}.csv"))
        return
    with path.open(newline="", errors="replace") as file:
        header, *rows = list(csv.reader(line.replace("\0", "") for line in file)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and row[0].isdecimal() and int(row[0]) <= first_step]
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file).writerows([header, *kept])
