"""A web page that mattes photos: choose one, paint a trimap, see and download the matte.

    python app.py

Needs requirements-app.txt. Only this machine can open the page, unless --host says otherwise, and the
page asks for nothing from elsewhere. Uploads and results are deleted when the program ends.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cv2
import gradio as gr
import numpy as np

from dataloader.image_file import find_partner, list_images
from demo import build_matting
from matting.cutout import check_pymatting, to_depth
from matting.cutout_files import BLUR, read_background
from matting.options import add_matting_arguments, chosen_network
from matting.predictor import Matting, alpha_to_uint8, size_text
from matting.trimaps import overlay
from utils.arguments import memory_size, port_number, positive_int
from utils.device import is_out_of_memory
from utils.errors import InputError, one_line
from webpage.layout import (
    BLURRED,
    COLOUR,
    CSS,
    DOWNLOADS,
    PICTURE,
    RECTANGLE,
    SCROLL_TO_RESULTS,
    THEME,
    brush,
    build_layout,
)
from webpage.page import (
    Result,
    composite,
    display_copy,
    hex_colour,
    matte_photo,
    on_checkerboard,
    open_background,
    open_photo,
    open_trimap,
    painted_over,
    propose,
    trimap_text,
    write_files,
)

SAMPLES = Path(__file__).parent / "demo"
SAMPLE_PHOTOS = SAMPLES / "input_lowres"
SAMPLE_TRIMAPS = SAMPLES / "trimap_lowres" / "Trimap3"
BACKGROUND_PIXELS = 50_000_000  # at most, of a background picture
KEPT_RESULTS = 8  # of all visitors; the oldest are deleted for later ones
KEPT_PHOTOS = 50  # likewise, of visitors with an open page
KEPT_SECONDS = 6 * 3600  # that a visitor's photo and results are kept


class Session(NamedTuple):
    """What a visitor has chosen and got."""

    path: Path  # the photo's file
    image: np.ndarray  # (H, W, 3) uint8
    trimap: np.ndarray | None = None  # (H, W) uint8, as proposed or loaded; strokes go over it
    folder: Path | None = None  # of the files to download; the result is kept under it


Results = OrderedDict[Path, Result]  # by the folders of their files, the one looked at last at the end


@contextmanager
def told(session: Session | None = None) -> Iterator[None]:
    """Shows errors that concern the visitor on the page, in one line."""
    try:
        yield
    except (RuntimeError, MemoryError, ValueError, OSError, cv2.error) as error:
        if is_out_of_memory(error):
            size = f" for {size_text(session.image)} pixels" if session else ""
            raise refusal(f"Not enough memory{size}.") from None
        if isinstance(error, RuntimeError):
            raise
        raise refusal(without_folders(one_line(error))) from None


def without_folders(message: str) -> str:
    """A message that names visitors' files as they know them."""
    return re.sub(re.escape(os.environ["GRADIO_TEMP_DIR"]) + r"/(?:[^/\s]+/)*", "", message)


def refusal(message: str) -> gr.Error:
    return gr.Error(message, title="That did not work", print_exception=False)


def needed(session: Session | None) -> Session:
    if session is None:
        raise refusal("Choose a photo first.")
    return session


def shown(session: Session) -> tuple:
    """The session; the photo without strokes, with its trimap where there is one; a line about this trimap."""
    picture = session.image if session.trimap is None else overlay(session.image, session.trimap)
    line = "" if session.trimap is None else f"{trimap_text(session.trimap)}. Paint over it where it is wrong."
    return session, {"background": display_copy(picture), "layers": [], "composite": None}, line


def photo_chosen(path: str, max_pixels: int) -> tuple:
    with told():
        session = Session(Path(path), open_photo(Path(path), max_pixels))
    return *shown(session), display_copy(session.image), gr.update(visible=False)


