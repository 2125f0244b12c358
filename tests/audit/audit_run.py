"""A run of a program on bad inputs: what it is given, what it did, and whether that is as it should be."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEGABYTES = 120, 2500  # limits of a program
LONGEST_LINE = 700  # characters, with the folder of the run left out
LIBRARY = re.compile(r"libpng|libjpeg|Corrupt JPEG|TIFF\w*(?::|Read)|\[ ?(?:WARN|ERROR)|OpenCV\(|\w+Warning:|leaked|"
                     r"resource_tracker|NaN or Inf found in input tensor|\[[WE]:onnxruntime|onnxruntime::|"
                     r"\[[WE]\d{3} |terminate called|Traceback")
SUMMARY = re.compile(r".*not scored; the mean excludes|.*no image could be scored|note: |"
                     r"train_free\.py: loading PyTorch")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Thing:
    """One bad thing given to a program, such as a file in a folder.

    Args:
        token: text of the line that names it, or several separated by |; found in no other thing's line.
        expected: "refused" (one line), "done" (no line, the output exists), "either", "ignored" (neither).
        write: writes it into the run's folder.
        output: the file of its result in the output folder.
        size: width and height of that image; None: not checked.
    """

    name: str
    token: str
    expected: str = "refused"
    write: Callable[[Path], object] | None = None
    output: str = ""
    size: tuple[int, int] | None = None

    def is_named(self, line: str) -> bool:
        return any(token in line for token in self.token.split("|"))


@dataclass(frozen=True)
class Run:
    """One start of a program.

    Args:
        argv: the arguments, from the run's folder, after `prepare` has been called.
        status: the expected exit status, or several; None: 1 if a thing was refused, else 0.
        good: files of the output folder that must exist in any case.
        outside: paths that must not come to exist.
        fork: false: a process of its own, for settings that the interpreter reads at its start.
    """

    kind: str
    name: str
    things: tuple[Thing, ...]
    argv: Callable[[Path], list]
    prepare: Callable[[Path], object] = lambda folder: None
    status: int | tuple[int, ...] | None = 1
    good: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    seconds: int = SECONDS
    fork: bool = True
    fast: bool = False
    spare: bool = False  # several things may be named in one line, or several lines name one thing


@dataclass
class Outcome:
    """What a run did: status, limits, the two streams and complaints by thing ("": of the run itself)."""

    command: str
    status: int
    ended: str
    megabytes: float
    seconds: float
    stdout: str
    stderr: str
    complaints: dict[str, list[str]] = field(default_factory=dict)

    @property
    def crashed(self) -> bool:
        """Whether nothing can be said about single things."""
        return bool(self.ended) or self.status < 0 or "Traceback" in self.stderr


class Server:
    """A process of audit_server.py, for one thread."""

    def __init__(self):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "", "GRADIO_ANALYTICS_ENABLED": "False"}
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("audit_server.py"))],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        assert self.process.stdout.readline() == "ready\n"

    def start(self, job: dict) -> dict:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


_own = threading.local()
servers: list[Server] = []


def own_server() -> Server:
    """This thread's server."""
    if not hasattr(_own, "server"):
        _own.server = Server()
        servers.append(_own.server)
    return _own.server


def close_servers() -> None:
    while servers:
        servers.pop().close()


def program(argv: list, cwd: Path, out: Path, env: dict[str, str] | None = None, seconds: int = SECONDS,
            fork: bool = True) -> Outcome:
    """Runs a program of the project; its first argument is relative to the repository."""
    argv = [str(part) for part in argv]
    argv[0] = str(ROOT / argv[0])
    for name in ("stdout.txt", "stderr.txt"):
        (out / name).touch()
    if not fork and argv[0].endswith(".py"):
        argv.insert(0, sys.executable)
    done = own_server().start({"argv": argv, "cwd": str(cwd), "out": str(out), "env": env or {}, "seconds": seconds,
                               "megabytes": MEGABYTES, "fork": fork})
    out, err = ((out / f"std{name}.txt").read_bytes().decode("utf-8", "replace") for name in ("out", "err"))
    return Outcome(shown(argv), done["status"], done["ended"], done["megabytes"], done["seconds"], out, err)


def shown(argv: list[str]) -> str:
    """A command line for people: repeatable, with long and unprintable texts shortened."""
    parts = [part if re.fullmatch(r"[\w./:=,%+@-]+", part) else repr(part) for part in argv]
    parts = [part if len(part) < 200 else f"{part[:90]}...({len(part)} characters)" for part in parts]
    return " ".join(part.replace(f"{ROOT}/", "") for part in parts)


def carry_out(run: Run, folder: Path) -> Outcome:
    """Writes the inputs of a run, starts it, and judges it."""
    for name in ("cwd", "streams"):
        (folder / name).mkdir(parents=True)
    run.prepare(folder)
    for thing in run.things:
        if thing.write:
            thing.write(folder)
    before = snapshot(folder)
    outcome = program(run.argv(folder), folder / "cwd", folder / "streams", run.env, run.seconds, run.fork)
    outcome.complaints = judged(run, outcome, folder, before)
    return outcome


