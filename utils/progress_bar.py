"""Progress of a program: on a terminal a bar, elsewhere plain lines, at most one in ten seconds."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO, TypeVar

from tqdm import tqdm

from utils.errors import printable

SECONDS = 10.0  # between lines of progress
BEAT = 1.0  # seconds between looks at whether a line is due
LEAST_ELAPSED, LEAST_LEFT = 2.0, 4.0  # seconds from which the time left is told
LEAST_SHARE = 0.05  # of the work done, below which nothing can be said

Report = Callable[[int, int], object]  # called with the number of steps done, and of all steps
Item = TypeVar("Item")


def time_left(elapsed: float, share: float) -> str:
    """How long the rest takes, if that is long and can be estimated, such as ", about 40 s left"; else "".

    Args:
        elapsed: seconds that the share of the work that is done has taken.
    """
    left = elapsed * (1 - share) / share if share > 0 else 0
    if share < LEAST_SHARE or elapsed < LEAST_ELAPSED or left < LEAST_LEFT:
        return ""
    return f", about {left:.0f} s left" if left < 90 else f", about {left / 60:.0f} min left"


class ProgressBar:
    """Shows how many of a number of items are done, and how much of the present one.

    If standard error is a terminal, it shows a bar. Otherwise, within its `with` block, a line is printed whenever
    nothing has been for ten seconds, so that a file tells that the program works.

    Args:
        total: number of items.
        doing: what is done with them, such as "scoring".
        unit: what an item is.
        shown: False for processes that show nothing but what is passed to `write`.
        file: of the lines; default: standard output.
        clock: a monotonic time in seconds.
    """

    def __init__(self, total: int, doing: str, unit: str = "image", shown: bool = True, file: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic):
        self._bar = tqdm(total=total, desc=doing, unit=unit, disable=None if shown else True)
        self._lines = shown and self._bar.disable
        self._total, self._doing, self._unit, self._file, self._clock = total, doing, unit, file, clock
        self._done, self._begun_at, self._said_at = 0, clock(), clock()
        self._item, self._item_at, self._before, self._left = "", self._begun_at, 0.0, ""
        self._state, self._ended = self._items(), threading.Event()
        self._beats = threading.Thread(target=self._beat_until_ended, daemon=True)

    def __enter__(self) -> "ProgressBar":
        if self._lines:
            self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._beats.is_alive():
            self._beats.join()
        self._bar.close()

    def update(self, count: int = 1) -> None:
        """Adds finished items."""
        self._done += count
        self._bar.set_postfix_str("", refresh=False)
        self._bar.update(count)
        self._state, self._item, self._left = self._items(), "", ""
        self.beat()

    def within(self, name: str, done: int, total: int) -> None:
        """Shows how many tiles of the present item, or batch of items, are done, and how long the rest takes."""
        if total <= 1:  # the item's own end says as much
            return
        if name != self._item or done / total < self._before:  # begun anew, such as with less memory
            self._item, self._item_at, self._before = name, self._clock(), done / total
        share = (done / total - self._before) / (1 - self._before) if self._before < 1 else 0
        self._state = f"{name}: {done} of {total} tiles"
        self._left = time_left(self._clock() - self._item_at, share)
        self._bar.set_postfix_str(self._state + self._left)
        self.beat()

    def step(self, text: str) -> None:
        """Shows what is being done with the present item."""
        self._bar.set_postfix_str(text)
        self._state, self._item, self._left = text, "", ""
        self.beat()

    def note(self, line: str) -> None:
        """Prints a line that a bar would make unnecessary."""
        if self._lines:
            self.write(line, self._file)

    def write(self, line: str, file: TextIO | None = None) -> None:
        """Prints a line, on standard output by default, without disturbing the bar."""
        self._bar.write(line, file=file or sys.stdout)
        self._said_at = self._clock()

    def beat(self) -> None:
        """Prints how far the work is if a line is due; called every second, as a step may take minutes."""
        now = self._clock()
        if now - self._said_at >= SECONDS:
            self._said_at = now
            self.note(f"{self._state} after {now - self._begun_at:.0f} s{self._left}")

    def _beat_until_ended(self) -> None:
        while not self._ended.wait(BEAT):
            self.beat()

    def _items(self) -> str:
        return f"{self._doing}: {self._done} of {self._total} {self._unit}s"


def in_steps(items: Iterable[Item], total: int, doing: str, unit: str = "image",
             file: TextIO | None = None) -> Iterator[Item]:
    """The items, with a `ProgressBar` of how many of them have been worked on."""
    with ProgressBar(total, doing, unit, file=file) as bar:
        for item in items:
            yield item
            bar.update()


def batch_name(names: Sequence[str]) -> str:
    """What lines of progress call a batch of items: the first one's name, and how many there are besides."""
    return printable(names[0]) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
