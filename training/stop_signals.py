"""Graceful stop on SIGTERM and SIGINT."""

import signal


class StopRequest:
    """Records SIGTERM and SIGINT, so that the current step is finished and saved first."""

    def __init__(self):
        self.signal = 0
        self._previous = {}

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._remember) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _: object) -> None:
        self.signal = number
