"""Errors that the page shows to a visitor, in one line. Needs Gradio."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import gradio as gr
import numpy as np

from utils.device import is_out_of_memory
from utils.errors import one_line
from utils.preprocessing import size_text


@contextmanager
def show_errors(image: np.ndarray | None = None) -> Iterator[None]:
    """Shows the visitor's errors on the page, in one line.

    Args:
        image: (H, W, ...), whose size is named if the memory does not suffice.
    """
    try:
        yield
    except (RuntimeError, MemoryError, ValueError, OSError, cv2.error) as error:
        if is_out_of_memory(error):
            size = "" if image is None else f" for {size_text(image)} pixels"
            raise page_error(f"Not enough memory{size}.") from None
        if isinstance(error, RuntimeError):
            raise
        raise page_error(without_folders(one_line(error)) or type(error).__name__) from None


def without_folders(message: str) -> str:
    """The message without the temporary folders of visitors' files."""
    return re.sub(re.escape(os.environ["GRADIO_TEMP_DIR"]) + r"/(?:[^/\s]+/)*", "", message)


def page_error(message: str) -> gr.Error:
    """An error that the page shows."""
    return gr.Error(message, title="That did not work", print_exception=False)
