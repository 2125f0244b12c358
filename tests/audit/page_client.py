"""Starts app.py with a small random network, and asks it over HTTP as a browser or a hostile program would."""

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
NETWORK = ("--random-weights", "--config", "config/trial.toml", "--set", "model.width=0.1", "--device", "cpu")
MARK = {"_type": "gradio.FileData"}  # without it Gradio does not look at a file
PATIENCE = 30  # seconds until a request counts as hanging


class Answer(NamedTuple):
    """What the server answered: a route's response, or the outcome of an event with status 200."""

    status: int
    text: str  # body; an event's error message
    data: list | None = None  # an event's outputs

    @property
    def refused(self) -> bool:
        """Whether it is a refusal of one short line."""
        failed = self.status >= 400 or (self.status == 200 and self.data is None)
        return failed and 0 < len(self.text.strip()) < 500 and "\n" not in self.text.strip()


class Page(NamedTuple):
    """A running page."""

    port: int
    process: int
    folder: Path  # of temporary files
    log: Path

    @property
    def uploads(self) -> Path:
        """The upload folder."""
        return next(self.folder.glob("matting-*"))

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """One request; underscores in the names of headers stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host="Host" in headers)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                connection.putheader(name, value)
            connection.endheaders()
            with contextlib.suppress(ConnectionError):  # refused before it was sent
                connection.send(body)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode("utf-8", "replace"))

    def post(self, path: str, value: object, **headers: str) -> Answer:
        """A request with a JSON body."""
        return self.request("POST", path, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def upload(self, name: str, *contents: bytes) -> Answer:
        """An upload of files."""
        bound = uuid.uuid4().hex
        parts = [f'--{bound}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n'
                 "Content-Type: image/png\r\n\r\n".encode() + content + b"\r\n" for content in contents]
        return self.request("POST", "/gradio_api/upload", b"".join(parts) + f"--{bound}--\r\n".encode(),
                            Content_Type=f"multipart/form-data; boundary={bound}")

    def uploaded(self, name: str, content: bytes) -> dict:
        """An upload as the browser names it in events."""
        answer = self.upload(name, content)
        if answer.status != 200:
            raise ValueError(answer.text)
        return {"path": json.loads(answer.text)[0], "meta": MARK}

    def ask(self, event: int, data: object, session: str) -> Answer:
        """An event's outcome."""
        answer = self.post("/gradio_api/queue/join", {"fn_index": event, "session_hash": session, "data": data})
        if answer.status != 200:
            return answer
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
            for line in connection.getresponse():
                message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
                if message.get("msg") == "process_completed":
                    output = message["output"] or {}
                    return Answer(200, str(output.get("error") or ""), output["data"] if message["success"] else None)
        return Answer(200, "the answer ended early\n\n")

    def events(self) -> dict[str, int]:
        """The numbers of the events, by element and trigger, such as "photo.upload"."""
        config = json.loads(self.request("GET", "/config").text)
        names = {part["id"]: part["props"].get("elem_id") for part in config["components"]}
        return {f"{names.get(element)}.{trigger}": event["id"] for event in reversed(config["dependencies"])
                for element, trigger in event["targets"]}

    def memory(self) -> tuple[float, float]:
        """Resident memory of the server and its maximum, in MB."""
        text = Path(f"/proc/{self.process}/status").read_text()
        return tuple(int(re.search(rf"{key}:\s+(\d+) kB", text)[1]) / 1000 for key in ("VmRSS", "VmHWM"))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running_page(*options: str) -> Iterator[Page]:
    """A page that has just started, with its own folder for temporary files."""
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder) / "log.txt"
        with log.open("w") as output, subprocess.Popen(
                [sys.executable, "app.py", *NETWORK, "--port", str(port), *options], cwd=ROOT, stdout=subprocess.PIPE,
                env={**os.environ, "TMPDIR": folder}, stdin=subprocess.DEVNULL, stderr=output, text=True) as program:
            try:
                if not any(line.startswith("Open ") for line in program.stdout):
                    raise RuntimeError(f"app.py did not start: {log.read_text()[-500:]}")
                yield Page(port, program.pid, Path(folder), log)
            finally:
                program.terminate()
                try:
                    program.wait(timeout=60)
                except subprocess.TimeoutExpired:
                    program.kill()


def folder_size(folder: Path) -> tuple[int, float]:
    """The files below a folder, and their MB, while others write and delete there."""
    sizes = []
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                sizes.append((Path(parent) / name).lstat().st_size)
    return len(sizes), sum(sizes) / 1e6
