"""Examining runs, and the table of what was tried and held."""

import itertools
import shutil
import traceback
from dataclasses import dataclass, field, replace

from audit_run import Outcome, Run, carry_out
from audit_shared import work_folder

SHOWN_LINES = 4  # of a failure's standard error
_numbers = itertools.count()


@dataclass
class Result:
    """A run with its outcome."""

    run: Run
    outcome: Outcome

    @property
    def tried(self) -> int:
        return max(1, len(self.run.things))

    @property
    def failed(self) -> int:
        """Things that did not hold; all of them if the run crashed, one if only the run itself was wrong."""
        complaints = self.outcome.complaints
        if self.outcome.crashed:
            return self.tried
        return min(self.tried, len(complaints.keys() - {""}) or bool(complaints))


def examine(run: Run, keep: bool = False) -> list[Result]:
    """Carries out a run; one that crashes with several things is repeated with each of them alone (if forked)."""
    folder = work_folder() / f"{next(_numbers):04d}"
    try:
        result = Result(run, carry_out(run, folder))
    except Exception:  # the other runs go on
        reason = traceback.format_exc().strip()
        result = Result(run, Outcome("", 0, "", 0.0, 0.0, "", reason, {"": ["the audit's own error"]}))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    if not (result.outcome.crashed and result.outcome.command and run.fork) or len(run.things) < 2:
        return [result]
    return [part for thing in run.things for part in examine(replace(
        run, name=f"{run.name}: {thing.name}", things=(thing,), status=None), keep)]


@dataclass
class Report:
    """All results."""

    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        self.results.append(result)

    @property
    def all_held(self) -> bool:
        return not any(result.failed for result in self.results)

    def table(self) -> str:
        """A line for each kind, and one of all."""
        lines = [f"{'kind':<16} {'runs':>5} {'tried':>6} {'held':>6} {'failed':>7}"]
        kinds = list(dict.fromkeys(result.run.kind for result in self.results))
        for kind in [*kinds, "all"]:
            those = [result for result in self.results if kind in (result.run.kind, "all")]
            tried, failed = (sum(getattr(result, name) for result in those) for name in ("tried", "failed"))
            lines.append(f"{kind:<16} {len(those):>5} {tried:>6} {tried - failed:>6} {failed:>7}")
        return "\n".join(lines)

    def failures(self) -> str:
        """Each failed run: what was wrong, the command, its status and the first lines of its standard error."""
        return "\n".join(described(result) for result in self.results if result.failed)


def described(result: Result) -> str:
    """A failed run for people."""
    outcome = result.outcome
    lines = [f"{result.run.kind} / {result.run.name}"]
    for name, found in outcome.complaints.items():
        lines += [f"  - {name + ': ' if name else ''}{complaint}" for complaint in found]
    lines.append(f"    $ {outcome.command}")
    stderr = outcome.stderr.splitlines()
    shown = stderr if len(stderr) <= SHOWN_LINES else stderr[:1] + ["..."] + stderr[1 - SHOWN_LINES:]
    lines += [f"    | {ascii(line)[1:-1][:300]}" for line in shown]
    lines.append(f"    status {outcome.status}, {outcome.seconds:.1f} s, {outcome.megabytes:.0f} MB")
    return "\n".join(lines)
