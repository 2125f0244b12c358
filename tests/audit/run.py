"""Runs the programs on bad input, and prints what did not hold.

    python tests/audit/run.py --jobs 2
    python tests/audit/run.py --kind names --kind options --fast

Prints a table of kinds (tried, held) and each failure with its command. Exit status 0 if everything held.
"""

import argparse
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from audit_kinds import KINDS, fast_runs
from audit_report import Report, examine
from audit_run import Run, close_servers
from audit_shared import work_folder


def chosen_runs(kinds: list[str], fast: bool) -> list[Run]:
    """The runs of some kinds (none: all)."""
    return [run for kind in KINDS if kind in (kinds or KINDS) for run in (fast_runs(kind) if fast else KINDS[kind]())]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run the programs on bad input.")
    parser.add_argument("--kind", action="append", choices=KINDS, metavar="KIND", help=f"one of {', '.join(KINDS)}")
    parser.add_argument("--name", help="only runs whose name contains this text")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once (default: %(default)s)")
    parser.add_argument("--fast", action="store_true", help="only the selection that the tests run")
    parser.add_argument("--keep", action="store_true", help="keep the folder of the runs, and print its name")
    parser.add_argument("--failures", type=Path, metavar="FILE", help="also write the failures to this file")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    runs = [run for run in chosen_runs(args.kind, args.fast) if not args.name or args.name in run.name]
    start, report = time.monotonic(), Report()
    try:
        with ThreadPoolExecutor(args.jobs) as pool:
            for results in pool.map(partial(examine, keep=args.keep), runs):
                for result in results:
                    report.add(result)
                if args.failures:
                    args.failures.write_text(report.failures(), encoding="utf-8")
    finally:
        close_servers()
        if args.keep:
            print(f"the runs are in {work_folder()}")
        else:
            shutil.rmtree(work_folder(), ignore_errors=True)
    print(report.failures())
    print(report.table())
    print(f"{time.monotonic() - start:.0f} s")
    return 0 if report.all_held else 1


if __name__ == "__main__":
    sys.exit(main())
