"""The page's events: what each widget's change computes, and the wiring. Needs Gradio."""

import os
import shutil
import tempfile
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import numpy as np

from dataloader.image_file import Photo, find_partner, list_images
from matting.cutout import to_depth
from matting.cutout_files import BLUR, read_background
from matting.predictor import Matting
from matting.trimaps import overlay
from utils.preprocessing import alpha_to_uint8
from webpage.inputs import CheckedBlocks
from webpage.layout import BLURRED, COLOUR, DOWNLOADS, PICTURE, RECTANGLE, SCROLL_TO_RESULTS, brush, build_layout
from webpage.page_errors import page_error, show_errors
from webpage.results import (
    PageResult,
    composite_result,
    display_copy,
    hex_colour,
    matte_photo,
    on_checkerboard,
    write_files,
)
from webpage.storage import KEPT_SECONDS, Storage
from webpage.strokes import painted_over, propose_trimap, trimap_text
from webpage.uploads import open_background, open_photo, open_trimap

BACKGROUND_PIXELS = 50_000_000  # limit of a background picture
KEPT_RESULTS = 8  # of all visitors; the oldest are deleted for new ones
KEPT_BYTES = 2 * 10**9  # of uploads and displayed pictures of all visitors; the oldest are deleted for new ones
QUEUED = 100  # requests that may wait; further ones are refused


class Session(NamedTuple):
    """A visitor's photo and results."""

    name: str  # of the photo's file, without extension
    photo: Photo
    trimap: np.ndarray | None = None  # (H, W) uint8, as proposed or loaded; strokes are painted over it
    folder: Path | None = None  # of the files to download; key of the result

    @property
    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        return self.photo.image


Results = OrderedDict[Path, PageResult]  # by the folders of their files, the most recently used last


def build_page(matting: Matting, max_pixels: int, sample_photos: Path, sample_trimaps: Path,
               notice: str | None = None, kept_bytes: int = KEPT_BYTES) -> CheckedBlocks:
    """The page with its events.

    Args:
        max_pixels: limit of a photo.
        sample_photos, sample_trimaps: folders of sample photos and their trimaps.
        notice: shown above the page.
        kept_bytes: limit of the uploads and displayed pictures of all visitors.
    """
    storage = Storage(Path(os.environ["GRADIO_TEMP_DIR"]), kept_bytes)
    samples = list_images(sample_photos) if sample_photos.is_dir() else []
    results: Results = OrderedDict()

    def compute_here(session, editor, kind, colour, picture, progress=gr.Progress()):  # noqa: B008  Gradio's way
        return compute(matting, results, session, editor, kind, colour, picture, progress)

    with CheckedBlocks(storage, max(max_pixels, BACKGROUND_PIXELS), title="Image matting", analytics_enabled=False,
                       delete_cache=(600, KEPT_SECONDS)) as blocks:
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
        page.samples.click(partial(sample_chosen, samples=samples, trimaps=sample_trimaps, max_pixels=max_pixels),
                           page.samples, start, show_progress_on=page.photo)
        page.loaded.upload(trimap_loaded, [session, page.loaded, page.width], edited)
        heavy = {"concurrency_id": "heavy", "concurrency_limit": 1}
        page.proposal.click(trimap_proposed, [session, page.editor, page.marks, page.width], edited, **heavy)
        page.start_over.click(started_over, session, edited)
        choice = [page.kind, page.colour, page.picture]
        page.run.click(compute_here, [session, page.editor, *choice],
                       [session, page.results, page.compare, page.composite, page.matte, page.cutout, page.attention,
                        page.trimap, *page.downloads], show_progress_on=page.run, **heavy,
                       ).success(None, js=SCROLL_TO_RESULTS)
        page.kind.change(lambda kind: (gr.update(visible=kind == COLOUR), gr.update(visible=kind == PICTURE)),
                         page.kind, [page.colour, page.picture_column])
        gr.on([page.kind.change, page.colour.change, page.picture.upload], partial(background_changed, results),
              [session, *choice], [page.compare, page.composite, page.downloads[DOWNLOADS.index("Composite")]],
              trigger_mode="always_last", **heavy)
    return blocks.queue(default_concurrency_limit=4, api_open=False, max_size=QUEUED)


def photo_chosen(path: str | None, max_pixels: int) -> tuple:
    """A photo was uploaded."""
    if path is None:
        raise page_error("Choose a photo first.")
    with show_errors():
        session = Session(Path(path).stem, open_photo(Path(path), max_pixels))
    return *editor_view(session), display_copy(session.image), gr.update(visible=False)


