"""Drawn foregrounds and backgrounds as training-set items, alongside those read from files."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from dataloader.synthetic.colours import generated_background
from dataloader.synthetic.drawing import Family
from dataloader.synthetic.fingerprint import files_digest, program_digest
from dataloader.synthetic.objects import FAMILIES, Subjects, View, draw_cutout
from dataloader.synthetic.photographs import photograph_surface, photograph_view, read_cutout, read_photograph
from dataloader.synthetic.subjects import Subject, cutout_subject, cutout_view, find_subject

GENERATED_BACKGROUND_SHARE = 0.1  # share of generated backgrounds, if there are photographs
LARGE_PART_SHARE = 0.25  # share of photographic textures from a large part instead of a surface
CUTOUT_SHARE = 0.6  # share of subjects that are cut-outs, if there are any
AS_IT_IS_SHARE = 0.1  # share of foregrounds that are just a cut-out, if there are any
SUBJECT_TRIES = 3  # views searched for a subject


class DrawnForeground(NamedTuple):
    """The `number`-th foreground of a seed; reading it is deterministic."""

    seed: int
    number: int
    size: int
    photographs: tuple[Path, ...] = ()
    families: tuple[Family, ...] = FAMILIES
    epoch: int = 0
    cutouts: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        return f"drawn{self.number:06d}"

    @property
    def width(self) -> int:
        return self.size

    height = width

    def at_epoch(self, epoch: int) -> "DrawnForeground":
        """Its replacement in another epoch."""
        return self._replace(epoch=epoch)

    def read(self) -> np.ndarray:
        """(size, size, 4) uint8 RGBA, colours not premultiplied.

        Raises:
            ImageFileError: if a photograph or cut-out cannot be read.
        """
        rng = random_stream(self.seed, _FOREGROUNDS, self.epoch, self.number)
        if self.cutouts and rng.random() < AS_IT_IS_SHARE:
            alpha, colours = cutout_view(rng, _any_cutout(rng, self.cutouts), self.size, 1)
            return cv2.merge([*cv2.split(colours), alpha])
        return draw_cutout(rng, self.size, self.families, surface_chooser(self.photographs, self.size),
                           subject_chooser(self.photographs, self.cutouts, self.size))

    def identity(self) -> tuple[str, str]:
        """Cache key, and the state whose change invalidates an entry: everything its pixels depend on.

        Raises:
            ImageFileError: if a photograph or cut-out is missing.
        """
        return (f"{self.seed} {self.epoch} {self.number} {self.size}",
                f"{program_digest()} {files_digest(self.photographs)} {files_digest(self.cutouts)} "
                f"{[family.__name__ for family in self.families]}")


class DrawnBackground(NamedTuple):
    """The `number`-th background of a seed: part of a photograph, or generated."""

    seed: int
    number: int
    size: int
    photographs: tuple[Path, ...] = ()
    epoch: int = 0

    @property
    def name(self) -> str:
        return f"view{self.number:06d}"

    def at_epoch(self, epoch: int) -> "DrawnBackground":
        """Its replacement in another epoch."""
        return self._replace(epoch=epoch)

    def read(self) -> np.ndarray:
        """(h, w, 3) uint8 RGB, sides at most twice `size`.

        Raises:
            ImageFileError: if a photograph cannot be read.
        """
        rng = random_stream(self.seed, _BACKGROUNDS, self.epoch, self.number)
        view = photograph_chooser(self.photographs, self.size)
        if view is None or rng.random() < GENERATED_BACKGROUND_SHARE:
            return generated_background(rng, self.size, self.size)
        return view(rng)


_FOREGROUNDS, _BACKGROUNDS = range(2)  # random streams of a seed
_DRAWN = 1


def random_stream(*numbers: int) -> np.random.Generator:
    """A generator unique to these numbers; NumPy pads seeds with zeros, hence the appended constant and length."""
    return np.random.default_rng((*numbers, _DRAWN, len(numbers)))


def surface_chooser(photographs: tuple[Path, ...], size: int) -> View | None:
    """Returns a function that draws a texture: mostly a surface, sometimes a larger part; None without photographs."""
    view = photograph_chooser(photographs, size)
    if view is None:
        return None

    def surface(rng: np.random.Generator) -> np.ndarray:
        if rng.random() < LARGE_PART_SHARE:
            return view(rng)
        return photograph_surface(rng, _any_photograph(rng, photographs), size)

    return surface


def photograph_chooser(photographs: tuple[Path, ...], size: int) -> View | None:
    """Returns a function that draws a part of a photograph; None without photographs."""
    if not photographs:
        return None

    def view(rng: np.random.Generator) -> np.ndarray:
        return photograph_view(rng, _any_photograph(rng, photographs), size, size)

    return view


def subject_chooser(photographs: tuple[Path, ...], cutouts: tuple[Path, ...], size: int) -> Subjects | None:
    """Returns a function that draws a subject from a cut-out or photograph; None without either."""
    view = photograph_chooser(photographs, size)
    if view is None and not cutouts:
        return None

    def subject(rng: np.random.Generator) -> Subject | None:
        if cutouts and (view is None or rng.random() < CUTOUT_SHARE):
            return cutout_subject(rng, _any_cutout(rng, cutouts), size)
        found = (find_subject(rng, view(rng), size) for _ in range(SUBJECT_TRIES))
        return next((each for each in found if each is not None), None)

    return subject


def _any_photograph(rng: np.random.Generator, photographs: tuple[Path, ...]) -> np.ndarray:
    return read_photograph(photographs[int(rng.integers(len(photographs)))])


def _any_cutout(rng: np.random.Generator, cutouts: tuple[Path, ...]) -> np.ndarray:
    return read_cutout(cutouts[int(rng.integers(len(cutouts)))])
