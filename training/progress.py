"""Progress of timed training: a line of JSON per minute."""

import json
import math
import time
from pathlib import Path

from utils.distributed import World
from utils.file_writing import atomic_path, naming

REPORT_EVERY = 1.0  # minutes


class Progress:
    """Writes a line of JSON per minute to standard output and to a file, on rank 0 only.

    A line holds "minutes" (of all calls), "samples", "crop" (a list if steps alternate), "samples_per_second",
    "waiting_share" (of the time, for samples), "loss" and its parts (means), all since the previous line,
    "learning_rate", and "validation" (the latest errors, or null). Of steps with non-finite gradients only the
    samples count.

    Args:
        minutes: of earlier calls; later lines, left by a killed call, are dropped.
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
        """Restarts the counts, when steps begin after something else; `waited` as in `report`."""
        self._start, self._waited = time.perf_counter(), waited
        self._samples = self._steps = 0
        self._sums: dict[str, float] = {}

    def add(self, values: dict[str, float], samples: int) -> None:
        """Counts a step with its `StepResult.values`."""
        self._samples += samples
        if all(map(math.isfinite, values.values())):
            self._steps += 1
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value

    def report(self, elapsed: float, waited: float, at_once: bool = False, **about: object) -> None:
        """Writes a line if a minute has passed since the last one.

        Args:
            elapsed: minutes of this call.
            waited: seconds that this call has waited for samples.
            at_once: write now, as at the end.
        """
        if not (self.world.is_main and (at_once or elapsed - self._written_at >= REPORT_EVERY)):
            return
        seconds = max(1e-9, time.perf_counter() - self._start)
        line = about | {"samples_per_second": round(self._samples / seconds, 2),
                        "waiting_share": round((waited - self._waited) / seconds, 4)}
        line |= {name: round(value / self._steps, 6) for name, value in self._sums.items()}
        text = json.dumps(line)
        print(text, flush=True)
        with naming(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")
        self._written_at = elapsed
        self.begin(waited)


def _is_before(line: str, minutes: float) -> bool:
    """Whether a line is complete, and not later than `minutes`."""
    try:
        return json.loads(line)["minutes"] <= minutes + 0.01
    except (ValueError, KeyError, TypeError):
        return False
