"""Folders of training and test images: which files belong together, checked before they are needed.

Checks read the files' headers only. Every function reports all that is wrong with a folder in one line.
"""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from PIL import Image, ImageOps

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey, read_image

_HEADER_READERS = 16  # threads; on network drives waiting is all there is to a header
_NAMED_OFFENDERS = 3
_ORIENTATION = 0x0112
_MODES_WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises on damaged files

Item = TypeVar("Item")
Result = TypeVar("Result")


class Foreground(NamedTuple):
    """A training foreground: colours and alpha in two files, or both in one RGBA file."""

    colours: Path
    alpha: Path | None  # None: in the file of the colours
    width: int
    height: int

    @property
    def name(self) -> str:
        return self.colours.stem

    def read(self) -> np.ndarray:
        """`read_foreground` of it."""
        return read_foreground(self)

    def identity(self) -> tuple[str, str]:
        """What names it in a cache, and what makes an entry outdated: the paths, and the state of the files.

        Raises:
            ImageFileError: if a file is gone.
        """
        paths = [path.resolve() for path in (self.colours, self.alpha) if path]
        try:
            states = [path.stat() for path in paths]
        except OSError as error:
            raise ImageFileError(f"{error.filename}: {error.strerror.lower()}") from None
        return str(paths), str([(state.st_size, state.st_mtime_ns) for state in states])


