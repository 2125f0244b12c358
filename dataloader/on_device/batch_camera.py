"""Camera and file-format effects on batches of composites: those of `dataloader.synthetic.camera`.

Images are (n, 3, h, w) float32 RGB in 0..255. Each effect is a function of draws and images, for `for_some`.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dataloader.on_device.draws import Draws, for_some, in_groups, per_sample
from dataloader.on_device.recipe import Recipe
from dataloader.synthetic.camera import compressed as file_compressed

UNTOUCHED_SHARE = 0.45  # share of images that get only faint noise
REACH = 2  # radius of blur and sharpening kernels, in pixels
QUALITIES = (40, 99)
MEAN_NOISE = 2.5  # grey levels, at mid grey


def photographed(draws: Draws, images: Tensor, recipe: Recipe) -> Tensor:
    """Images with random effects of light, lens, sensor, processing and compression, rounded to integers."""
    untouched = draws.chance(UNTOUCHED_SHARE, len(images))
    seen = torch.empty_like(images)
    seen[~untouched] = _touched(draws, images[~untouched], recipe)
    faint = images[untouched]
    seen[untouched] = _with_noise(draws, faint, draws.uniform(0, 2, len(faint)))
    return seen.round_().clamp_(0, 255)


def _touched(draws: Draws, images: Tensor, recipe: Recipe) -> Tensor:
    if not len(images):
        return images
    images = for_some(draws, 0.6, images, developed)
    images = for_some(draws, 0.15, images, blurred)
    images = for_some(draws, 0.7, images, noisy)
    images = for_some(draws, recipe.mosaic_share, images, demosaiced)
    images = for_some(draws, 0.2, images, resampled)
    images = for_some(draws, 0.25, images, sharpened)
    return for_some(draws, 0.45, images, compressed)


def developed(draws: Draws, images: Tensor) -> Tensor:
    """Applies white balance, exposure and a tone curve, by lookup tables of 256 values."""
    n = len(images)
    gains = torch.exp(0.08 * draws.normal(n, 3, 1)) * 2 ** (0.15 * draws.normal(n, 1, 1))
    slope = 2 ** (0.25 * draws.normal(n, 1, 1))
    light = (torch.arange(256, device=images.device) / 255) ** 2.2 * gains
    tones = light.clamp(0, 1) ** (1 / 2.2)
    curved = tones**slope / (tones**slope + (1 - tones) ** slope).clamp_min(1e-6)
    values = images.round().long().flatten(2)
    return (curved * 255).gather(2, values).view_as(images)


def blurred(draws: Draws, images: Tensor) -> Tensor:
    return _filtered(images, _gaussians(draws.uniform(0.4, 1.1, len(images))))


def sharpened(draws: Draws, images: Tensor) -> Tensor:
    """Unsharp masking with a sigma of one pixel."""
    amount = draws.uniform(0.2, 1.2, len(images))[:, None, None]
    kernels = -amount * _gaussians(torch.ones(len(images), device=images.device))
    kernels[:, REACH, REACH] += 1 + amount[:, 0, 0]
    return _filtered(images, kernels).clamp(0, 255)


def noisy(draws: Draws, images: Tensor) -> Tensor:
    """Adds sensor noise of random strength, sometimes with a grain of several pixels, as left by denoising."""
    deviation = -MEAN_NOISE * torch.log(draws.uniform(1e-6, 1, len(images)))
    return _with_noise(draws, images, deviation, blotches=0.3)


def _with_noise(draws: Draws, images: Tensor, deviation: Tensor, blotches: float = 0.0) -> Tensor:
    grain = for_some(draws, blotches, draws.normal(*images.shape), _smoothed)
    strength = per_sample(deviation) * (0.5 + (images / 255).clamp_min(0).sqrt()) / (0.5 + 0.5**0.5)
    return (images + grain * strength).clamp(0, 255)


def _smoothed(_: Draws, grain: Tensor) -> Tensor:
    small = grain[..., ::2, ::2]
    return F.interpolate(small, size=grain.shape[-2:], mode="bilinear", align_corners=False)


def demosaiced(draws: Draws, images: Tensor) -> Tensor:
    """Keeps one colour channel per pixel, as under a Bayer filter; the others are means of neighbouring pixels."""
    height, width = images.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height, device=images.device) % 2,
                                   torch.arange(width, device=images.device) % 2, indexing="ij")
    shift = draws.whole(2).item()
    red, blue = (rows == shift) & (columns == shift), (rows != shift) & (columns != shift)
    masks = torch.stack([red, ~(red | blue), blue]).float()[None]
    kernel = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]], device=images.device) / 4
    kernel = kernel.expand(3, 1, 3, 3)
    sums, counts = (F.conv2d(F.pad(each, (1, 1, 1, 1), mode="reflect"), kernel, groups=3)
                    for each in (images * masks, masks))
    return torch.where(masks > 0, images, sums / counts)


def resampled(draws: Draws, images: Tensor) -> Tensor:
    """Downsamples by a factor of 1 to 2 and upsamples again."""
    return in_groups(draws, images, _resampled)


def _resampled(draws: Draws, images: Tensor) -> Tensor:
    size = images.shape[-1]
    side = max(8, round(size * draws.uniform(0.5, 1).item()))
    small = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
    return F.interpolate(small, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 255)


def compressed(draws: Draws, images: Tensor) -> Tensor:
    """Encodes and decodes each image as JPEG, with OpenCV: on the CPU cores even if images are on a GPU."""
    qualities = (draws.whole(QUALITIES[1] - QUALITIES[0], len(images)) + QUALITIES[0]).tolist()
    whole = images.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    each = map if images.device.type == "cpu" else _threads().map
    files = np.stack(list(each(file_compressed, whole, repeat(".jpg"), qualities)))
    return torch.from_numpy(files).to(images.device).permute(0, 3, 1, 2).float().contiguous()


@lru_cache(1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor()


def _gaussians(sigma: Tensor) -> Tensor:
    """Gaussian kernels (n, 5, 5) of standard deviations (n,)."""
    at = torch.arange(-REACH, REACH + 1, device=sigma.device)
    line = torch.exp(-at.square() / (2 * sigma[:, None] ** 2))
    line = line / line.sum(dim=1, keepdim=True)
    return line[:, :, None] * line[:, None]


def _filtered(images: Tensor, kernels: Tensor) -> Tensor:
    """Images, each convolved with its own kernel (n, 5, 5)."""
    n = len(images)
    padded = F.pad(images, (REACH,) * 4, mode="reflect").flatten(0, 1)[None]
    weights = kernels.repeat_interleave(3, 0)[:, None]
    return F.conv2d(padded, weights, groups=3 * n)[0].unflatten(0, (n, 3))
