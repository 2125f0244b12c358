"""Banks of foregrounds, backgrounds and matted photographs on the device, renewed by workers during training."""

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import torch

from dataloader.cache import prepare_cache
from dataloader.image_file import ImageFileError, TooManyBrokenFilesError
from dataloader.image_folders import Background, Foreground
from dataloader.on_device.bank import Bank
from dataloader.on_device.bank_images import Picture, bank_background, bank_foreground, bank_matted, read_or_error
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
    """Banks of foregrounds, backgrounds and perhaps matted photographs, whose oldest images are replaced one by one.

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
        matted: photographs with their alphas; without any, their bank is None.

    Raises:
        TooManyBrokenFilesError: if more than 5 files, and more than 1 % of the foregrounds or backgrounds, are
            unreadable, or all are. Fewer are skipped, with a warning each. (The banks of a resumed run can then
            differ from those of an uninterrupted one.)
    """

    def __init__(self, foregrounds: list[Foreground | DrawnForeground], backgrounds: list[Background | DrawnBackground],
                 size: int, most: int, renew: int = 0, seed: int = 0, workers: int = 0,
                 cache: str | Path | None = None, device: torch.device | str = "cpu", rank: int = 0,
                 processes: int = 1, samples: int = 0, matted: Sequence[Foreground] = ()):
        device = torch.device(device)
        self.foregrounds = Bank(_held(foregrounds, most, processes), size, FOREGROUND_LEVELS, device)
        self.backgrounds = Bank(_held(backgrounds, most, processes), size, BACKGROUND_LEVELS, device)
        self.matted = Bank(_held(matted, most, processes), size, FOREGROUND_LEVELS, device) if matted else None
        self._renew, self._samples, self._streams = renew, samples, []
        if cache:
            prepare_cache(cache, foregrounds)
        with ExitStack() as resources:
            pool = resources.enter_context(process_pool(workers)) if workers else None
            first = samples // renew if renew else 0
            read = [(self.foregrounds, foregrounds, bool(cache), partial(bank_foreground, size=size, cache=cache)),
                    (self.backgrounds, backgrounds, False, partial(bank_background, size=size))]
            if self.matted is not None:
                read.append((self.matted, matted, True, partial(bank_matted, size=size)))
            for bank, items, keep, get in read:
                order = in_order(items, seed, rank, processes, first, keep)
                get = partial(read_or_error, get)
                pictures = in_advance(pool, get, order, AHEAD * workers) if pool else map(get, order)
                self._streams.append((bank, pictures, count(first), _most_broken(items), set()))
            self._fill(rank)
            self._resources = resources.pop_all()

    def _fill(self, rank: int) -> None:
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


def in_order(items: Sequence[Item], seed: int, rank: int, processes: int, first: int, keep: bool) -> Iterator[Item]:
    """A process's items, endlessly, from its `first` on; drawn ones change every epoch, unless `keep`.

    All processes together see every item once per epoch.
    """
    for number in count(first * processes + rank, processes):
        epoch, position = divmod(number, len(items))
        item = items[int(permutation(len(items), seed, epoch)[position])]
        yield item.at_epoch(epoch) if hasattr(item, "at_epoch") and not keep else item


def _most_broken(items: Sequence[Item]) -> int:
    """How many files may be unreadable: not all photographs or cut-outs used by drawings, and not all items."""
    material = {name: next((getattr(item, name) for item in items if getattr(item, name, ())), items)
                for name in ("photographs", "cutouts")}
    return min(max(MOST_BROKEN, int(BROKEN_SHARE * len(items))), *(len(files) - 1 for files in material.values()))


def _held(items: Sequence[Item], most: int, processes: int) -> int:
    """How many of these items a process holds."""
    return max(1, min(most, -(-len(items) // processes)))
