"""Foregrounds and backgrounds on the device, and the processes that draw further ones while training goes on."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path

import torch
from tqdm import trange

from dataloader.cache import prepare_cache
from dataloader.folders import Background, Foreground
from dataloader.generated.source import DrawnBackground, DrawnForeground
from dataloader.image_file import ImageFileError
from dataloader.on_device.bank import Bank
from dataloader.on_device.pictures import Picture, read_background, read_foreground
from dataloader.stream import permutation
from utils.processes import in_advance, process_pool

FOREGROUND_LEVELS = 4  # resolutions that are kept: crops show drawings reduced 8 times at most
BACKGROUND_LEVELS = 6  # and backgrounds blurred over up to 32 pixels
AHEAD = 4  # pictures for each process that wait to be put into a bank
MOST_BROKEN = 5  # files that are left out before training stops

log = logging.getLogger(__name__)

Item = Foreground | Background | DrawnForeground | DrawnBackground


class Banks:
    """A bank of foregrounds and one of backgrounds, of which the oldest pictures are replaced one by one.

    The pictures come in the order of `permutation`, epoch after epoch, and each process has every `processes`-th of
    them. Drawn ones are others in each epoch, unless a cache keeps the foregrounds. The k-th lies in slot k modulo the
    bank's length, so that what the banks hold depends on how many samples were made, not on when pictures are ready.

    Args:
        foregrounds, backgrounds: files' or drawn ones, as of `dataloader.training.TrainingData`.
        size: sides of the pictures in pixels, at least 64; a multiple of 32.
        most: pictures that a bank holds at most.
        renew: samples of this process for which one foreground and one background are replaced; 0: never.
        seed: of the order.
        workers: processes that read and draw; 0: this one does, and training waits meanwhile.
        cache: folder for foregrounds, see `dataloader.cache`.
        samples: made before, by a run that goes on.

    Raises:
        ImageFileError: if more than 5 files cannot be read; the first ones are left out with a warning.
    """

    def __init__(self, foregrounds: list[Foreground | DrawnForeground], backgrounds: list[Background | DrawnBackground],
                 size: int, most: int, renew: int = 0, seed: int = 0, workers: int = 0,
                 cache: str | Path | None = None, device: torch.device | str = "cpu", rank: int = 0,
                 processes: int = 1, samples: int = 0):
        device = torch.device(device)
        self.foregrounds = Bank(_held(foregrounds, most, processes), size, FOREGROUND_LEVELS, device)
        self.backgrounds = Bank(_held(backgrounds, most, processes), size, BACKGROUND_LEVELS, device)
        self._renew, self._samples, self._broken = renew, samples, 0
        self._resources = ExitStack()
        pool = self._resources.enter_context(process_pool(workers)) if workers else None
        if cache:
            prepare_cache(cache, foregrounds)
        first = samples // renew if renew else 0
        self._streams = []
        for bank, items, keep, read in (
                (self.foregrounds, foregrounds, bool(cache), partial(_read, read_foreground, size=size, cache=cache)),
                (self.backgrounds, backgrounds, False, partial(_read, read_background, size=size))):
            order = in_order(items, seed, rank, processes, first, keep)
            pictures = in_advance(pool, read, order, AHEAD * workers) if pool else map(read, order)
            self._streams.append((bank, pictures, count(first)))
        for bank, pictures, numbers in self._streams:
            for _ in trange(len(bank), desc="pictures", leave=False, disable=None):
                self._replace_oldest(bank, pictures, numbers)

    def renew(self, samples: int) -> None:
        """Replaces what is due once so many further samples are made."""
        if not self._renew:
            return
        due = (self._samples + samples) // self._renew - self._samples // self._renew
        self._samples += samples
        for _ in range(due):
            for stream in self._streams:
                self._replace_oldest(*stream)

    def close(self) -> None:
        """Ends the processes."""
        self._resources.close()

    def __enter__(self) -> "Banks":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _replace_oldest(self, bank: Bank, pictures: Iterator[Picture | ImageFileError], numbers: Iterator[int]) -> None:
        while isinstance(picture := next(pictures), ImageFileError):
            self._broken += 1
            log.warning("broken image file, left out: %s", picture)
            if self._broken > MOST_BROKEN:
                raise picture
        bank.put(next(numbers) % len(bank), *picture)


def in_order(items: list[Item], seed: int, rank: int, processes: int, first: int, keep: bool) -> Iterator[Item]:
    """A process's items without end, from its `first` on; drawn ones are others in each epoch unless they are kept.

    All processes together see every item once an epoch.
    """
    for number in count(first * processes + rank, processes):
        epoch, position = divmod(number, len(items))
        item = items[int(permutation(len(items), seed, epoch)[position])]
        yield item.anew(epoch) if hasattr(item, "anew") and not keep else item


def _read(read: Callable[..., Picture], item: Item, **arguments: object) -> Picture | ImageFileError:
    """What a function reads, or the error in its place: raised in another process it would end all that follow."""
    try:
        return read(item, **arguments)
    except ImageFileError as error:
        return error


def _held(items: list[Item], most: int, processes: int) -> int:
    """How many pictures a process holds of these."""
    return max(1, min(most, -(-len(items) // processes)))
