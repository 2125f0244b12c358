"""Argument types for argparse, and options shared by the programs."""

import argparse
import re
from pathlib import Path

LARGEST = 10**9
ATTENTIONS = ("exact", "near")  # see `matting.predictor.Matting`
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")  # see utils.precision


def add_config_arguments(parser: argparse.ArgumentParser, default: str | None, meaning: str = "%(default)s") -> None:
    """Adds --config and --set, the arguments of `utils.config.load_config`.

    Args:
        meaning: the default as the help text describes it.
    """
    parser.add_argument("--config", default=default, metavar="FILE", help=f"TOML configuration (default: {meaning})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="set a configuration key, such as model.trimap_channel=1; may be repeated")


def any_path(text: str) -> Path:
    """A path; not an empty text, such as that of a shell's unset variable, which would mean the working folder."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; expected a path")
    return Path(text)


def positive_int(text: str) -> int:
    """An integer of at least 1, at most `LARGEST`."""
    return _integer(text, 1, LARGEST)


def port_number(text: str) -> int:
    """A TCP port, 1 to 65535."""
    return _integer(text, 1, 65535)


def whole_number(text: str) -> int:
    """An integer of at least 0, at most `LARGEST`."""
    return _integer(text, 0, LARGEST)


def image_side(text: str) -> int:
    """A side of an image to be drawn, in pixels, 1 to 16384."""
    return _integer(text, 1, 16384)


def _integer(text: str, low: int, high: int) -> int:
    number = int(text)
    if number < low:
        raise argparse.ArgumentTypeError(f"{number} is below {low}")
    if number > high:
        raise argparse.ArgumentTypeError(f"{number} is above {high}")
    return number


def positive_float(text: str) -> float:
    """A finite number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def scale_factor(text: str) -> float:
    """A factor on an image's sides, 0.01 to 16."""
    number = float(text)
    if not 0.01 <= number <= 16:
        raise argparse.ArgumentTypeError(f"{text} is not between 0.01 and 16")
    return number


def memory_size(text: str) -> int:
    """Bytes, written as a number and a unit such as 4GB or 512 MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([kmg])(i?)b", text.strip().lower())
    if not match or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not an amount of memory; expected one such as 4GB or 512MB")
    number, prefix, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** ("kmg".index(prefix) + 1))
