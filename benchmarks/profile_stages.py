"""Where the predictor's time goes: share by stage, beside this processor's matrix rate and memory bandwidth.

    python benchmarks/profile_stages.py                                   # 2048 x 2048, 30 % unknown, published width
    python benchmarks/profile_stages.py --size 6000 4000 --unknown 0.15 --attention near
    python benchmarks/profile_stages.py --instructions avx2               # as on a processor without AVX-512

A stage's time is that of its calls without the stages within them. "System" is the share of the processor time that
the system spent for the process, most of it clearing new memory.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("profile_stages.py: loading PyTorch", file=sys.stderr)

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.memory import peak_memory
from benchmarks.published import example, random_network, unknown_share
from matting.predictor import Matting
from utils.arguments import ATTENTIONS, positive_float, positive_int
from utils.program import program

# Of PyTorch's own loops, MKL's matrix products and oneDNN's convolutions; read when these are loaded.
WITHOUT_AVX512 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
PRODUCT = 2048  # side of the matrices whose product is timed
STREAM = 2**26  # floats that are copied


class Stages:
    """Seconds by stage, each without the stages within it."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._begun: list[str] = []
        self._since = 0.0

    def timed(self, stage: str, function: Callable) -> Callable:
        """`function`, whose calls count for a stage."""
        def counted(*arguments, **named):
            self._count()
            self._begun.append(stage)
            try:
                return function(*arguments, **named)
            finally:
                self._count()
                self._begun.pop()

        return counted

    def _count(self) -> None:
        """Adds the time since the last change to the stage that has been going on."""
        now = time.perf_counter()
        if self._begun:
            self.seconds[self._begun[-1]] = self.seconds.get(self._begun[-1], 0.0) + now - self._since
        self._since = now


def watched(matting: Matting, stages: Stages) -> Matting:
    """The predictor, with its network's stages timed."""
    encoder, decoder = matting.network.encoder, matting.network.decoder
    for part, names, stage in (
            (encoder, ("half", "quarter", "guidance"), "stem"), (encoder, ("coarse",), "1/8 to 1/32"),
            (decoder, ("eighth",), "1/8 to 1/32"), (decoder, ("quarter", "half", "alpha"), "1/8 to alpha")):
        for name in names:
            setattr(part, name, stages.timed(stage, getattr(part, name)))
    for shortcut in encoder.shortcut[:3]:
        shortcut.forward = stages.timed("1/8 to alpha", shortcut.forward)
    for part in (encoder, decoder):
        part.gca.forward = stages.timed("attention", part.gca.forward)
    matting.predict_batch = stages.timed("everything else", matting.predict_batch)
    return matting


def matrix_rate() -> float:
    """GFLOP/s of a product of two square matrices."""
    a, b = torch.randn(2, PRODUCT, PRODUCT)
    return 2 * PRODUCT**3 / shortest(lambda: a @ b) / 1e9


def memory_bandwidth() -> float:
    """GB/s, read and written, of copying an array that no cache holds."""
    source, target = torch.zeros(2, STREAM)
    return 2 * 4 * STREAM / shortest(lambda: target.copy_(source)) / 1e9


def shortest(function: Callable[[], object], repeats: int = 5) -> float:
    """Seconds of the fastest of several calls."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(args: argparse.Namespace) -> tuple[dict[str, float], float, float]:
    """Seconds by stage, and those of the cores in the program and in the system, of one image."""
    stages = Stages()
    network = random_network(width=args.width, colour_samples=args.colours)
    matting = watched(Matting(network, "cpu", border=0, attention=args.attention, offsets=False), stages)
    image, trimap = example(*args.size[::-1], args.unknown)
    before = os.times()
    matting.predict_batch([(image, trimap)])
    after = os.times()
    return stages.seconds, after.user - before.user, after.system - before.system


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure where the predictor's time goes.")
    parser.add_argument("--size", type=positive_int, nargs=2, metavar=("WIDTH", "HEIGHT"), default=[2048, 2048])
    parser.add_argument("--unknown", type=unknown_share, default=0.3, help="unknown share (default: %(default)s)")
    parser.add_argument("--width", type=positive_float, default=1.0, help="of the network (default: 1, as published)")
    parser.add_argument("--colours", action="store_true", help="with known colours as input")
    parser.add_argument("--attention", choices=ATTENTIONS, default="exact")
    parser.add_argument("--repeats", type=positive_int, default=2, help="the fastest counts (default: %(default)s)")
    parser.add_argument("--instructions", choices=("all", "avx2"), default="all", help="the widest to be used")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    if args.instructions == "avx2" and WITHOUT_AVX512.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WITHOUT_AVX512)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}; "
          f"matrix products {matrix_rate():.0f} GFLOP/s, memory {memory_bandwidth():.0f} GB/s")
    seconds, user, system = min((measure(args) for _ in range(args.repeats)), key=lambda found: sum(found[0].values()))
    total = sum(seconds.values())
    print(f"{args.size[0]} x {args.size[1]}, {args.unknown:.0%} unknown, {args.attention}: {total:.2f} s, system "
          f"{system / (user + system):.0%}, peak {peak_memory(torch.device('cpu')) / 2**30:.2f} GiB")
    for stage, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{stage:>16} {value:8.2f} s {value / total:6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
