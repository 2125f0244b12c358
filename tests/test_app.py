"""The web page in a browser, from a click to the files that it hands out. Needs Gradio, Playwright and Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

import gradio as gr

import app
from dataloader.image_file import ImageFileError, Photo, read_grey, read_image
from matting.options import MISSING_PUBLISHED, build_predictor
from utils.config import load_config
from utils.preprocessing import alpha_to_uint8
from webpage import page as events
from webpage.strokes import BRUSHES

DEMO = Path(app.__file__).parent / "demo"
NAMES = sorted(path.stem for path in (DEMO / "input_lowres").iterdir())
SIZES = {"laptop": {"width": 1366, "height": 768}, "phone": {"width": 390, "height": 844}}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOCAL = ("127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost", None)
MOST_PIXELS, LARGEST_UPLOAD = 400_000, 2_000_000
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """The page's address, what the predictor returned so far, and where this process connected to."""
    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("page")))
    connected, connect = [], socket.socket.connect
    patch.setattr(socket.socket, "connect", lambda *args: connected.append(args[1]) or connect(*args))
    find = socket.getaddrinfo
    patch.setattr(socket, "getaddrinfo", lambda host, *args, **options: connected.append((host,)) or find(
        host, *args, **options))  # names are asked for elsewhere before anything connects
    config = load_config("config/trial.toml", ["model.width=0.1"])
    matting, mattes = build_predictor(config, None, "cpu"), []
    predict = matting.predict
    patch.setattr(matting, "predict", lambda *pair: mattes.append((pair, predict(*pair))) or mattes[-1][1])
    served, port = events.build_page(matting, MOST_PIXELS, app.SAMPLE_PHOTOS, app.SAMPLE_TRIMAPS), free_port()
    app.launch(served, "127.0.0.1", port, LARGEST_UPLOAD)
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", mattes=mattes, connected=connected)
    served.close()
    patch.undo()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[
            "--no-sandbox", "--use-gl=swiftshader", "--enable-unsafe-swiftshader"])
        yield browser
        browser.close()


@pytest.fixture
def page(served, browser, request):
    """The page opened at a laptop's size or at the one asked for; fails where it asks for anything from elsewhere."""
    tab = browser.new_page(viewport=SIZES[getattr(request, "param", "laptop")])
    asked = []
    tab.on("request", lambda message: asked.append(message.url))
    tab.on("websocket", lambda message: asked.append(message.url))
    tab.set_default_timeout(30_000)
    tab.goto(served.url)
    tab.locator("#run").wait_for()
    yield tab
    tab.close()
    assert not [url for url in asked if not url.startswith((served.url, f"blob:{served.url}", "data:"))]


def choose_sample(page, name: str) -> None:
    page.locator("#samples button.gallery-item").nth(NAMES.index(name)).click()
    page.locator("#photo img").wait_for()


