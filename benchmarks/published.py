"""The network as the published program computes it: the baseline of the benchmarks; and an image for them."""

import argparse

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks import GuidedContextualAttention, MattingNetwork, build_network


class PublishedAttention(nn.Module):
    """Guided contextual attention with patches as convolution kernels and full score matrices, image by image."""

    def __init__(self, block: GuidedContextualAttention):
        super().__init__()
        self.guidance_conv, self.W = block.guidance_conv, block.W

    def forward(self, guidance: Tensor, alpha: Tensor, unknown: Tensor,
                needed: None = None) -> tuple[Tensor, Tensor, Tensor]:
        feature = self.guidance_conv(guidance)[..., ::2, ::2]
        results = [self._attend(*(x[i:i + 1] for x in (feature, alpha, unknown))) for i in range(len(alpha))]
        message, offset, scale = (torch.cat(parts) for parts in zip(*results, strict=True))
        return alpha + self.W(message), offset, scale

    def _attend(self, feature: Tensor, alpha: Tensor, unknown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, w = feature.shape[2:]
        padded = F.pad(feature, (1, 1, 1, 1), mode="reflect")
        keys = F.unfold(padded, 3)[0].T.reshape(h * w, -1, 3, 3)
        values = F.unfold(F.pad(alpha, (1, 1, 1, 1), mode="reflect"), 4, stride=2)[0].T.reshape(h * w, -1, 4, 4)
        mask = unknown[..., ::2, ::2]
        share = mask.mean()
        scale = torch.stack([share / (1 - share), (1 - share) / share]).sqrt().clamp(0.1, 10)
        key_unknown = F.avg_pool2d(F.pad(mask, (1, 1, 1, 1), mode="reflect"), 3, stride=1).flatten() > 0

        norm = keys.flatten(1).norm(dim=1).clamp_min(1e-4).view(-1, 1, 1, 1)
        scores = F.conv2d(padded, keys / norm) * torch.where(key_unknown, scale[0], scale[1]).view(1, -1, 1, 1)
        scores = scores + (torch.diag(-1e4 * key_unknown)).view(1, h * w, h, w)
        attention = scores.softmax(dim=1)
        strongest = attention.argmax(dim=1)
        offset = torch.stack([strongest // w - h // 2, strongest % w - w // 2], dim=1)
        return F.conv_transpose2d(attention, values, stride=2, padding=1) / 4, offset, scale[None]


def random_network(**architecture: float | bool) -> MattingNetwork:
    """A network in evaluation mode with seeded weights that all affect the output.

    Args:
        architecture: arguments of `build_network`; default: the published network.
    """
    torch.manual_seed(0)
    network = build_network(**architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.eval()


def published_network() -> MattingNetwork:
    """`random_network` with attention as published."""
    return as_published(random_network())


def as_published(network: MattingNetwork) -> MattingNetwork:
    """Gives a network with attention its published formulation; returns the network."""
    network.encoder.gca = PublishedAttention(network.encoder.gca)
    network.decoder.gca = PublishedAttention(network.decoder.gca)
    return network


def example(height: int, width: int, unknown: float) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) and a trimap (H, W) whose unknown pixels form a ring around the centre."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (max(2, height // 32), max(2, width // 32), 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:height, :width]
    distance = np.abs(np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5) - 0.3)
    ring = np.argsort(distance, axis=None, kind="stable")[:round(unknown * height * width)]
    trimap = np.where(np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5) < 0.3, 255, 0).astype(np.uint8)
    trimap.flat[ring] = 128
    return image, trimap


def unknown_share(text: str) -> float:
    """argparse type: the share of an example that is unknown."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share; expected a number from 0 to 1")
    return value
