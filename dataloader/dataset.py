"""The training set: foregrounds composited onto backgrounds, augmented, cropped, as tensors."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from easydict import EasyDict
from torch import Tensor
from torch.utils.data import Dataset

from dataloader.cache import decode, decode_cached, prepare_cache
from dataloader.image_file import ImageFileError, TooManyBrokenFilesError, named_by
from dataloader.image_folders import Background, Foreground, find_backgrounds, find_foregrounds, find_photographs
from dataloader.sample import Cutout, Sample, SampleDraws, draw_sample, plain_sample, render_sample
from dataloader.synthetic.items import DrawnBackground, DrawnForeground
from dataloader.synthetic.postprocess import postprocess
from utils.config import ConfigError
from utils.preprocessing import BACKGROUND, FOREGROUND
from utils.tensors import encode_trimap, normalise

FEWEST_BROKEN_TO_STOP = 5  # up to this many broken foregrounds, or backgrounds, are always tolerated
CROP_TRIES = 3  # with `postprocess`

Layers = tuple[list[Foreground | DrawnForeground], list[Background | DrawnBackground]]

log = logging.getLogger(__name__)


class TrainingData(Dataset):
    """Training samples: `data[epoch, i]` is foreground i (modulo their number) on background i, redrawn each epoch.

    A sample depends on seed, epoch and index only: not on workers, ranks or the order of access. It is a
    dictionary of

        image       (3, S, S) float32, the composite, normalised as by `utils.tensors.normalise`
        trimap      (C, S, S) float32, as by `utils.tensors.encode_trimap`
        alpha       (1, S, S) float32 in 0..1
        name        text for logs: "foreground[+second] on background"
        foreground  (3, S, S) float32 RGB in 0..1; only with `with_layers`
        background  (3, S, S) float32 RGB in 0..1; only with `with_layers`

    where S is the crop size. An unreadable file is logged once, and its samples are replaced by others.
    Drawn foregrounds and backgrounds change every epoch, unless a cache keeps the foregrounds.

    Args:
        foregrounds, backgrounds: from files (`dataloader.image_folders`) or drawn (`dataloader.synthetic.items`).
        augmentation: False makes samples deterministic: a single unchanged foreground, a trimap eroded by
            15-pixel kernels, the crop around the unknown pixel nearest to the centre.
        cache: folder for decoded foregrounds; None decodes them for every sample.
        with_layers: include `foreground` and `background`, which only the composition loss needs.
        broken_share: TooManyBrokenFilesError is raised when more than this share of the foregrounds, or of
            the backgrounds, and more than 5 files are unreadable.
        postprocess: a last step on each augmented sample, such as `dataloader.synthetic.postprocess`; crops
            are then redrawn up to twice while known foreground or known background is missing.
    """

    def __init__(self, foregrounds: list[Foreground | DrawnForeground],
                 backgrounds: list[Background | DrawnBackground], crop_size: int = 512,
                 trimap_channel: int = 3, augmentation: bool = True, random_interp: bool = False,
                 cache: str | Path | None = None, seed: int = 0, with_layers: bool = True, broken_share: float = 0.01,
                 postprocess: Callable[[np.random.Generator, Sample], Sample] | None = None):
        self.foregrounds = foregrounds
        self.backgrounds = backgrounds
        self.crop_size = crop_size
        self.trimap_channel = trimap_channel
        self.augmentation = augmentation
        self.random_interp = random_interp
        self.cache = cache
        self.seed = seed
        self.with_layers = with_layers
        self.broken_share = broken_share
        self.postprocess = postprocess
        # In shared memory, so that workers know of each other's broken files.
        self._broken = {"foregrounds": torch.zeros(len(foregrounds), dtype=torch.bool).share_memory_(),
                        "backgrounds": torch.zeros(len(backgrounds), dtype=torch.bool).share_memory_()}

    def __len__(self) -> int:
        return len(self.backgrounds)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Tensor | str]:
        epoch, index = key
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        rng = np.random.default_rng((self.seed, epoch, index))
        while True:
            try:
                return self._make(epoch, index, rng)
            except BrokenFile as broken:
                self._note(broken)
                index = int(rng.integers(len(self)))

    def _make(self, epoch: int, index: int, rng: np.random.Generator) -> dict[str, Tensor | str]:
        first = index % len(self.foregrounds)
        cutouts = [self._read_foreground(epoch, first)]
        size = cutouts[0][0].shape[:2]
        names = self.foregrounds[first].name
        draws = (draw_sample(rng, size, len(self.foregrounds), self.random_interp) if self.augmentation
                 else plain_sample(size))
        if draws.second is not None:
            cutouts.append(self._read_foreground(epoch, draws.second))
            names += f"+{self.foregrounds[draws.second].name}"
        sample = self._render(draws, cutouts, self._read_background(epoch, index), rng)
        return {**to_tensors(sample, self.trimap_channel, self.with_layers),
                "name": f"{names} on {self.backgrounds[index].name}"}

    def _render(self, draws: SampleDraws, cutouts: list[Cutout], background: np.ndarray,
                rng: np.random.Generator) -> Sample:
        """The sample at a random crop.

        With `postprocess`, crops are drawn up to 3 times until one has known foreground and known background,
        as trimaps of photographs do; the last one is kept in any case.
        """
        if not (self.augmentation and self.postprocess):
            return render_sample(draws, cutouts, background, self.crop_size, rng if self.augmentation else None)
        for _ in range(CROP_TRIES):
            sample = self.postprocess(rng, render_sample(draws, cutouts, background, self.crop_size, rng))
            if (sample.trimap == FOREGROUND).any() and (sample.trimap == BACKGROUND).any():
                break
        return sample

    def _read_foreground(self, epoch: int, number: int) -> Cutout:
        foreground = self.foregrounds[number]
        try:
            if self.cache is not None:
                return decode_cached(foreground, self.cache)
            return decode(foreground.at_epoch(epoch) if isinstance(foreground, DrawnForeground) else foreground)
        except ImageFileError as error:
            raise BrokenFile("foregrounds", number, error) from None

    def _read_background(self, epoch: int, number: int) -> np.ndarray:
        background = self.backgrounds[number]
        try:
            return (background.at_epoch(epoch) if isinstance(background, DrawnBackground) else background).read()
        except ImageFileError as error:
            raise BrokenFile("backgrounds", number, error) from None

    def _note(self, broken: "BrokenFile") -> None:
        """Logs a broken file the first time; raises TooManyBrokenFilesError if there are too many."""
        known = self._broken[broken.kind]
        if not known[broken.number]:
            known[broken.number] = True
            log.warning("unreadable image file, its samples are replaced: %s", broken.reason)
        count = int(known.sum())
        if count == len(known) or count > max(FEWEST_BROKEN_TO_STOP, self.broken_share * len(known)):
            raise TooManyBrokenFilesError(f"{count} of {len(known)} {broken.kind} are unreadable, the last of them: "
                                          f"{broken.reason}")


class BrokenFile(Exception):
    """A file that became unreadable during training."""

    def __init__(self, kind: str, number: int, reason: ImageFileError):
        super().__init__(kind, number, reason)
        self.kind, self.number, self.reason = kind, number, reason


def make_training_dataset(config: EasyDict, seed: int = 0, drawing_seed: int | None = None,
                          layers: Layers | None = None) -> TrainingData:
    """The training set of a configuration, with files checked and the cache folder prepared.

    Args:
        drawing_seed: seed of drawn foregrounds and backgrounds; default: `seed`.
        layers: result of `find_layers`, if already called.

    Raises:
        ConfigError: if there is no source of foregrounds or backgrounds.
        ImageFileError: if files are missing or do not match, or the cache does not fit on the disk.
    """
    data = config.data
    foregrounds, backgrounds = layers or find_layers(config, seed if drawing_seed is None else drawing_seed)
    if data.cache:
        prepare_cache(data.cache, foregrounds)
    return TrainingData(foregrounds, backgrounds, data.crop_size, config.model.trimap_channel, data.augmentation,
                        data.random_interp, data.cache or None, seed, with_layers=config.train.comp_weight > 0,
                        postprocess=partial(postprocess, plain_share=data.plain_share) if data.finish else None)


def find_layers(config: EasyDict, drawing_seed: int) -> Layers:
    """The foregrounds and backgrounds of a configuration, from files and drawn.

    With data.generated, drawn foregrounds are added to those of data.train_fg; without data.train_bg,
    backgrounds are drawn, too.

    Raises:
        ConfigError: if there is no source of foregrounds or backgrounds.
        ImageFileError: if files are missing or do not match.
    """
    data = config.data
    for key, kind in (("train_fg", "foregrounds"), ("train_bg", "backgrounds")):
        if not data[key] and not data.generated:
            raise ConfigError(f"data.{key} is not set; training needs the folder of its {kind}, "
                              "or data.generated for drawn ones")
    with named_by("data.photographs"):
        photographs = find_photographs(data.photographs) if data.photographs else ()
    with named_by("data.train_fg, data.train_alpha" if data.train_alpha else "data.train_fg"):
        foregrounds = find_foregrounds(data.train_fg, data.train_alpha or None) if data.train_fg else []
    with named_by("data.cutouts"):
        cutouts = tuple(each.colours for each in find_foregrounds(data.cutouts)) if data.cutouts else ()
    foregrounds += [DrawnForeground(drawing_seed, number, data.generated_size, photographs, cutouts=cutouts)
                    for number in range(data.generated)]
    with named_by("data.train_bg"):
        backgrounds = find_backgrounds(data.train_bg) if data.train_bg else [
            DrawnBackground(drawing_seed, number, data.generated_size, photographs)
            for number in range(len(foregrounds))]
    return foregrounds, backgrounds


def to_tensors(sample: Sample, trimap_channel: int, with_layers: bool) -> dict[str, Tensor]:
    """The tensors of a sample, as described in `TrainingData`."""
    tensors = {"image": normalise(sample.image), "trimap": encode_trimap(sample.trimap, trimap_channel),
               "alpha": torch.from_numpy(sample.alpha[None].copy())}
    if with_layers:
        tensors |= {"foreground": _colour_tensor(sample.foreground), "background": _colour_tensor(sample.background)}
    return tensors


def _colour_tensor(colours: np.ndarray) -> Tensor:
    """(H, W, 3) in 0..255 as (3, H, W) float32 in 0..1."""
    return torch.from_numpy(colours.transpose(2, 0, 1) / np.float32(255)).contiguous()
