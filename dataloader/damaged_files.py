"""Signs of damage in image files that decode all the same, and reasons why others do not."""

import re
import warnings
from collections.abc import Iterator
from io import BytesIO

from PIL import Image

_ZEROS = bytes(64)  # damaged sectors read as zeros; compressed data hold no such run, but for flat areas
_JPEG_DAMAGE = re.compile("Corrupt JPEG data: (.*)|(Premature end of JPEG file)")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def sign_of_damage(data: bytes, messages: list[str]) -> str | None:
    """Why a file that was decoded may be damaged nevertheless, or None.

    Args:
        data: content of the file.
        messages: those of its decoder.
    """
    for message in messages:
        damage = _JPEG_DAMAGE.match(message)
        if damage:
            return damage[1] or damage[2]
    if _jpeg_with_zeros(data) or _webp_with_zeros(data):
        return f"{len(_ZEROS)} or more zero bytes in a row in its compressed data"
    return None


def _jpeg_with_zeros(data: bytes) -> bool:
    """Whether a JPEG file holds zeros that its picture, if encoded again, does not give."""
    if not _jpeg_scan_with_zeros(data):
        return False
    with Image.open(BytesIO(data)) as image:
        progressive, picture = "progressive" in image.info, image.convert("RGB")
    return not any(_jpeg_scan_with_zeros(_encoded(picture, "JPEG", quality=quality, progressive=progressive))
                   for quality in (75, 80, 95))


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    data = BytesIO()
    picture.save(data, kind, **options)
    return data.getvalue()


def _jpeg_scan_with_zeros(data: bytes) -> bool:
    """Whether a scan of a JPEG file holds a run of zero bytes that does not stand for a flat area."""
    position, first_symbols, progressive = 2, {}, False
    while data.startswith(b"\xff\xd8\xff") and data[position:position + 1] == b"\xff":
        marker, length = data[position + 1], int.from_bytes(data[position + 2:position + 4], "big")
        if marker == 0xD9:  # end of the image
            break
        segment = data[position + 4:position + 2 + length]
        position += 2 + max(2, length)
        if marker == 0xC2:
            progressive = True
        elif marker == 0xC4:
            first_symbols |= _first_symbols(segment)
        elif marker == 0xDA:
            end = _END_OF_SCAN.search(data, position)
            end = end.start() if end else len(data)
            if not _zeros_are_flat(segment, first_symbols, progressive) and _ZEROS in data[position:end]:
                return True
            position = end
    return False


def _first_symbols(segment: bytes) -> dict[int, int]:
    """The symbol that only zero bits stand for, by Huffman table, of a DHT segment."""
    symbols, position = {}, 0
    while position + 17 < len(segment):
        symbols[segment[position]] = segment[position + 17]
        position += 17 + sum(segment[position + 1:position + 17])
    return symbols


def _zeros_are_flat(header: bytes, first_symbols: dict[int, int], progressive: bool) -> bool:
    """Whether zero bits in a scan stand for blocks without differences; `header` is its SOS segment."""
    components = header[0] if header else 0
    if len(header) < 2 * components + 4:
        return True
    if progressive:  # scans of the blocks' means may well hold long runs
        return header[2 * components + 1] == 0
    end_of_block = 0
    tables = {0x10 | header[2 + 2 * i] & 0x0F for i in range(components)}
    return all(first_symbols.get(table, end_of_block) == end_of_block for table in tables)


def _webp_with_zeros(data: bytes) -> bool:
    """Whether a lossy WebP file holds a run of zero bytes much longer than its picture gives when encoded again.

    Flat pictures give long runs; one from damage decodes to something that does not.
    """
    run = _longest_run(data)
    if run < len(_ZEROS):
        return False
    with Image.open(BytesIO(data)) as image:
        picture = image.convert("RGB")
    again = [_encoded(picture, "WEBP", quality=quality, method=method) for quality, method in ((75, 0), (95, 4))]
    return run > 2 * max(map(_longest_run, again))


def _longest_run(webp: bytes) -> int:
    """The length of the longest run of zero bytes in a file's lossy image data."""
    return max((len(run) for chunk in _lossy_webp_data(webp) for run in re.findall(rb"\0+", chunk)), default=0)


def _lossy_webp_data(data: bytes) -> Iterator[bytes]:
    """The lossy image data of a WebP file."""
    position = 12 if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else len(data)
    while position + 8 <= len(data):
        size = int.from_bytes(data[position + 4:position + 8], "little")
        if data[position:position + 4] == b"VP8 ":
            yield data[position + 8:position + 8 + size]
        position += 8 + size + size % 2


def why_undecodable(data: bytes) -> str:
    """What is wrong with a file that cannot be decoded, judging by its content."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as image:
                kind = image.format
                image.load()
    except Image.UnidentifiedImageError:
        return _kind_of_content(data)
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        return f"damaged {kind} file ({error})"
    return f"{kind} file of an unsupported kind ({image.mode})"


def _kind_of_content(data: bytes) -> str:
    start = data[:1000].lstrip().lower()
    text = data[:1000].decode(errors="replace" if len(data) <= 1000 else "ignore")
    if start.startswith((b"<!doctype html", b"<html")):
        found = "an HTML page"
    elif all(character.isprintable() or character.isspace() for character in text.replace("\ufffd", "\0")):
        found = "text"
    else:
        found = "damaged, or no image at all"
    return f"cannot be decoded: {found}; expected an image file, such as PNG, JPEG, WebP, TIFF or BMP"
