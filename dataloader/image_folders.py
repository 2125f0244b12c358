"""Folders of training and test images: files paired and checked before they are needed.

Only headers are read. Every function reports all problems of a folder in one error.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import cv2
import numpy as np

from dataloader.image_file import (
    ImageFileError,
    by_stem,
    find_partner,
    has_alpha,
    list_images,
    open_header,
    read_grey,
    read_image,
    read_rgba,
    upright_size,
)

_HEADER_READERS = 16  # threads; on network drives, reading a header is mostly waiting
_NAMED_OFFENDERS = 3

Item = TypeVar("Item")
Result = TypeVar("Result")


class Foreground(NamedTuple):
    """A training foreground: colours and alpha in two files, or both in one RGBA file."""

    colours: Path
    alpha: Path | None  # None: the alpha channel of `colours`
    width: int
    height: int

    @property
    def name(self) -> str:
        return self.colours.stem

    def read(self) -> np.ndarray:
        """(H, W, 4) uint8 RGBA with straight alpha.

        Raises:
            ImageFileError: if a file cannot be read or the two differ in size.
        """
        if self.alpha is None:
            return read_rgba(self.colours)
        colours, alpha = read_image(self.colours), read_grey(self.alpha)
        if colours.shape[:2] != alpha.shape:
            raise ImageFileError(_size_mismatch(self.colours, colours.shape[1::-1], self.alpha, alpha.shape[::-1]))
        pixels = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA)
        pixels[..., 3] = alpha
        return pixels

    def identity(self) -> tuple[str, str]:
        """The cache key (paths), and the state that outdates an entry when it changes (sizes and times of the files).

        Raises:
            ImageFileError: if a file is missing.
        """
        paths = [path.resolve() for path in (self.colours, self.alpha) if path]
        return str(paths), str(file_states(paths))


def file_states(paths: Iterable[Path]) -> list[tuple[int, int]]:
    """Size and modification time of each file.

    Raises:
        ImageFileError: if a file is missing.
    """
    try:
        return [(state.st_size, state.st_mtime_ns) for state in (path.stat() for path in paths)]
    except OSError as error:
        raise ImageFileError(f"{error.filename}: {error.strerror.lower()}") from None


class Background(NamedTuple):
    """A training background."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.stem

    def read(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB; errors as in `read_image`."""
        return read_image(self.path)


class Triple(NamedTuple):
    """The files of a test image, with the same stem."""

    image: Path
    alpha: Path
    trimap: Path
    size: tuple[int, int]  # width and height


def find_foregrounds(colour_folder: str | Path, alpha_folder: str | Path | None = None) -> list[Foreground]:
    """The foregrounds of a folder, sorted by name, with their alphas: of the same stem, or in the same RGBA file.

    Args:
        alpha_folder: None if the colour files are cut-outs, with an alpha channel.

    Raises:
        ImageFileError: naming the first files that lack an alpha, differ from it in size or cannot be
            read, and how many there are.
    """
    paths = list_images(colour_folder)
    if alpha_folder is None:
        return _for_all(_check_cutout, paths, "cut-outs")
    alphas = by_stem(list_images(alpha_folder))

    def check(path: Path) -> Foreground:
        alpha = find_partner(path, alphas.get(path.stem, []), "alpha", alpha_folder)
        return Foreground(path, alpha, *_common_size(path, alpha))

    return _for_all(check, paths, "foregrounds")


def find_backgrounds(folder: str | Path) -> list[Background]:
    """The background images of a folder, sorted by name. Any size is accepted, so no header is read.

    Raises:
        ImageFileError: if the folder is missing or without images.
    """
    return [Background(path) for path in list_images(folder)]


def find_photographs(folder: str | Path) -> tuple[Path, ...]:
    """The photographs of a folder, sorted by name.

    Raises:
        ImageFileError: if the folder is missing or without images, or naming the first unreadable files.
    """
    def check(path: Path) -> Path:
        _common_size(path)
        return path

    return tuple(_for_all(check, list_images(folder), "photographs"))


def find_test_images(image_folder: str | Path, alpha_folder: str | Path, trimap_folder: str | Path) -> list[Triple]:
    """The test images of a folder, sorted by name, with alphas and trimaps of the same stem and size.

    Raises:
        ImageFileError: naming the first files that lack one, differ in size or cannot be read, and how
            many there are.
    """
    paths = list_images(image_folder)
    alphas, trimaps = (by_stem(list_images(folder)) for folder in (alpha_folder, trimap_folder))
    for stem, same_stem in by_stem(paths).items():
        if len(same_stem) > 1:
            names = ", ".join(path.name for path in same_stem)
            raise ImageFileError(f"{image_folder}: {names} share the stem {stem}, so their predictions would clash")

    def check(path: Path) -> Triple:
        files = (path, find_partner(path, alphas.get(path.stem, []), "alpha", alpha_folder),
                 find_partner(path, trimaps.get(path.stem, []), "trimap", trimap_folder))
        return Triple(*files, _common_size(*files))

    return _for_all(check, paths, "test images")


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
    with open_header(path) as image:
        if not has_alpha(image):
            raise ImageFileError(f"{path}: no alpha channel; expected a cut-out, or a separate folder of alphas")
        return Foreground(path, None, *upright_size(image))


def _common_size(*paths: Path) -> tuple[int, int]:
    """Width and height of files that must have the same size."""
    sizes = []
    for path in paths:
        with open_header(path) as image:
            sizes.append(upright_size(image))
        if sizes[-1] != sizes[0]:
            raise ImageFileError(_size_mismatch(paths[0], sizes[0], path, sizes[-1]))
    return sizes[0]


def _size_mismatch(path: Path, size: tuple[int, int], partner: Path, partner_size: tuple[int, int]) -> str:
    return f"{path} is {size[0]} x {size[1]}, but {partner} is {partner_size[0]} x {partner_size[1]} (width x height)"


