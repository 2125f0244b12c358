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
from gradio.events import Dependency

from dataloader.image_file import Photo, find_partner, list_images
from matting.cutout_files import BLUR, read_background
from matting.predictor import Matting
from matting.proposals import propose
from webpage.inputs import CheckedBlocks
from webpage.layout import BLURRED, COLOUR, DOWNLOADS, PICTURE, build_layout
from webpage.marks import Marks
from webpage.page_errors import page_error, show_errors
from webpage.results import PageResult, composite_result, hex_colour, matte_photo, write_files
from webpage.storage import KEPT_SECONDS, Storage
from webpage.time_left import Report, with_time_left
from webpage.uploads import open_background, open_photo, open_trimap
from webpage.views import composite_view, photo_view, result_view, tint_view

BACKGROUND_PIXELS = 50_000_000  # limit of a background picture
KEPT_RESULTS = 8  # of all visitors; the oldest are deleted for new ones
KEPT_BYTES = 2 * 10**9  # of uploads and displayed pictures of all visitors; the oldest are deleted for new ones
QUEUED = 100  # requests that may wait; further ones are refused
MARKS_SENT = "(...values) => matting.sent"  # with the visitor's marks among the values
CHOOSE = "Choose a photo first."
MEND = "Green is kept, yellow is the edge, red goes. Wrong? Drag a box or paint, then cut out."
NOTHING_FOUND = "No subject was found: drag a box around it, or paint it."


class Session(NamedTuple):
    """A visitor's photo and results."""

    name: str  # of the photo's file, without extension
    photo: Photo
    trimap: np.ndarray | None = None  # (H, W) uint8, as proposed or loaded; strokes are painted over it
    proposed: bool = False  # not loaded
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

    def propose_here(session, marks, width, hair, progress=gr.Progress()):  # noqa: B008  Gradio's way
        return trimap_proposed(matting, session, marks, width, hair, timed(progress))

    def propose_first(session, width, hair, progress=gr.Progress()):  # noqa: B008
        return first_proposed(matting, session, width, hair, timed(progress))

    def propose_again(session, marks, width, hair, progress=gr.Progress()):  # noqa: B008
        if session is None or not session.proposed:
            return gr.skip(), gr.skip(), gr.skip()
        return trimap_proposed(matting, session, marks, width, hair, timed(progress))

    def cut_out_here(session, marks, width, hair, kind, colour, picture, progress=gr.Progress()):  # noqa: B008
        return cut_out(matting, results, session, marks, width, hair, kind, colour, picture, timed(progress))

    with CheckedBlocks(storage, max(max_pixels, BACKGROUND_PIXELS), title="Image matting", analytics_enabled=False,
                       delete_cache=(600, KEPT_SECONDS)) as blocks:
        session = gr.State(None, time_to_live=KEPT_SECONDS,
                           delete_callback=lambda left: forget(results, left and left.folder))
        page = build_layout(samples, notice)
        edited = [session, page.editor, page.status]
        made = [session, page.editor, page.width, page.hair]
        light, quiet = {"show_progress": "hidden"}, {"show_progress": "hidden", "queue": False}
        heavy = {"concurrency_id": "heavy", "concurrency_limit": 1, "show_progress_on": page.progress}

        def ending(event: Dependency, key: str) -> Dependency:
            """An event after which nothing runs any more; `key` as in its `matting.started`."""
            for after in (event.then, event.failure):  # Gradio 6.31 leaves out `then` after failures
                after(None, None, None, js=f"() => matting.finished('{key}')", **quiet)
            return event

        def followed(event: Dependency, key: str) -> Dependency:
            """`ending` of an event whose answer the editor shows."""
            event.success(None, page.editor, None, js=f"(view) => matting.show(view, '{key}')", **quiet)
            return ending(event, key)

        chosen = followed(page.editor.upload(partial(photo_chosen, max_pixels=max_pixels), page.photo, edited,
                                             js="() => matting.started('photo')", **light), "photo")
        cleared = chosen.failure(photo_cleared, None, edited, **light)
        cleared.success(None, page.editor, None, js="(view) => matting.show(view)", **quiet)
        followed(chosen.success(propose_first, [session, page.width, page.hair], edited,
                                js="(...values) => matting.started('propose', values)", **heavy), "propose")
        followed(page.samples.click(partial(sample_chosen, samples=samples, trimaps=sample_trimaps,
                                            max_pixels=max_pixels), page.samples, edited,
                                    js="(...values) => matting.started('photo', values)", **light), "photo")
        followed(page.loaded.upload(trimap_loaded, [session, page.loaded, page.width], edited,
                                     js="(...values) => matting.started('load', values)", **light), "load")
        again = {"trigger_mode": "always_last", **heavy}
        followed(page.editor.select(propose_here, made, edited, js=f"{MARKS_SENT}('propose', values, true)", **again),
                 "propose")
        followed(page.proposal.click(propose_here, made, edited, js=f"{MARKS_SENT}('propose', values)", **heavy),
                 "propose")
        for option in (page.hair, page.width):
            followed(option.input(propose_again, made, edited, js=f"{MARKS_SENT}('propose', values)", **again),
                     "propose")
        choice = [page.kind, page.colour, page.picture]
        run = page.run.click(cut_out_here, [*made, *choice],
                             [*edited, page.viewer, page.attention, *page.downloads],
                             js=f"{MARKS_SENT}('run', values)", **heavy)
        run.success(None, page.viewer, None, js="(view) => matting.result(view)", **quiet)
        followed(run, "run")
        page.kind.change(lambda kind: (gr.update(visible=kind == COLOUR), gr.update(visible=kind == PICTURE)),
                         page.kind, [page.colour, page.picture_column], **light)
        changed = gr.on([page.kind.change, page.colour.change, page.picture.upload],
                        partial(background_changed, results), [session, *choice],
                        [page.viewer, page.downloads[DOWNLOADS.index("Composite")]],
                        js="(...values) => matting.started('background', values)", trigger_mode="always_last", **heavy)
        changed.success(None, page.viewer, None, js="(view) => matting.result(view, 'composite')", **quiet)
        ending(changed, "background")
    return blocks.queue(default_concurrency_limit=4, api_open=False, max_size=QUEUED)


