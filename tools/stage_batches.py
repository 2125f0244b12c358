"""The batches of a stage of timed training."""

from collections.abc import Iterator
from itertools import cycle

from easydict import EasyDict

from dataloader.dataset import make_training_dataset
from dataloader.loader import loaded, prefetched, training_loader
from dataloader.on_device.batches import DeviceSamples
from dataloader.on_device.layer_banks import LayerBanks
from training.run_log import text_log
from training.stages import Stage, stage_config
from utils.distributed import World

SEED_STRIDE = 10**9  # between the seeds of alternating crop sizes: more than there are samples


def stage_batches(config: EasyDict, stage: Stage, banks: LayerBanks | None, world: World,
                  samples: int) -> Iterator[dict]:
    """The batches of a stage that begins after so many samples.

    Args:
        config: of the whole training.
        banks: serve all stages; None: samples are generated one by one.
    """
    if banks is not None:
        return prefetched(alternating_batches(config, stage, banks, world, samples), world.device)
    # A cache keeps foregrounds for all stages; without one each stage has its own.
    seed = config.train.seed if config.data.cache else None
    config = stage_config(config, stage, samples)
    data = make_training_dataset(config, config.train.seed, seed)
    return loaded(training_loader(data, config, world, 0, text_log(config)))


def alternating_batches(config: EasyDict, stage: Stage, banks: LayerBanks, world: World,
                        samples: int) -> Iterator[dict]:
    """Batches of the stage's crop sizes, one size per step, each with its own random numbers."""
    sizes = []
    for number, crop in enumerate(stage.crops):
        of_size = stage_config(config, stage._replace(crop=crop), samples + number * SEED_STRIDE)
        sizes.append(DeviceSamples(banks, of_size, world))
    for batches in cycle(sizes):
        for _ in range(config.train.accumulate):
            yield next(batches)
