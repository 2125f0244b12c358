"""Graceful stop on SIGTERM and SIGINT, and when the launcher is gone."""

import os
import signal


class StopRequest:
    """Records SIGTERM and SIGINT, so that the current step is finished and saved first.

    A launcher that was killed cannot stop its processes: they take its end for SIGTERM. Otherwise they would train
    on, beside the run that resumes theirs.
    """

    def __init__(self):
        self._received = 0
        self._previous = {}
        self._launcher = os.getppid() if "RANK" in os.environ else None

    @property
    def signal(self) -> int:
        """The number of the signal to stop for; 0: none."""
        if self._launcher is not None and os.getppid() != self._launcher:
            return self._received or signal.SIGTERM
        return self._received

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: object) -> None:
        self._received = number
