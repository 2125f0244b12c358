"""Speed of generating training samples one by one and in batches on the device.

    python -m benchmarks.samples --photographs data/photographs/train
    python -m benchmarks.samples --photographs data/photographs/train --device cuda --crops 64 256 512

Both use the same existing drawings: from a cache for samples generated one by one, from banks for batches. --threads is
the number of cores of each: loader processes for the former, PyTorch threads for the latter.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("samples.py: loading PyTorch", file=sys.stderr)

import cv2
import torch
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.dataset import make_training_dataset
from dataloader.loader import start_worker
from dataloader.on_device.batches import DeviceSamples, make_banks
from dataloader.on_device.recipe import PRESENT, REALISTIC
from utils.arguments import any_path, positive_int
from utils.config import load_config
from utils.device import usable_device
from utils.distributed import World
from utils.program import program


def seconds_a_sample(batches, size: int, count: int, device: torch.device) -> float:
    """Mean seconds per sample over `count` batches of `size` samples, after one warm-up batch."""
    next(batches)
    _wait_for(device)
    start = time.perf_counter()
    for _ in range(count):
        next(batches)
    _wait_for(device)
    return (time.perf_counter() - start) / count / size


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Time samples generated one by one and in batches on the device.")
    parser.add_argument("--photographs", type=any_path, required=True, metavar="DIR", help="folder of photographs")
    parser.add_argument("--drawings", type=positive_int, default=200, help="default: %(default)s")
    parser.add_argument("--crops", type=positive_int, nargs="+", default=[64, 96, 128, 160, 256, 512])
    parser.add_argument("--threads", type=positive_int, default=1, help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="default: cpu")
    args = parser.parse_args()
    args.device = usable_device(args.device)
    cv2.setNumThreads(1)
    torch.set_num_threads(args.threads)
    compare(args)
    return 0


def compare(args: argparse.Namespace) -> None:
    """Prints a row per crop size."""
    world = World(0, 1, args.device)
    with tempfile.TemporaryDirectory() as cache:
        settings = [f"data.generated={args.drawings}", f"data.photographs={args.photographs}", "data.finish=true",
                    f"data.bank={args.drawings}", f"data.cache={cache}", "data.workers=0"]
        banks = make_banks(load_config(overrides=settings), world)
        print(f"{'crop':>5} {'one by one':>12} {'on device':>12} {'ratio':>6} {'default recipe':>15} {'ratio':>6} (ms)")
        for crop in args.crops:
            size = max(4, 1024 // crop)
            config = load_config(overrides=[*settings, f"data.crop_size={crop}", f"model.batch_size={size}"])
            data = make_training_dataset(config, config.train.seed)
            count = max(4, 160 // size)
            order = [[(batch, (batch * size + i) % len(data)) for i in range(size)] for batch in range(count + 1)]
            workers = 0 if args.threads == 1 else args.threads
            single = seconds_a_sample(iter(DataLoader(
                data, batch_sampler=order, num_workers=workers, worker_init_fn=start_worker if workers else None,
                multiprocessing_context="spawn" if workers else None)), size, count, args.device)
            together = [seconds_a_sample(DeviceSamples(banks, config, world, recipe=recipe), size, count, args.device)
                        for recipe in (PRESENT, REALISTIC)]
            columns = [f" {1000 * each:{width}.2f} {single / each:6.1f}"
                       for each, width in zip(together, (12, 15), strict=True)]
            print(f"{crop:5d} {1000 * single:12.2f}" + "".join(columns), flush=True)


if __name__ == "__main__":
    sys.exit(main())
