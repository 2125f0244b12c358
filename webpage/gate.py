"""Refuses requests before Gradio sees them: by host, route, and size and form of the body. Needs Gradio."""

import json
import re
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import anyio
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webpage.hosts import Hosts
from webpage.inputs import FAILED, CheckedBlocks
from webpage.storage import Storage

API = "/gradio_api"
READ = {"/", "/config", "/theme.css", "/robots.txt", "/favicon.ico", "/manifest.json", f"{API}/info", f"{API}/info/",
        f"{API}/app_id", f"{API}/startup-events", f"{API}/queue/data"}
READ_BELOW = ("/assets/", "/static/", f"{API}/heartbeat/", f"{API}/file=")
EVENTS = {f"{API}/queue/join", f"{API}/run/predict"}
UPLOAD = f"{API}/upload"
WRITTEN = {*EVENTS, UPLOAD, f"{API}/cancel", f"{API}/reset"}
LARGEST_BODY = 1_000_000  # bytes of a request that is no upload
LONGEST_BODY, LONGEST_PAUSE = 600, 30  # seconds for a request to arrive, and between two of its parts
UPLOAD_HEADERS = 64 * 1024  # bytes of an upload besides its file
FILES_PER_UPLOAD = 1
CHUNK = 64 * 1024
# Tells browsers to load nothing from other servers, which Gradio 6.0 would; Gradio needs what is unsafe here.
POLICY = (b"content-security-policy", b"default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'")
SESSION = re.compile(r"[\w.-]{1,64}", re.ASCII)


class RefusedError(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, line: str):
        super().__init__(line)
        self.status = status


class Gate(NamedTuple):
    """ASGI middleware around Gradio's app.

    Bodies are complete before they are handed on, so that a broken connection leaves no part of a file behind.
    """

    app: ASGIApp
    page: CheckedBlocks
    hosts: Hosts
    largest_file: int  # bytes
    photos: str  # folder that is served besides uploads and results

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        started = []

        async def watched(message: Message) -> None:
            started.append(message["type"])
            if message["type"] == "http.response.start":
                message = message | {"headers": [*message.get("headers", []), POLICY]}
            await send(message)

        try:
            await self.answer(scope, receive, watched)
        except RefusedError as refused:
            await PlainTextResponse(f"{refused}\n", refused.status)(scope, receive, send)
        except Exception:
            if started:
                raise
            traceback.print_exc()
            await PlainTextResponse(f"{FAILED}\n", 500)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request on, or raises RefusedError."""
        refusal = self.hosts.refusal(scope["headers"])
        if refusal:
            raise RefusedError(400, refusal)
        path = scope["path"]
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            check_readable(path, self.page, self.photos)
            return await self.app(scope, receive, send)
        if scope["type"] != "http" or scope["method"] != "POST" or path not in WRITTEN:
            raise RefusedError(404, "Not found")
        request = Request(scope, receive)
        if path == UPLOAD:
            with tempfile.TemporaryFile() as body:
                await read_upload(request, body, self.largest_file + UPLOAD_HEADERS, self.page.storage)
                check_form(request, body)
                scope = scope | {"query_string": b""}  # else Gradio keeps the upload's progress for ever
                return await self.app(scope, replay(body, receive), self.counted(scope, send))
        body = BytesIO()
        await read_body(request, body, LARGEST_BODY)
        content = checked_event(body.read(), self.page) if path in EVENTS else body.read()
        return await self.app(with_length(scope, len(content)), replay(BytesIO(content), receive), send)

    def counted(self, scope: Scope, send: Send) -> Send:
        """`send` that reports the files of an upload's answer to the page's storage."""
        answer, owner = bytearray(), owner_of(scope)

        async def read(message: Message) -> None:
            answer.extend(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                with suppress(ValueError):
                    paths = json.loads(answer)
                    self.page.storage.add(owner, paths if isinstance(paths, list) else [])
            await send(message)
        return read


def check_readable(path: str, page: CheckedBlocks, photos: str) -> None:
    """Raises RefusedError for what the page's visitors have no use for; files only of the two folders."""
    if path not in READ and not path.startswith(READ_BELOW):
        raise RefusedError(404, "Not found")
    _, is_file, name = path.partition("/file=")
    if is_file:
        with suppress(OSError, ValueError):
            file = Path(name).resolve(strict=True)
            if file.is_file() and any(file.is_relative_to(folder) for folder in (page.storage.folder, photos)):
                return
        raise RefusedError(403, "This file is not the page's, or has been deleted")


