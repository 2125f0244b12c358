"""What the programs have in common: how they end, and how they report errors."""

import functools
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import cv2

from utils.device import is_out_of_memory
from utils.errors import ReportedError, one_line, printable, system_reason

# Rounds that GCC's OpenMP, which PyTorch computes with, lets a thread wait for the others before it sleeps: a
# millisecond or less. By default it is 300,000, in which a thread that is done takes the core from one that is not, if
# anything else is running on the machine.
OPENMP_ROUNDS = {"GOMP_SPINCOUNT": "20000"}


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a program as Ctrl-C does, so that no half-written file stays."""


def program(main: Callable[[], int]) -> Callable[[], int]:
    """Decorates a program's main function, which returns the exit status: errors become one line and a status.

    Characters that the output's encoding lacks are escaped in everything that the program prints. Lines appear at
    once, also in files and pipes. Threads of a PyTorch that has not been imported yet wait for `OPENMP_ROUNDS`, unless
    the user has said how they wait.
    """
    name = Path(main.__code__.co_filename).name

    @functools.wraps(main)
    def run() -> int:
        if "OMP_WAIT_POLICY" not in os.environ:
            os.environ.update(OPENMP_ROUNDS | os.environ)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):  # not if replaced, as in a notebook
                stream.reconfigure(errors="backslashreplace", line_buffering=True)
        try:
            with sigterm_raises():
                return main()
        except ReportedError as error:
            reason = str(error)
        except BrokenProcessPool:
            reason = "a worker process was killed, perhaps out of memory; try fewer processes"
        except OSError as error:
            file = error.filename or ("standard output" if isinstance(error, BrokenPipeError) else None)
            reason = printable(f"{file}: {system_reason(error)}" if file else system_reason(error))
        except (RuntimeError, MemoryError, cv2.error) as error:
            if is_out_of_memory(error):
                reason = f"not enough memory ({one_line(error)})"
            elif re.search("DataLoader worker .* (killed|exited)", str(error)):
                reason = "a data loading process was killed, perhaps out of memory; try fewer data.workers"
            elif re.search("gloo|NCCL", str(error)):  # the backends of torch.distributed
                reason = f"lost the connection to another process ({one_line(error)})"
            else:
                raise
        except KeyboardInterrupt as error:
            number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
            ended = "terminated" if number == signal.SIGTERM else "interrupted"
            report(name, f"{ended}; the files written so far are complete")
            return 128 + number
        report(name, reason)
        return 1

    return run


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Makes SIGTERM raise `Terminated` within the block; a second one ends the process at once, as without this.

    Not with several processes: one that waits for the others in a collective operation would not be interrupted.
    """
    usual = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL  # not ignored by the caller, nor handled
    if not usual or several_processes() or threading.current_thread() is not threading.main_thread():
        yield
        return

    def terminate(*_: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def several_processes() -> bool:
    """Whether a launcher started this process as one of several."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def announce(name: str, what: str) -> None:
    """Prints what a program is about to do; of several processes only the first one.

    To be called before anything that takes more than a moment, such as importing PyTorch.
    """
    if os.environ.get("RANK", "0") == "0":
        print(f"{name}: {printable(what)}")


def report(name: str, reason: str) -> None:
    """Prints why a program fails; with several processes also which one this is."""
    rank = f" (process {os.environ['RANK']})" if several_processes() else ""
    print(f"{name}{rank}: {reason}", file=sys.stderr)
