"""Ways to ask the page for what it must not give or do. Each must be refused in one line."""

import base64
import contextlib
import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from page_client import MARK, ROOT, Answer, Page
from page_marks import BOXES, MARKS, png, stroke_values

Way = tuple[str, Callable[[], Answer]]
API = "/gradio_api"
ELEMENTS = ("editor", "samples", "load", "propose", "hair", "width", "run", "kind", "colour", "picture")


class Scene(NamedTuple):
    """What the ways need: a page and files on its machine."""

    page: Page
    events: dict[str, int]
    secret: Path  # picture outside of the upload folder
    fifo: Path
    link: Path  # in the upload folder, to the secret
    result: Path  # another visitor's file to download
    own: dict  # an upload
    session: str  # of a visitor with a photo and a result


def set_scene(page: Page, folder: Path) -> Scene:
    """Makes files in a folder that is not the upload folder, and another visitor's result."""
    secret, fifo, events = folder / "secret.png", folder / "fifo.png", page.events()
    secret.write_bytes(png(50, 40, (1, 2, 3), "RGB"))
    os.mkfifo(fifo)
    own = page.uploaded("own.png", png(64, 64, (200, 30, 10), "RGB"))
    link = Path(own["path"]).with_name("link.png")
    link.symlink_to(secret)
    answers = [page.ask(events["editor.upload"], [own], "visitor"),
               page.ask(events["load.upload"], [None, page.uploaded("t.png", png(64, 64, 128)), "wide"], "visitor"),
               page.ask(events["run.click"], run_data(), "visitor")]
    if any(answer.data is None for answer in answers):
        raise RuntimeError(f"the page does not work: {answers}")
    result = next(page.uploads.glob("tmp*/*_matte.png"))
    return Scene(page, events, secret, fifo, link, result, own, "visitor")


def run_data(marks: object = None, picture: object = None, kind: str = "Colour", hair: object = False) -> list:
    """Inputs of "Cut out"."""
    return [None, marks, "medium", hair, kind, "#102030", picture]


def path_values(scene: Scene) -> Iterator[tuple[str, object]]:
    """Values in place of a file that lead to files outside of the upload folder, or to none."""
    secret, port = str(scene.secret), scene.page.port
    folder = Path(scene.own["path"]).parent
    places = {
        "path": secret, "relative": os.path.relpath(secret, ROOT), "wrong dots": f"{folder}/../../../{secret}",
        "dots": f"{folder}/{os.path.relpath(secret, folder)}", "double slash": f"/{secret}", "dot": f"/.{secret}",
        "/proc/self/root": f"/proc/self/root{secret}", "/proc/self/cwd": "/proc/self/cwd/demo/input_lowres/rocket.png",
        "sample": str(ROOT / "demo/input_lowres/rocket.png"), "link": str(scene.link), "NUL": f"{secret}\0",
        "NUL and ending": f"{secret}\0.png", "result of another": str(scene.result), "folder": str(folder),
        "upload folder": str(scene.page.uploads), "/dev/zero": "/dev/zero", "/dev/stdin": "/dev/stdin",
        "/proc/self/mem": "/proc/self/mem", "/proc/self/environ": "/proc/self/environ", "file URL": f"file://{secret}",
        "http": f"http://127.0.0.1:{port}{API}/file={scene.own['path']}", "https": "https://127.0.0.1:1/a.png",
        "http of metadata": "http://169.254.169.254/latest", "upper case": f"HTTP://127.0.0.1:{port}/",
        "data URL": "data:image/png;base64," + base64.b64encode(scene.secret.read_bytes()).decode(),
        "percent": secret.replace("/", "%2F"), "route": f"{API}/file={secret}", "home": "~/a.png", "empty": "",
        "here": ".", "surrogate": "\ud800", "long": "a/" * 5000, "missing": f"{folder}/a.png", "FIFO": str(scene.fifo),
        "space": f" {secret}", "newline": f"{secret}\n", "backslash": secret.replace("/", "\\")}
    for name, place in places.items():
        yield f"{name}, marked", {"path": place, "meta": MARK}
        yield f"{name}, unmarked", {"path": place}
    wrapped = {"path": secret, "meta": MARK}
    yield from {
        "string": secret, "list of strings": [secret], "list": [wrapped], "unmarked list": [{"path": secret}],
        "nested": {"path": wrapped}, "list as path": {"path": [secret]}, "URL": {"url": secret, "meta": MARK},
        "file URL as URL": {"path": None, "url": f"file://{secret}", "meta": MARK},
        "empty mark": wrapped | {"meta": {}}, "null mark": wrapped | {"meta": None},
        "text mark": wrapped | {"meta": "gradio.FileData"},
        "stream": wrapped | {"is_stream": True}, "with URL": wrapped | {"url": f"http://127.0.0.1:{port}/"},
        "with name": wrapped | {"orig_name": "own.png", "mime_type": "image/png"}, "root": {"root": wrapped},
        "value": {"value": wrapped}, "update": {"__type__": "update", "value": wrapped}, "number": 1, "truth": True,
        "text": "x", "empty list": [], "empty object": {}, "data URL as text": "data:image/png;base64,AAAA",
        "data URL as URL": {"url": "data:image/png;base64,AAAA"}, "blob": {"blob": "AAAA", "path": 5}}.items()