def sample_chosen(index: int, samples: list[Path], max_pixels: int) -> tuple:
    session, _, _, *others = photo_chosen(str(samples[index]), max_pixels)
    with told():
        trimap = find_partner(session.path, list_images(SAMPLE_TRIMAPS), "trimap", SAMPLE_TRIMAPS)
        session = session._replace(trimap=open_trimap(trimap, session.image, "medium"))
    return *shown(session), *others


def photo_cleared() -> tuple:
    return None, None, "", None, gr.update(visible=False)


def trimap_loaded(session: Session | None, path: str, width: str) -> tuple:
    session = needed(session)
    with told():
        session = session._replace(trimap=open_trimap(Path(path), session.image, width))
    return shown(session)


def trimap_proposed(session: Session | None, editor: dict | None, marks: str, width: str) -> tuple:
    session = needed(session)
    with told(session):
        session = session._replace(trimap=propose(session.image, strokes(editor), width, marks == RECTANGLE))
    return shown(session)


def started_over(session: Session | None) -> tuple:
    return shown(needed(session)._replace(trimap=None))


def strokes(editor: dict | None) -> list[np.ndarray]:
    return editor["layers"] if editor else []


def compute(matting: Matting, results: Results, session: Session | None, editor: dict | None, kind: str, colour: str,
            picture: str | None, progress: gr.Progress) -> tuple:
    """Everything under step 3; earlier results stay until all of it is done."""
    session = before = needed(session)
    with told(session):
        trimap = painted_over(session.trimap, strokes(editor), session.image.shape[:2])
        behind = background(kind, colour, picture)
        result = matte_photo(matting, session.path, session.image, trimap,
                             lambda share, text: progress(share, desc=text))
        final = composite(session.path, result, behind)
        session = session._replace(folder=Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])))
        results[session.folder] = result
        try:
            files = write_files(session.folder, session.path.stem, result, final)
        except BaseException:
            forget(results, session.folder)
            raise
    forget(results, before.folder)
    for folder in list(results)[:-KEPT_RESULTS]:
        forget(results, folder)
    return (session, gr.update(visible=True), *composite_pictures(session, final),
            display_copy(alpha_to_uint8(result.alpha)), on_checkerboard(result), result.looks,
            display_copy(trimap), *map(str, files))


def background_changed(results: Results, session: Session | None, kind: str, colour: str, picture: str | None) -> tuple:
    """The pictures before the new background, and their file."""
    if session is None or session.folder is None or (kind == PICTURE and picture is None):
        return gr.skip(), gr.skip(), gr.skip()
    if session.folder not in results:
        raise refusal("This result has been deleted to make room for others: compute the matte again.")
    results.move_to_end(session.folder)
    result = results[session.folder]
    with told(session):
        final = composite(session.path, result, background(kind, colour, picture))
        path = write_files(session.folder, session.path.stem, result, final, kinds=("composite",))[0]
    return *composite_pictures(session, final), str(path)


def composite_pictures(session: Session, final: np.ndarray) -> tuple:
    """The two sides of the comparison; the composite."""
    shown = display_copy(to_depth(final, np.uint8))
    return (display_copy(session.image), shown), shown


def background(kind: str, colour: str, picture: str | None) -> np.ndarray | str:
    """What `composite` takes; a colour where no picture has been chosen yet."""
    if kind == BLURRED:
        return BLUR
    if kind == PICTURE and picture is not None:
        return open_background(Path(picture), BACKGROUND_PIXELS)
    return read_background(hex_colour(colour))


def forget(results: Results, folder: Path | None) -> None:
    """Deletes a result and its files, if there are any."""
    if folder:
        results.pop(folder, None)
        shutil.rmtree(folder, ignore_errors=True)


