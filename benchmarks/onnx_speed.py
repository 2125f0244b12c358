"""Networks exported to ONNX, in stages or as a single graph, compared with the PyTorch predictor.

    python benchmarks/onnx_speed.py                     # network of the published width, random weights
    python benchmarks/onnx_speed.py --single --sizes 512 1024
    python benchmarks/onnx_speed.py --checkpoint checkpoints/gca-free/gca-free.pth --repeats 3

Each measurement runs in a separate process, whose peak memory is reported; the programs take turns, and the best of
the repeats counts. Exporting first takes a minute, several with known colours. The largest difference in alpha from
PyTorch's is over the unknown region. The trimap is unknown in 30 % of the pixels; there is no border.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from matting.onnx_predictor import OnnxMatting
from utils.arguments import any_path, positive_int
from utils.preprocessing import UNKNOWN, trimap_labels
from utils.program import program

PYTORCH, STAGES, SINGLE = "PyTorch", "stages", "single graph"
EXPORT = "export"  # a worker, too
SHARE = 0.3  # unknown


def run_worker(args: argparse.Namespace) -> None:
    """Measures one program in this process, prints seconds and GiB as JSON and writes alpha to the folder."""
    image, trimap = (np.load(args.folder / f"{kind}{args.sizes[0]}.npy") for kind in ("image", "trimap"))
    if args.worker == PYTORCH:
        matting = torch_predictor(args)
    else:
        matting = OnnxMatting(exported_path(args.folder, args.worker), border=0)
    start = time.perf_counter()
    alpha = matting(image, trimap)
    seconds = time.perf_counter() - start
    np.save(args.folder / f"{args.worker}.npy", alpha)
    print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]))


def torch_predictor(args: argparse.Namespace):
    from matting.predictor import Matting

    return Matting(network_of(args), "cpu", border=0, attention="exact")


def network_of(args: argparse.Namespace):
    from benchmarks.published import random_network
    from utils.checkpoint import load_network

    return load_network(args.checkpoint) if args.checkpoint else random_network()


def exported_path(folder: Path, kind: str) -> Path:
    return folder / ("gca-onnx" if kind == STAGES else "gca.onnx")


def prepare(args: argparse.Namespace, kinds: list[str]) -> None:
    """Writes the exported networks and the images of all sizes to the folder."""
    from benchmarks.published import example
    from matting.onnx_export import export

    network = network_of(args)
    metadata = {name: str(value) for name, value in network.architecture.items()}
    for kind in kinds[1:]:
        export(network, exported_path(args.folder, kind), {"version": "benchmark", **metadata},
               None if args.checkpoint else "fp32")
    for side in args.sizes:
        for name, array in zip(("image", "trimap"), example(side, side, SHARE), strict=True):
            np.save(args.folder / f"{name}{side}.npy", array)


def in_process(args: argparse.Namespace, worker: str, sizes: list[int]) -> str:
    """What a worker prints; also exporting has a process of its own, whose peak memory its children would inherit."""
    command = [sys.executable, __file__, "--worker", worker, "--folder", str(args.folder),
               "--sizes", *map(str, sizes)]
    command += ["--checkpoint", str(args.checkpoint)] if args.checkpoint else []
    command += ["--single"] if args.single else []
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(args: argparse.Namespace, kind: str, side: int) -> tuple[float, float, np.ndarray]:
    """Seconds, GiB and alpha of a program."""
    seconds, peak = json.loads(in_process(args, kind, [side]))
    return seconds, peak, np.load(args.folder / f"{kind}.npy")


def compare(args: argparse.Namespace, kinds: list[str]) -> None:
    """Prints a row per size and program."""
    print(f"{'size':>11} | {'network':>12} | {'seconds':>8} {'PyTorch = 1':>11} | {'peak':>8} | {'difference':>10}")
    for side in args.sizes:
        where = trimap_labels(np.load(args.folder / f"trimap{side}.npy")) == UNKNOWN
        rounds = [{kind: measure(args, kind, side) for kind in kinds} for _ in range(args.repeats)]
        best = {kind: min(results[kind][0] for results in rounds) for kind in kinds}
        for kind in kinds:
            peak = max(results[kind][1] for results in rounds)
            difference = np.abs(rounds[0][kind][2] - rounds[0][PYTORCH][2])[where].max()
            print(f"{f'{side} x {side}':>11} | {kind:>12} | {best[kind]:6.2f} s {best[kind] / best[PYTORCH]:11.2f} | "
                  f"{peak:4.2f} GiB | {difference:10.1e}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare networks exported to ONNX with the PyTorch predictor.")
    parser.add_argument("--sizes", type=positive_int, nargs="+", default=[1024, 2048],
                        help="sides of square images (default: %(default)s)")
    parser.add_argument("--single", action="store_true", help="also measure the single graph, which takes gigabytes")
    parser.add_argument("--repeats", type=positive_int, default=2, help="of each measurement (default: %(default)s)")
    parser.add_argument("--checkpoint", type=any_path, metavar="FILE",
                        help="that stores its architecture (default: the published network, random weights)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    kinds = [PYTORCH, STAGES] + [SINGLE] * args.single
    if args.worker:
        prepare(args, kinds) if args.worker == EXPORT else run_worker(args)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        print("onnx_speed.py: exporting", file=sys.stderr)
        in_process(args, EXPORT, args.sizes)
        compare(args, kinds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
