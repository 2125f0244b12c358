"""Serves a web page that mattes photos: choose one, paint a trimap, see and download the matte.

    python app.py

Needs requirements-app.txt. The page is reachable from this machine only, unless --host is given, and
loads nothing from other servers. Uploads and results are deleted when the program ends.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from matting.cutout import check_pymatting
from matting.options import add_matting_arguments, build_predictor, chosen_network, for_large_images
from utils.arguments import memory_size, port_number, positive_int
from utils.device import usable_device
from utils.errors import InputError, system_reason
from utils.program import announce, program
from webpage.hosts import allowed_hosts, in_address

if TYPE_CHECKING:  # Gradio takes seconds to import
    from webpage.inputs import CheckedBlocks

SAMPLES = Path(__file__).parent / "demo"
SAMPLE_PHOTOS = SAMPLES / "input_lowres"
SAMPLE_TRIMAPS = SAMPLES / "trimap_lowres" / "Trimap3"
KEPT_PHOTOS = 50  # of visitors with an open page; the oldest are deleted for new ones


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Matte photos on a web page.")
    add_matting_arguments(parser)
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS",
                        help="address to listen on; 0.0.0.0 lets other machines in (default: %(default)s)")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                        help="further name in the page's address, such as a proxy's; may be repeated")
    parser.add_argument("--port", type=port_number, default=7860, help="port to listen on (default: %(default)s)")
    parser.add_argument("--max-pixels", type=positive_int, default=24_000_000, metavar="N",
                        help="maximum number of pixels of a photo (default: %(default)s)")
    parser.add_argument("--max-upload", type=memory_size, default=memory_size("50MB"), metavar="SIZE",
                        help="maximum size of an uploaded file (default: 50MB)")
    parser.add_argument("--max-stored", type=memory_size, default=memory_size("2GB"), metavar="SIZE",
                        help="maximum size of all uploads and displayed pictures, of which a visitor may have an "
                             "eighth; the oldest are deleted (default: 2GB)")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("app.py", "starting the page")
    if find_spec("gradio") is None:
        raise InputError("Gradio is not installed: pip install -r requirements-app.txt")
    from webpage.page import build_page

    try:
        socket.getaddrinfo(args.host, args.port)
    except OSError as error:
        raise InputError(f"--host {args.host}: {system_reason(error)}") from None
    check_pymatting()
    config, checkpoint = chosen_network(args)
    matting = build_predictor(config, checkpoint, usable_device(args.device), precision=args.precision,
                              memory_limit=args.memory_limit, attention=args.attention)
    matting = for_large_images(matting, checkpoint, args.coarse_to_fine)
    with uploads_folder() as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False"}
        notice = "**Random weights**: mattes only show that the page works." if checkpoint is None else None
        page = build_page(matting, args.max_pixels, SAMPLE_PHOTOS, SAMPLE_TRIMAPS, notice, args.max_stored)
        try:
            launch(page, args.host, args.port, args.max_upload, args.allowed_host)
        except OSError:  # Gradio's message suggests options that this program lacks
            raise InputError(f"cannot listen on {args.host}, port {args.port}; the port may be taken: choose another "
                             "with --port") from None
        print(f"Open http://{in_address(args.host)}:{args.port} in a browser; Ctrl-C ends the program", flush=True)
        page.block_thread()
    return 0


@contextmanager
def uploads_folder() -> Iterator[str]:
    """A folder that is deleted in the end, also if requests that are not finished still write to it."""
    folder = str(Path(tempfile.mkdtemp(prefix="matting-")).resolve())
    try:
        yield folder
    finally:
        for _ in range(20):
            shutil.rmtree(folder, ignore_errors=True)
            if not Path(folder).exists():
                break
            time.sleep(0.1)


def launch(page: CheckedBlocks, host: str, port: int, max_upload: int, names: Sequence[str] = ()) -> None:
    """Serves the page, in other threads.

    Args:
        names: by which it may be asked for, besides the host and those of this machine.

    Raises:
        OSError: if the port is taken.
    """
    from starlette.middleware import Middleware

    from webpage.gate import Gate
    from webpage.layout import CSS, HEAD, THEME

    gate = Middleware(Gate, page, allowed_hosts(host, names), max_upload, str(SAMPLE_PHOTOS.resolve()))
    page.launch(server_name=in_address(host), server_port=port, max_file_size=max_upload, share=False, ssr_mode=False,
                theme=THEME, css=CSS, head=HEAD, allowed_paths=[str(SAMPLE_PHOTOS)], footer_links=[], quiet=True,
                prevent_thread_lock=True, state_session_capacity=KEPT_PHOTOS, app_kwargs={"middleware": [gate]})


if __name__ == "__main__":
    sys.exit(main())
