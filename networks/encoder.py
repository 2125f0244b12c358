"""The ResNet-34 encoder, plain or with guided contextual attention (Li and Lu, AAAI 2020, figure 2)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from networks.attention import GuidedContextualAttention
from networks.spectral import conv


class AttentionMaps(NamedTuple):
    """Offsets and scales of an attention block; see `GuidedContextualAttention`."""

    offset: Tensor | None  # (N, 2, H/16, W/16), int64; None if they are not wanted
    scale: Tensor  # (N, 2)


class StageChannels(NamedTuple):
    """Channels of the features at 1, 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size."""

    full: int
    half: int
    quarter: int
    eighth: int
    sixteenth: int
    bottleneck: int


PUBLISHED_CHANNELS = StageChannels(32, 32, 64, 128, 256, 512)
FEWEST_CHANNELS = 24  # with fewer at the fine stages a network does not learn colours


def stage_channels(width: float = 1.0) -> StageChannels:
    """The published channels times `width`, rounded to multiples of 8, at least 24."""
    return StageChannels(*(max(FEWEST_CHANNELS, 8 * round(channels * width / 8)) for channels in PUBLISHED_CHANNELS))


class CoarseFeatures(NamedTuple):
    """Features that depend on the whole image; channels as in `StageChannels`."""

    bottleneck: Tensor  # (N, bottleneck, H/32, W/32)
    sixteenth: Tensor  # (N, sixteenth, H/16, W/16), as shortcut to the decoder
    eighth: Tensor  # (N, eighth, H/8, W/8), likewise
    guidance: Tensor | None  # (N, eighth, H/8, W/8); None without attention, as the next two
    unknown: Tensor | None  # (N, 1, H/8, W/8)
    attended: AttentionMaps | None


class Features(NamedTuple):
    """The encoder's output: shortcuts at three scales, and the coarse features."""

    full: Tensor  # (N, full, H, W)
    half: Tensor  # (N, half, H/2, W/2)
    quarter: Tensor  # (N, quarter, H/4, W/4)
    coarse: CoarseFeatures


def added(new: Tensor, other: Tensor) -> Tensor:
    """The sum of a tensor that nothing else refers to and another one; in place, if no gradient may need it."""
    if torch.is_grad_enabled() or new.dtype != other.dtype:
        return new + other
    return new.add_(other)


