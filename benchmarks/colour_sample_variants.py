"""Which known colours help as input, and how to train with them: short trainings on the same samples.

    python tools/fetch_photographs.py --output data/photographs
    python tools/make_generated_data.py --photographs data/photographs --foregrounds 0 --backgrounds 0 --tests 64
    python benchmarks/colour_sample_variants.py --samples 12000 --data data/generated/test
    python benchmarks/colour_sample_variants.py --arms none pairs --data data/generated/test photographs/test

Each arm trains the network of config/gca-free-light.toml from the same seed on one thread, on crops of 64 pixels, and
is then evaluated on each folder of --data, which holds merged/, alpha/ and trimap/. Arms with larger crops see as many
pixels in total, in fewer steps. The loss is the mean over the last fifth of the steps. 9,000 samples take about four
minutes per arm. Two calls with different --arms can share two cores.
"""

import argparse
import logging
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("colour_sample_variants.py: loading PyTorch", file=sys.stderr)

import cv2
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.patched_constants import patched_constants
from benchmarks.short_training import EMA, ON_CPU, train_shortly
from dataloader.dataset import make_training_dataset
from dataloader.image_folders import find_test_images
from dataloader.loader import training_loader
from evaluation.validation import validate
from matting import predictor
from matting.predictor import Matting
from matting.tiling import CELL
from networks import MattingNetwork, colour_samples, known_colours
from networks.colour_samples import CHANNELS, ESTIMATES, colour_channels
from networks.decoder import Decoder
from networks.encoder import Encoder
from networks.matting_network import MattingOutput
from utils.arguments import any_path, positive_int
from utils.boxes import Box
from utils.config import load_config
from utils.program import program

FILLED_CHANNELS = CHANNELS - ESTIMATES // 2  # all but the pairs'
CONFIG = Path(__file__).resolve().parents[1] / "config/gca-free-light.toml"
CROP = 64


def with_constants(**values: object) -> Callable[..., Tensor]:
    def channels(image: Tensor, trimap: Tensor, *_) -> Tensor:
        with patched_constants(values, colour_samples, known_colours):
            return colour_channels(image, trimap)
    return channels


def some_channels(*numbers: int) -> Callable[..., Tensor]:
    return lambda *args: colour_channels(*args)[:, numbers]


def two_radii(image: Tensor, trimap: Tensor, *_) -> Tensor:
    """Adds colours filled from a larger radius."""
    with patched_constants({"PULL": 0.5}, colour_samples, known_colours):
        smooth = colour_channels(image, trimap)[:, :FILLED_CHANNELS]
    return torch.cat([colour_channels(image, trimap), smooth], dim=1)


def nearest_colours(image: Tensor, trimap: Tensor, *_) -> Tensor:
    """Replaces the pairs by a single one: the nearest known colours, averaged over the smallest possible area."""
    with patched_constants({"PULL": 1e-6}, colour_samples, known_colours):
        nearest = colour_channels(image, trimap)[:, 7:9]
    return torch.cat([colour_channels(image, trimap)[:, :FILLED_CHANNELS], nearest], dim=1)


def best_pair(image: Tensor, samples: Tensor) -> Tensor:
    """Replaces the mean over pairs: 2 alpha - 1 and r (2, 16, P) of the pair with the smallest residual."""
    differences = samples[:, :, :, None] - image
    found = torch.full((2, *image.shape[1:]), math.inf)
    for foreground in differences[0]:
        for background in differences[1]:
            contrast = (foreground - background).square().sum(dim=0)
            nearer = background.square().sum(dim=0) - foreground.square().sum(dim=0)
            alpha = (0.5 + nearer / (2 * contrast.clamp_min(colour_samples.LEAST_SQUARED_CONTRAST))).clamp(0, 1)
            left = torch.lerp(background, foreground, alpha).square().sum(dim=0).sqrt()
            found = torch.where(left < found[1], torch.stack([2 * alpha - 1, left]), found)
    return found


def with_distances(image: Tensor, trimap: Tensor, *_) -> Tensor:
    """Adds the distances to known foreground and background, d / (d + 32 pixels)."""
    unlike = (trimap[:, [2, 0]] == 0).to(torch.uint8).flatten(0, 1).numpy()
    lengths = torch.stack([torch.from_numpy(cv2.distanceTransform(each, cv2.DIST_L2, 5)) for each in unlike])
    lengths = lengths.clamp_max(4096).unflatten(0, (-1, 2))  # there may be none
    return torch.cat([colour_channels(image, trimap), lengths / (lengths + 32)], dim=1)


