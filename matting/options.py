"""Command-line options that choose a network and how it computes, and the predictor they ask for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from utils.arguments import ATTENTIONS, PRECISIONS, add_config_arguments, any_path, memory_size
from utils.errors import InputError

if TYPE_CHECKING:  # the ONNX demo runs without PyTorch and easydict
    import torch
    from easydict import EasyDict

    from matting.coarse_to_fine import CoarseToFine
    from matting.onnx_predictor import OnnxMatting
    from matting.predictor import Matting

PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_CONFIG = "config/gca-free.toml"
PUBLISHED_CONFIG = "config/gca-dist-all-data.toml"  # for checkpoints that do not store their architecture
DEFAULT_CHECKPOINT = Path("checkpoints/gca-free/gca-free.pth")  # relative to the project
PUBLISHED = "gca-dist"  # prefix of the published versions
TRAIN_FIRST = "train it first, or name a file with --checkpoint"
MISSING_PUBLISHED = """\
  Download the authors' published weights (checkpoints/README.md says which file goes where):
  https://github.com/Yaoyi-Li/GCA-Matting, "Models". Save them under the path above, or name a file with --checkpoint.
  Without --config and --checkpoint the weights that come with this program are used; --random-weights needs none."""


def add_network_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds --config, --set and --checkpoint.

    Returns:
        The exclusive group of options that choose the weights.
    """
    add_config_arguments(parser, None, f"{DEFAULT_CONFIG}, or {PUBLISHED_CONFIG} with --checkpoint")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=any_path, metavar="FILE",
                         help="network weights (default: checkpoints/VERSION/VERSION.pth, "
                              "with the configuration's version)")
    parser.set_defaults(random_weights=False)
    return weights


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Adds --device, the name that `utils.device.usable_device` takes."""
    parser.add_argument("--device", metavar="NAME",
                        help="compute device, such as cpu or cuda:1 (default: CUDA if available)")


def add_matting_arguments(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds the options of `add_network_arguments` and those of the predictor; returns the same group."""
    weights = add_network_arguments(parser)
    weights.add_argument("--random-weights", action="store_true",
                         help="try the program without a checkpoint; the mattes are meaningless")
    add_device_argument(parser)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32",
                        help="arithmetic; tf32, bf16 and fp16 are faster on GPUs and less exact (default: %(default)s)")
    parser.add_argument("--memory-limit", type=memory_size, metavar="SIZE",
                        help="approximate memory per image besides the network, such as 4GB "
                             "(default: most of the free GPU memory; on the CPU up to 4 GiB)")
    parser.add_argument("--attention", choices=ATTENTIONS,
                        help="exact, or near: much faster for large images, alpha nearly the same "
                             "(default: near from 8 megapixels on the CPU, else exact)")
    parser.add_argument("--coarse-to-fine", action=argparse.BooleanOptionalAction,
                        help="compute large images reduced first, and at the next size what is not plain there "
                             "(default: only with the included weights)")
    return weights


def chosen_network(args: argparse.Namespace) -> tuple[EasyDict, Path | None]:
    """The configuration and checkpoint that the options ask for; no checkpoint means random weights.

    Without --config the version, by which results are labelled, is the checkpoint's file name.

    Raises:
        InputError: if the checkpoint is missing; the message says where to get it, in several lines.
        utils.config.ConfigError: for an invalid configuration.
    """
    from utils.config import load_config

    shipped = not (args.checkpoint or args.random_weights)
    path = args.config or (DEFAULT_CONFIG if shipped else PUBLISHED_CONFIG)
    config = load_config(path, args.set)
    others = [text for text in args.set if text.partition("=")[0].strip() != "version"]
    version = load_config(path, others).version  # the file's own: --set version=... must not change the weights
    checkpoint = None if args.random_weights else args.checkpoint or Path("checkpoints") / version / f"{version}.pth"
    if checkpoint is not None and not checkpoint.exists():
        if version.startswith(PUBLISHED) and not args.checkpoint:
            raise InputError(f"{checkpoint}: no such file", advice=MISSING_PUBLISHED)
        raise InputError(f"{checkpoint}: no such file" + ("" if args.checkpoint else _trained_instead(checkpoint)))
    if args.checkpoint and not args.config and config.version == version:
        config.version = args.checkpoint.stem
    return config, checkpoint


def _trained_instead(checkpoint: Path) -> str:
    """What to do if the checkpoint of a configuration is missing."""
    trained = [path for path in (checkpoint.with_name(f"{name}.pth") for name in ("best_model", "latest_model"))
               if path.exists()]
    return f"; its training's is --checkpoint={trained[0]}" if trained else f"; {TRAIN_FIRST}"


def for_large_images(matting: Matting | OnnxMatting, checkpoint: str | Path | None,
                     coarse_to_fine: bool | None) -> Matting | OnnxMatting | CoarseToFine:
    """The predictor, from coarse to fine if that is wanted; None: if the checkpoint is the included one."""
    from matting.coarse_to_fine import CoarseToFine

    wanted = is_included(checkpoint) if coarse_to_fine is None else coarse_to_fine
    return CoarseToFine(matting) if wanted else matting


def is_included(checkpoint: str | Path | None) -> bool:
    """Whether a checkpoint is the project's own, however its path is written."""
    return checkpoint is not None and Path(checkpoint).resolve() == (PROJECT / DEFAULT_CHECKPOINT).resolve()


def build_predictor(config: EasyDict, checkpoint: Path | None, device: torch.device | None, **options) -> Matting:
    """The predictor with a checkpoint's weights, or with random ones; `options` are those of `Matting`.

    Raises:
        utils.checkpoint.CheckpointError: if the checkpoint is unreadable or of another network.
    """
    import torch

    from matting.predictor import Matting
    from networks import build_network
    from utils.checkpoint import load_network
    from utils.config import architecture

    if checkpoint is not None:
        return Matting(load_network(checkpoint, **architecture(config)), device, **options)
    torch.manual_seed(0)
    return Matting(build_network(**architecture(config)), device, **options)
