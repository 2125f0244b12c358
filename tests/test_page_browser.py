"""The web page in a browser, from a photo to its cut-out. Needs Gradio, Playwright and Chromium."""

import base64
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from page_client import free_port
from page_steps import BUSY, choose, colour, cut_out, download, drag, drop, overlap, told, tool, touch, unanswered

import app
from dataloader.image_file import read_grey, read_image
from matting.options import build_predictor
from utils.config import load_config
from utils.preprocessing import alpha_to_uint8
from webpage.page import MEND, build_page

DEMO = Path(app.__file__).parent / "demo"
NAMES = sorted(path.stem for path in (DEMO / "input_lowres").iterdir())
SIZES = {"laptop": {"viewport": {"width": 1366, "height": 768}},
         "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOCAL = ("127.0.0.1", "::1", "localhost", b"127.0.0.1", b"localhost", None)
MOST_PIXELS, LARGEST_UPLOAD = 400_000, 2_000_000
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


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
    patch.setattr(matting, "predict", lambda *args: mattes.append((args[:2], predict(*args))) or mattes[-1][1])
    served, port = build_page(matting, MOST_PIXELS, app.SAMPLE_PHOTOS, app.SAMPLE_TRIMAPS), free_port()
    app.launch(served, "127.0.0.1", port, LARGEST_UPLOAD)
    yield SimpleNamespace(url=f"http://127.0.0.1:{port}", mattes=mattes, connected=connected)
    served.close()
    patch.undo()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(served, browser, request):
    """The page opened at a laptop's size or at the one asked for; fails where it asks for anything from elsewhere."""
    context = browser.new_context(**SIZES[getattr(request, "param", "laptop")])
    tab, asked, errors = context.new_page(), [], []
    tab.on("request", lambda message: asked.append(message.url))
    tab.on("websocket", lambda message: asked.append(message.url))
    tab.on("requestfailed", lambda message: message.failure == "csp" and asked.remove(message.url))  # was not sent
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.set_default_timeout(30_000)
    tab.goto(served.url)
    tab.locator("#editor .drop").wait_for()
    yield tab
    context.close()
    assert not [url for url in asked if not url.startswith((served.url, f"blob:{served.url}", "data:"))]
    assert not errors


@pytest.fixture
def own(tmp_path) -> Path:
    """A photo of 400 x 300: a red square of 100 x 100 on blue."""
    image = np.full((300, 400, 3), (20, 40, 200), np.uint8)
    image[100:200, 150:250] = (220, 30, 10)
    Image.fromarray(image).save(tmp_path / "own.png")
    return tmp_path / "own.png"


@needs_browser
def test_from_a_dropped_photo_to_its_files(served, page, own, tmp_path):
    with unanswered(page):
        drop(page, own)
        page.wait_for_function("document.querySelector('#editor .arriving').innerText === 'Reading the photo…'")
        assert colour(page, 0.5, 0.5) == [220, 30, 10]  # it is shown already
    told(page, MEND)
    tints = [np.array([220, 30, 10]) + (34, 197, 94), np.array([20, 40, 200]) + (239, 68, 68)]
    assert colour(page, 0.5, 0.5) == pytest.approx(tints[0] / 2, abs=3)  # half green, half the photo
    assert colour(page, 0.1, 0.1) == pytest.approx(tints[1] / 2, abs=3)
    with unanswered(page):
        drag(page, (0.3, 0.25), (0.7, 0.8))
        page.locator("#propose.working").wait_for()  # the box alone asks for a proposal
    assert page.evaluate("matting.marks().box") == pytest.approx([0.3, 0.25, 0.7, 0.8], abs=0.01)
    page.wait_for_function(f"!{BUSY}")
    tool(page, "Edge")
    drag(page, (0.4, 0.5), (0.6, 0.5))
    with unanswered(page):
        page.locator("#run").click()
        page.locator("#run.working").wait_for()
        text = page.locator("#run").evaluate("(button) => getComputedStyle(button, '::after').content")
        assert (text, page.locator("#progress .busy").text_content()) == ('"Cutting out…"', "Cutting out…")
    page.locator("#viewer img[src]").wait_for()
    page.wait_for_function(f"!{BUSY}")
    trimap, alpha = download(page, "trimap", "own"), download(page, "matte", "own")
    assert (trimap[150, 170:230] == 128).all() and (trimap[120:135, 170:230] == 255).all()
    assert not trimap[:70].any() and not trimap[:, 285:].any()  # outside the box
    (taken, matte) = served.mattes[-1]
    assert np.array_equal(taken[0], read_image(own))
    assert np.array_equal(taken[1], trimap)
    assert np.array_equal(alpha, alpha_to_uint8(matte.alpha))
    known = trimap != 128  # elsewhere a cut-out's alpha is refined
    assert np.array_equal(download(page, "cut-out", "own")[known, 3], alpha[known])
    background = trimap == 0
    assert np.unique(download(page, "composite", "own")[background], axis=0).tolist() == [[0x2a, 0x6f, 0x97]]
    page.locator("#kind").get_by_text("Blurred photo").click()
    page.wait_for_function("document.querySelector('#viewer img').alt === 'composite'")  # it is shown by itself
    page.wait_for_function(f"!{BUSY}")
    assert [0x2a, 0x6f, 0x97] not in download(page, "composite", "own")[background].tolist()
    Image.new("RGB", (30, 20), (0, 177, 64)).save(tmp_path / "green.png")
    page.locator("#kind").get_by_text("Picture").click()
    with page.expect_response(lambda response: response.url.endswith("image.webp")):
        page.locator("#picture input[type=file]").set_input_files(tmp_path / "green.png")
    page.wait_for_function(f"!{BUSY}")
    assert np.unique(download(page, "composite", "own")[background], axis=0).tolist() == [[0, 177, 64]]


@needs_browser
def test_a_cut_out_without_marks(served, page, own):
    choose(page, own)
    page.locator("#run").click()  # before there is a proposal
    page.locator("#viewer img[src]").wait_for()
    trimap = download(page, "trimap", "own")
    assert trimap[110:190, 160:240].all()  # the network of this test is random, and need not agree
    assert not trimap[:70].any()
    page.wait_for_function(f"!{BUSY}")
    with unanswered(page):
        page.locator("#hair label").click()
        page.locator("#propose.working").wait_for()  # proposes again


@needs_browser
def test_a_sample_brings_its_trimap_and_a_mask_takes_its_place(served, page, tmp_path):
    page.locator("#samples button.gallery-item").nth(NAMES.index("rocket")).click()
    told(page, "This sample is marked by hand")
    cut_out(page)
    changed = page.locator("#viewer .changed")
    assert not changed.is_visible()
    given = read_grey(DEMO / "trimap_lowres" / "Trimap3" / "rocket.png")
    assert np.array_equal(download(page, "trimap", "rocket"), given)
    height, width = given.shape
    mask = np.where(np.arange(width) < width // 2, 255, 0).astype(np.uint8)[None].repeat(height, axis=0)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    page.locator("#more button").first.click()
    with page.expect_file_chooser() as waiting:
        page.locator("#load").click()
    waiting.value.set_files(tmp_path / "mask.png")
    told(page, "The file is loaded.")
    assert changed.is_visible()
    cut_out(page)
    assert not changed.is_visible()
    trimap = download(page, "trimap", "rocket")
    assert trimap[height // 2, [0, width // 2, -1]].tolist() == [255, 128, 0]


@needs_browser
def test_strokes_can_be_erased_undone_and_hidden(page, own):
    choose(page, own)
    told(page, MEND)
    size = "matting.marks().strokes?.length ?? 0"
    tool(page, "Subject")
    drag(page, (0.2, 0.2), (0.8, 0.2))
    painted = page.evaluate(size)
    tool(page, "Eraser")
    page.locator("#editor .size").fill("80")
    drag(page, (0.1, 0.2), (0.9, 0.2))
    assert painted > 0 and page.evaluate(size) == 0
    tool(page, "Undo")
    assert page.evaluate(size) == pytest.approx(painted, rel=0.05)  # drawn again at once, with other rims
    tool(page, "Tint")
    assert colour(page, 0.5, 0.5) == [220, 30, 10]
    tool(page, "Zoom in")
    assert page.locator("#editor .zoom").inner_text() == "150 %"
    tool(page, "Background")
    drag(page, (0.5, 0.5), (0.6, 0.5))  # the zoomed photo's middle is the photo's
    picture = page.evaluate("matting.marks().strokes").partition(",")[2]
    (tmp := own.with_name("marks.png")).write_bytes(base64.b64decode(picture))
    strokes = np.array(Image.open(tmp))
    assert strokes[150, 200].tolist() == [239, 68, 68, 255]
    assert strokes[60, 200].tolist() == [34, 197, 94, 255]
    tool(page, "Clear")
    assert page.evaluate(size) == 0


@needs_browser
def test_the_results_are_shown_at_100_percent(page):
    page.locator("#samples button.gallery-item").nth(NAMES.index("coffee")).click()
    told(page, "This sample is marked by hand")
    cut_out(page)
    width = read_image(DEMO / "input_lowres" / "coffee.png").shape[1]
    for name in ("Matte", "Trimap", "Composite", "Cut-out"):
        page.locator("#viewer").get_by_role("tab", name=name).click()
        page.locator("#viewer button.full").click()
        page.wait_for_function("document.querySelector('#viewer img').src.includes('.png?')")
        page.wait_for_function("document.querySelector('#viewer img').complete")
        assert page.locator("#viewer img").evaluate("(image) => image.naturalWidth") == width
        assert page.locator("#viewer img").bounding_box()["width"] == pytest.approx(width, abs=1)
        page.locator("#viewer button.full").click()


@needs_browser
def test_what_cannot_be_used_is_refused_in_one_line(page, tmp_path):
    from playwright.sync_api import expect

    (tmp_path / "notes.png").write_text("no image")
    Image.new("RGB", (800, 501)).save(tmp_path / "large.png")
    (tmp_path / "heavy.png").write_bytes(bytes(LARGEST_UPLOAD + 100_000))
    for name, place, message in [("notes.png", ".toast-wrap", "notes.png: cannot be decoded"),
                                 ("heavy.png", "#editor .refused", "too large; expected at most"),
                                 ("large.png", ".toast-wrap", "800 x 501 pixels; expected at most 0.4 million")]:
        page.reload()
        page.locator("#editor .drop").wait_for()
        choose(page, tmp_path / name)
        expect(page.locator(place)).to_contain_text(message)
        page.locator("#editor .drop").wait_for()  # the frame is empty again
        page.wait_for_function(f"!{BUSY}")


@needs_browser
@pytest.mark.parametrize("page", ["phone"], indirect=True)
def test_a_phone_paints_by_touch_and_reaches_everything(served, page, own):
    choose(page, own)
    told(page, MEND)
    frame, tools = (page.locator(f"#editor {name}").bounding_box() for name in (".frame", ".tools"))
    assert not overlap(frame, tools)
    assert frame["width"] > 0.8 * 390
    touch(page, (0.3, 0.25), (0.5, 0.6), (0.7, 0.8))
    assert page.evaluate("matting.marks().box") == pytest.approx([0.3, 0.25, 0.7, 0.8], abs=0.01)
    page.wait_for_function(f"!{BUSY}")
    tool(page, "Background")
    touch(page, (0.5, 0.4), (0.5, 0.5), (0.5, 0.6))
    cut_out(page)
    trimap = download(page, "trimap", "own")
    assert not trimap[130:170, 198:202].any()
    assert (trimap[122:178, 170:180] == 255).all()
    for name in ("Cut-out", "Composite", "Matte", "Trimap"):
        tab = page.locator("#viewer").get_by_role("tab", name=name)
        box = tab.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
        tab.tap()
        assert tab.get_attribute("aria-selected") == "true"


@needs_browser
@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_nothing_is_wider_than_the_screen(page, tmp_path):
    for step in ("empty", "computed"):
        if step == "computed":
            page.locator("#samples button.gallery-item").nth(NAMES.index("coffee")).click()
            told(page, "This sample is marked by hand")
            cut_out(page)
        page.screenshot(path=tmp_path / f"{step}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
        assert Image.open(tmp_path / f"{step}.png").width == page.viewport_size["width"]


def test_the_page_connects_to_nothing_but_this_machine(served):
    assert served.connected  # Gradio asks its own server whether it is up
    assert not [address for address in served.connected if address[0] not in LOCAL]
