"""Speed of generating training samples on one core, overall and by family.

    python -m benchmarks.generated --samples 60 --photographs data/photographs/train
"""

import argparse
import sys
import time

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("generated.py: loading PyTorch", file=sys.stderr)

import cv2
import numpy as np

from dataloader.dataset import make_training_dataset
from dataloader.synthetic.objects import FAMILIES
from dataloader.synthetic.photographs import read_photograph
from utils.arguments import any_path, positive_int
from utils.config import load_config
from utils.program import program


def milliseconds(function, repetitions: int) -> float:
    """Mean time of function(0), function(1), ..."""
    start = time.perf_counter()
    for i in range(repetitions):
        function(i)
    return 1000 * (time.perf_counter() - start) / repetitions


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Time generated training samples on one core.")
    parser.add_argument("--samples", type=positive_int, default=60, help="default: %(default)s")
    parser.add_argument("--side", type=positive_int, default=512, help="of foregrounds, crops (default: %(default)s)")
    parser.add_argument("--photographs", type=any_path, metavar="DIR", help="folder of photographs for colours")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    overrides = [f"data.generated={10 * args.samples}", f"data.generated_size={args.side}", "data.finish=true",
                 f"data.crop_size={args.side}", *([f"data.photographs={args.photographs}"] if args.photographs else ())]
    data = make_training_dataset(load_config(overrides=overrides))
    for path in data.backgrounds[0].photographs:
        read_photograph(path)  # decoded only once, so not timed
    whole = milliseconds(lambda i: data[0, i], args.samples)
    print(f"{'samples':28} {whole:8.1f} ms {1000 / whole:8.1f} a second")
    for family in FAMILIES:
        each = milliseconds(lambda i, family=family: family(np.random.default_rng(i), args.side), 12)
        print(f"{family.__name__.replace('_', ' '):28} {each:8.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
