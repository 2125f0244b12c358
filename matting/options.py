"""Arguments that say which network mattes, where and how, for the programs that do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utils.arguments import PRECISIONS, add_config_arguments, memory_size
from utils.defaults import DEFAULT_CONFIG, PUBLISHED_CONFIG, default_checkpoint
from utils.device import device_argument
from utils.errors import InputError

if TYPE_CHECKING:  # what needs PyTorch is imported where it is used
    from easydict import EasyDict

PUBLISHED = "gca-dist"  # versions that begin so are the published ones
MISSING_CHECKPOINT = "{path}: no such file; train it first, or name a file with --checkpoint"
MISSING_PUBLISHED = """\
{path}: no such file
  The published weights are a download of their authors' (see checkpoints/README.md for which file goes where):
  https://github.com/Yaoyi-Li/GCA-Matting, "Models". Save them under the path above, or name a file with --checkpoint.
  Without --config and --checkpoint the weights that come with this program are used; --random-weights needs none."""


def add_network_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds those that name a network; returns the group of those that name its weights, for further ones."""
    add_config_arguments(parser, None, f"{DEFAULT_CONFIG}, or {PUBLISHED_CONFIG} where --checkpoint is given")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE",
                         help="the network's weights (default: checkpoints/VERSION/VERSION.pth, "
                              "with the configuration's version)")
    parser.set_defaults(random_weights=False)
    return weights


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu or cuda:1 (default: CUDA where there is one)")


def add_matting_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds all the arguments; returns the same group as `add_network_arguments`."""
    weights = add_network_arguments(parser)
    weights.add_argument("--random-weights", action="store_true",
                         help="try the program without a checkpoint; the mattes are meaningless")
    add_device_argument(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic; tf32, bf16 and fp16 are faster on GPUs and less exact (default: %(default)s)")
    parser.add_argument("--memory-limit", type=memory_size, metavar="SIZE",
                        help="memory for an image besides the network, about, such as 4GB "
                             "(default: most of what is free on a GPU, up to 4 GiB on the CPU)")
    return weights


def chosen_network(args: argparse.Namespace) -> tuple[EasyDict, Path | None]:
    """The configuration and the checkpoint that these arguments ask for; None: random weights.

    Without --config a checkpoint's file is the version, which results are labelled with.

    Raises:
        InputError: if the checkpoint is missing; with its remedy, in several lines.
        utils.config.ConfigError: for a configuration that cannot be used.
    """
    from utils.config import load_config

    shipped = not (args.checkpoint or args.random_weights)
    path = args.config or (DEFAULT_CONFIG if shipped else PUBLISHED_CONFIG)
    config = load_config(path, args.set)
    others = [text for text in args.set if text.partition("=")[0].strip() != "version"]
    version = load_config(path, others).version  # the file's own: a label of results moves no weights
    checkpoint = None if args.random_weights else args.checkpoint or default_checkpoint(version)
    if checkpoint is not None and not checkpoint.exists():
        missing = MISSING_PUBLISHED if version.startswith(PUBLISHED) else MISSING_CHECKPOINT
        raise InputError(missing.format(path=checkpoint))
    if args.checkpoint and not args.config and config.version == version:
        config.version = args.checkpoint.stem
    return config, checkpoint
