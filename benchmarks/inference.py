"""The whole network as published (straightforward attention, unfolded) compared with the predictor.

    python benchmarks/inference.py                        # sizes and unknown shares as in benchmarks/README.md
    python benchmarks/inference.py --scaling docs/inference_scaling.png
    python benchmarks/inference.py --colours              # cost of known colours as input
    python benchmarks/inference.py --device cuda

Each measurement runs in a separate process, whose peak memory is reported. All use the same image and weights: the
network as published, and the predictor with exact and with near attention. Ratios and differences of alpha (the largest
over the unknown region) are to the published network, or to exact attention where that is too large to be run.
--colours instead times two networks alternately in one process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("inference.py: loading PyTorch", file=sys.stderr)

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.memory import peak_memory
from benchmarks.published import example, published_network, random_network, unknown_share
from matting.predictor import NEAR_FROM, Matting
from utils.arguments import ATTENTIONS, any_path
from utils.device import default_device, usable_device
from utils.errors import InputError
from utils.precision import arithmetic
from utils.preprocessing import UNKNOWN, trimap_labels
from utils.program import program
from utils.tensors import encode_trimap, normalise

TYPICAL = (1696, 1344, 0.26)  # height, width, unknown share: 2.28 megapixels, the mean of Composition-1K's test images
SIZES = [(512, 512, 0.3), (1024, 1024, 0.1), (1024, 1024, 0.3), (1024, 1024, 1.0), TYPICAL, (2048, 2048, 0.3),
         (4096, 4096, 0.3)]
SCALING = [(size, size, 0.3) for size in (256, 512, 1024, 1536, 2048, 3072, 4096)]
COLOURS_SIZE = (1024, 1024, 0.3)
COLOURS_REPEATS = 7
PUBLISHED = "published"
LARGEST_PUBLISHED = 2200 * 2200  # pixels; beyond, the full attention matrices need tens of gigabytes


class Measurement(NamedTuple):
    """The result of one process."""

    seconds: float  # per image, the best of the repetitions
    peak: float  # GiB
    alpha: np.ndarray  # (H, W) float32


@torch.inference_mode()
def run_published(image: np.ndarray, trimap: np.ndarray, device: torch.device,
                  repeats: int) -> tuple[float, np.ndarray]:
    """Seconds and alpha of the network as published; sides must be multiples of 32."""
    network = published_network().to(device)
    inputs = (normalise(image)[None].to(device), encode_trimap(trimap_labels(trimap), 3)[None].to(device))

    def compute() -> np.ndarray:
        with arithmetic(device, "fp32"):
            return network(*inputs).alpha[0, 0].cpu().numpy()

    return best(compute, repeats)


def run_predictor(attention: str, image: np.ndarray, trimap: np.ndarray, device: torch.device,
                  repeats: int) -> tuple[float, np.ndarray]:
    """Seconds and alpha of the predictor, without the demo's border so that both compute the same image."""
    matting = Matting(random_network(), device, border=0, attention=attention)
    return best(lambda: matting(image, trimap), repeats)


def best(compute, repeats: int) -> tuple[float, np.ndarray]:
    """The shortest time of `repeats` calls, after a warm-up call if there are several, and the result."""
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        start = time.perf_counter()
        result = compute()
        seconds.append(time.perf_counter() - start)
    return min(seconds[repeats > 1:]), result


