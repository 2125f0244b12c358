"""Image files: finding them, pairing them by name, reading them as arrays."""

import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from dataloader.damaged_files import sign_of_damage, why_undecodable
from dataloader.stderr_capture import library_messages
from utils.errors import InputError, printable, system_reason

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")

_OWN_DEPTH = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
_ORIENTATION = 0x0112  # EXIF tag
_MODES_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")

_warned: set[Path] = set()

log = logging.getLogger(__name__)


class ImageFileError(InputError):
    """An image file that is missing or cannot be used. The message names it."""


class TooManyBrokenFilesError(ImageFileError):
    """More image files are unreadable than is tolerated."""


class Photo(NamedTuple):
    """An image at both depths, with its colour profile."""

    image: np.ndarray  # (H, W, 3) uint8 RGB, what the network sees
    colours: np.ndarray  # (H, W, 3) RGB, uint8 or uint16 as in the file; `image` itself for 8-bit files
    profile: bytes | None  # ICC profile of these colours


@contextmanager
def named_by(key: str) -> Iterator[None]:
    """Makes ImageFileErrors in the block begin with the configuration key that names the folder."""
    try:
        yield
    except ImageFileError as error:
        raise ImageFileError(f"{key}: {error}") from None


def list_images(folder: str | Path) -> list[Path]:
    """The image files of a folder (by extension, without hidden files), sorted by name.

    Raises:
        ImageFileError: if the folder is missing, not a folder, or has no images.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}")
    paths = [path for path in folder.iterdir()
             if path.suffix.lower() in IMAGE_EXTENSIONS and not path.name.startswith(".")]
    if not paths:
        raise ImageFileError(f"{folder}: no image files ({', '.join(IMAGE_EXTENSIONS)}) in this folder")
    return sorted(paths)


def other_files(folder: str | Path) -> list[Path]:
    """The files of a folder that `list_images` leaves out, except hidden ones."""
    return sorted(path for path in Path(folder).iterdir()
                  if path.is_file() and path.suffix.lower() not in IMAGE_EXTENSIONS and not path.name.startswith("."))


def by_stem(paths: list[Path]) -> dict[str, list[Path]]:
    """Files by their name without extension."""
    files: dict[str, list[Path]] = {}
    for path in paths:
        files.setdefault(path.stem, []).append(path)
    return files


def find_partner(path: Path, candidates: list[Path], kind: str, folder: str | Path) -> Path:
    """The file that belongs to `path` among those of another folder: same name, else same stem.

    Args:
        candidates: the files of `folder`.
        kind: the partner's role in messages, such as "trimap".

    Raises:
        ImageFileError: if there is none, or several share the stem.
    """
    same_stem = [candidate for candidate in candidates if candidate.stem == path.stem]
    for candidate in same_stem:
        if candidate.name == path.name:
            return candidate
    if len(same_stem) == 1:
        return same_stem[0]
    if same_stem:
        names = ", ".join(candidate.name for candidate in same_stem)
        raise ImageFileError(f"{path}: several files in {folder} could be its {kind} ({names}); keep one")
    raise ImageFileError(f"{path}: no {kind} named {path.stem}.* in {folder}")


def read_image(path: str | Path) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, EXIF orientation applied.

    Grey, palette, CMYK and 16-bit images are converted; alpha channels are dropped (a TIFF's premultiplied
    colours are divided by alpha first).

    Raises:
        ImageFileError: if the file is missing, damaged or of an unsupported kind.
    """
    return _decode(Path(path), read_bytes(Path(path)), cv2.IMREAD_COLOR)[..., ::-1].copy()


def read_grey(path: str | Path) -> np.ndarray:
    """An image file as (H, W) uint8: a trimap or an alpha matte. Conversions and errors as in `read_image`."""
    return _decode(Path(path), read_bytes(Path(path)), cv2.IMREAD_GRAYSCALE)


def read_photo(path: str | Path) -> Photo:
    """An image file at both depths, with its ICC profile. Conversions and errors as in `read_image`.

    Profiles of grey and CMYK images are dropped, since their colours are converted. TIFF files with alpha
    are read in 8 bits.
    """
    path = Path(path)
    data = read_bytes(path)
    colours = _decode(path, data, _OWN_DEPTH)[..., ::-1].copy()
    image = colours if colours.dtype == np.uint8 else _decode(path, data, cv2.IMREAD_COLOR)[..., ::-1].copy()
    return Photo(image, colours, _rgb_profile(data))


def read_colours(path: str | Path) -> np.ndarray:
    """The colours of `read_photo` only: (H, W, 3) RGB, uint8 or uint16 as in the file."""
    return _decode(Path(path), read_bytes(Path(path)), _OWN_DEPTH)[..., ::-1].copy()


def read_bytes(path: Path) -> bytes:
    """The content of a file; ImageFileError if it is missing, unreadable or empty."""
    try:
        check_regular(path)
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: {system_reason(error)}") from None
    if not data:
        raise ImageFileError(f"{path}: the file is empty")
    return data


