"""The learning rate and the gradient clipping of the published recipe."""

import math

import torch
from torch import Tensor, nn

NORM_MOMENTUM = 0.999


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up to `peak`, then cosine decay to 0 over the rest; `step` counts from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return peak * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def clip_to_moving_norm(parameters: list[nn.Parameter], moving_norm: float | None,
                        clip: bool = True) -> tuple[Tensor, float | None]:
    """Clips the gradients' norm to twice its moving average.

    Args:
        moving_norm: the average so far; None before the first step, which sets it.
        clip: False: only measure.

    Returns:
        The norm before clipping, and the new average, unchanged if the norm is not finite.
    """
    limit = 2 * moving_norm if clip and moving_norm is not None else math.inf
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    if not torch.isfinite(norm):
        return norm, moving_norm
    if moving_norm is None:
        return norm, norm.item()
    return norm, NORM_MOMENTUM * moving_norm + (1 - NORM_MOMENTUM) * norm.item()
