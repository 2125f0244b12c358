"""How long a computation will still take."""

import time
from collections.abc import Callable

from utils.progress_bar import time_left

Report = Callable[[float, str], object]  # called with the share of the work done, and what is being done


def with_time_left(report: Report, clock: Callable[[], float] = time.monotonic) -> Report:
    """`report` that tells the time left, too, if it is long and can be estimated.

    Args:
        clock: seconds.
    """
    start = clock()

    def told(share: float, text: str) -> None:
        report(share, text + time_left(clock() - start, share))

    return told
