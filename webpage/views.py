"""What the page's own parts, the editor and the viewer of results, get to show: pictures as files, by name.

A picture is a dictionary that Gradio adds the address to; `webpage/editor.js` and `webpage/viewer.js` read it.
"""

import hashlib
import os
import secrets
from pathlib import Path

import cv2
import numpy as np

from matting.cutout import to_depth
from utils.file_writing import atomic_path
from utils.preprocessing import alpha_to_uint8
from webpage.results import FILES, PageResult, display_copy, on_checkerboard

MARK = {"_type": "gradio.FileData"}
QUALITY = 92  # of WebP

Picture = dict[str, object]


def stored(image: np.ndarray, lossless: bool = False) -> Picture:
    """A picture, (H, W) or (H, W, 3) uint8, reduced for display, among the uploads; named by its contents."""
    shown = display_copy(image) if not lossless else image
    ordered = shown if shown.ndim == 2 else cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
    ending, options = (".png", []) if lossless else (".webp", [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
    content = cv2.imencode(ending, ordered, options)[1].tobytes()
    path = Path(os.environ["GRADIO_TEMP_DIR"]) / hashlib.sha256(content).hexdigest() / f"image{ending}"
    if not path.exists():
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
    return of_file(path)


def of_file(path: Path) -> Picture:
    """A file as the browser is told of it."""
    return {"path": str(path), "meta": MARK}


def tint_view(trimap: np.ndarray | None) -> dict:
    """A proposal for the editor, which tints the photo with it; None takes the tint away.

    By the number the editor tells an answer from an earlier one, which Gradio hands over again after some events.
    """
    number = secrets.token_hex(4)
    if trimap is None:
        return {"number": number, "tint": None}
    small = display_copy(trimap)
    nearest = cv2.resize(trimap, small.shape[::-1], interpolation=cv2.INTER_NEAREST)
    return {"number": number, "tint": stored(nearest, lossless=True)}


def photo_view(image: np.ndarray | None, trimap: np.ndarray | None = None) -> dict:
    """A new photo, (H, W, 3) uint8, for the editor; None empties it."""
    return {"photo": None if image is None else stored(image), **tint_view(trimap)}


def composite_view(composite: np.ndarray, folder: Path, name: str) -> dict:
    """The composite for the viewer: reduced, and the file in full size."""
    return {"composite": {"shown": stored(to_depth(composite, np.uint8)),
                          "full": of_file(folder / f"{name}_composite.png")}}


def result_view(result: PageResult, composite: np.ndarray, folder: Path, name: str) -> dict:
    """A result's pictures for the viewer, by `webpage.results.FILES`."""
    shown = {"cutout": on_checkerboard(result), "matte": alpha_to_uint8(result.alpha), "trimap": result.trimap}
    others = {kind: {"shown": stored(picture), "full": of_file(folder / f"{name}_{kind}.png")}
              for kind, picture in shown.items()}
    view = others | composite_view(composite, folder, name)
    return {kind: view[kind] for kind in FILES}