def path_ways(scene: Scene) -> Iterator[Way]:
    """Every value in place of every file of every event."""
    inputs = {
        "photo": lambda value: ("editor.upload", [value]),
        "trimap": lambda value: ("load.upload", [None, value, "wide"]),
        "picture": lambda value: ("picture.upload", [None, "Picture", "#102030", value]),
        "picture of a result": lambda value: ("run.click", run_data(None, value, "Picture")),
        "marks": lambda value: ("run.click", run_data(value)),
        "box": lambda value: ("editor.select", [None, {"box": value, "strokes": None}, "wide", False]),
        "strokes": lambda value: ("propose.click", [None, {"box": None, "strokes": value}, "wide", False])}
    for name, value in path_values(scene):
        for place, request in inputs.items():
            yield f"{name} as {place}", lambda value=value, request=request: ask(scene, *request(value))


def ask(scene: Scene, event: str, data: object) -> Answer:
    return scene.page.ask(scene.events[event], data, scene.session)


def route_ways(scene: Scene) -> Iterator[Way]:
    """Routes of Gradio that the page does not use, or not so."""
    page, secret, upload = scene.page, str(scene.secret), scene.own["path"]
    photo = {"fn_index": scene.events["editor.upload"], "session_hash": "x", "data": [{"path": secret}]}
    for path in ("run/predict", "run/predict/", "run/photo_chosen", "api/predict", "call/photo_chosen", "call/partial",
                 "call/v2/partial", "queue/join/", "stream/x", "stream/x/close", "vibe-edit", "vibe-code"):
        yield f"POST {path}", lambda path=path: page.post(f"{API}/{path}", photo)
    for path in (secret, f"/{secret}", "/etc/passwd", f"{upload}/../../../..{secret}", str(scene.link), "/dev/zero",
                 "http://127.0.0.1:1/a.png", "https://example.org/a.png", "file:///etc/passwd", "%2Fetc%2Fpasswd",
                 "app.py", str(scene.fifo), "", "%00", str(page.uploads)):
        yield f"file={path}", lambda path=path: page.request("GET", f"{API}/file={path}")
    for path in (f"file/{secret}", f"proxy=http://127.0.0.1:{page.port}/", "proxy=https://a.hf.space/", "deep_link",
                 "upload_progress?upload_id=x", "custom_component/x/client/component/../../x", "vibe-code",
                 "dev/reload", "stream/x/y/1/playlist.m3u8", "token", "mcp/sse", "runs",
                 "../gradio_api/file=/etc/passwd"):
        yield f"GET {path}", lambda path=path: page.request("GET", f"{API}/{path}")
    for path in ("/monitoring", "/monitoring/summary", "/svelte/../app.py", "/docs", "/openapi.json", "/static/../../x",
                 f"/static//{secret}", f"/assets/..{secret}", "//etc/passwd", "/assets/%2e%2e/%2e%2e/routes.py"):
        yield f"GET {path}", lambda path=path: page.request("GET", path)
    server = {"session_hash": "x", "component_id": 1, "fn_name": "accept_blobs", "data": {"path": secret}}
    yield "component_server", lambda: page.post(f"{API}/component_server", server)
    yield "process_recording", lambda: page.post(f"{API}/process_recording", {})
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        yield method, lambda method=method: page.request(method, "/")
    websocket = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                 "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    yield "WebSocket", lambda: page.request("GET", f"{API}/queue/data", **websocket)
    yield "WebSocket of a site", lambda: page.request("GET", f"{API}/queue/data", Host="site.example", **websocket)


