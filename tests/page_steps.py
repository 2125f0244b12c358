"""What a visitor does on the page, by Playwright, and what is seen there."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

BUSY = "document.body.classList.contains('matting-busy')"


def choose(page, path: Path) -> None:
    """Chooses a photo in the file dialogue."""
    page.locator("#editor input.file").set_input_files(path)


def drop(page, path: Path) -> None:
    """Drops a photo on the frame."""
    files = page.evaluate_handle("""([name, content]) => {
        const files = new DataTransfer(), bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
        files.items.add(new File([bytes], name, {type: "image/png"}));
        return files;
    }""", [path.name, base64.b64encode(path.read_bytes()).decode()])
    page.dispatch_event("#editor .frame", "drop", {"dataTransfer": files})


def told(page, text: str) -> None:
    """Waits until the line below the editor says this, and nothing is running."""
    page.locator("#status").get_by_text(text).wait_for()
    page.wait_for_function(f"!{BUSY}")


def tool(page, name: str) -> None:
    """Presses a button of the tool strip."""
    page.locator("#editor .tools").get_by_role("button", name=name, exact=True).click()


def places(page, *shares: tuple[float, float]) -> list[tuple[float, float]]:
    """Places of the photo, which fills the frame, on the screen."""
    canvas = page.locator("#editor canvas.marks")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in shares]


def drag(page, *shares: tuple[float, float]) -> None:
    """Drags the mouse over the photo."""
    first, *others = places(page, *shares)
    page.mouse.move(*first)
    page.mouse.down()
    for point in others:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def touch(page, *shares: tuple[float, float]) -> None:
    """Drags a finger over the photo."""
    session = page.context.new_cdp_session(page)
    for number, (x, y) in enumerate(places(page, *shares)):
        session.send("Input.dispatchTouchEvent", {"type": "touchMove" if number else "touchStart",
                                                  "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def colour(page, x: float, y: float) -> list[int]:
    """The tinted photo's colour at a place given as shares of it."""
    return page.locator("#editor canvas.photo").evaluate(
        "(canvas, [x, y]) => [...canvas.getContext('2d').getImageData("
        "Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data]", [x, y])[:3]


@contextmanager
def unanswered(page) -> Iterator[None]:
    """Holds back what is asked of the server within the block."""
    held = []
    page.route("**/queue/join*", lambda route: held.append(route))
    yield
    for request in held:
        request.continue_()
    page.unroute("**/queue/join*")


def cut_out(page) -> None:
    """Presses "Cut out" and waits for the result."""
    page.locator("#run").click()
    page.locator("#viewer img[src]").wait_for()
    page.wait_for_function(f"!{BUSY}")


def download(page, kind: str, name: str) -> np.ndarray:
    """The file of a button, whose name is checked."""
    with page.expect_download() as waiting:
        page.locator(f"#download-{kind}").click()
    assert waiting.value.suggested_filename == f"{name}_{kind.replace('-', '')}.png"
    return np.array(Image.open(waiting.value.path()))


def overlap(first: dict, second: dict) -> bool:
    """Whether two bounding boxes overlap."""
    return all(first[start] < second[start] + second[side] and second[start] < first[start] + first[side]
               for start, side in (("x", "width"), ("y", "height")))