def measure(program: str, size: tuple[int, int, float], device: torch.device) -> Measurement:
    """Runs a measurement in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        alpha = Path(folder) / "alpha.npy"
        command = [sys.executable, __file__, "--worker", program, "--device", str(device), "--alpha", str(alpha),
                   "--size", *map(str, size)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        return Measurement(result["seconds"], result["peak"], np.load(alpha))


def run_worker(args: argparse.Namespace) -> None:
    """Runs one measurement in this process and prints its result as JSON."""
    height, width, unknown = int(args.size[0]), int(args.size[1]), float(args.size[2])
    image, trimap = example(height, width, unknown)
    run = run_published if args.worker == PUBLISHED else partial(run_predictor, args.worker)
    repeats = 3 if height * width <= 1500**2 else 1
    seconds, alpha = run(image, trimap, args.device, repeats)
    np.save(args.alpha, alpha)
    print(json.dumps({"seconds": seconds, "peak": peak_memory(args.device) / 2**30}))


def compare(sizes: list[tuple[int, int, float]], device: torch.device) -> list[dict]:
    """Measures the programs at each size, by turns, and prints a row for each."""
    print(f"{'size':>11} {'unknown':>7} {'program':>9} | {'seconds':>8} {'ratio':>6} {'GiB':>6} | difference")
    rows = []
    for size in sizes:
        height, width, unknown = size
        found = {attention: measure(attention, size, device) for attention in ATTENTIONS}
        if height * width <= LARGEST_PUBLISHED:
            found[PUBLISHED] = measure(PUBLISHED, size, device)
        reference = found.get(PUBLISHED, found["exact"])
        where = trimap_labels(example(*size)[1]) == UNKNOWN
        for name, (seconds, peak, alpha) in found.items():
            difference = np.abs(alpha - reference.alpha)[where]
            print(f"{f'{width} x {height}':>11} {unknown:7.0%} {name:>9} | {seconds:8.2f} "
                  f"{reference.seconds / seconds:5.1f}x {peak:6.2f} | {difference.max():.1e}", flush=True)
        default = "near" if device.type == "cpu" and height * width >= NEAR_FROM else "exact"
        rows.append({"side": (height * width) ** 0.5, "published": found.get(PUBLISHED), "predictor": found[default]})
    return rows


def compare_colours(device: torch.device) -> None:
    """Times networks without and with colour samples alternately in this process; prints a row per width."""
    height, width, unknown = COLOURS_SIZE
    image, trimap = example(*COLOURS_SIZE)
    print(f"{width} x {height}, {unknown:.0%} unknown")
    print(f"{'channels':>18} | {'without':>9} {'with':>9} {'more':>6}")
    for name, factor in (("published", 1.0), ("light, 3/8", 0.375)):
        mattings = [Matting(random_network(width=factor, colour_samples=colours), device, border=0)
                    for colours in (False, True)]
        seconds = [[timed(matting, image, trimap) for matting in mattings] for _ in range(1 + COLOURS_REPEATS)]
        without, with_colours = np.min(seconds[1:], axis=0)
        print(f"{name:>18} | {without:7.3f} s {with_colours:7.3f} s {with_colours / without - 1:6.1%}", flush=True)


def timed(matting: Matting, image: np.ndarray, trimap: np.ndarray) -> float:
    start = time.perf_counter()
    matting(image, trimap)
    return time.perf_counter() - start


def plot_scaling(rows: list[dict], path: Path) -> None:
    """Seconds and memory over the side of square images."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4))
    for axis, (value, title) in zip(axes, (("seconds", "seconds"), ("peak", "peak memory, GiB")), strict=True):
        for version, colour in (("published", "#c05621"), ("predictor", "#2b6cb0")):
            points = [(row["side"], getattr(row[version], value)) for row in rows if row[version]]
            axis.plot(*zip(*points, strict=True), "o-", color=colour, label=version)
        axis.set_xscale("log")
        if value == "seconds":
            axis.set_yscale("log")
        axis.set_xticks([row["side"] for row in rows], [f"{row['side']:.0f}" for row in rows], rotation=45)
        axis.minorticks_off()
        axis.set_xlabel("side of the image, pixels")
        axis.set_title(title)
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare the network as published with the predictor.")
    parser.add_argument("--device", help="default: CUDA if available")
    parser.add_argument("--sizes", type=int, nargs="+", help="sides of square images, instead of the default sizes")
    parser.add_argument("--unknown", type=unknown_share, nargs="+", default=[0.3], help="unknown shares for --sizes")
    parser.add_argument("--scaling", type=any_path, metavar="PNG", help="measure sides from 256 to 4096 and plot them")
    parser.add_argument("--colours", action="store_true", help="measure only the cost of colour samples")
    for internal in ("--worker", "--alpha"):
        parser.add_argument(internal, help=argparse.SUPPRESS)
    parser.add_argument("--size", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device = usable_device(args.device) or default_device()
    return args


@program
def main() -> int:
    args = parse_arguments()
    if args.worker:
        run_worker(args)
        return 0
    if args.colours:
        compare_colours(args.device)
        return 0
    if args.scaling and not find_spec("matplotlib"):
        raise InputError("--scaling needs matplotlib: pip install matplotlib")
    sizes = [(side, side, share) for side in args.sizes for share in args.unknown] if args.sizes else SIZES
    rows = compare(SCALING if args.scaling else sizes, args.device)
    if args.scaling:
        plot_scaling(rows, args.scaling)
    return 0


if __name__ == "__main__":
    sys.exit(main())
