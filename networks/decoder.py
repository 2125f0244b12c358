"""The residual decoder, plain or with guided contextual attention (Li and Lu, AAAI 2020, figure 2)."""

import torch
from torch import Tensor, nn

from networks.attention import GuidedContextualAttention
from networks.encoder import AttentionMaps, Features, added, stage_channels
from networks.spectral import conv, upsampling_conv

LEAK = 0.2


class DecoderBlock(nn.Module):
    """A residual block; `upsample` doubles height and width."""

    def __init__(self, in_channels: int, channels: int, upsample: bool = False):
        super().__init__()
        self.conv1 = upsampling_conv(in_channels, in_channels) if upsample else conv(in_channels, in_channels, 3)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.activation = nn.LeakyReLU(LEAK)
        self.conv2 = conv(in_channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.upsample = nn.Sequential(
            nn.UpsamplingNearest2d(scale_factor=2), conv(in_channels, channels, 1), nn.BatchNorm2d(channels),
        ) if upsample else nn.Identity()
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        return self.activation(added(residual, self.upsample(x)))


def _layer(blocks: int, in_channels: int, channels: int) -> nn.Sequential:
    rest = [DecoderBlock(channels, channels) for _ in range(blocks - 1)]
    return nn.Sequential(DecoderBlock(in_channels, channels, upsample=True), *rest)


class Decoder(nn.Module):
    """Features to alpha.

    Args:
        attention: whether a guided contextual attention block refines the features at 1/8 again.
        width: as the encoder's.
    """

    def __init__(self, attention: bool = True, width: float = 1.0):
        super().__init__()
        full, half, quarter, eighth, sixteenth, bottleneck = stage_channels(width)
        self.conv1 = upsampling_conv(half, full)
        self.bn1 = nn.BatchNorm2d(full)
        self.activation = nn.LeakyReLU(LEAK)
        self.conv2 = nn.Conv2d(full, 1, 3, padding=1)
        self.layer1 = _layer(2, bottleneck, sixteenth)
        self.layer2 = _layer(3, sixteenth, eighth)
        self.layer3 = _layer(3, eighth, quarter)
        self.layer4 = _layer(2, quarter, half)
        self.gca = GuidedContextualAttention(eighth, eighth) if attention else None
        nn.init.xavier_uniform_(self.conv2.weight)

    def forward(self, features: Features) -> tuple[Tensor, AttentionMaps | None]:
        """Returns alpha (N, 1, H, W) in 0..1, and the attention maps."""
        coarse = features.coarse
        x = self.above(coarse.bottleneck, coarse.sixteenth, coarse.eighth)
        x, attended = self.refined(x, coarse.guidance, coarse.unknown)
        x = self.quarter(x, features.quarter)
        x = self.half(x, features.half)
        return self.alpha(x, features.full), attended

    def above(self, bottleneck: Tensor, sixteenth: Tensor, eighth: Tensor) -> Tensor:
        """From the first three of `CoarseFeatures`, the feature (N, eighth, H/8, W/8) before attention."""
        return added(self.layer2(added(self.layer1(bottleneck), sixteenth)), eighth)

    def refined(self, x: Tensor, guidance: Tensor | None, unknown: Tensor | None,
                needed: Tensor | None = None) -> tuple[Tensor, AttentionMaps | None]:
        """The result of `above`, refined by attention, if there is any; and the attention maps.

        Args:
            guidance, unknown: of `CoarseFeatures`.
            needed: as for `GuidedContextualAttention`.
        """
        if self.gca is None:
            return x, None
        x, *attended = self.gca(guidance, x, unknown, needed)
        return x, AttentionMaps(*attended)

    def quarter(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """(N, eighth, H/8, W/8) to (N, quarter, H/4, W/4), the shortcut's shape."""
        return added(self.layer3(x), shortcut)

    def half(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """(N, quarter, H/4, W/4) to (N, half, H/2, W/2), the shortcut's shape."""
        return added(self.layer4(x), shortcut)

    def alpha(self, x: Tensor, shortcut: Tensor) -> Tensor:
        """(N, half, H/2, W/2) and the shortcut (N, full, H, W) to (N, 1, H, W) in 0..1."""
        x = added(self.activation(self.bn1(self.conv1(x))), shortcut)
        return (torch.tanh(self.conv2(x).float()) + 1) / 2
