"""How much of an image's work is done: tiles, and whole stages counted as as many tiles as take about as long."""

from utils.progress_bar import Report

# Work relative to that of the stem for a cell of 8 x 8 pixels, measured at the published width and at 3/8 of it.
STEM_WORK = 1.0  # per cell of the image
COLOUR_WORK = 1.0  # per cell, with known colours
COARSE_WORK = 2.4  # per cell, proportional to the width: the stages at 1/8 and below without attention
PAIR_WORK = 8e-4  # exact attention, per query and key
NEAR_PAIR_WORK = 1e-3  # near attention, per query and each of its `keys_met`
ALPHA_WORK = 3.9  # per cell of the tiles around the unknown region


class Work:
    """Tells how much work is done, in steps that take about as long as a tile of the stem.

    Args:
        report: called with the number of steps done, and of all.
        step, total: the work of a step, and all of it.
    """

    def __init__(self, report: Report, step: float, total: float):
        self._report, self._step, self._done = report, step, 0.0
        self._steps = max(1, round(total / step))

    def add(self, work: float) -> None:
        """Work that has just been done."""
        self._at(self._done + work)

    def during(self, work: float) -> Report:
        """A report of parts of equal size of a stage that begins now and is so much work."""
        before = self._done
        return lambda done, total: self._at(before + work * done / total)

    def _at(self, done: float) -> None:
        self._done = done
        self._report(min(round(done / self._step), self._steps), self._steps)
