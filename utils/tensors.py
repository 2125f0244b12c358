"""Images and trimaps as the network's input tensors; the PyTorch side of `utils.preprocessing`."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from utils.preprocessing import DEVIATION, MEAN, UNKNOWN, normalised_planes, trimap_planes


def normalise(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 RGB to (3, H, W) float32, normalised by ImageNet's mean and standard deviation."""
    return torch.from_numpy(normalised_planes(image))


def denormalise(image: Tensor) -> Tensor:
    """The inverse of `normalise`: (..., 3, H, W) to colours in 0..1."""
    return image * torch.from_numpy(DEVIATION).to(image) + torch.from_numpy(MEAN).to(image)


def encode_trimap(labels: np.ndarray, channels: int) -> Tensor:
    """Labels (H, W) to (channels, H, W) float32; see `trimap_planes`."""
    return torch.from_numpy(trimap_planes(labels, channels))


def encode_labels(labels: Tensor, channels: int) -> Tensor:
    """`encode_trimap` of a batch: labels (N, H, W) to (N, channels, H, W) float32."""
    if channels == 1:
        return labels[:, None].float()
    return F.one_hot(labels.long(), 3).permute(0, 3, 1, 2).float().contiguous()


def unknown_mask(trimap: Tensor) -> Tensor:
    """The unknown region of encoded trimaps (N, channels, H, W): (N, 1, H, W) float32, 1 inside and 0 outside."""
    return trimap[:, 1:2] if trimap.shape[1] == 3 else (trimap == UNKNOWN).float()
