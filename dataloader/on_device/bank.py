"""Images kept on the device at several resolutions, and bilinear sampling of crops from them."""

import cv2
import numpy as np
import torch
from torch import Tensor

from dataloader.on_device.bank_images import PLACES


class Bank:
    """`count` square images of `size` pixels, each with its downsampled levels.

    A pixel is four bytes (red, green, blue, alpha) packed in one int32, so that reading it is one memory access. Level
    l holds the images at size / 2^l.

    Args:
        size: a multiple of 2^(levels - 1).
    """

    def __init__(self, count: int, size: int, levels: int, device: torch.device):
        self.size, self.device = size, device
        self.levels = [torch.zeros(count, size >> level, size >> level, dtype=torch.int32, device=device)
                       for level in range(levels)]
        self.places = torch.full((count, PLACES, 2), (size - 1) / 2, device=device)

    def __len__(self) -> int:
        return len(self.places)

    def put(self, slot: int, pixels: np.ndarray, places: np.ndarray) -> None:
        """Replaces an image.

        Args:
            pixels: (size, size, 4) uint8.
            places: (PLACES, 2), possible crop centres (x, y).
        """
        packed = []
        for side in (level.shape[1] for level in self.levels):
            if len(pixels) != side:
                pixels = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
            packed.append(np.ascontiguousarray(pixels).view(np.int32).ravel())
        parts = torch.from_numpy(np.concatenate(packed)).to(self.device).split([len(part) for part in packed])
        for level, part in zip(self.levels, parts, strict=True):
            level[slot] = part.view_as(level[slot])
        self.places[slot] = torch.from_numpy(places.astype(np.float32)).to(self.device)

    def read(self, items: Tensor, maps: Tensor, side: int, level: int = 0) -> Tensor:
        """Crops of images with bilinear interpolation; 0 outside an image.

        Args:
            items: (n,) int64, slots of the images.
            maps: (n, 2, 3), map a crop pixel (x, y, 1) to a point of the image at level 0; pixel centres are at
                integers.
            side: of the crops, in pixels.

        Returns:
            (n, 4, side, side) float32 in 0..255; rounded to integers on CPUs.
        """
        maps = maps / 2**level
        maps[:, :, 2] += 0.5 / 2**level - 0.5
        read = _read_on_cpu if self.device.type == "cpu" else read_bilinear
        return read(self.levels[level], items, maps, side)


def read_bilinear(pictures: Tensor, items: Tensor, maps: Tensor, side: int) -> Tensor:
    """`Bank.read` for packed images (count, S, S) int32, on any device."""
    size = pictures.shape[1]
    at = torch.arange(side, device=maps.device, dtype=torch.float32)
    x, y = (maps[:, i, :1, None] * at + maps[:, i, 1:2, None] * at[:, None] + maps[:, i, 2:, None] for i in (0, 1))
    left, top = x.floor(), y.floor()
    x, y = (x - left)[:, None], (y - top)[:, None]
    left, top = left.long(), top.long()
    first = items.view(-1, 1, 1) * size**2

    def corner(right: int, below: int) -> Tensor:
        column, row = left + right, top + below
        inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
        values = torch.take(pictures, torch.where(inside, first + row * size + column, 0)) * inside
        return values.view(torch.uint8).unflatten(-1, (-1, 4)).permute(0, 3, 1, 2).float()

    return torch.lerp(torch.lerp(corner(0, 0), corner(1, 0), x), torch.lerp(corner(0, 1), corner(1, 1), x), y)


def _read_on_cpu(pictures: Tensor, items: Tensor, maps: Tensor, side: int) -> Tensor:
    """The same with OpenCV, several times as fast; positions and values are rounded to its fixed-point precision."""
    pictures = pictures.view(torch.uint8).unflatten(-1, (-1, 4)).numpy()
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crops = np.stack([cv2.warpAffine(pictures[item], matrix, (side, side), flags=flags)
                      for item, matrix in zip(items.tolist(), maps.double().numpy(), strict=True)])
    return torch.from_numpy(crops).permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
