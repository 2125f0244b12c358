"""Which training data helps on photographs: short trainings that differ only in their data.

    python tools/fetch_photographs.py --output data/photographs
    python tools/fetch_cutouts.py --output data/cutouts
    python -m benchmarks.training_data --samples 10000 --photographs data/photographs/train --data photographs/test
    python -m benchmarks.training_data --arms present all --photographs data/photographs/train --data photographs/test

Each arm trains the network of config/gca-free-light.toml on one thread from the same weights, random ones or those of
model.init_checkpoint, and is then evaluated on each folder of --data, which holds merged/, alpha/ and trimap/. Two
calls with different --arms can share two cores.
"""

import argparse
import logging
import sys
import time
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("training_data.py: loading PyTorch", file=sys.stderr)

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.patched_constants import patched_constants
from benchmarks.short_training import EMA, ON_CPU, train_shortly
from dataloader.image_folders import Triple, find_foregrounds, find_test_images
from dataloader.on_device.batches import DeviceSamples, make_banks
from dataloader.on_device.recipe import PRESENT, REALISTIC, Recipe
from dataloader.synthetic import meshes, objects, patterns, plants, shapes, strands, things, translucent
from evaluation.validation import validate
from matting.predictor import Matting
from networks import MattingNetwork, build_network
from training.start import load_initial_weights
from utils.arguments import any_path, positive_int, whole_number
from utils.config import architecture, load_config
from utils.program import program

CONFIG = Path(__file__).resolve().parents[1] / "config/gca-free-light.toml"


EARLIER = {"SUBJECT_SHARE": 0.0, "SMOOTH_SHARE": 0.0, "COUNT_SHARES": (0.72, 0.22, 0.06), "JOINED_SHARE": 0.25,
           "SHARES": {shapes: 0.14, strands: 0.36, plants: 0.14, patterns: 0.14, translucent: 0.22, meshes: 0.0,
                      things: 0.0}}


class Arm(NamedTuple):
    """One of the compared trainings."""

    description: str
    recipe: Recipe = PRESENT
    drawings: dict[str, object] = EARLIER  # replaces constants of `dataloader.synthetic.objects`
    cutouts: bool = False  # whether to use the configured ones, as foregrounds and as bodies


ARMS = {
    "present": Arm("as the samples made one by one"),
    "usual-trimaps": Arm("trimaps as wide as test sets'", PRESENT._replace(usual_trimap_share=0.5)),
    "matched": Arm("lit as the background, its light on edges", PRESENT._replace(matched_share=0.4, spill_share=0.3)),
    "zoom": Arm("many sizes", PRESENT._replace(zoom=(0.5, 2.0))),
    "soft": Arm("foregrounds out of focus", PRESENT._replace(soft_share=0.2)),
    "single": Arm("fewer foregrounds over another", PRESENT._replace(second_share=0.2)),
    "natural": Arm("hues and saturation as they are", PRESENT._replace(hue=12, saturation=(0.6, 1.05))),
    "defocused": Arm("more backgrounds out of focus", PRESENT._replace(defocused_share=0.6)),
    "mosaic": Arm("colour filter of the sensor", PRESENT._replace(mosaic_share=0.4)),
    "things": Arm("toys, cloth, string, brooms, cages, wrapped", PRESENT,
                  EARLIER | {"SHARES": objects.SHARES | {meshes: 0.0}}),
    "subjects": Arm("subjects of photographs", PRESENT, EARLIER | {"SUBJECT_SHARE": objects.SUBJECT_SHARE}),
    "smooth-hair": Arm("hair of colours that change little", PRESENT, EARLIER | {"SMOOTH_SHARE": objects.SMOOTH_SHARE}),
    "drawings": Arm("things, subjects and smooth hair", PRESENT, {}),
    "all-drawn": Arm("the default recipe without cut-outs", REALISTIC, {}),
    "single-objects": Arm("default, hardly anything over another", REALISTIC._replace(second_share=0.1),
                          {"COUNT_SHARES": (0.95, 0.05, 0.0)}, cutouts=True),
    "more-objects": Arm("default, more over each other", REALISTIC._replace(second_share=0.5),
                        {"COUNT_SHARES": (0.72, 0.22, 0.06)}, cutouts=True),
    "all": Arm("the default recipe", REALISTIC, {}, cutouts=True),
}


def train(arm: Arm, samples: int, settings: list[str]) -> tuple[MattingNetwork, float]:
    """The arm's network after `samples` crops, and its mean loss over the last fifth of the steps."""
    config = load_config(CONFIG, ["dist=false", "data.plain_share=0", "data.renew=0", f"train.ema={EMA}",
                                  "train.precision=bf16", *settings,
                                  *([] if arm.cutouts else ["data.cutouts="])])
    torch.manual_seed(config.train.seed)
    network = build_network(**architecture(config))
    load_initial_weights(network, config, ON_CPU)
    with patched_constants(arm.drawings, objects), make_banks(config, ON_CPU) as banks:
        batches = DeviceSamples(banks, config, ON_CPU, recipe=arm.recipe)
        return train_shortly(network, batches, config, max(1, samples // config.model.batch_size), arm.description)


def compare(names: list[str], samples: int, settings: list[str], sets: list[list[Triple]]) -> None:
    """Prints a row per arm."""
    print(f"{'arm':44} {'minutes':>7} {'loss':>6}" + "".join(f" | {'SAD':>6} {'MSE':>7}" for _ in sets))
    for name in names:
        start = time.monotonic()
        network, error = train(ARMS[name], samples, settings)
        print(f"{ARMS[name].description:44} {(time.monotonic() - start) / 60:7.1f} {error:6.4f}", end="", flush=True)
        for images in sets:
            errors = validate(Matting(network, ON_CPU.device, border=0), images, ON_CPU)
            print(f" | {errors['sad']:6.2f} {errors['mse']:7.4f}", end="", flush=True)
        print(flush=True)


@program
def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compare training data by short trainings.",
        epilog="arms: " + "; ".join(f"{name}: {arm.description}" for name, arm in ARMS.items()))
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help="default: all")
    parser.add_argument("--samples", type=positive_int, default=10000, help="crops (default: %(default)s)")
    parser.add_argument("--crop", type=positive_int, default=96, help="crop side in pixels (default: %(default)s)")
    parser.add_argument("--drawings", type=positive_int, default=1500, help="default: %(default)s")
    parser.add_argument("--photographs", required=True, metavar="DIR", help="folder of photographs for colours")
    parser.add_argument("--data", type=any_path, nargs="+", default=[Path("data/generated/test")], metavar="DIR",
                        help="folders with merged/, alpha/ and trimap/ (default: data/generated/test)")
    parser.add_argument("--seed", type=whole_number, default=0, help="default: %(default)s")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="set a configuration key; may be repeated")
    args = parser.parse_args()
    logging.basicConfig(level="WARNING")
    torch.set_num_threads(1)
    settings = [f"data.photographs={args.photographs}", f"data.crop_size={args.crop}", f"train.seed={args.seed}",
                f"data.generated={args.drawings}", *args.set,
                "data.workers=0", "data.cache="]  # other processes do not see the constants; a cache would keep them
    if any(ARMS[name].cutouts for name in args.arms):  # fails before hours of other arms
        find_foregrounds(load_config(CONFIG, settings).data.cutouts)
    sets = [find_test_images(*(folder / part for part in ("merged", "alpha", "trimap"))) for folder in args.data]
    compare(args.arms, args.samples, settings, sets)
    return 0


if __name__ == "__main__":
    sys.exit(main())
