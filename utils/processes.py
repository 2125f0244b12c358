"""Many images at once, one process for each core."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor

import cv2


def process_pool(processes: int) -> ProcessPoolExecutor:
    """A pool of processes that leave the other cores to each other, and Ctrl-C to the caller."""
    context = multiprocessing.get_context("spawn")  # forking a process that has threads can hang
    return ProcessPoolExecutor(processes, context, _start_worker)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
