"""The clock of timed training, over several calls and processes."""

import time

import torch

from utils.distributed import World, broadcast_from_main

LONGEST_GAP = 60.0  # seconds between two readings; longer gaps mean that the process was suspended, and do not count


class Clock:
    """The share of the total time that has passed, the same on all processes. Stands still while suspended.

    Args:
        minutes: of this call.
        done: of earlier calls.
        total: of all calls together.
    """

    def __init__(self, world: World, minutes: float, done: float, total: float):
        self.world, self.minutes, self.done, self.total = world, minutes, done, total
        self.elapsed = 0.0  # minutes of this call
        self.reserve = 0.0  # minutes that the last save takes
        self._last = time.monotonic()

    def read(self, worked: bool = False) -> float:
        """The share of the training time that has passed, 0..1.

        Args:
            worked: the time since the last reading was spent on one long task, such as compiling, and counts
                in full.
        """
        now = time.monotonic()
        gap = now - self._last if worked else min(now - self._last, LONGEST_GAP)
        elapsed = torch.tensor(self.elapsed + gap / 60, device=self.world.device, dtype=torch.float64)
        self._last = now
        broadcast_from_main(self.world, [elapsed])
        self.elapsed = elapsed.item()
        return min(1.0, (self.done + self.elapsed) / max(self.total - self.reserve, 1e-9))

    def left(self, end: float) -> float:
        """Minutes of this call until a share of the total time has passed."""
        return min(self.minutes - self.elapsed, end * self.total - self.done - self.elapsed)

    @property
    def is_over(self) -> bool:
        """Whether this call must save and end."""
        return self.elapsed + self.reserve >= min(self.minutes, self.total - self.done)

    @property
    def minutes_spent(self) -> float:
        """Minutes of all calls including this one; if it ends by the clock, including its last save."""
        spent = min(self.minutes, self.total - self.done) if self.is_over else 0.0
        return self.done + max(spent, self.elapsed)

    @property
    def is_finished(self) -> bool:
        """Whether the total time has passed."""
        return self.minutes_spent >= self.total - 1e-6
