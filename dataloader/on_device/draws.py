"""Random numbers of one generator on one device, in the forms that samples need."""

import math
import zlib
from collections.abc import Callable

import torch
from torch import Tensor

GROUP = 8
_LARGEST_SEED = 2**63 - 1


class Draws:
    """Draws for n samples at once; the same seed and device give the same numbers.

    Args:
        numbers: together the seed, such as a run's seed, a rank and the number of a batch.
    """

    def __init__(self, device: torch.device, *numbers: int):
        self.device = device
        self.generator = torch.Generator(device).manual_seed(_mixed(numbers))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers in low..high, float32."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers whose logarithm is uniform: every scale as often as every other."""
        return torch.exp(self.uniform(math.log(low), math.log(high), *shape))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def whole(self, count: int, *shape: int) -> Tensor:
        """Whole numbers 0..count - 1, int64."""
        return torch.randint(count, shape, generator=self.generator, device=self.device)

    def chance(self, share: float, n: int) -> Tensor:
        """(n,) bool, True with a probability of `share`."""
        return torch.rand(n, generator=self.generator, device=self.device) < share

    def some(self, share: float, n: int) -> Tensor:
        """The numbers of about `share` of n samples, int64."""
        return self.chance(share, n).nonzero().flatten()


def for_some(draws: Draws, share: float, images: Tensor, change: Callable[..., Tensor], *others: Tensor) -> Tensor:
    """Replaces about `share` of the images (n, ...) by change(draws, images, *others), in place; returns them."""
    chosen = draws.some(share, len(images))
    if len(chosen):
        images[chosen] = change(draws, images[chosen], *(other[chosen] for other in others))
    return images


def in_groups(draws: Draws, images: Tensor, change: Callable[[Draws, Tensor], Tensor]) -> Tensor:
    """change(draws, images) of 8 images at a time, for what is drawn once for all that it gets."""
    return torch.cat([change(draws, group) for group in images.split(GROUP)])


def per_sample(values: Tensor) -> Tensor:
    """(n,) as (n, 1, 1, 1), to go with images."""
    return values.view(-1, 1, 1, 1)


def _mixed(numbers: tuple[int, ...]) -> int:
    """One seed of several numbers, none of which cancels another."""
    text = " ".join(map(str, numbers)).encode()
    return (zlib.crc32(text) << 32 | zlib.crc32(text[::-1] + b"/")) & _LARGEST_SEED
