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

MISSING_CHECKPOINT = """\
{path}: no such file
  The published weights are a download of their authors' (see checkpoints/README.md for which file goes where):
  https://github.com/Yaoyi-Li/GCA-Matting, "Models". Save them under the path above, or name a file with --checkpoint.
  Without --config and --checkpoint the weights that come with this program are used; --random-weights needs none."""


def add_matting_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds the arguments; returns the group of those that name weights, for further ones."""
    add_config_arguments(parser, None, f"{DEFAULT_CONFIG}, or {PUBLISHED_CONFIG} where --checkpoint is given")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE",
                         help="the network's weights (default: checkpoints/VERSION/VERSION.pth, "
                              "with the configuration's version)")
    weights.add_argument("--random-weights", action="store_true",
                         help="try the program without a checkpoint; the mattes are meaningless")
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu or cuda:1 (default: CUDA where there is one)")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic; tf32, bf16 and fp16 are faster on GPUs and less exact (default: %(default)s)")
    parser.add_argument("--memory-limit", type=memory_size, metavar="SIZE",
                        help="memory for an image besides the network, about, such as 4GB "
                             "(default: most of what is free on a GPU, up to 4 GiB on the CPU)")
    return weights


def chosen_network(args: argparse.Namespace) -> tuple[EasyDict, Path | None]:
    """The configuration and the checkpoint that `add_matting_arguments`' arguments ask for; None: random weights.

    Raises:
        InputError: if the checkpoint is missing; with its remedy, in several lines.
        utils.config.ConfigError: for a configuration that cannot be used.
    """
    from utils.config import load_config

    shipped = not (args.checkpoint or args.random_weights)
    config = load_config(args.config or (DEFAULT_CONFIG if shipped else PUBLISHED_CONFIG), args.set)
    checkpoint = None if args.random_weights else args.checkpoint or default_checkpoint(config.version)
    if checkpoint is not None and not checkpoint.exists():
        raise InputError(MISSING_CHECKPOINT.format(path=checkpoint))
    return config, checkpoint