def sample_chosen(index: int, samples: list[Path], trimaps: Path, max_pixels: int) -> tuple:
    """A sample was clicked; its trimap is loaded, too."""
    session, _, _, *others = photo_chosen(str(samples[index]), max_pixels)
    with show_errors():
        trimap = find_partner(samples[index], list_images(trimaps), "trimap", trimaps)
        session = session._replace(trimap=open_trimap(trimap, session.image, "medium"))
    return *editor_view(session), *others


def photo_cleared() -> tuple:
    """The photo was removed."""
    return None, None, "", None, gr.update(visible=False)


def trimap_loaded(session: Session | None, path: str | None, width: str) -> tuple:
    """A trimap or mask was uploaded."""
    session = require(session)
    if path is None:
        raise page_error("Choose a trimap or a mask first.")
    with show_errors():
        session = session._replace(trimap=open_trimap(Path(path), session.image, width))
    return editor_view(session)


def trimap_proposed(session: Session | None, strokes: list[np.ndarray] | None, marks: str, width: str) -> tuple:
    """"Propose" was pressed."""
    session = require(session)
    with show_errors(session.image):
        session = session._replace(trimap=propose_trimap(session.image, strokes or [], width, marks == RECTANGLE))
    return editor_view(session)


def started_over(session: Session | None) -> tuple:
    """"Start over" was pressed."""
    return editor_view(require(session)._replace(trimap=None))


def compute(matting: Matting, results: Results, session: Session | None, strokes: list[np.ndarray] | None, kind: str,
            colour: str, picture: str | None, progress: gr.Progress) -> tuple:
    """"Compute the matte" was pressed; an earlier result stays until the new one is complete."""
    session = before = require(session)
    with show_errors(session.image):
        trimap = painted_over(session.trimap, strokes or [], session.image.shape[:2])
        background = chosen_background(kind, colour, picture)
        result = matte_photo(matting, session.photo, trimap, lambda share, text: progress(share, desc=text))
        composite = composite_result(session.photo, result, background)
        session = session._replace(folder=Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])))
        results[session.folder] = result
        try:
            files = write_files(session.folder, session.name, result, composite)
        except BaseException:
            forget(results, session.folder)
            raise
    forget(results, before.folder)
    for folder in list(results)[:-KEPT_RESULTS]:
        forget(results, folder)
    return (session, gr.update(visible=True), *composite_pictures(session, composite),
            display_copy(alpha_to_uint8(result.alpha)), on_checkerboard(result), result.attention,
            display_copy(trimap), *map(str, files))


def background_changed(results: Results, session: Session | None, kind: str, colour: str, picture: str | None) -> tuple:
    """Another background was chosen: the composite's pictures and file."""
    if session is None or session.folder is None or (kind == PICTURE and picture is None):
        return gr.skip(), gr.skip(), gr.skip()
    if session.folder not in results:
        raise page_error("This result has been deleted to make room for others: compute the matte again.")
    results.move_to_end(session.folder)
    result = results[session.folder]
    with show_errors(session.image):
        composite = composite_result(session.photo, result, chosen_background(kind, colour, picture))
        path = write_files(session.folder, session.name, result, composite, kinds=("composite",))[0]
    return *composite_pictures(session, composite), str(path)


def editor_view(session: Session) -> tuple:
    """The session; the photo without strokes, with its trimap if there is one; a line about the trimap."""
    picture = session.image if session.trimap is None else overlay(session.image, session.trimap)
    line = "" if session.trimap is None else f"{trimap_text(session.trimap)}. Paint over it where it is wrong."
    return session, {"background": display_copy(picture), "layers": [], "composite": None}, line


def composite_pictures(session: Session, composite: np.ndarray) -> tuple:
    """The two sides of the comparison; the composite."""
    shown = display_copy(to_depth(composite, np.uint8))
    return (display_copy(session.image), shown), shown


def chosen_background(kind: str, colour: str, picture: str | None) -> np.ndarray | str:
    """The background for `composite_result`; the colour if no picture has been chosen yet."""
    if kind == BLURRED:
        return BLUR
    if kind == PICTURE and picture is not None:
        return open_background(Path(picture), BACKGROUND_PIXELS)
    return read_background(hex_colour(colour))


def forget(results: Results, folder: Path | None) -> None:
    """Deletes a result and its files, if any."""
    if folder:
        results.pop(folder, None)
        shutil.rmtree(folder, ignore_errors=True)


def require(session: Session | None) -> Session:
    """The session, or an error message if no photo has been chosen."""
    if session is None:
        raise page_error("Choose a photo first.")
    return session
