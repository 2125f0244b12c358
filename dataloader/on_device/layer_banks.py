"""Banks of foregrounds and backgrounds on the device, renewed by worker processes during training."""

import logging
import sys
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import torch

from dataloader.cache import prepare_cache
from dataloader.image_file import ImageFileError, TooManyBrokenFilesError
from dataloader.image_folders import Background, Foreground
from dataloader.on_device.bank import Bank
from dataloader.on_device.bank_images import Picture, bank_background, bank_foreground, read_or_error
from dataloader.sampler import permutation
from dataloader.synthetic.items import DrawnBackground, DrawnForeground
from utils.processes import in_advance, process_pool
from utils.progress_bar import ProgressBar

FOREGROUND_LEVELS = 4  # resolutions kept: crops show foregrounds downsampled at most 8 times
BACKGROUND_LEVELS = 6  # and backgrounds blurred over up to 32 pixels
AHEAD = 4  # images per worker process that may wait to be put into a bank
MOST_BROKEN, BROKEN_SHARE = 5, 0.01  # unreadable files tolerated before training stops, whichever is more
MOST_IN_A_ROW = 10_000  # unreadable images, even if they are the same few files each time

log = logging.getLogger(__name__)

Item = Foreground | Background | DrawnForeground | DrawnBackground


class LayerBanks:
    """A bank of foregrounds and one of backgrounds, whose oldest images are replaced one by one.

    Images come in the order of `permutation`, epoch after epoch; each process takes every `processes`-th. Drawn ones
    change every epoch, unless a cache keeps the foregrounds. The k-th image is in slot k modulo the bank's length, so
    that the content of a bank depends on the number of samples generated, not on when images are ready.

    Args:
        foregrounds, backgrounds: from files or drawn, as in `dataloader.dataset.TrainingData`.
        size: side of the images in pixels, at least 64; a multiple of 32.
        most: maximum number of images per bank.
        renew: samples of this process after which one foreground and one background are replaced; 0: never.
        seed: of the order.
        workers: processes that read and draw; 0: this process does, while training waits.
        cache: folder for foregrounds, see `dataloader.cache`.
        samples: number generated before the run was resumed.

    Raises:
        TooManyBrokenFilesError: if more than 5 files, and more than 1 % of the foregrounds or backgrounds, are
            unreadable, or all are. Fewer are skipped, with a warning each. (The banks of a resumed run can then
            differ from those of an uninterrupted one.)
    """

    def __init__(self, foregrounds: list[Foreground | DrawnForeground], backgrounds: list[Background | DrawnBackground],
                 size: int, most: int, renew: int = 0, seed: int = 0, workers: int = 0,
                 cache: str | Path | None = None, device: torch.device | str = "cpu", rank: int = 0,
                 processes: int = 1, samples: int = 0):
        device = torch.device(device)
        self.foregrounds = Bank(_held(foregrounds, most, processes), size, FOREGROUND_LEVELS, device)
        self.backgrounds = Bank(_held(backgrounds, most, processes), size, BACKGROUND_LEVELS, device)
        self._renew, self._samples, self._streams = renew, samples, []
        if cache:
            prepare_cache(cache, foregrounds)
        with ExitStack() as resources:
            pool = resources.enter_context(process_pool(workers)) if workers else None
            self._fill(pool, foregrounds, backgrounds, size, seed, AHEAD * workers, cache, rank, processes)
            self._resources = resources.pop_all()

    def _fill(self, pool: Executor | None, foregrounds: list[Item], backgrounds: list[Item], size: int, seed: int,
              ahead: int, cache: str | Path | None, rank: int, processes: int) -> None:
        first = self._samples // self._renew if self._renew else 0
        get_foreground = partial(read_or_error, bank_foreground, size=size, cache=cache)
        get_background = partial(read_or_error, bank_background, size=size)
        for bank, items, keep, read in ((self.foregrounds, foregrounds, bool(cache), get_foreground),
                                        (self.backgrounds, backgrounds, False, get_background)):
            order = in_order(items, seed, rank, processes, first, keep)
            pictures = in_advance(pool, read, order, ahead) if pool else map(read, order)
            self._streams.append((bank, pictures, count(first), _most_broken(items), set()))
        images = sum(len(stream[0]) for stream in self._streams)
        with ProgressBar(images, "filling banks", shown=rank == 0, file=sys.stderr) as bar:  # where training logs
            for stream in self._streams:
                for _ in range(len(stream[0])):
                    self._replace_oldest(*stream)
                    bar.update()

    def renew(self, samples: int) -> None:
        """Replaces the images that are due after this many further samples."""
        if not self._renew:
            return
        due = (self._samples + samples) // self._renew - self._samples // self._renew
        self._samples += samples
        for _ in range(due):
            for stream in self._streams:
                self._replace_oldest(*stream)

    def close(self) -> None:
        """Stops the worker processes."""
        self._resources.close()

    def __enter__(self) -> "LayerBanks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace_oldest(self, bank: Bank, pictures: Iterator[Picture | ImageFileError], numbers: Iterator[int],
                        most_broken: int, broken: set[str]) -> None:
        in_a_row = 0
        while isinstance(picture := next(pictures), ImageFileError):
            in_a_row += 1
            if str(picture) not in broken:
                broken.add(str(picture))
                log.warning("unreadable image file, skipped: %s", picture)
            if len(broken) > most_broken or in_a_row > MOST_IN_A_ROW:
                raise TooManyBrokenFilesError(f"{len(broken)} files are unreadable, the last of them: {picture}")
        bank.put(next(numbers) % len(bank), *picture)


def in_order(items: list[Item], seed: int, rank: int, processes: int, first: int, keep: bool) -> Iterator[Item]:
    """A process's items, endlessly, from its `first` on; drawn ones change every epoch, unless `keep`.

    All processes together see every item once per epoch.
    """
    for number in count(first * processes + rank, processes):
        epoch, position = divmod(number, len(items))
        item = items[int(permutation(len(items), seed, epoch)[position])]
        yield item.at_epoch(epoch) if hasattr(item, "at_epoch") and not keep else item


def _most_broken(items: list[Item]) -> int:
    """How many files may be unreadable: not all photographs or cut-outs used by drawings, and not all items."""
    material = {name: next((getattr(item, name) for item in items if getattr(item, name, ())), items)
                for name in ("photographs", "cutouts")}
    return min(max(MOST_BROKEN, int(BROKEN_SHARE * len(items))), *(len(files) - 1 for files in material.values()))


def _held(items: list[Item], most: int, processes: int) -> int:
    """How many of these items a process holds."""
    return max(1, min(most, -(-len(items) // processes)))
