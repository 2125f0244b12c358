"""How long a computation will still take."""

import time
from collections.abc import Callable

Report = Callable[[float, str], object]  # called with the share of the work done, and what is being done

LEAST_ELAPSED, LEAST_LEFT = 2.0, 4.0  # seconds from which the time left is told
LEAST_SHARE = 0.05  # of the work done, below which nothing can be said


def with_time_left(report: Report, clock: Callable[[], float] = time.monotonic) -> Report:
    """`report` that tells the time left, too, if it is long and can be estimated.

    Args:
        clock: seconds.
    """
    start = clock()

    def told(share: float, text: str) -> None:
        elapsed = clock() - start
        left = elapsed * (1 - share) / share if share > 0 else 0
        if share >= LEAST_SHARE and elapsed >= LEAST_ELAPSED and left >= LEAST_LEFT:
            text += f", about {left:.0f} s left" if left < 90 else f", about {left / 60:.0f} min left"
        report(share, text)

    return told
