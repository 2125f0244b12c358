"""The matting network: an encoder and a decoder chosen by their published names."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from networks.colour_samples import CHANNELS, colour_channels
from networks.decoder import Decoder
from networks.encoder import AttentionMaps, Encoder

# Published name -> whether it has guided contextual attention. Encoder and decoder must agree.
ENCODERS = {"resnet_gca_encoder_29": True, "res_shortcut_encoder_29": False}
DECODERS = {"res_gca_decoder_22": True, "res_shortcut_decoder_22": False}


class MattingOutput(NamedTuple):
    """Output of `MattingNetwork.forward`."""

    alpha: Tensor  # (N, 1, H, W) in 0..1
    offsets: tuple[Tensor, ...]  # per attention block (encoder, decoder), (N, 2, H/16, W/16); () without attention
    scales: tuple[Tensor, ...]  # likewise, (N, 2): the scales of unknown and known keys; both () if not wanted


class MattingNetwork(nn.Module):
    """Natural image matting with guided contextual attention (Li and Lu, AAAI 2020).

    Args:
        colour_channels: computes the encoder's additional input from image and trimap, such as
            `networks.colour_samples.colour_channels`; None: no additional input.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, colour_channels: Callable[..., Tensor] | None = None):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.colour_channels = colour_channels

    @property
    def trimap_channel(self) -> int:
        """The number of channels of the trimap that `forward` takes, 3 or 1."""
        return self.encoder.trimap_channel

    def forward(self, image: Tensor, trimap: Tensor) -> MattingOutput:
        """The whole image at once, as in training; `matting.tiling` runs the same stages in tiles.

        Args:
            image: (N, 3, H, W), RGB in 0..1 normalised by ImageNet's mean and standard deviation; H and W
                multiples of 32.
            trimap: (N, 3, H, W), one-hot (background, unknown, foreground); with trimap_channel 1:
                (N, 1, H, W) holding 0, 1, 2.
        """
        colours = None if self.colour_channels is None else self.colour_channels(image, trimap).to(image.dtype)
        features = self.encoder(image, trimap, colours)
        alpha, attended = self.decoder(features)
        return matting_output(alpha, features.coarse.attended, attended)


def matting_output(alpha: Tensor, *attended: AttentionMaps | None) -> MattingOutput:
    """Alpha with the attention blocks' maps, without those of blocks that do not exist or have no offsets."""
    blocks = [block for block in attended if block is not None and block.offset is not None]
    return MattingOutput(alpha, tuple(block.offset for block in blocks), tuple(block.scale for block in blocks))


def build_network(encoder: str = "resnet_gca_encoder_29", decoder: str = "res_gca_decoder_22",
                  trimap_channel: int = 3, width: float = 1.0, colour_samples: bool = False) -> MattingNetwork:
    """A network with freshly initialised weights; its `architecture` stores these arguments.

    Args:
        encoder, decoder: names from `ENCODERS` and `DECODERS`, both with attention or both without.
        trimap_channel: 3 (one-hot) or 1 (values 0, 1, 2).
        width: factor on the number of channels; 1 is the published network.
        colour_samples: whether nearby known colours are additional input (`networks.colour_samples`); not in the
            published network.

    Raises:
        ValueError: for an unknown name, an encoder and decoder that do not match, or another invalid value.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"unknown encoder {encoder!r}; expected one of {', '.join(ENCODERS)}")
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; expected one of {', '.join(DECODERS)}")
    if ENCODERS[encoder] != DECODERS[decoder]:
        raise ValueError(f"encoder {encoder!r} and decoder {decoder!r} do not match: only one of them has attention")
    if trimap_channel not in (1, 3):
        raise ValueError(f"trimap_channel is {trimap_channel!r}; expected 3 or 1")
    if not 0 < width <= 4:
        raise ValueError(f"width is {width!r}; expected above 0 and at most 4")
    if not isinstance(colour_samples, bool):
        raise ValueError(f"colour_samples is {colour_samples!r}; expected true or false")
    network = MattingNetwork(Encoder(trimap_channel, ENCODERS[encoder], width, CHANNELS if colour_samples else 0),
                             Decoder(DECODERS[decoder], width), colour_channels if colour_samples else None)
    network.architecture = {"encoder": encoder, "decoder": decoder, "trimap_channel": trimap_channel, "width": width,
                            "colour_samples": colour_samples}
    return network
