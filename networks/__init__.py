"""Matting networks, built from arguments; independent of files and configuration."""

from networks.attention import GuidedContextualAttention
from networks.matting_network import DECODERS, ENCODERS, MattingNetwork, MattingOutput, build_network
from networks.published_names import from_published_names, to_published_names

__all__ = [
    "DECODERS",
    "ENCODERS",
    "GuidedContextualAttention",
    "MattingNetwork",
    "MattingOutput",
    "build_network",
    "from_published_names",
    "to_published_names",
]
