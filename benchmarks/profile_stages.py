"""Where the predictor's time goes: share by stage, beside this processor's matrix rate and memory bandwidth.

    python benchmarks/stages.py                                   # 2048 x 2048, 30 % unknown, published width
    python benchmarks/stages.py --size 6000 4000 --unknown 0.15 --attention near
    python benchmarks/stages.py --instructions avx2               # as on a processor without AVX-512

A stage's time is that of its calls without the stages within them. "System" is the share of the processor time that
the system spent for the process, most of it clearing new memory.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

# Of PyTorch's own loops, MKL's matrix products and oneDNN's convolutions; read when these are loaded.
CAPABILITY = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
              "all": {}}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure where the predictor's time goes.")
    parser.add_argument("--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), default=[2048, 2048])
    parser.add_argument("--unknown", type=float, default=0.3, help="unknown share (default: %(default)s)")
    parser.add_argument("--width", type=float, default=1.0, help="of the network (default: the published one's, 1)")
    parser.add_argument("--colours", action="store_true", help="with known colours as input")
    parser.add_argument("--attention", choices=("exact", "near"), default="exact")
    parser.add_argument("--repeats", type=int, default=2, help="the fastest counts (default: %(default)s)")
    parser.add_argument("--instructions", choices=CAPABILITY, default="all", help="the widest to be used")
    return parser.parse_args()


if __name__ == "__main__":  # before PyTorch is imported
    os.environ.update(CAPABILITY[parse_arguments().instructions])

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.inference import example
from benchmarks.memory import peak_memory
from benchmarks.published import random_network
from matting import tiling
from matting.predictor import Matting
from utils.program import program

PRODUCT = 2048  # side of the matrices whose product is timed
STREAM = 2**26  # floats that are copied


class Stages:
    """Seconds by stage, each without the stages within it."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._begun: list[list] = []  # stage, start

    def time(self, name: str, function: Callable) -> Callable:
        """`function`, whose calls count for stage `name`."""
        def timed(*arguments, **named):
            self._switch(name)
            try:
                return function(*arguments, **named)
            finally:
                self._switch(None)

        return timed

    def _switch(self, name: str | None) -> None:
        """Begins a stage, or ends the present one."""
        now = time.perf_counter()
        if self._begun:
            outer, since = self._begun[-1]
            self.seconds[outer] = self.seconds.get(outer, 0) + now - since
            self._begun[-1][1] = now
        if name is None:
            self._begun.pop()
            if self._begun:
                self._begun[-1][1] = now
        else:
            self._begun.append([name, now])


def watched(matting: Matting, stages: Stages) -> Matting:
    """The predictor, with its network's stages timed."""
    encoder, decoder = matting.network.encoder, matting.network.decoder
    for part, names, stage in ((encoder, ("half", "quarter", "guidance"), "stem"), (encoder, ("coarse",), "1/8 to 1/32"),
                               (decoder, ("eighth",), "1/8 to 1/32"), (decoder, ("quarter", "half", "alpha"), "1/8 to 1")):
        for name in names:
            setattr(part, name, stages.time(stage, getattr(part, name)))
    for shortcut in encoder.shortcut[:3]:
        shortcut.forward = stages.time("1/8 to 1", shortcut.forward)
    for part in (encoder, decoder):
        if part.gca is not None:
            part.gca.forward = stages.time("attention", part.gca.forward)
    matting.predict_batch = stages.time("everything else", matting.predict_batch)
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
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@program
def main() -> int:
    args = parse_arguments()
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}; "
          f"matrix products {matrix_rate():.0f} GFLOP/s, memory {memory_bandwidth():.1f} GB/s")
    network = random_network(width=args.width, colour_samples=args.colours)
    image, trimap = example(*args.size[::-1], args.unknown)
    best = None
    for _ in range(args.repeats):
        stages = Stages()
        matting = watched(Matting(network, "cpu", border=0, **({} if args.attention=="exact" else {"attention":args.attention})), stages)
        before = os.times()
        matting.predict_batch([(image, trimap)])
        after = os.times()
        cpu = [after.user - before.user, after.system - before.system]
        total = sum(stages.seconds.values())
        if best is None or total < best[0]:
            best = total, stages.seconds, cpu
    total, seconds, (user, system) = best
    print(f"{args.size[0]} x {args.size[1]}, {args.unknown:.0%} unknown, {args.attention}: {total:.2f} s, "
          f"system {system / (user + system):.0%} of {user + system:.1f} s of the cores, {peak_memory(matting.device) / 2**30:.2f} GiB")
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:>16} {value:8.2f} s {value / total:6.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
