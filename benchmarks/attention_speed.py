"""Time and memory of the attention block compared with its published formulation.

    python benchmarks/attention_speed.py --sizes 64 128 256

The published formulation uses patches as convolution kernels and holds the full attention matrix. Both get the same
parameters and inputs; `size` is the side of the alpha feature, an eighth of the image's. The two alternate, and the
fastest of several runs counts; memory is what one run adds to the peak of a separate process.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("attention_speed.py: loading PyTorch", file=sys.stderr)

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from networks import GuidedContextualAttention
from utils.program import program

CHANNELS = 128
PAIRS_PER_REPEAT = 2**26  # of positions; smaller sizes are repeated more often


def published(block: GuidedContextualAttention, guidance: Tensor, alpha: Tensor,
              unknown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Computes `block` as Li and Lu published it: image by image, in three convolutions."""
    feature = F.interpolate(block.guidance_conv(guidance), scale_factor=0.5, mode="nearest")
    mask = F.interpolate(unknown, scale_factor=0.5, mode="nearest")
    h, w = feature.shape[2:]
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect")
    keys = _as_kernels(F.unfold(grid, 3), 3)
    values = _as_kernels(F.unfold(F.pad(alpha, (1, 1, 1, 1), mode="reflect"), 4, stride=2), 4)
    keys_unknown = F.avg_pool2d(F.pad(mask, (1, 1, 1, 1), mode="reflect"), 3, stride=1).flatten(1) > 0
    share = mask.mean(dim=(1, 2, 3))
    scales = torch.stack([share / (1 - share), (1 - share) / share], dim=1).sqrt().clamp(0.1, 10)
    messages, strongest = [], []
    for i in range(len(alpha)):
        norms = keys[i].flatten(1).norm(dim=1).clamp_min(1e-4)
        scores = F.conv2d(grid[i:i + 1], keys[i] / norms.view(-1, 1, 1, 1))
        scores.mul_(torch.where(keys_unknown[i], *scales[i]).view(1, -1, 1, 1))
        scores.view(h * w, h * w).diagonal().add_(-1e4 * keys_unknown[i])
        strongest.append(scores.argmax(dim=1))
        messages.append(F.conv_transpose2d(scores.softmax(dim=1), values[i], stride=2, padding=1) / 4)
    key = torch.cat(strongest)
    offsets = torch.stack([key // w - h // 2, key % w - w // 2], dim=1)
    return alpha + block.W(torch.cat(messages)), offsets, scales


def _as_kernels(patches: Tensor, side: int) -> Tensor:
    """Patches (N, C * side^2, positions) as kernels (N, positions, C, side, side)."""
    return patches.transpose(1, 2).contiguous().unflatten(2, (-1, side, side))


def current(block: GuidedContextualAttention, *tensors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return block(*tensors)


VERSIONS = {"published": published, "this": current}


def inputs(size: int, device: str) -> tuple[GuidedContextualAttention, Tensor, Tensor, Tensor]:
    """An attention block and its guidance, alpha feature and unknown mask."""
    torch.manual_seed(0)
    block = GuidedContextualAttention(CHANNELS, CHANNELS).eval()
    torch.nn.init.ones_(block.W[1].weight)  # so that differences are visible
    guidance, alpha = torch.randn(2, 1, CHANNELS, size, size)
    # Smoothed like features of photographs, where many keys share the attention.
    guidance = F.avg_pool2d(guidance, 5, stride=1, padding=2)
    unknown = (torch.rand(1, 1, size, size) < 0.4).float()
    return tuple(x.to(device) for x in (block, guidance, alpha, unknown))


def timed(run: Callable[[], tuple[Tensor, ...]], device: str) -> float:
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def added_memory(version: str, size: int, device: str) -> int:
    """Bytes by which a run raises the peak memory of this process, or of the GPU."""
    attention = VERSIONS[version]
    attention(*inputs(16, device))  # one-time allocations of libraries
    tensors = inputs(size, device)
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        attention(*tensors)
        return torch.cuda.max_memory_allocated() - before
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    attention(*tensors)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def added_memory_elsewhere(version: str, size: int, device: str) -> int:
    command = [sys.executable, __file__, "--device", device, "--sizes", str(size), "--memory-of", version]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--memory-of", choices=VERSIONS, help="print only its memory in bytes at the first size")
    arguments = parser.parse_args()
    device = arguments.device
    if arguments.memory_of is not None:
        print(added_memory(arguments.memory_of, arguments.sizes[0], device))
        return 0

    # Measured first: a process's peak starts at the size of its parent.
    memory = {size: [added_memory_elsewhere(version, size, device) / 2**20 for version in VERSIONS]
              for size in arguments.sizes}
    row = "{:>5} {:>12} {:>9} {:>7} {:>14} {:>11} {:>12} {:>14}"
    print(row.format("size", "published s", "this s", "ratio", "published MiB", "this MiB", "difference",
                     "offsets apart"))
    for size in arguments.sizes:
        tensors = inputs(size, device)
        seconds = {version: [] for version in VERSIONS}
        for _ in range(2 + PAIRS_PER_REPEAT // (size // 2) ** 4):
            for version, attention in VERSIONS.items():
                seconds[version].append(timed(partial(attention, *tensors), device))
        theirs, ours = (attention(*tensors) for attention in VERSIONS.values())
        difference = (theirs[0] - ours[0]).abs().max().item()
        apart = (theirs[1] != ours[1]).any(dim=1).sum().item()
        slow, fast = (min(times) for times in seconds.values())
        print(row.format(size, f"{slow:.3f}", f"{fast:.3f}", f"{slow / fast:.1f}", *(f"{m:.0f}" for m in memory[size]),
                         f"{difference:.1e}", apart), flush=True)
    return 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
