"""Training samples generated in batches on the device, from banks of foregrounds and backgrounds kept there.

    with make_banks(config, world) as banks:
        for batch in DeviceSamples(banks, config, world, first_step=0):
            ...  # image, trimap, alpha as in `dataloader.dataset.TrainingData`, batched and on the device

A batch depends only on seed, rank, batch number and the content of the banks, which depends only on the number of
samples generated so far. It is reproducible on the same kind of device, on GPUs up to rounding.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from easydict import EasyDict
from torch import Tensor

from dataloader.dataset import Layers, find_layers
from dataloader.image_file import named_by
from dataloader.image_folders import find_foregrounds
from dataloader.on_device import batch_camera, light
from dataloader.on_device.bank import Bank
from dataloader.on_device.batch_trimaps import TRIMAP_MARGIN, draw_trimaps
from dataloader.on_device.decoys import add_decoys
from dataloader.on_device.draws import Draws, for_some
from dataloader.on_device.layer_banks import LayerBanks
from dataloader.on_device.placing import composite_foregrounds, place_backgrounds, place_foregrounds, softened
from dataloader.on_device.recipe import REALISTIC, Recipe
from utils.distributed import World
from utils.preprocessing import DEVIATION, MEAN
from utils.tensors import encode_labels

MATTED_HUE = 10  # maximum hue rotation of photographs with known alpha, degrees in either direction
CPU_PIXELS = 2**18  # pixels of samples generated at once on CPUs: more would not fit in their caches


class Samples(NamedTuple):
    """Samples before conversion to network inputs; tensors of S x S pixels."""

    image: Tensor  # (n, 3, S, S) float32 RGB in 0..255, integers except for plain ones
    trimap: Tensor  # (n, S, S) uint8 labels
    alpha: Tensor  # (n, 1, S, S) float32 in 0..1, multiples of 1/255


def make_samples(draws: Draws, banks: LayerBanks, n: int, crop: int, recipe: Recipe) -> Samples:
    """n samples of crop x crop pixels, without gradients, in single precision even under autocast.

    Args:
        crop: side in pixels, a multiple of 32.
    """
    with torch.no_grad(), torch.autocast(draws.device.type, enabled=False):
        return _make_samples(draws, banks, n, crop, recipe)


def _make_samples(draws: Draws, banks: LayerBanks, n: int, crop: int, recipe: Recipe) -> Samples:
    matted = len(draws.some(recipe.matted_share, n)) if recipe.matted_share else 0
    parts = [_composited(draws, banks, n - matted, crop, recipe)] if matted < n else []
    if matted:
        parts.append(_matted(draws, banks.matted, matted, crop, recipe))
    return parts[0] if len(parts) == 1 else Samples(*map(torch.cat, zip(*parts, strict=True)))


def _matted(draws: Draws, bank: Bank, n: int, crop: int, recipe: Recipe) -> Samples:
    """Crops of photographs with known alpha."""
    layers = place_foregrounds(draws, bank, crop, TRIMAP_MARGIN, recipe, n)
    layers[:, 3:] = layers[:, 3:].round()
    trimap = draw_trimaps(draws, layers[:, 3], crop, recipe.usual_trimap_share)
    layers = layers[..., TRIMAP_MARGIN:TRIMAP_MARGIN + crop, TRIMAP_MARGIN:TRIMAP_MARGIN + crop]
    image = light.jitter_colours(draws, layers[:, :3], torch.ones_like(layers[:, 3:]), MATTED_HUE, recipe.saturation)
    return Samples(batch_camera.photographed(draws, image, recipe), trimap, layers[:, 3:] / 255)


def _composited(draws: Draws, banks: LayerBanks, n: int, crop: int, recipe: Recipe) -> Samples:
    layers = place_foregrounds(draws, banks.foregrounds, crop, TRIMAP_MARGIN, recipe, n)
    layers[:, 3:] = layers[:, 3:].round()
    layers = for_some(draws, recipe.second_share, layers, lambda draws, upper: composite_foregrounds(
        upper, place_foregrounds(draws, banks.foregrounds, crop, TRIMAP_MARGIN, recipe, len(upper))))
    layers = for_some(draws, recipe.soft_share, layers, softened)
    trimap = draw_trimaps(draws, layers[:, 3], crop, recipe.usual_trimap_share)
    layers = layers[..., TRIMAP_MARGIN:TRIMAP_MARGIN + crop, TRIMAP_MARGIN:TRIMAP_MARGIN + crop]
    colours, alpha = layers[:, :3], layers[:, 3:] / 255
    background = place_backgrounds(draws, banks.backgrounds, crop, recipe, n)
    colours = relight(draws, colours, background, alpha, recipe)
    if recipe.decoy_share:
        background = for_some(draws, recipe.decoy_share, background, partial(_behind, banks.foregrounds, recipe),
                              colours, alpha)
    image = batch_camera.photographed(draws, torch.lerp(background, colours, alpha), recipe)
    return Samples(_with_plain(draws, image, alpha, recipe.plain_share), trimap, alpha)


def _behind(bank: Bank, recipe: Recipe, draws: Draws, background: Tensor, colours: Tensor, alpha: Tensor) -> Tensor:
    """The backgrounds with decoys of the forms of other foregrounds."""
    forms = place_foregrounds(draws, bank, background.shape[-1], 0, recipe, len(background))[:, 3:] / 255
    return add_decoys(draws, background, colours, alpha, forms)


def relight(draws: Draws, colours: Tensor, background: Tensor, alpha: Tensor, recipe: Recipe) -> Tensor:
    """Foreground colours after all random colour and lighting changes."""
    colours = light.jitter_colours(draws, colours, alpha, recipe.hue, recipe.saturation)
    colours = for_some(draws, recipe.near_share, colours, light.move_towards, background)
    colours = for_some(draws, recipe.matched_share, colours, light.match_exposure, background, alpha)
    return for_some(draws, recipe.spill_share, colours, light.add_spill, background, alpha)


def _with_plain(draws: Draws, image: Tensor, alpha: Tensor, share: float) -> Tensor:
    chosen = draws.some(share, len(image))
    if not len(chosen):
        return image
    foreground, background = light.plain_layers(draws, len(chosen), image.shape[-1])
    return image.index_copy(0, chosen, torch.lerp(background, foreground, alpha[chosen]))


def to_batch(samples: Samples, trimap_channel: int) -> dict[str, Tensor]:
    """Network inputs and ground truth, as `dataloader.dataset.to_tensors` for single samples."""
    device = samples.image.device
    mean, deviation = (torch.from_numpy(each).to(device) for each in (MEAN, DEVIATION))
    trimap = encode_labels(samples.trimap, trimap_channel)
    return {"image": (samples.image / 255 - mean) / deviation, "trimap": trimap, "alpha": samples.alpha}


def make_banks(config: EasyDict, world: World, samples: int = 0, layers: Layers | None = None) -> LayerBanks:
    """The banks of a configuration, filled.

    Args:
        samples: number that this process generated before the run was resumed.
        layers: result of `dataloader.dataset.find_layers`, if already called.

    Raises:
        ConfigError, ImageFileError: as `dataloader.dataset.find_layers`; also if too many files are unreadable.
    """
    foregrounds, backgrounds = layers or find_layers(config, config.train.seed)
    data = config.data
    with named_by("data.matted_image, data.matted_alpha"):
        matted = find_foregrounds(data.matted_image, data.matted_alpha) if data.matted_image else ()
    return LayerBanks(foregrounds, backgrounds, data.generated_size, data.bank, data.renew, config.train.seed,
                      data.workers, data.cache or None, world.device, world.rank, world.size, samples, matted)


class DeviceSamples:
    """Endless batches, from a step on.

    Args:
        first_step: number of the first step; with train.accumulate each step takes several batches.
    """

    def __init__(self, banks: LayerBanks, config: EasyDict, world: World, first_step: int = 0,
                 recipe: Recipe = REALISTIC):
        self.banks, self.world = banks, world
        self.size, self.crop = config.model.batch_size, config.data.crop_size
        self.channels = config.model.trimap_channel
        self.seed, self.number = config.train.seed, first_step * config.train.accumulate
        self.recipe = recipe._replace(plain_share=config.data.plain_share, decoy_share=config.data.decoy_share,
                                      matted_share=config.data.matted_share if banks.matted is not None else 0)

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        self.banks.renew(self.size)
        draws = Draws(self.world.device, self.seed, self.world.rank, self.number)
        self.number += 1
        most = max(1, CPU_PIXELS // self.crop**2) if self.world.device.type == "cpu" else self.size
        parts = [make_samples(draws, self.banks, min(most, self.size - first), self.crop, self.recipe)
                 for first in range(0, self.size, most)]
        return to_batch(Samples(*map(torch.cat, zip(*parts, strict=True))), self.channels)