def size_ways(scene: Scene) -> Iterator[Way]:
    """Too many pixels, bytes or files, in one file or in all of a request."""
    page = scene.page
    huge = page.uploaded("huge.png", png(9000, 9000))
    yield "huge photo", lambda: ask(scene, "editor.upload", [huge])
    yield "huge trimap", lambda: ask(scene, "load.upload", [None, huge, "wide"])
    yield "huge picture", lambda: ask(scene, "picture.upload", [None, "Picture", "#102030", huge])
    yield "two files", lambda: page.upload("a.png", b"a", b"b")
    yield "2000 files", lambda: page.upload("a.png", *[b"a"] * 2000)
    yield "large file", lambda: page.upload("a.png", bytes(51_000_000))
    yield "large request", lambda: page.post(f"{API}/queue/join", {"data": ["x" * 2_000_000]})
    yield "large call", lambda: page.post(f"{API}/cancel", {"data": ["x" * 2_000_000]})
    yield "no form", lambda: page.request("POST", f"{API}/upload", b"abc", Content_Type="image/png")
    yield "form without bounds", lambda: page.request("POST", f"{API}/upload", b"abc",
                                                      Content_Type="multipart/form-data")
    yield "broken form", lambda: page.request("POST", f"{API}/upload", b"a" * 10_000,
                                              Content_Type="multipart/form-data; boundary=b")


def mark_ways(scene: Scene) -> Iterator[Way]:
    """Marks that the editor does not hand over."""
    for name, value in stroke_values():
        for event in ("run.click", "propose.click", "hair.input"):
            data = [None, {"box": None, "strokes": value}, *run_data()[2:]][:7 if event == "run.click" else 4]
            yield f"strokes {name} for {event}", lambda event=event, data=data: ask(scene, event, data)
    for box in BOXES:
        yield f"box {str(box)[:30]}", lambda box=box: ask(scene, "editor.select", [
            None, {"box": box, "strokes": None}, "wide", False])
    for marks in MARKS:
        yield f"marks {str(marks)[:30]}", lambda marks=marks: ask(scene, "run.click", run_data(marks))
    for hair in (None, 1, "true", [], {}):
        yield f"hair {hair}", lambda hair=hair: ask(scene, "run.click", run_data(hair=hair))


def host_ways(scene: Scene) -> Iterator[Way]:
    """Names of other machines, and requests from other sites."""
    for host in ("site.example", f"site.example:{scene.page.port}", "127.0.0.1.site.example", "localhost.site.example",
                 "localhost@site.example", "site.example#localhost", "10.0.0.1", "[::2]", "127.0.0.2", "", "::1",
                 "127.0.0.1:x", "localhost:7860:1", "2130706433", "0.0.0.0"):
        for path in ("/", "/config", f"{API}/queue/data?session_hash=x"):
            yield f"{host} for {path}", lambda host=host, path=path: scene.page.request("GET", path, Host=host)
    for origin in ("http://site.example", "null", "http://127.0.0.1.site.example", "https://localhost@site.example",
                   "x:/[", ""):
        yield f"from {origin}", lambda origin=origin: scene.page.post(f"{API}/reset", {"event_id": "x"}, Origin=origin)


