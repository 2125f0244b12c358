"""The known colours of a whole image (`networks.colour_samples`) for its tiles.

Only filled colours, a quarter of the image's size, are held for the whole image; the four estimates per pixel are held
where the trimap is unknown. Elsewhere they follow from the trimap.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from networks.colour_samples import estimates, known_estimates
from networks.known_colours import GRID, KnownColours, cell_means, known_colours
from networks.matting_network import MattingNetwork
from utils.boxes import Box, cover

CPU_STRIP, GPU_STRIP = 2**16, 2**22  # pixels whose colour channels are computed at once, for caches or memory
BLOCK = 4 * GRID  # pixels; estimates are held for boxes of blocks of 16 x 16

Read = Callable[[Box], Tensor]  # image and trimap in a box of pixels, (N, 3 + trimap_channel, h, w)


def with_colours(network: MattingNetwork, read: Read, height: int, width: int, most: int) -> Read:
    """`read` extended by the network's further channels.

    Args:
        height, width: of the image, multiples of 32.
        most: pixels that are worked on at once, about.
    """
    known, unknown = _whole_image(read, height, width, most)
    estimated = []
    for box in cover(unknown.any(dim=0).cpu().numpy(), most // BLOCK**2):
        pixels = box.times(BLOCK)
        full = read(pixels)
        estimated.append((pixels, estimates(full[:, :3], full[:, 3:], known.of(*pixels))))
    known = known._replace(samples=None)  # only estimates need them

    def extended(box: Box) -> Tensor:
        full = read(box)
        n, count, h, w = full.shape
        result = torch.empty((n, count + network.encoder.further_channels, h, w), dtype=full.dtype,
                             device=full.device, memory_format=torch.channels_last)
        result[:, :count] = full
        near = [(place, values) for place, values in estimated if place.overlap(box)]
        for strip in strips(box, most):
            part = strip.seen_from(box).of(full)
            found = known_estimates(part[:, 3:])
            for place, values in near:
                common = place.overlap(strip)
                if common:
                    common.seen_from(strip).of(found)[...] = common.seen_from(place).of(values)
            colours = known.of(*strip)._replace(estimates=found)
            strip.seen_from(box).of(result)[:, count:] = network.colour_channels(part[:, :3], part[:, 3:], colours)
        return result

    return extended


def _whole_image(read: Read, height: int, width: int, most: int) -> tuple[KnownColours, Tensor]:
    """The known colours, and which blocks have unknown pixels, (N, H / BLOCK, W / BLOCK) bool."""
    means = None
    for strip in strips(Box(0, height, 0, width), most):
        full = read(strip)
        part = cell_means(full[:, :3], full[:, 3:])
        if means is None:
            means = part.new_empty(*part.shape[:2], height // GRID, width // GRID)
        Box(*(side // GRID for side in strip)).of(means)[...] = part
    unknown = means[:, 3] + means[:, 7] < 1  # of a cell of 16 pixels, exactly
    return known_colours(means), F.max_pool2d(unknown.float(), BLOCK // GRID) > 0


def strips(box: Box, most: int) -> list[Box]:
    """Splits a box of pixels into strips of at most `most` pixels, but of `GRID` rows at least."""
    rows = max(1, most // (GRID * box.width)) * GRID
    return [box._replace(top=top, bottom=min(box.bottom, top + rows)) for top in range(box.top, box.bottom, rows)]