class EncoderBlock(nn.Module):
    """A basic residual block; with stride 2 the identity is average-pooled (ResNet-D, arXiv 1812.01187)."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = conv(in_channels, channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = conv(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = nn.Identity() if stride == 1 else nn.Sequential(
            nn.AvgPool2d(2, stride), conv(in_channels, channels, 1), nn.BatchNorm2d(channels))
        nn.init.zeros_(self.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(added(residual, self.downsample(x)))


def _layer(blocks: int, in_channels: int, channels: int, stride: int) -> nn.Sequential:
    rest = [EncoderBlock(channels, channels) for _ in range(blocks - 1)]
    return nn.Sequential(EncoderBlock(in_channels, channels, stride), *rest)


def _shortcut(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(conv(in_channels, channels, 3), nn.ReLU(), nn.BatchNorm2d(channels),
                         conv(channels, channels, 3), nn.ReLU(), nn.BatchNorm2d(channels))


def _guidance_head(out_channels: int) -> nn.Sequential:
    layers = []
    for in_channels, channels in ((3, 16), (16, 32), (32, out_channels)):
        layers += [nn.ReflectionPad2d(1), conv(in_channels, channels, 3, stride=2, padding=0),
                   nn.ReLU(), nn.BatchNorm2d(channels)]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """Image and trimap to features at six scales.

    Args:
        trimap_channel: 3 for a one-hot trimap (background, unknown, foreground), 1 for values 0, 1, 2.
        attention: whether a guided contextual attention block refines the features at 1/8.
        width: factor on the channels of the published network; see `stage_channels`.
        further_channels: number of input channels besides image and trimap, such as `colour_samples.CHANNELS`.
    """

    def __init__(self, trimap_channel: int = 3, attention: bool = True, width: float = 1.0, further_channels: int = 0):
        super().__init__()
        self.trimap_channel = trimap_channel
        self.further_channels = further_channels
        in_channels = 3 + trimap_channel + further_channels
        full, half, quarter, eighth, sixteenth, bottleneck = stage_channels(width)
        self.conv1 = conv(in_channels, half, 3, stride=2, zero_input_channels=slice(3, 3 + trimap_channel))
        self.conv2 = conv(half, half, 3)
        self.conv3 = conv(half, quarter, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(half)
        self.bn2 = nn.BatchNorm2d(half)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.relu = nn.ReLU()
        self.layer1 = _layer(3, quarter, quarter, stride=1)
        self.layer2 = _layer(4, quarter, eighth, stride=2)
        self.layer3 = _layer(4, eighth, sixteenth, stride=2)
        self.layer_bottleneck = _layer(2, sixteenth, bottleneck, stride=2)
        self.shortcut = nn.ModuleList([
            _shortcut(in_channels, full), _shortcut(half, half), _shortcut(quarter, quarter),
            _shortcut(eighth, eighth), _shortcut(sixteenth, sixteenth)])
        self.guidance_head = _guidance_head(eighth) if attention else None
        self.gca = GuidedContextualAttention(eighth, eighth) if attention else None

    def forward(self, image: Tensor, trimap: Tensor, colours: Tensor | None = None) -> Features:
        """image (N, 3, H, W), trimap (N, trimap_channel, H, W) and colours (N, further_channels, H, W), if any.

        H and W are multiples of 32.
        """
        full = torch.cat([image, trimap] if colours is None else [image, trimap, colours], dim=1)
        half = self.half(full)
        quarter = self.quarter(half)
        coarse = self.coarse(quarter, self.guidance(full), self._unknown(trimap)[..., ::8, ::8])
        full, half, quarter = (shortcut(x) for shortcut, x in zip(self.shortcut, (full, half, quarter), strict=False))
        return Features(full, half, quarter, coarse)

    def half(self, full: Tensor) -> Tensor:
        """(N, C, H, W), image, trimap and colours, to (N, half, H/2, W/2)."""
        x = self.relu(self.bn1(self.conv1(full)))
        return self.relu(self.bn2(self.conv2(x)))

    def quarter(self, half: Tensor) -> Tensor:
        """(N, half, H/2, W/2) to (N, quarter, H/4, W/4)."""
        return self.layer1(self.relu(self.bn3(self.conv3(half))))

    def guidance(self, full: Tensor) -> Tensor | None:
        """(N, C, H, W), as for `half`, to (N, eighth, H/8, W/8); None without attention."""
        return None if self.guidance_head is None else self.guidance_head(full[:, :3])

    def coarse(self, quarter: Tensor, guidance: Tensor | None, unknown: Tensor,
               needed: Tensor | None = None) -> CoarseFeatures:
        """The features at 1/8 and below.

        Args:
            quarter: (N, quarter, H/4, W/4).
            guidance: (N, eighth, H/8, W/8), or None without attention.
            unknown: (N, 1, H/8, W/8), 1 where the trimap is unknown and 0 elsewhere.
            needed: as for `GuidedContextualAttention`.
        """
        eighth = self.layer2(quarter)
        attended = None
        if self.gca is None:
            unknown = None
        else:
            eighth, *attended = self.gca(guidance, eighth, unknown, needed)
            attended = AttentionMaps(*attended)
        return CoarseFeatures(*self.below(eighth), guidance, unknown, attended)

    def below(self, eighth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From the refined feature at 1/8, the first three of `CoarseFeatures`."""
        sixteenth = self.layer3(eighth)
        return self.layer_bottleneck(sixteenth), self.shortcut[4](sixteenth), self.shortcut[3](eighth)

    def _unknown(self, trimap: Tensor) -> Tensor:
        if self.trimap_channel == 3:
            return trimap[:, 1:2]
        return (trimap == 1).to(trimap.dtype)