def build_page(matting: Matting, max_pixels: int, notice: str | None = None) -> gr.Blocks:
    """The page, its widgets wired up."""
    samples = list_images(SAMPLE_PHOTOS) if SAMPLE_PHOTOS.is_dir() else []
    results: Results = OrderedDict()

    def compute_here(session, editor, kind, colour, picture, progress=gr.Progress()):  # noqa: B008  Gradio's way
        return compute(matting, results, session, editor, kind, colour, picture, progress)

    with gr.Blocks(title="Image matting", analytics_enabled=False, delete_cache=(600, KEPT_SECONDS)) as blocks:
        session = gr.State(None, time_to_live=KEPT_SECONDS,
                           delete_callback=lambda left: forget(results, left and left.folder))
        page = build_layout(samples, notice)
        edited = [session, page.editor, page.status]
        start = [*edited, page.photo, page.results]
        page.brush.change(lambda label: gr.update(brush=brush(label)), page.brush, page.editor, queue=False,
                          show_progress="hidden")
        page.photo.upload(partial(photo_chosen, max_pixels=max_pixels), page.photo, start, show_progress_on=page.photo,
                          ).failure(photo_cleared, None, start)
        page.photo.clear(photo_cleared, None, start)
        page.samples.click(partial(sample_chosen, samples=samples, max_pixels=max_pixels), page.samples, start,
                           show_progress_on=page.photo)
        page.loaded.upload(trimap_loaded, [session, page.loaded, page.width], edited)
        heavy = {"concurrency_id": "heavy", "concurrency_limit": 1}
        page.proposal.click(trimap_proposed, [session, page.editor, page.marks, page.width], edited, **heavy)
        page.start_over.click(started_over, session, edited)
        choice = [page.kind, page.colour, page.picture]
        page.run.click(compute_here, [session, page.editor, *choice],
                       [session, page.results, page.compare, page.composite, page.matte, page.cutout, page.looks,
                        page.trimap, *page.downloads], show_progress_on=page.run, **heavy,
                       ).success(None, js=SCROLL_TO_RESULTS)
        page.kind.change(lambda kind: (gr.update(visible=kind == COLOUR), gr.update(visible=kind == PICTURE)),
                         page.kind, [page.colour, page.picture_column])
        gr.on([page.kind.change, page.colour.change, page.picture.upload], partial(background_changed, results),
              [session, *choice], [page.compare, page.composite, page.downloads[DOWNLOADS.index("Composite")]],
              trigger_mode="always_last", **heavy)
    return blocks.queue(default_concurrency_limit=4, api_open=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Matte photos on a web page.")
    add_matting_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="address to listen on; 0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--port", type=port_number, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument("--max-pixels", type=positive_int, default=24_000_000, metavar="N",
                        help="most pixels of a photo (default: %(default)s)")
    parser.add_argument("--max-upload", type=memory_size, default=memory_size("50MB"), metavar="SIZE",
                        help="largest file that can be uploaded (default: 50MB)")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    try:
        check_pymatting()
        config, checkpoint = chosen_network(args)
        matting = build_matting(config, checkpoint, args.device, precision=args.precision,
                                memory_limit=args.memory_limit)
    except InputError as error:
        print(f"app.py: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="matting-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        notice = "**Random weights**: mattes show that the page works, nothing else." if checkpoint is None else None
        page = build_page(matting, args.max_pixels, notice)
        try:
            launch(page, args.host, args.port, args.max_upload)
        except OSError:  # with advice that is not for users of this program
            print(f"app.py: cannot listen on {args.host}, port {args.port}; the port may be taken: choose another "
                  "with --port", file=sys.stderr)
            return 1
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that visitors' files are deleted then, too
        print(f"Open http://{args.host}:{args.port} in a browser; Ctrl-C ends the program", flush=True)
        page.block_thread()
    return 0


def launch(page: gr.Blocks, host: str, port: int, max_upload: int) -> None:
    """Serves the page, in other threads.

    Raises:
        OSError: if the port is taken.
    """
    page.launch(server_name=host, server_port=port, max_file_size=max_upload, share=False, ssr_mode=False, theme=THEME,
                css=CSS, allowed_paths=[str(SAMPLE_PHOTOS)], footer_links=[], quiet=True, prevent_thread_lock=True,
                state_session_capacity=KEPT_PHOTOS)


if __name__ == "__main__":
    sys.exit(main())
