"""Random numbers from one generator on a device, in the forms that samples need."""

import math
import zlib
from collections.abc import Callable

import torch
from torch import Tensor

GROUP = 8
_LARGEST_SEED = 2**63 - 1


class Draws:
    """Random numbers for n samples at once; the same seed and device give the same numbers.

    Args:
        numbers: combined into the seed, such as a run's seed, rank and batch number.
    """

    def __init__(self, device: torch.device, *numbers: int):
        self.device = device
        self.generator = torch.Generator(device).manual_seed(_mixed(numbers))

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers in low..high, float32."""
        return torch.rand(shape, generator=self.generator, device=self.device) * (high - low) + low

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Log-uniform numbers in low..high, float32."""
        return torch.exp(self.uniform(math.log(low), math.log(high), *shape))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)

    def whole(self, count: int, *shape: int) -> Tensor:
        """Integers 0..count - 1, int64."""
        return torch.randint(count, shape, generator=self.generator, device=self.device)

    def chance(self, share: float, n: int) -> Tensor:
        """(n,) bool, True with a probability of `share`."""
        return torch.rand(n, generator=self.generator, device=self.device) < share

    def some(self, share: float, n: int) -> Tensor:
        """Indices of about `share` of n samples, int64."""
        return self.chance(share, n).nonzero().flatten()


def for_some(draws: Draws, share: float, images: Tensor, change: Callable[..., Tensor], *others: Tensor) -> Tensor:
    """Replaces about `share` of the images (n, ...) by change(draws, images, *others), in place; returns them."""
    chosen = draws.some(share, len(images))
    if len(chosen):
        images[chosen] = change(draws, images[chosen], *(other[chosen] for other in others))
    return images


def in_groups(draws: Draws, images: Tensor, change: Callable[[Draws, Tensor], Tensor]) -> Tensor:
    """Applies change(draws, images) to 8 images at a time, for parameters that it draws only once per call."""
    return torch.cat([change(draws, group) for group in images.split(GROUP)])


def per_sample(values: Tensor) -> Tensor:
    """(n,) as (n, 1, 1, 1), to broadcast over images."""
    return values.view(-1, 1, 1, 1)


def _mixed(numbers: tuple[int, ...]) -> int:
    """Hashes several numbers, in order, to one seed."""
    text = " ".join(map(str, numbers)).encode()
    return (zlib.crc32(text) << 32 | zlib.crc32(text[::-1] + b"/")) & _LARGEST_SEED
