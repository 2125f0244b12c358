"""Starts programs in forked children, so that PyTorch is imported once and not for each case.

Reads a job per line of standard input, a JSON object with `argv`, `env`, `cwd`, `out` (folder for stdout.txt and
stderr.txt), `seconds`, `megabytes` and `fork`; answers with a line of `status`, `seconds`, `megabytes`, `ended`.
"""

import importlib
import json
import os
import runpy
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRELOADED = ("trainer", "tester", "matting.predictor", "matting.matte_folder", "matting.onnx_predictor",
             "matting.options", "torchvision", "dataloader.on_device.batches")
LOOK_EVERY = 0.02  # seconds


def become(job: dict) -> None:
    """Turns the forked child into the program of a job; with "fork" false, by executing it."""
    os.setsid()
    for number, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(Path(job["out"], name), os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    argv = [os.fsencode(text) for text in job["argv"]]
    if not job["fork"]:
        os.execvpe(argv[0], argv, os.environ)
    sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    sys.argv = job["argv"]
    sys.path[0] = str(Path(job["argv"][0]).parent)


def wait(pid: int, job: dict) -> dict:
    """Waits for a child, and ends it if it takes more time or memory than it may."""
    start, ended, most = time.monotonic(), "", 0.0
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        most = max(most, resident(pid))
        if not ended and time.monotonic() - start > job["seconds"]:
            ended = f"took more than {job['seconds']} s"
        if not ended and most > 2 * job["megabytes"]:
            ended = f"took more than {2 * job['megabytes']} MB"
        if ended:
            os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK_EVERY)
    with suppress(ProcessLookupError):  # what it has left running
        os.killpg(pid, signal.SIGKILL)
    return {"status": os.waitstatus_to_exitcode(status), "seconds": time.monotonic() - start,
            "megabytes": max(most, usage.ru_maxrss / 1024), "ended": ended}


def resident(pid: int) -> float:
    """Megabytes of a process in memory."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return 0.0


def serve() -> str:
    """Answers jobs; returns, in a forked child, the program to run. The parent exits at the end of its input."""
    sys.path.insert(1, str(ROOT))
    for name in PRELOADED:
        importlib.import_module(name)
    print("ready", flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(job)
            return job["argv"][0]
        print(json.dumps(wait(pid, job)), flush=True)
    sys.exit()


if __name__ == "__main__":
    runpy.run_path(serve(), run_name="__main__")