def check_regular(path: Path) -> None:
    """Raises ImageFileError for pipes and devices, which could be read forever; OSError if the path is missing."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # the system refuses to read folders
        raise ImageFileError(f"{path}: a pipe or device; expected a file")


def read_rgba(path: str | Path) -> np.ndarray:
    """An image file with alpha channel as (H, W, 4) uint8 RGBA, straight alpha, EXIF orientation applied.

    Images without alpha are opaque. Errors as in `read_image`.
    """
    path = Path(path)
    with open_header(path) as image, pillow_errors(path):
        return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))


def read_alpha(path: str | Path) -> np.ndarray | None:
    """The alpha channel of an image file, (H, W) uint8, upright; None if there is none or it is opaque everywhere.

    Errors as in `read_image`.
    """
    with open_header(Path(path)) as image:
        if not has_alpha(image):
            return None
    alpha = read_rgba(path)[..., 3]
    return None if alpha.min() == 255 else alpha


def open_header(path: Path) -> Image.Image:
    """A Pillow image of which only the header is read; a context manager. Errors as in `read_image`."""
    with pillow_errors(path):
        check_regular(path)
        return Image.open(path)


def has_alpha(image: Image.Image) -> bool:
    """Whether a Pillow image has an alpha channel or a transparent palette entry."""
    return image.mode in _MODES_WITH_ALPHA or "transparency" in image.info


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height after EXIF orientation, from the header. Pillow already gives that of TIFF files."""
    width, height = image.size
    # Pillow would decode a whole PNG to look for EXIF data after the pixels.
    in_header = image.format in ("JPEG", "MPO", "WEBP") or (image.format == "PNG" and "exif" in image.info)
    turned = in_header and image.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if turned else (width, height)


@contextmanager
def pillow_errors(path: Path) -> Iterator[None]:
    """Converts Pillow's errors for unreadable files to ImageFileError, and silences its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about large images, which are fine here
            yield
    except ImageFileError:
        raise
    except Image.UnidentifiedImageError:
        raise ImageFileError(f"{path}: cannot be decoded; not an image file, or damaged") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path}: too many pixels; exceeds Pillow's decompression bomb limit") from None
    except OSError as error:
        reason = error.strerror.lower() if error.strerror else f"damaged image file ({error})"
        raise ImageFileError(f"{path}: {reason}") from None
    except (SyntaxError, ValueError) as error:
        raise ImageFileError(f"{path}: damaged image file ({error})") from None


def _rgb_profile(data: bytes) -> bytes | None:
    with suppress(ImageFileError), pillow_errors(Path()), Image.open(BytesIO(data)) as image:
        profile = image.info.get("icc_profile") or b""
        if profile[16:20] == b"RGB ":  # the profile's colour space
            return profile
    return None


def _decode(path: Path, data: bytes, mode: int) -> np.ndarray:
    colours = _decode_with_pillow(path, data)
    if colours is not None:
        return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR if mode & cv2.IMREAD_COLOR else cv2.COLOR_RGB2GRAY)
    with _quiet_opencv(), library_messages() as messages:
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
            if image is None:  # perhaps because of its depth
                image = cv2.imdecode(np.frombuffer(data, np.uint8), _OWN_DEPTH)
        except cv2.error as error:
            raise ImageFileError(f"{path}: cannot be decoded ({error.err})") from None
    if image is None:
        raise ImageFileError(f"{path}: {why_undecodable(data)}")
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(f"{path}: has {image.dtype} pixels; expected 8 or 16 bits")
    sign = None if path in _warned else sign_of_damage(data, messages)
    if sign:
        _warned.add(path)  # training reads a file many times
        log.warning("%s: may be damaged: %s", printable(str(path)), sign)
    return image


def _decode_with_pillow(path: Path, data: bytes) -> np.ndarray | None:
    """RGB of files that OpenCV misreads (TIFF with alpha, whose colours it multiplies by alpha); None for others.

    Also rejects truncated JPEG files, which some versions of OpenCV fill with grey.
    """
    with pillow_errors(path):
        try:
            with Image.open(BytesIO(data)) as image:
                if image.format in ("JPEG", "MPO"):
                    image.load()
                if image.format == "TIFF" and image.mode in ("LA", "RGBA", "RGBa"):
                    return np.asarray(ImageOps.exif_transpose(image).convert("RGBA").convert("RGB"))
        except Image.UnidentifiedImageError:
            pass  # OpenCV reads formats that Pillow does not
    return None


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Silences OpenCV's own reports of unreadable files; the caller raises an error instead."""
    levels = getattr(cv2.utils, "logging", cv2)  # in OpenCV 5 and OpenCV 4
    level = levels.getLogLevel()
    levels.setLogLevel(0)
    try:
        yield
    finally:
        levels.setLogLevel(level)