def colour_ways(scene: Scene) -> Iterator[Way]:
    """Colours that are none."""
    digits = "9" * 400
    for colour in (f"rgba({digits}, 0, 0, 1)", f"rgba(0.{digits}, 0, 0, 1)", "blue", "rgb(1e400, 0, 0)",
                   "rgba(1.2.3, 0, 0)", "#12345", "", "rgba(", "#" + digits, "x" * 10_000, "rgba(٣, 0, 0)",
                   "rgb(1, 2)", "rgb(nan, 0, 0)",
                   "<b>x</b>", "#102030\n", "/etc/passwd", "blur", None, 5, ["#102030"], {"path": str(scene.secret)}):
        data = [None, "Colour", colour, None]
        yield f"colour {str(colour)[:20]!r}", lambda data=data: ask(scene, "colour.change", data)


def malformed_ways(scene: Scene) -> Iterator[Way]:
    """Requests with parts missing, or of other types."""
    page, good = scene.page, {"fn_index": scene.events["editor.upload"], "session_hash": "x", "data": [None]}
    join = f"{API}/queue/join"
    for key, values in {"fn_index": (999, -1, "1", None, 1.5, [], 10**30), "data": (None, {}, "x", 1),
                        "session_hash": (None, 5, "", "../x", "a" * 1000, []), "trigger_id": ("x", 1.5, [])}.items():
        for value in values:
            yield f"{key} {str(value)[:10]}", lambda key=key, value=value: page.post(join, good | {key: value})
    for key in good:
        yield f"no {key}", lambda key=key: page.post(join, {name: good[name] for name in good if name != key})
    for body in (b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff", b"[" * 100_000, b"NaN", b'{"a":' * 50_000):
        yield f"body {body[:8]!r}", lambda body=body: page.request("POST", join, body, Content_Type="application/json")
    for name, event in scene.events.items():
        if name.split(".")[0] in ELEMENTS:
            for data in ([], [None] * 9, [[]] * 6):
                yield f"{name} {data}", lambda event=event, data=data: page.ask(event, data, scene.session)
    for index in (-1, 99, "0", 1.5, True, 10**30, None, [0], {"path": str(scene.secret)}):
        yield f"sample {index}", lambda index=index: ask(scene, "samples.click", [index])
    for choice in (None, 5, "x", [], {}, "x" * 10_000):
        data = [None, choice, "#102030", None]
        yield f"kind {str(choice)[:9]}", lambda data=data: ask(scene, "colour.change", data)
        yield f"width {str(choice)[:9]}", lambda choice=choice: ask(scene, "load.upload", [None, scene.own, choice])
    for name, content in {"notes": b"no image", "nothing": b"", "cut off": png(64, 64)[:60],
                          "gif": b"GIF89a" + bytes(50),
                          "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"}.items():
        yield f"photo {name}", lambda content=content: ask(scene, "editor.upload", [page.uploaded("a.png", content)])
    yield "no photo", lambda: ask(scene, "editor.upload", [None])
    yield "no trimap", lambda: ask(scene, "load.upload", [None, None, "wide"])
    yield "no session", lambda: page.ask(scene.events["run.click"], run_data(), "nobody")
    yield "cancel", lambda: page.post(f"{API}/cancel", {"session_hash": 5})


GROUPS = {"paths": path_ways, "routes": route_ways, "sizes": size_ways, "marks": mark_ways, "hosts": host_ways,
          "colours": colour_ways, "malformed": malformed_ways}


def failures(scene: Scene, group: str) -> tuple[int, list[str]]:
    """How many ways of a group were tried, and those that were not refused in one line."""
    failed, tried = [], 0
    for name, way in GROUPS[group](scene):
        tried += 1
        try:
            answer = way()
        except (OSError, http.client.HTTPException) as error:  # no answer in time, or none at all
            failed.append(f"{name}: {error!r}")
            continue
        hidden = [place for place in (scene.page.folder, scene.secret.parent) if str(place) in answer.text]
        if not answer.refused or hidden:
            failed.append(f"{name}: {answer.status} {answer.text[:200]!r} {json.dumps(answer.data)[:100]}")
    return tried, failed


def works(scene: Scene) -> bool:
    """Whether an ordinary request is still answered."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        return scene.page.ask(scene.events["editor.upload"], [scene.own], "ordinary").data is not None
    return False