def judged(run: Run, outcome: Outcome, folder: Path, before: dict) -> dict[str, list[str]]:
    """Complaints by the name of the thing; "" for those about the run itself."""
    lines = outcome.stderr.replace(str(folder), "").split("\n")
    if "Traceback" not in outcome.stderr:  # argparse prints how the program is used, then one line
        lines = [line for line in lines if not line.startswith(("usage: ", "   "))]
    complaints = {thing.name: about_thing(thing, lines, folder, run) for thing in run.things}
    refused = [thing for thing in run.things if any(map(thing.is_named, lines))]
    own = [outcome.ended] if outcome.ended else []
    expected = run.status if run.status is not None else int(bool(refused))
    if outcome.status not in (expected if isinstance(expected, tuple) else (expected,)):
        own.append(f"status {outcome.status}, expected {expected}")
    if outcome.megabytes > MEGABYTES:
        own.append(f"took {outcome.megabytes:.0f} MB")
    own += about_streams(run, outcome, lines)
    own += about_files(run, folder, before)
    complaints[""] = own
    return {name: found for name, found in complaints.items() if found}


def about_thing(thing: Thing, lines: list[str], folder: Path, run: Run) -> list[str]:
    named = [line for line in lines if thing.is_named(line)]
    result = folder / "out" / thing.output if thing.output else None
    done = result is not None and os.access(result, os.F_OK)  # false, unlike Path.exists, if the name is too long
    found = []
    if thing.expected == "refused" and not named:
        found.append(f"no line names {thing.token!r}" + (", but its output was written" if done else ""))
    if thing.expected in ("done", "ignored") and named:
        found.append(f"a line names it: {named[0]}")
    if thing.expected == "done" and result is not None and not done:
        found.append("no output")
    refused = [line for line in named if "may be damaged" not in line]  # which is said of what is done all the same
    if thing.expected == "either" and result is not None and done == bool(refused):
        found.append("both an output and a line" if done else "neither output nor line")
    if len(named) > 1 and not run.spare:
        found.append(f"{len(named)} lines name it: {' | '.join(line[:120] for line in named)}")
    if done and thing.size and Image.open(result).size != thing.size:
        found.append(f"its output is {Image.open(result).size}, expected {thing.size}")
    return found


def about_streams(run: Run, outcome: Outcome, lines: list[str]) -> list[str]:
    found = []
    if "Traceback" in outcome.stderr:
        found.append(f"traceback: {outcome.stderr.strip().splitlines()[-1][:300]}")
    if outcome.status and not outcome.ended and not outcome.stderr.strip():
        found.append("nothing on stderr")
    if own := [line for line in lines if LIBRARY.search(line)]:
        found.append(f"lines of a library: {' | '.join(line[:120] for line in dict.fromkeys(own))}")
    strange = [line for line in lines if line and not SUMMARY.match(line) and not LIBRARY.search(line)
               and not any(thing.is_named(line) for thing in run.things)]
    if strange and "Traceback" not in outcome.stderr:
        found.append(f"a line names nothing of what was wrong: {strange[0][:200]}")
    if (longest := max(map(len, lines), default=0)) > LONGEST_LINE:
        found.append(f"a line has {longest} characters")
    for name, text in (("stdout", outcome.stdout), ("stderr", outcome.stderr)):
        if match := CONTROL.search(text):
            found.append(f"{match[0]!r} on {name}: {text[max(0, match.start() - 60):match.end() + 20]!r}")
        if any(line.startswith("INJECTED") for line in text.splitlines()):
            found.append(f"a file name starts a new line on {name}")
    return found


def about_files(run: Run, folder: Path, before: dict) -> list[str]:
    after = snapshot(folder)
    changed = [name for name in before | after if before.get(name) != after.get(name)
               and not name.startswith(("out/", "streams/")) and name != "out"]
    found = [f"written outside the output folder: {', '.join(changed[:3])}"] if changed else []
    found += [f"{path} has come to exist" for path in run.outside if Path(path).exists()]
    written = sorted(path for path in (folder / "out").rglob("*") if path.is_file() and not path.is_symlink())
    found += [f"left behind: {path.name}" for path in written if path.suffix == ".tmp" or ".tmp" in path.suffixes]
    for path in (path for path in written if str(path.relative_to(folder)) not in before):
        if not path.stat().st_size and path.suffix != ".log" and path.name != ".lock":
            found.append(f"{path.name} is empty")
        elif path.suffix == ".png":
            try:
                Image.open(path).load()
            except OSError as error:
                found.append(f"{path.name} is half written ({error})")
    return found + [f"good file not done: {name}" for name in run.good if not (folder / "out" / name).exists()]


def snapshot(folder: Path) -> dict[str, tuple]:
    """Kind, size and time of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        is_folder = path.is_dir() and not path.is_symlink()
        found[str(path.relative_to(folder))] = () if is_folder else (state.st_mode, state.st_size, state.st_mtime_ns)
    return found
