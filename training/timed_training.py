"""Training by the clock: how much of the time is over, what stage that is, and a line a minute about it."""

import json
import math
import time
from pathlib import Path
from typing import NamedTuple

import torch

from utils.distributed import World, copy_from_main
from utils.files import atomic_path

LONGEST_GAP = 60.0  # seconds between two looks at the clock; what is longer is a halt, which does not count
DECAY = 0.2  # the last share of the time, in which the learning rate falls to 0
REPORT_EVERY = 1.0  # minutes


class Stage(NamedTuple):
    """A stretch of the training."""

    end: float  # as a share of the whole time
    crop: int  # side in pixels
    plain_share: float  # of the samples
    others: tuple[int, ...] = ()  # smaller sides, which steps have in turn with `crop`

    @property
    def crops(self) -> tuple[int, ...]:
        """The sides of its crops, in the order of its steps."""
        return *self.others, self.crop


STAGES = (Stage(0.08, 64, 0.03), Stage(0.20, 128, 0.03), Stage(0.50, 256, 0.02), Stage(0.75, 384, 0.01),
          Stage(1.00, 512, 0.01))


def chosen_stages(first_crop: int, last_crop: int) -> tuple[Stage, ...]:
    """`STAGES` without those of smaller and larger crops; 0 leaves out none at that end."""
    return tuple(stage for stage in STAGES if first_crop <= stage.crop <= (last_crop or stage.crop))


def in_turn(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """One stage for all the time, whose steps have the crops of these stages in turn; the last one's in all else."""
    *others, last = stages
    return (last._replace(end=1.0, others=tuple(stage.crop for stage in others)),)


def stage_at(share: float, stages: tuple[Stage, ...]) -> Stage:
    """The stage of a share of the whole time."""
    return next(stage for stage in stages if share < stage.end or stage is stages[-1])


def rate_at(share: float, step: int, warmup_steps: int) -> float:
    """The factor on the learning rate: a linear warm-up of each call's first steps, 1, and a linear fall at the end."""
    return min(1.0, (step + 1) / max(1, warmup_steps)) * min(1.0, (1 - share) / DECAY)


class Clock:
    """How much of the whole time is over, the same on all processes. While a process is halted it stands still.

    Args:
        minutes: of this call.
        done: minutes of the calls before.
        total: minutes of all calls together.
    """

    def __init__(self, world: World, minutes: float, done: float, total: float):
        self.world, self.minutes, self.done, self.total = world, minutes, done, total
        self.elapsed = 0.0  # minutes of this call
        self.reserve = 0.0  # minutes that a last save takes
        self._last = time.monotonic()

    def read(self, worked: bool = False) -> float:
        """The share of the time for training that is over, 0..1.

        Args:
            worked: that the time since the last look went into one long piece of work, such as compiling, and counts
                however long it was.
        """
        now = time.monotonic()
        gap = now - self._last if worked else min(now - self._last, LONGEST_GAP)
        elapsed = torch.tensor(self.elapsed + gap / 60, device=self.world.device, dtype=torch.float64)
        self._last = now
        copy_from_main(self.world, [elapsed])
        self.elapsed = elapsed.item()
        return min(1.0, (self.done + self.elapsed) / max(self.total - self.reserve, 1e-9))

    def left(self, end: float) -> float:
        """Minutes of this call until a share of the whole time is over."""
        return min(self.minutes - self.elapsed, end * self.total - self.done - self.elapsed)

    @property
    def is_over(self) -> bool:
        """Whether this call has to save and end."""
        return self.elapsed + self.reserve >= min(self.minutes, self.total - self.done)

    @property
    def minutes_spent(self) -> float:
        """Minutes of all calls, this one included; all of them where it ends by the clock, a last save included."""
        spent = min(self.minutes, self.total - self.done) if self.is_over else 0.0
        return self.done + max(spent, self.elapsed)

    @property
    def is_finished(self) -> bool:
        """Whether the whole training has to end."""
        return self.minutes_spent >= self.total - 1e-6


class Progress:
    """Writes a line of JSON a minute to the standard output and to a file; rank 0 only.

    A line holds "minutes" (of all calls), "samples", "crop" (a list where steps have several in turn),
    "samples_per_second" and "waiting_share" (of the time, for samples) since the line before, "loss" and its parts
    (means since then), "learning_rate", and "validation", the latest errors or null. Steps whose gradients are not
    finite count as samples alone.

    Args:
        minutes: of the calls before; what a call that was killed has written beyond them is dropped.
    """

    def __init__(self, path: Path, world: World, minutes: float = 0.0):
        self.path, self.world = path, world
        self.begin(0.0)
        self._written_at = 0.0
        if world.is_main and path.exists():
            kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _is_before(line, minutes)]
            with atomic_path(path) as temporary:
                temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def begin(self, waited: float) -> None:
        """Starts to count anew, where steps begin after something else; `waited` as in `report`."""
        self._start, self._waited = time.perf_counter(), waited
        self._samples = self._steps = 0
        self._sums: dict[str, float] = {}

    def add(self, values: dict[str, float], samples: int) -> None:
        """Counts a step with its loss, the loss's parts and the gradients' norm."""
        self._samples += samples
        if all(map(math.isfinite, values.values())):
            self._steps += 1
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value

    def report(self, elapsed: float, waited: float, at_once: bool = False, **about: object) -> None:
        """Writes a line where a minute has passed since the last one.

        Args:
            elapsed: minutes of this call.
            waited: seconds that this call has waited for samples.
            at_once: write what there is, as at the end.
        """
        if not (self.world.is_main and (at_once or elapsed - self._written_at >= REPORT_EVERY)):
            return
        seconds = max(1e-9, time.perf_counter() - self._start)
        line = about | {"samples_per_second": round(self._samples / seconds, 2),
                        "waiting_share": round((waited - self._waited) / seconds, 4)}
        line |= {name: round(value / self._steps, 6) for name, value in self._sums.items()}
        text = json.dumps(line)
        print(text, flush=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
        self._written_at = elapsed
        self.begin(waited)


def _is_before(line: str, minutes: float) -> bool:
    """Whether a line is whole, and of no later time."""
    try:
        return json.loads(line)["minutes"] <= minutes + 0.01
    except (ValueError, KeyError, TypeError):
        return False
