"""Values in place of the editor's marks that it does not hand over, and PNG files of all kinds."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

INSIDE = [0.1, 0.1, 0.9, 0.9]
NAN, INFINITE = float("nan"), float("inf")
BOXES = ([], INSIDE[:3], [*INSIDE, 1], "0.1", 0.5, True, {"left": 0}, [INSIDE] * 4, [0.9, 0.1, 0.1, 0.9],
         [0.1, 0.9, 0.9, 0.1], [0.5, 0.5, 0.5, 0.5], [-0.1, 0, 1, 1], [0, 0, 1.1, 1], [0, 0, 10**400, 1],
         [0, 0, "1", 1], [0, 0, None, 1], [0, 0, True, 1], [0, 0, [1], 1], [NAN] * 4, [0, 0, NAN, 1],
         [0, 0, INFINITE, 1], [-INFINITE, 0, 1, 1], [0] * 100_000)
MARKS = ({}, {"box": None}, {"strokes": None}, {"box": None, "strokes": None, "layers": []}, [], "x", 5, True,
         [None, None], {"box": INSIDE, "strokes": None, "path": "/etc/passwd"})


def png(width: int, height: int, colour: object = 0, mode: str = "L") -> bytes:
    """A PNG file of one colour."""
    return encoded(Image.new(mode, (width, height), colour))


def encoded(image: Image.Image | np.ndarray) -> bytes:
    """An image as PNG file."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, "png")
    return file.getvalue()


def data_url(content: bytes) -> str:
    """A file as the editor hands over strokes."""
    return "data:image/png;base64," + base64.b64encode(content).decode()


def other_format(name: str) -> bytes:
    """A picture in another format than PNG."""
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, name)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def hostile_png(width: int, height: int, content: bytes, *chunks: bytes, depth: int = 8, colours: int = 6) -> bytes:
    """A PNG file with any header, which may promise more than there is."""
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks)
            + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b""))


def stroke_values() -> Iterator[tuple[str, object]]:
    """Values in place of strokes that are none, or too large."""
    good, bomb = data_url(png(20, 20, (0, 0, 0, 0), "RGBA")), bytes(40_000_000)
    pngs = {"huge": png(9000, 9000), "wide": png(1025, 8, 0, "RGBA"), "high": png(8, 1025, 0, "RGBA"),
            "cut off": png(500, 500, (9, 9, 9, 255), "RGBA")[:80], "nothing": b"", "notes": b"no image",
            "no size": hostile_png(0, 0, bytes(9)),
            "enormous": hostile_png(2**31 - 1, 2**31 - 1, bytes(9)), "gigapixel": hostile_png(60_000, 60_000, bytes(9)),
            "bomb of text": hostile_png(9, 9, bytes(333), chunk(b"zTXt", b"a\0\0" + zlib.compress(bomb))),
            "bomb of a profile": hostile_png(2000, 9, bytes(9), chunk(b"iCCP", b"a\0\0" + zlib.compress(bomb))),
            "odd depth": hostile_png(9, 9, bytes(333), depth=7),
            "odd colours": hostile_png(9, 9, bytes(333), colours=5),
            **{name: other_format(name) for name in ("JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "ICO")}}
    yield from {name: data_url(content) for name, content in pngs.items()}.items()
    yield from {
        "long": good + "A" * 950_000, "bad base64": good[:40] + "*" + good[41:], "newline": f"{good}\n",
        "short base64": good[:-3], "JPEG named": good.replace("png", "jpeg"), "SVG": good.replace("png", "svg+xml"),
        "upper case": good.upper(), "space": f" {good}", "parameters": good.replace(";", ";charset=utf-8;"),
        "no base64": "data:image/png,abc", "URL": "http://127.0.0.1/a.png", "blob": "blob:http://localhost/1",
        "number": 5, "truth": True, "empty": "", "list": [good], "object": {"url": good},
        "bytes": [137, 80, 78]}.items()