def draw(page, label: str, *places: tuple[float, float]) -> None:
    """A stroke of a brush through places given as shares of the editor, in whose middle the photo is."""
    page.locator("#brush").get_by_text(label, exact=True).click()
    colour, _ = BRUSHES[label]
    rgb = ", ".join(str(level) for level in bytes.fromhex(colour[1:]))
    page.locator(f"#editor [aria-label=Color][style*='{rgb}']").wait_for()
    canvas = page.locator("#editor canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def compute(page) -> None:
    page.locator("#run").click()
    page.locator("#compare img").first.wait_for()


def download(page, kind: str) -> np.ndarray:
    with page.expect_download() as waiting:
        page.locator(f"#download-{kind}").click()
    return np.array(Image.open(waiting.value.path()))


@needs_browser
def test_from_a_sample_to_its_files(served, page, tmp_path):
    choose_sample(page, "rocket")
    draw(page, "Subject", (0.5, 0.3), (0.5, 0.7))
    draw(page, "Uncertain edge", (0.47, 0.5), (0.53, 0.5))
    compute(page)
    image = read_image(DEMO / "input_lowres" / "rocket.png")
    given = read_grey(DEMO / "trimap_lowres" / "Trimap3" / "rocket.png")
    trimap = download(page, "trimap")
    changed = trimap != given
    assert set(np.unique(trimap[changed])) == {128, 255}
    assert changed.mean() < 0.3
    (taken, matte), alpha = served.mattes[-1], download(page, "matte")
    assert np.array_equal(taken[0], image)
    assert np.array_equal(taken[1], trimap)
    assert np.array_equal(alpha, alpha_to_uint8(matte.alpha))
    assert np.array_equal(download(page, "cut-out")[..., 3], alpha)
    background = trimap == 0
    assert np.unique(download(page, "composite")[background], axis=0).tolist() == [[0x2a, 0x6f, 0x97]]
    with page.expect_response(lambda response: response.url.endswith("image.webp")):
        page.locator("#kind").get_by_text("Blurred photo").click()
    assert len(np.unique(download(page, "composite")[background], axis=0)) > 100
    Image.new("RGB", (30, 20), (0, 177, 64)).save(tmp_path / "green.png")
    page.locator("#kind").get_by_text("Picture").click()
    with page.expect_response(lambda response: response.url.endswith("image.webp")):
        page.locator("#picture input[type=file]").set_input_files(tmp_path / "green.png")
    assert np.unique(download(page, "composite")[background], axis=0).tolist() == [[0, 177, 64]]


@needs_browser
def test_an_own_photo_with_a_proposed_trimap_and_with_a_mask(served, page, tmp_path):
    image = np.full((300, 400, 3), (20, 40, 200), np.uint8)
    image[100:200, 150:250] = (220, 30, 10)
    Image.fromarray(image).save(tmp_path / "own.png")
    page.locator("#photo input[type=file]").set_input_files(tmp_path / "own.png")
    page.locator("#photo img").wait_for()
    draw(page, "Background", (0.375, 0.25), (0.376, 0.25))  # opposite corners of the subject's rectangle
    draw(page, "Background", (0.625, 0.75), (0.626, 0.75))
    page.locator("#help button").first.click()
    page.locator("#propose").click()
    page.locator("#status").get_by_text("Trimap: 7% subject, 3% uncertain").wait_for()
    compute(page)
    trimap = download(page, "trimap")
    assert (trimap[110:190, 160:240] == 255).all()
    assert not trimap[:90].any() and not trimap[:, 260:].any()
    Image.fromarray(np.where(np.arange(400) < 200, 255, 0).astype(np.uint8)[None].repeat(300, axis=0)).save(
        tmp_path / "mask.png")
    with page.expect_file_chooser() as waiting:
        page.locator("#load").click()
    waiting.value.set_files(tmp_path / "mask.png")
    page.locator("#status").get_by_text("Trimap: 49% subject").wait_for()


@needs_browser
def test_what_cannot_be_used_is_refused(page, tmp_path):
    from playwright.sync_api import expect

    toast = page.locator(".toast-wrap")
    page.locator("#run").click()
    expect(toast).to_contain_text("Choose a photo first.")
    (tmp_path / "notes.png").write_text("no image")
    Image.new("RGB", (800, 501)).save(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(bytes(LARGEST_UPLOAD + 1))
    for name, message in {"notes.png": "notes.png: cannot be decoded", "heavy.png": "exceed the maximum",
                          "large.png": "large.png: 800 x 501 pixels; expected at most 0.4 million"}.items():
        page.reload()
        page.locator("#photo input[type=file]").set_input_files(tmp_path / name)
        expect(toast).to_contain_text(message)


@needs_browser
@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_nothing_is_wider_than_the_screen(page, tmp_path):
    for step in ("empty", "computed"):
        if step == "computed":
            choose_sample(page, "coffee")
            compute(page)
        page.screenshot(path=tmp_path / f"{step}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert Image.open(tmp_path / f"{step}.png").width == page.viewport_size["width"]


def test_the_page_connects_to_nothing_but_this_machine(served):
    assert served.connected  # Gradio asks its own server whether it is up
    assert not [address for address in served.connected if address[0] not in LOCAL]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--checkpoint", "nowhere.pth"], "nowhere.pth: no such file"),
    (["--config", "config/gca-dist.toml"], f"checkpoints/gca-dist/gca-dist.pth: no such file\n{MISSING_PUBLISHED}")])
def test_a_missing_checkpoint_is_told_as_the_demo_does(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    assert app.main() == 1
    assert capsys.readouterr().err == f"app.py: {message}\n"


def test_a_taken_port_is_told(monkeypatch, capsys):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["app.py", "--random-weights", "--config", "config/trial.toml", "--device",
                                          "cpu", "--port", str(port)])
        assert app.main() == 1
    assert capsys.readouterr().err == (f"app.py: cannot listen on 127.0.0.1, port {port}; the port may be taken: "
                                       "choose another with --port\n")


@pytest.mark.parametrize(("error", "line"), [
    (OSError(28, "No space left on device", "{folder}/1a2b/my photo.png"),
     "[Errno 28] No space left on device: 'my photo.png'"),
    (ImageFileError("{folder}/1a2b/my photo.png: the file is empty"), "my photo.png: the file is empty"),
    (cv2.error("OpenCV(5): a.cpp:1: error: (-215) size > 0\nmore"), "OpenCV(5): a.cpp:1: error: (-215) size > 0"),
    (MemoryError(), "Not enough memory."),
    (ValueError("{folder}/1a2b/"), "ValueError"),
    (ValueError(" \n"), "ValueError"),
])
def test_errors_are_told_in_one_line_without_folders(monkeypatch, tmp_path, error, line):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    arguments = [text.format(folder=tmp_path) if isinstance(text, str) else text for text in error.args]
    if isinstance(error, OSError):
        arguments.append(error.filename.format(folder=tmp_path))
    with pytest.raises(gr.Error) as told, events.show_errors():
        raise type(error)(*arguments)
    assert told.value.message == line


def test_results_of_the_latest_are_kept(monkeypatch, tmp_path):
    """Of three, two; with the files of these alone. A visitor whose result is gone is told."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(events, "KEPT_RESULTS", 2)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    trimap = np.full((64, 64), 128, np.uint8)
    matting = build_predictor(load_config("config/trial.toml", ["model.width=0.1"]), None, "cpu")
    results = OrderedDict()
    session = events.Session("photo", Photo(image, image, None), trimap)
    sessions = [events.compute(matting, results, session, None, events.COLOUR, "#102030", None,
                               lambda *_, **__: None)[0] for _ in range(3)]
    assert list(results) == [session.folder for session in sessions[1:]]
    assert sorted(path for path in tmp_path.iterdir() if path.is_dir()) == sorted(results)
    with pytest.raises(gr.Error, match="compute the matte again"):
        events.background_changed(results, sessions[0], events.COLOUR, "#ffffff", None)
    with pytest.raises(gr.Error, match="cannot be decoded"):  # an unusable background costs no result
        (tmp_path / "bad.png").write_text("no image")
        events.compute(matting, results, sessions[2], None, events.PICTURE, "#102030", str(tmp_path / "bad.png"), None)
    assert len(list(sessions[2].folder.iterdir())) == 4


def test_a_port_beyond_the_last_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", "--port", "65536"])
    with pytest.raises(SystemExit, match="2"):
        app.main()
    assert "argument --port: 65536 is above 65535" in capsys.readouterr().err


def test_a_stopped_program_leaves_no_files(tmp_path):
    """Started as a program, and ended as a service manager ends it."""
    command = [sys.executable, "app.py", "--random-weights", "--config", "config/trial.toml", "--device", "cpu",
               "--port", str(free_port())]
    with subprocess.Popen(command, cwd=DEMO.parent, env={**os.environ, "TMPDIR": str(tmp_path)},
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        try:
            line = next(line for line in program.stdout if line.startswith("Open "))
            assert f":{command[-1]} in a browser" in line
            assert list(tmp_path.glob("matting-*"))
        finally:
            program.send_signal(signal.SIGTERM)
        program.wait(timeout=60)
    assert not list(tmp_path.glob("matting-*"))