def owner_of(scope: Scope) -> str:
    """The visitor, told by the network address."""
    return scope["client"][0] if scope.get("client") else ""


async def read_upload(request: Request, body: IO[bytes], most: int, storage: Storage) -> None:
    """`read_body` of an upload.

    Raises:
        RefusedError: also if uploads that are being received have more than `storage` keeps, of one visitor or all.
    """
    owner, received = owner_of(request.scope), 0

    def count(size: int) -> None:
        nonlocal received
        received += size
        storage.receiving[owner] += size
        if storage.receiving.total() > storage.most or storage.receiving[owner] > storage.most_of_visitor + most:
            raise RefusedError(503, "Too many uploads at once; try again later")

    try:
        await read_body(request, body, most, count)
    finally:
        storage.receiving[owner] -= received
        storage.receiving += Counter()  # drops owners without any


async def read_body(request: Request, body: IO[bytes], most: int, count: Callable[[int], None] = lambda size: None,
                    ) -> None:
    """Writes a request's body to a file.

    Args:
        count: called with the bytes of each part.

    Raises:
        RefusedError: if it has more than `most` bytes, comes too slowly, or the connection breaks.
    """
    size, parts = 0, aiter(request.stream())
    try:
        with anyio.fail_after(LONGEST_BODY):
            while True:
                with anyio.fail_after(LONGEST_PAUSE):
                    chunk = await anext(parts, None)
                if chunk is None:
                    break
                size += len(chunk)
                if size > most:
                    raise RefusedError(413, f"The request is too large; expected at most {most / 1e6:.3g} MB")
                count(len(chunk))
                body.write(chunk)
    except ClientDisconnect:
        raise RefusedError(400, "The connection broke") from None
    except TimeoutError:
        raise RefusedError(408, "The request came too slowly") from None
    body.seek(0)


def replay(body: IO[bytes], receive: Receive) -> Receive:
    """`receive` of a body that has been read."""
    left = True

    async def read() -> Message:
        nonlocal left
        if not left:
            return await receive()
        chunk = body.read(CHUNK)
        left = len(chunk) == CHUNK
        return {"type": "http.request", "body": chunk, "more_body": left}
    return read


def check_form(request: Request, body: IO[bytes]) -> None:
    """Raises RefusedError if an upload is no multipart form, or has several files."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    parts = []
    try:
        if kind != b"multipart/form-data":
            raise ValueError
        parser = MultipartParser(options.get(b"boundary", b""), {"on_part_begin": lambda: parts.append(1)})
        while chunk := body.read(CHUNK):
            parser.write(chunk)
    except ValueError:
        raise RefusedError(400, "The upload is not a multipart form") from None
    if len(parts) > FILES_PER_UPLOAD:
        raise RefusedError(400, f"{len(parts)} files in one upload; expected at most {FILES_PER_UPLOAD}")
    body.seek(0)


def checked_event(body: bytes, page: CheckedBlocks) -> bytes:
    """The parts of an event's request that the page uses.

    Raises:
        RefusedError: if one is missing or of another type.
    """
    try:
        asked = json.loads(body, parse_constant=float_refused)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RefusedError(400, "The request is not a JSON object")
    kinds = {"fn_index": int, "data": list, "session_hash": str, "trigger_id": (int, type(None))}
    for key, kind in kinds.items():
        if not isinstance(asked.get(key), kind):
            raise RefusedError(400, f"{key}: missing or of another type than expected")
    if asked["fn_index"] not in page.fns or not SESSION.fullmatch(asked["session_hash"]):
        raise RefusedError(400, "fn_index or session_hash: not one of this page")
    return json.dumps({key: asked.get(key) for key in kinds}).encode()


def float_refused(text: str) -> None:
    """Raises ValueError for NaN and Infinity, which JSON lacks although Python reads them."""
    raise ValueError(text)


def with_length(scope: Scope, length: int) -> Scope:
    """The scope with the length of a body that has been changed."""
    headers = [header for header in scope["headers"] if header[0] not in (b"content-length", b"transfer-encoding")]
    return scope | {"headers": [*headers, (b"content-length", b"%d" % length)]}
