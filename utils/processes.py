"""Parallelism: process pools, and computing ahead in threads."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing.connection import wait
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessPool(ProcessPoolExecutor):
    """A pool whose `with` block, if an exception ends it, drops the tasks that have not begun."""

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=error is not None)


def process_pool(processes: int) -> ProcessPool:
    """A pool of processes, at most four per core, that use one core each.

    They leave signals to the caller, and end with it.
    """
    processes = min(processes, 4 * (os.cpu_count() or 1))  # all are started at once
    context = multiprocessing.get_context("spawn")  # forking a process that has threads can hang
    return ProcessPool(processes, context, _start_worker)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    for number in (signal.SIGINT, signal.SIGTERM):  # the parent needs them to finish its current work
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def in_advance(pool: Executor, function: Callable[[Item], Result], items: Iterable[Item],
               ahead: int) -> Iterator[Result]:
    """function(item) of each item, in order, computed ahead by a pool; at most `ahead` results are pending."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