def timed(progress: gr.Progress) -> Report:
    """A report that Gradio shows beside the buttons."""
    return with_time_left(lambda share, text: progress(share, desc=text))


def photo_chosen(path: str | None, max_pixels: int) -> tuple:
    """A photo was uploaded."""
    if path is None:
        raise page_error(CHOOSE)
    with show_errors():
        session = Session(Path(path).stem, open_photo(Path(path), max_pixels))
        return session, photo_view(session.image), ""


def sample_chosen(index: int, samples: list[Path], trimaps: Path, max_pixels: int) -> tuple:
    """A sample was clicked; its trimap is loaded, too."""
    session, *_ = photo_chosen(str(samples[index]), max_pixels)
    with show_errors():
        trimap = find_partner(samples[index], list_images(trimaps), "trimap", trimaps)
        session = session._replace(trimap=open_trimap(trimap, session.image, "medium"))
        return session, photo_view(session.image, session.trimap), "This sample is marked by hand: cut it out."


def photo_cleared() -> tuple:
    """The photo could not be read."""
    return None, photo_view(None), ""


def trimap_loaded(session: Session | None, path: str | None, width: str) -> tuple:
    """A trimap or mask was uploaded."""
    session = require(session)
    if path is None:
        raise page_error("Choose a trimap or a mask first.")
    with show_errors():
        session = session._replace(trimap=open_trimap(Path(path), session.image, width), proposed=False)
        return session, tint_view(session.trimap), "The file is loaded. Paint over it where it is wrong."


def trimap_proposed(matting: Matting, session: Session | None, marks: Marks, width: str, hair: bool,
                    report: Report) -> tuple:
    """A proposal was asked for, by a box or by the button."""
    session = require(session)
    with show_errors(session.image):
        session, remarks = with_proposal(matting, session, marks, width, hair, report)
        return session, tint_view(session.trimap), remarks


def first_proposed(matting: Matting, session: Session | None, width: str, hair: bool, report: Report) -> tuple:
    """A proposal without marks; that nothing was found is no error."""
    session = require(session)
    with show_errors(session.image):
        try:
            session, remarks = with_proposal(matting, session, Marks(), width, hair, report)
        except ValueError:
            return session, tint_view(None), NOTHING_FOUND
        return session, tint_view(session.trimap), remarks


def with_proposal(matting: Matting, session: Session, marks: Marks, width: str, hair: bool,
                  report: Report) -> tuple[Session, str]:
    """The session with a proposal, and advice on it.

    Raises:
        ValueError: as `matting.proposals.propose`.
    """
    shape = session.image.shape[:2]
    scribbles = marks.scribbles(shape)
    options = {"box": marks.pixel_box(shape), "matting": matting, "width": width, "hair": hair, "report": report}
    try:
        proposal = propose(session.image, scribbles=scribbles, **options)
    except ValueError:
        if scribbles is None or {0, 255} <= set(np.unique(scribbles)):
            raise
        proposal = propose(session.image, **options)  # strokes of one kind may be too few; they count all the same
    remarks = "\n".join(f"- {remark}" for remark in proposal.remarks) or MEND
    return session._replace(trimap=proposal.trimap, proposed=True), remarks


def cut_out(matting: Matting, results: Results, session: Session | None, marks: Marks, width: str, hair: bool,
            kind: str, colour: str, picture: str | None, report: Report) -> tuple:
    """"Cut out" was pressed; an earlier result stays until the new one is complete. Proposes if nothing is marked."""
    session = before = require(session)
    remarks = gr.skip()
    with show_errors(session.image):
        background = chosen_background(kind, colour, picture)
        report(0.01, "Reading the photo")
        if session.trimap is None:
            session, remarks = with_proposal(matting, session, marks, width, hair,
                                             lambda share, text: report(0.01 + 0.01 * share, text))
        result = matte_photo(matting, session.photo, marks.over(session.trimap), report)
        composite = composite_result(session.photo, result, background)
        session = session._replace(folder=Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"])))
        results[session.folder] = result
        try:
            files = write_files(session.folder, session.name, result, composite)
            view = result_view(result, composite, session.folder, session.name)
        except BaseException:
            forget(results, session.folder)
            raise
        forget(results, before.folder)
        for folder in list(results)[:-KEPT_RESULTS]:
            forget(results, folder)
        return session, tint_view(session.trimap), remarks, view, result.attention, *map(str, files)


def background_changed(results: Results, session: Session | None, kind: str, colour: str, picture: str | None) -> tuple:
    """Another background was chosen: the composite's picture and file."""
    if session is None or session.folder is None or (kind == PICTURE and picture is None):
        return gr.skip(), gr.skip()
    if session.folder not in results:
        raise page_error("This result has been deleted to make room for others: cut out again.")
    results.move_to_end(session.folder)
    result = results[session.folder]
    with show_errors(session.image):
        composite = composite_result(session.photo, result, chosen_background(kind, colour, picture))
        path = write_files(session.folder, session.name, result, composite, kinds=("composite",))[0]
        return composite_view(composite, session.folder, session.name), str(path)


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
        raise page_error(CHOOSE)
    return session
