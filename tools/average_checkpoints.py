"""Averages the weights of checkpoints that one training left, or trainings that began with the same weights.

    python tools/average_checkpoints.py first.pth second.pth --shares 0.4 0.6 --output=mean.pth

An average is often better than each of what it averages (Izmailov et al., "Averaging Weights Leads to Wider Optima and
Better Generalization", UAI 2018). All have to be of one architecture. The result is a checkpoint in half precision; its
spectral normalisation is that of the averaged weights, its batch-norm statistics are averaged.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("average_checkpoints.py: loading PyTorch", file=sys.stderr)

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from networks import MattingNetwork
from networks.spectral import set_singular_vectors
from training.weight_shards import save_half_precision
from utils.arguments import any_path, positive_float
from utils.checkpoint import CheckpointError, load_network
from utils.file_writing import check_writable
from utils.program import program

POWER_ITERATIONS = 200  # as where weights are widened


def averaged(networks: list[MattingNetwork], shares: list[float]) -> MattingNetwork:
    """The first network with the weighted mean of all networks' weights; whole numbers are the last one's.

    Args:
        networks: of one architecture.
        shares: weights of the mean, above 0; divided by their sum.
    """
    shares = [share / sum(shares) for share in shares]
    states = [network.state_dict() for network in networks]
    mean = {name: sum(share * state[name].double() for share, state in zip(shares, states, strict=True)).float()
            if last.is_floating_point() else last for name, last in states[-1].items()}
    set_singular_vectors(mean, POWER_ITERATIONS)
    networks[0].load_state_dict(mean)
    return networks[0].eval()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Average the weights of checkpoints of one network.")
    parser.add_argument("checkpoints", type=any_path, nargs="+", metavar="FILE", help="checkpoints, at least two")
    parser.add_argument("--shares", type=positive_float, nargs="+", metavar="X",
                        help="the share of each, in any unit (default: all the same)")
    parser.add_argument("--output", type=any_path, required=True, metavar="FILE", help="checkpoint that is written")
    args = parser.parse_args()
    args.shares = args.shares or [1.0] * len(args.checkpoints)
    if len(args.checkpoints) < 2:
        parser.error("one checkpoint; expected at least two")
    if len(args.shares) != len(args.checkpoints):
        parser.error(f"{len(args.shares)} shares for {len(args.checkpoints)} checkpoints")
    return args


@program
def main() -> int:
    args = parse_arguments()
    check_writable(args.output.parent)
    networks = [load_network(path) for path in args.checkpoints]
    for path, network in zip(args.checkpoints, networks, strict=True):
        if network.architecture != networks[0].architecture:
            raise CheckpointError(f"{path}: its architecture is {network.architecture}; expected that of "
                                  f"{args.checkpoints[0]}, {networks[0].architecture}")
    save_half_precision(args.output, averaged(networks, args.shares))
    print(f"the average of {len(networks)} checkpoints is in {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
