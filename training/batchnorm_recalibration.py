"""Batch-norm statistics for averaged weights."""

import math
import time
from collections.abc import Iterator

import torch
from easydict import EasyDict
from torch import nn

from utils.distributed import World
from utils.precision import arithmetic

RECALIBRATION_PIXELS = 2**24


def recalibrate(network: nn.Module, batches: Iterator[dict], config: EasyDict, world: World,
                seconds: float = math.inf, pixels: int = RECALIBRATION_PIXELS, round_length: int = 1) -> None:
    """Re-estimates the running statistics of batch normalisation with the network's current, averaged weights.

    Does nothing with train.freeze_bn, which keeps the statistics fixed.

    Args:
        seconds, pixels: stop after about this time, or number of pixels.
        round_length: take a multiple of this many batches, so that alternating crop sizes stay in step.
    """
    if config.train.freeze_bn:
        return
    layers = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # cumulative mean
    network.train()
    seen, end = 0, time.monotonic() + seconds
    for number, batch in enumerate(batches, 1):
        seen += batch["alpha"].numel()
        with torch.no_grad(), arithmetic(world.device, config.train.precision):
            network(batch["image"].to(world.device), batch["trimap"].to(world.device))
        if number % round_length == 0 and (seen >= pixels or time.monotonic() > end):
            break
    network.eval()
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
