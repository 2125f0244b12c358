"""What a training run tells: a live bar, a text log, a table of all steps, tensorboard."""

import csv
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import numpy as np
from easydict import EasyDict
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from utils.distributed import World

COLUMNS = ("step", "loss", "rec", "comp", "gabor", "grad", "smooth_l1", "laplacian", "learning_rate", "grad_norm",
           "images_per_second", "waiting_share")
FORMAT = "%(asctime)s %(levelname)s %(message)s"

log = logging.getLogger(__name__)


class RunLog:
    """The records of one run. Processes other than rank 0 only log warnings, to the console.

    The table, `<logging_path>/<version>.csv`, has a row for each logged step: step, loss and its parts,
    learning rate, the gradients' norm before clipping, images per second of all processes, and the share
    of the time that was spent waiting for data.

    Args:
        first_step: where the run starts; rows of later steps, of a run that was killed, are dropped,
            and the table of an earlier run is set aside.
    """

    def __init__(self, config: EasyDict, world: World, first_step: int):
        self.config, self.world = config.log, world
        self.bar = self.table = self.board = None
        self._clock = (time.perf_counter(), first_step)
        self._waited = self.seconds_waited = 0.0  # since the last record, and in all
        if world.is_main:
            self.table = text_log(config).with_suffix(".csv")
            drop_rows_from(self.table, first_step)
            self.board = tensorboard(Path(config.log.tensorboard_path) / config.version)
            self.bar = tqdm(total=config.train.total_step, initial=first_step, unit="step", disable=None)
            self._redirect = logging_redirect_tqdm()
            self._redirect.__enter__()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self.world.is_main:
            self._redirect.__exit__(None, None, None)
            self.bar.close()
            if self.board:
                self.board.close()

    def waited(self, seconds: float) -> None:
        """Adds time spent waiting for data."""
        self._waited += seconds
        self.seconds_waited += seconds

    def advance(self, step: int) -> None:
        """Moves the bar; `step` steps are done."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def due(self, step: int) -> bool:
        """Whether `step` is to be recorded; the same on all processes."""
        return step % self.config.logging_step == 0 or step % self.config.tensorboard_step == 0

    def record(self, step: int, values: dict[str, float], images_per_step: int) -> None:
        """Records the values of a step in bar, text log, table and tensorboard."""
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
        if self.board and step % self.config.tensorboard_step == 0:
            for name, value in values.items():
                self.board.add_scalar(f"train/{name}", value, step)

    def record_validation(self, step: int, values: dict[str, float]) -> None:
        """Records the errors of a validation."""
        if self.world.is_main:
            log.info("validation at step %d: %s", step, _listed(values))
            for name, value in values.items() if self.board else ():
                self.board.add_scalar(f"validation/{name}", value, step)

    def record_pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Records pictures (H, W, 3) uint8 in tensorboard."""
        if self.board:
            for name, picture in pictures.items():
                self.board.add_image(name, picture, step, dataformats="HWC")


def tensorboard(folder: Path) -> object | None:
    """A writer of tensorboard logs; None, with a warning, where tensorboardX is not installed."""
    try:
        from tensorboardX import SummaryWriter  # training needs no more than the text logs
    except ImportError:
        log.warning("no tensorboard logs: tensorboardX is not installed")
        return None
    return SummaryWriter(str(folder))


def text_log(config: EasyDict) -> Path:
    """The file of a run's text log."""
    return Path(config.log.logging_path) / f"{config.version}.log"


@contextmanager
def logging_to_file(config: EasyDict, world: World) -> Iterator[None]:
    """Has the text log's file receive what rank 0 logs, as long as the block lasts."""
    if not world.is_main:
        yield
        return
    path = text_log(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.6g}" for name, value in values.items())


def append_row(path: Path, row: dict[str, object]) -> None:
    """Adds a row to a table, after a header where the file is new; columns without a value stay empty."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)


def drop_rows_from(path: Path, first_step: int) -> None:
    """Removes the rows of steps after `first_step` from a run's table; for a new run, sets the whole table aside."""
    if not path.exists():
        return
    if first_step == 0:
        number = next(number for number in count(1) if not path.with_suffix(f".{number}.csv").exists())
        path.rename(path.with_suffix(f".{number}.csv"))
        return
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= first_step]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *kept])