class Arm(NamedTuple):
    """One of the compared trainings."""

    description: str
    channels: Callable[..., Tensor] | None = colour_channels
    channel_count: int = CHANNELS
    crop: int = CROP
    settings: tuple[str, ...] = ()


DIAGONAL = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))
ARMS = {
    "none": Arm("image and trimap, as published", None, 0),
    "filled": Arm("filled colours", some_channels(*range(FILLED_CHANNELS)), FILLED_CHANNELS),
    "pairs-only": Arm("averaged pairs", some_channels(*range(FILLED_CHANNELS, CHANNELS)), 2),
    "pairs": Arm("filled and averaged pairs"),
    "nearest": Arm("filled and nearest pair", nearest_colours),
    "best": Arm("filled and best pair", with_constants(_pair_means=best_pair)),
    "directions-8": Arm("filled and averaged pairs, 8 directions", with_constants(DIRECTIONS=DIAGONAL)),
    "two-radii": Arm("filled twice and averaged pairs", two_radii, CHANNELS + FILLED_CHANNELS),
    "distances": Arm("filled, averaged pairs and distances", with_distances, CHANNELS + 2),
    "crops-128": Arm("filled and averaged pairs, crops of 128", crop=128),
    "laplacian": Arm("filled and averaged pairs, Laplacian loss", settings=("train.laplacian_weight=0.5",)),
}


def train(arm: Arm, samples: int, settings: list[str]) -> tuple[MattingNetwork, float]:
    """The arm's network after `samples` crops of 64 x 64 pixels, and its mean loss over the last fifth of the steps."""
    config = load_config(CONFIG, [
        "dist=false", "data.plain_share=0", "train.laplacian_weight=0", f"train.ema={EMA}",
        f"train.total_step={10**6}", f"data.crop_size={arm.crop}",
        f"model.batch_size={max(4, 16 * CROP // arm.crop)}", "data.cutouts=", *settings, *arm.settings])
    steps = max(1, samples * CROP**2 // (config.model.batch_size * arm.crop**2))
    torch.manual_seed(config.train.seed)
    network = MattingNetwork(Encoder(width=config.model.width, further_channels=arm.channel_count),
                             Decoder(width=config.model.width), arm.channels)
    data = make_training_dataset(config, config.train.seed)
    return train_shortly(network, iter(training_loader(data, config, ON_CPU, 0)), config, steps, arm.description)


def run_whole(network: MattingNetwork, read: Callable[[Box], Tensor], unknown: Tensor, *_) -> MattingOutput:
    """Replaces `matting.tiling.run_tiled`, since the variants above compute their channels only for whole images."""
    height, width = (CELL * side for side in unknown.shape[2:])
    full = read(Box(0, height, 0, width))
    return network(full[:, :3], full[:, 3:])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Compare known colours as input by short trainings on the same samples.",
        epilog="arms: " + "; ".join(f"{name}: {arm.description}" for name, arm in ARMS.items()))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help="default: all")
    parser.add_argument("--samples", type=positive_int, default=12000, help="crops of 64 pixels (default: %(default)s)")
    parser.add_argument("--data", type=any_path, nargs="+", default=[Path("data/generated/test")], metavar="DIR",
                        help="folders with merged/, alpha/ and trimap/ (default: data/generated/test)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="set a configuration key; may be repeated")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    logging.basicConfig(level="WARNING")
    torch.set_num_threads(1)
    predictor.run_tiled = run_whole
    sets = [find_test_images(*(folder / part for part in ("merged", "alpha", "trimap"))) for folder in args.data]
    print(f"{'arm':40} {'minutes':>7} {'loss':>6}" + "".join(f" | {'SAD':>6} {'MSE':>7}" for _ in sets))
    for name in args.arms:
        start = time.monotonic()
        network, error = train(ARMS[name], args.samples, args.set)
        minutes = (time.monotonic() - start) / 60
        print(f"{ARMS[name].description:40} {minutes:7.1f} {error:6.4f}", end="", flush=True)
        for images in sets:
            errors = validate(Matting(network, ON_CPU.device, border=0), images, ON_CPU)
            print(f" | {errors['sad']:6.2f} {errors['mse']:7.4f}", end="", flush=True)
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
