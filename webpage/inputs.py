"""What a request hands over is checked in one place, before any widget opens anything. Needs Gradio."""

import traceback
from collections.abc import Iterator
from pathlib import Path

import anyio
import gradio as gr
from gradio.blocks import Block
from gradio.queueing import Queue

from dataloader.image_file import ImageFileError
from webpage.marks import read_marks
from webpage.page_errors import page_error, show_errors
from webpage.storage import Storage
from webpage.uploads import check_pixels

LONGEST_TEXT = 100  # characters of a choice or a colour
REQUEST_FILES = 2  # times the largest upload, of all files of a request
UNREAD = 500  # messages kept for a session that does not fetch them
SESSIONS = 1000  # whose messages are kept
NAMES = 100_000  # of files to delete that Gradio may remember for a widget
FAILED = "The program failed on this request; its operator finds the reason in its output."


class CheckedBlocks(gr.Blocks):
    """A page whose events get checked inputs only, and whose every error is one line.

    Files are paths, and the editor's value is a `webpage.marks.Marks`. No widget opens, converts or downloads
    anything: Gradio's look only at files that the request marks as such.
    """

    def __init__(self, storage: Storage, max_pixels: int, **options):
        """
        Args:
            storage: of the uploads; its deleted files are forgotten here.
            max_pixels: of all pictures of a request together.
        """
        super().__init__(**options)
        self.storage, self.max_pixels = storage, max_pixels
        self.max_file_size = None  # bytes, which launch sets
        storage.deleted = lambda path: [names.discard(path) for names in self.temp_file_sets]

    async def preprocess_data(self, block_fn, inputs, state, *_, **__):
        values = await anyio.to_thread.run_sync(self.checked, block_fn.inputs, inputs)
        return [state[block._id] if block.stateful else value
                for block, value in zip(block_fn.inputs, values, strict=True)]

    async def process_api(self, *args, **options):
        forget_unread(self._queue)
        forget_deleted(self.temp_file_sets)
        try:
            output = await super().process_api(*args, **options)
        except gr.Error:
            raise
        except Exception:
            traceback.print_exc()
            raise page_error(FAILED) from None
        request = options.get("request")
        self.storage.add(request.client.host if request and request.client else "", paths_in(output["data"]))
        return output

    def checked(self, blocks: list[Block], values: list) -> list:
        """The inputs of an event.

        Raises:
            gr.Error: if one is not what its widget hands over, or the files are too large.
        """
        if len(values) != len(blocks):
            raise page_error(f"{len(values)} inputs; expected {len(blocks)}")
        with show_errors():
            checked = [self._input(block, value) for block, value in zip(blocks, values, strict=True)]
            self._check_sizes([value for value in checked if isinstance(value, Path)])
            return [str(value) if isinstance(value, Path) else value for value in checked]

    def _input(self, block: Block, value: object) -> object:
        """An input of an event; files are paths."""
        if isinstance(block, gr.HTML):
            return read_marks(value)
        if isinstance(block, (gr.Image, gr.UploadButton)):
            return self._file(value)
        if isinstance(block, gr.Dataset):
            valid = type(value) is int and 0 <= value < len(block.samples)
        elif isinstance(block, gr.Radio):
            valid = isinstance(value, str) and value in [choice for _, choice in block.choices]
        elif isinstance(block, gr.Checkbox):
            valid = isinstance(value, bool)
        elif isinstance(block, gr.ColorPicker):
            valid = isinstance(value, str) and len(value) <= LONGEST_TEXT
        else:
            valid = block.stateful  # the session's value is taken
        if not valid:
            raise ValueError(f"{block.label or type(block).__name__}: not one of the values that can be chosen")
        return value

    def _file(self, value: object) -> Path | None:
        if value is None:
            return None
        if not isinstance(value, dict) or not isinstance(value.get("path"), str):
            raise ValueError("What was sent in place of a file is none: choose it again.")
        return self.storage.upload(value["path"])

    def _check_sizes(self, paths: list[Path]) -> None:
        check_sum(sum(check_pixels(path, self.max_pixels) for path in paths), self.max_pixels, "million pixels")
        if self.max_file_size:
            check_sum(sum(path.stat().st_size for path in paths), REQUEST_FILES * self.max_file_size, "MB")


def check_sum(found: int, most: int, unit: str) -> None:
    """Raises ImageFileError if the files of a request have more than `most` pixels or bytes together."""
    if found > most:
        raise ImageFileError(f"The files of the request: {found / 1e6:.3g} {unit} together; "
                             f"expected at most {most / 1e6:.3g}")


def paths_in(value: object) -> Iterator[str]:
    """The paths of all files in a request or an answer."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from paths_in(part)


def forget_deleted(sets: list[set[str]]) -> None:
    """Drops the names of files that are gone from sets with many names. Gradio keeps them for ever."""
    for names in sets:
        if len(names) > NAMES:
            names.intersection_update([name for name in list(names) if Path(name).exists()])


def forget_unread(queue: Queue) -> None:
    """Drops messages that nobody fetches: of sessions with many, and of the oldest of many sessions.

    Gradio keeps them for ever.
    """
    sessions, active = queue.pending_messages_per_session, queue.event_ids_to_events
    for session, messages in list(sessions.items()):
        pending = queue.pending_event_ids_session.get(session, set())
        if messages.qsize() > UNREAD:
            pending.intersection_update(active)
            while messages.qsize() > UNREAD:
                messages.get_nowait()
        if len(sessions) > SESSIONS and not pending & active.keys():
            del sessions[session]
            queue.pending_event_ids_session.pop(session, None)
