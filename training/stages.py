"""Stages of timed training: crops grow, and the learning rate falls at the end."""

import copy
import math
from typing import NamedTuple

from easydict import EasyDict

from utils.config import ConfigError

DECAY = 0.2  # last share of the time, in which the learning rate falls to 0
MOST_STEPS = 10**9  # of a stage, which ends by the clock
WORTH_COMPILING = 4.0  # minutes
FEWEST_SAMPLES = 4  # in a batch, for batch normalisation


class Stage(NamedTuple):
    """A phase of the training."""

    end: float  # share of the total time
    crop: int  # side in pixels
    plain_share: float  # of the samples
    others: tuple[int, ...] = ()  # smaller crops, which alternate with `crop` step by step

    @property
    def crops(self) -> tuple[int, ...]:
        """The crop sizes, in the order of the steps."""
        return *self.others, self.crop


STAGES = (Stage(0.08, 64, 0.03), Stage(0.20, 128, 0.03), Stage(0.50, 256, 0.02), Stage(0.75, 384, 0.01),
          Stage(1.00, 512, 0.01))
WHOLE = Stage(1.00, 800, 0.01)  # whole photographs, for which `STAGES` leave some time if they are asked for
WHOLE_FROM = 0.9  # share of the time


def planned_stages(config: EasyDict, first_crop: int, last_crop: int, mixed: bool) -> tuple[Stage, ...]:
    """The stages of a training.

    Args:
        mixed: one stage, which alternates between the crop sizes of all.

    Raises:
        ConfigError: if none is left, or the configuration does not allow them.
    """
    stages = chosen_stages(first_crop, last_crop)
    if not stages:
        raise ConfigError(f"no stage has crops of {first_crop} to {last_crop} pixels")
    data = config.data
    if stages[-1] == WHOLE and data.generated > 0 and data.generated_size < WHOLE.crop:
        raise ConfigError(f"data.generated_size is {data.generated_size}; expected at least {WHOLE.crop} for crops "
                          "of this size")
    if mixed and not data.on_device:
        raise ConfigError("data.on_device is false; crops of several sizes in turn (--mixed-crops) need it")
    return alternating(stages) if mixed else stages


def chosen_stages(first_crop: int, last_crop: int) -> tuple[Stage, ...]:
    """`STAGES` from the first to the last crop size, and `WHOLE` if one of them is 800; 0: no limit at that end."""
    stages = STAGES
    if max(first_crop, last_crop) == WHOLE.crop:
        stages = *STAGES[:-1], STAGES[-1]._replace(end=WHOLE_FROM), WHOLE
    return tuple(stage for stage in stages if first_crop <= stage.crop <= (last_crop or stage.crop))


def alternating(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """One stage for the total time: the last one, with steps that alternate between the crop sizes of all."""
    *others, last = stages
    return (last._replace(end=1.0, others=tuple(stage.crop for stage in others)),)


def stage_at(share: float, stages: tuple[Stage, ...]) -> Stage:
    """The stage at a share of the total time."""
    return next(stage for stage in stages if share < stage.end or stage is stages[-1])


def rate_at(share: float, step: int, warmup_steps: int, decay: float = DECAY) -> float:
    """The factor on the learning rate: linear warm-up in each call's first steps, 1, linear decay at the end.

    Args:
        decay: last share of the time, in which the rate falls.
    """
    return min(1.0, (step + 1) / max(1, warmup_steps)) * min(1.0, (1 - share) / decay)


def stage_config(config: EasyDict, stage: Stage, samples: int, minutes: float = math.inf) -> EasyDict:
    """A copy of the configuration for a stage that starts after `samples` samples and continues with new ones.

    Batches shrink as crops grow; model.batch_size is that of the first of `STAGES`. Nothing is compiled
    in short stages, since compiling takes one or two minutes per crop size, nor with several crop sizes.
    """
    config = copy.deepcopy(config)
    config.train.seed += samples
    config.data.crop_size, config.data.plain_share = stage.crop, stage.plain_share
    config.model.batch_size = max(FEWEST_SAMPLES, round(config.model.batch_size * STAGES[0].crop / stage.crop))
    config.train.total_step = MOST_STEPS
    config.train.compile = config.train.compile and minutes >= WORTH_COMPILING and not stage.others
    return config