class Background(NamedTuple):
    """A training background."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> np.ndarray:
        """`read_image` of it."""
        return read_image(self.path)


class Triple(NamedTuple):
    """The files of a test image, by the same stem."""

    image: Path
    alpha: Path
    trimap: Path
    size: tuple[int, int]  # width and height


def find_foregrounds(colour_folder: str | Path, alpha_folder: str | Path | None = None) -> list[Foreground]:
    """The foregrounds of a folder, by name, each with its alpha: of the same stem, or inside an RGBA file.

    Args:
        alpha_folder: None means that the colours' files are cut-outs, with an alpha channel.

    Raises:
        ImageFileError: naming the first files that lack an alpha, differ from it in size or cannot be
            read, and how many there are.
    """
    paths = list_images(colour_folder)
    if alpha_folder is None:
        return _for_all(_check_cutout, paths, "cut-outs")
    alphas = _by_stem(alpha_folder)

    def check(path: Path) -> Foreground:
        alpha = find_partner(path, alphas.get(path.stem, []), "alpha", alpha_folder)
        return Foreground(path, alpha, *_common_size(path, alpha))

    return _for_all(check, paths, "foregrounds")


def find_backgrounds(folder: str | Path) -> list[Background]:
    """The background images of a folder, by name. Any size will do, so that no header is read.

    Raises:
        ImageFileError: if the folder is missing or without images.
    """
    return [Background(path) for path in list_images(folder)]


def find_photographs(folder: str | Path) -> tuple[Path, ...]:
    """The photographs of a folder, by name.

    Raises:
        ImageFileError: if the folder is missing or without images, and naming the first files that are none.
    """
    def check(path: Path) -> Path:
        _common_size(path)
        return path

    return tuple(_for_all(check, list_images(folder), "photographs"))


def find_test_images(image_folder: str | Path, alpha_folder: str | Path, trimap_folder: str | Path) -> list[Triple]:
    """The test images of a folder, by name, with alphas and trimaps of the same stem and size.

    Raises:
        ImageFileError: naming the first files that lack one, differ in size or cannot be read, and how
            many there are.
    """
    paths, alphas, trimaps = list_images(image_folder), _by_stem(alpha_folder), _by_stem(trimap_folder)
    for stem, same_stem in _by_stem(image_folder).items():
        if len(same_stem) > 1:
            names = ", ".join(path.name for path in same_stem)
            raise ImageFileError(f"{image_folder}: {names} share the name {stem}, and so would their predictions")

    def check(path: Path) -> Triple:
        files = (path, find_partner(path, alphas.get(path.stem, []), "alpha", alpha_folder),
                 find_partner(path, trimaps.get(path.stem, []), "trimap", trimap_folder))
        return Triple(*files, _common_size(*files))

    return _for_all(check, paths, "test images")


def read_foreground(foreground: Foreground) -> np.ndarray:
    """Colours and alpha of a foreground, (H, W, 4) uint8 RGBA, the colours not multiplied by alpha.

    Raises:
        ImageFileError: if a file cannot be read or the two differ in size.
    """
    if foreground.alpha is None:
        return _read_cutout(foreground.colours)
    colours, alpha = read_image(foreground.colours), read_grey(foreground.alpha)
    if colours.shape[:2] != alpha.shape:
        raise ImageFileError(_size_mismatch(foreground.colours, colours.shape[1::-1],
                                            foreground.alpha, alpha.shape[::-1]))
    pixels = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA)
    pixels[..., 3] = alpha
    return pixels


def read_alpha(path: str | Path) -> np.ndarray | None:
    """The alpha channel of an image file, (H, W) uint8, upright; None where there is none or all of it is opaque.

    Raises:
        ImageFileError: if the file is missing, damaged or of a kind that cannot be read.
    """
    with _open(Path(path)) as image:
        if not _has_alpha(image):
            return None
    alpha = _read_cutout(Path(path))[..., 3]
    return None if alpha.min() == 255 else alpha


def _read_cutout(path: Path) -> np.ndarray:
    with _open(path) as image:
        try:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGBA"))
        except _UNREADABLE as error:
            raise ImageFileError(f"{path}: damaged image file ({error})") from None


def _for_all(check: Callable[[Item], Result], items: list[Item], kind: str) -> list[Result]:
    """The results of a check for every item; all its ImageFileErrors as one."""

    def attempt(item: Item) -> Result | ImageFileError:
        try:
            return check(item)
        except ImageFileError as error:
            return error

    with ThreadPoolExecutor(_HEADER_READERS) as pool:
        results = list(pool.map(attempt, items))
    errors = [str(result) for result in results if isinstance(result, ImageFileError)]
    if errors:
        more = f"; and {len(errors) - _NAMED_OFFENDERS} more" if len(errors) > _NAMED_OFFENDERS else ""
        raise ImageFileError(f"{len(errors)} of {len(items)} {kind} cannot be used: "
                             f"{'; '.join(errors[:_NAMED_OFFENDERS])}{more}")
    return results


def _check_cutout(path: Path) -> Foreground:
    with _open(path) as image:
        if not _has_alpha(image):
            raise ImageFileError(f"{path}: no alpha channel; cut-outs need one, other foregrounds a folder of alphas")
        return Foreground(path, None, *_upright_size(image))


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _MODES_WITH_ALPHA or "transparency" in image.info


def _common_size(*paths: Path) -> tuple[int, int]:
    sizes = []
    for path in paths:
        with _open(path) as image:
            sizes.append(_upright_size(image))
        if sizes[-1] != sizes[0]:
            raise ImageFileError(_size_mismatch(paths[0], sizes[0], path, sizes[-1]))
    return sizes[0]


def _size_mismatch(path: Path, size: tuple[int, int], partner: Path, partner_size: tuple[int, int]) -> str:
    return f"{path} is {size[0]} x {size[1]}, but {partner} is {partner_size[0]} x {partner_size[1]} (width x height)"


def _open(path: Path) -> Image.Image:
    """The image with its header read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, which are welcome here
            return Image.open(path)
    except Image.UnidentifiedImageError:
        raise ImageFileError(f"{path}: cannot be decoded; not an image file, or damaged") from None
    except Image.DecompressionBombError:
        raise ImageFileError(f"{path}: too many pixels to be a photograph") from None
    except (OSError, SyntaxError, ValueError) as error:
        reason = getattr(error, "strerror", None)
        raise ImageFileError(f"{path}: {reason.lower() if reason else error}") from None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Width and height as decoded, upright. Pillow gives those of TIFF files upright itself."""
    width, height = image.size
    # Of PNG files Pillow would decode all pixels to look for orientation behind them.
    in_header = image.format in ("JPEG", "MPO", "WEBP") or (image.format == "PNG" and "exif" in image.info)
    turned = in_header and image.getexif().get(_ORIENTATION, 1) >= 5
    return (height, width) if turned else (width, height)


def _by_stem(folder: str | Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in list_images(folder):
        files.setdefault(path.stem, []).append(path)
    return files
