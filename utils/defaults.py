"""What the programs take where nothing else is asked for."""

from pathlib import Path

DEFAULT_CONFIG = "config/gca-free-light.toml"
PUBLISHED_CONFIG = "config/gca-dist-all-data.toml"  # for checkpoints that do not say what they are
DEFAULT_CHECKPOINT = Path("checkpoints/gca-free-light/gca-free-light.pth")  # below this project's folder


def default_checkpoint(version: str) -> Path:
    """Where the weights of a shipped configuration belong."""
    return Path("checkpoints") / version / f"{version}.pth"
