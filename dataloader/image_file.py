"""Image files as arrays: finding them, pairing them by name, decoding them."""

import warnings
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.errors import InputError

IMAGE_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


class ImageFileError(InputError):
    """An image file that is missing or cannot be used. The message names it."""


class TooManyBrokenFilesError(ImageFileError):
    """More image files than should be replaced silently cannot be read."""


class Photo(NamedTuple):
    """An image with all that its file has to give to pictures made from it."""

    colours: np.ndarray  # (H, W, 3) RGB, uint8 or uint16 as in the file
    profile: bytes | None  # ICC profile of these colours


def list_images(folder: str | Path) -> list[Path]:
    """The image files of a folder (by extension, hidden files left out), sorted by name.

    Raises:
        ImageFileError: if the folder is missing, is no folder or holds no image.
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
    """The files of a folder that `list_images` leaves out, but for hidden ones."""
    return sorted(path for path in Path(folder).iterdir()
                  if path.is_file() and path.suffix.lower() not in IMAGE_EXTENSIONS and not path.name.startswith("."))


def find_partner(path: Path, candidates: list[Path], kind: str, folder: str | Path) -> Path:
    """The file of another folder that belongs to `path`: of the same name, else of the same stem.

    Args:
        candidates: the files of `folder`.
        kind: what the partner is called in messages, such as "trimap".

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
    """The colours of an image file, (H, W, 3) uint8 RGB, upright.

    Grey, palette, CMYK and 16-bit images are converted; an alpha channel is dropped (colours that a
    TIFF holds multiplied by alpha are divided by it again); EXIF orientation is applied.

    Raises:
        ImageFileError: if the file is missing, damaged or of a kind that cannot be read.
    """
    return _decode(Path(path), cv2.IMREAD_COLOR)[..., ::-1].copy()


def read_grey(path: str | Path) -> np.ndarray:
    """An image file as (H, W) uint8: a trimap or an alpha matte. Conversions and errors as in `read_image`."""
    return _decode(Path(path), cv2.IMREAD_GRAYSCALE)


def read_photo(path: str | Path) -> Photo:
    """The colours of an image file in their own depth, and their profile. Conversions and errors as in `read_image`.

    A profile for other than RGB colours is left out: those of grey and CMYK images have been converted.
    TIFF files with an alpha channel give 8 bits.
    """
    path = Path(path)
    colours = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)[..., ::-1].copy()
    return Photo(colours, _rgb_profile(path.read_bytes()))


def _rgb_profile(data: bytes) -> bytes | None:
    with warnings.catch_warnings(), suppress(OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        warnings.simplefilter("ignore")
        with Image.open(BytesIO(data)) as image:
            profile = image.info.get("icc_profile") or b""
            if profile[16:20] == b"RGB ":  # where a profile names its colour space
                return profile
    return None


def _decode(path: Path, mode: int) -> np.ndarray:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageFileError(f"{path}: {error.strerror.lower() if error.strerror else error}") from None
    if not data:
        raise ImageFileError(f"{path}: the file is empty")
    colours = _checked_by_pillow(path, data)
    if colours is not None:
        return cv2.cvtColor(colours, cv2.COLOR_RGB2BGR if mode & cv2.IMREAD_COLOR else cv2.COLOR_RGB2GRAY)
    with _quiet_opencv():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), mode)
        except cv2.error as error:
            raise ImageFileError(f"{path}: cannot be decoded ({error.err})") from None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise ImageFileError(f"{path}: cannot be decoded; damaged, or not an 8- or 16-bit image "
                             f"({', '.join(extension[1:] for extension in IMAGE_EXTENSIONS)})")
    return image


def _checked_by_pillow(path: Path, data: bytes) -> np.ndarray | None:
    """RGB from the files that OpenCV misreads: TIFF with alpha, whose colours it darkens by alpha.

    Also refuses truncated JPEG files, which some versions of OpenCV fill up with grey.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as image:
                if image.format in ("JPEG", "MPO"):
                    image.load()
                if image.format == "TIFF" and image.mode in ("LA", "RGBA", "RGBa"):
                    return np.asarray(ImageOps.exif_transpose(image).convert("RGBA").convert("RGB"))
    except Image.UnidentifiedImageError:
        pass  # OpenCV knows kinds that Pillow does not
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path}: too many pixels to be a photograph") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageFileError(f"{path}: damaged image file ({error})") from None
    return None


@contextmanager
def _quiet_opencv():
    """OpenCV reports unreadable files on its own, over several lines; the caller says it in one."""
    levels = getattr(cv2.utils, "logging", cv2)  # where OpenCV 5 and OpenCV 4 keep them
    level = levels.getLogLevel()
    levels.setLogLevel(0)
    try:
        yield
    finally:
        levels.setLogLevel(level)
