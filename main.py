"""Trains the network, or tests it on Composition-1K, configured by a TOML file.

    python main.py --config=config/gca-dist.toml
    torchrun --nproc_per_node=4 main.py --config=config/gca-dist.toml
    python main.py --config=config/gca-dist.toml --phase=test
"""

import argparse
import logging
import sys

from utils.arguments import add_config_arguments
from utils.device import usable_device
from utils.distributed import join_world, leave_world
from utils.program import announce, program


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train or test a matting network.")
    add_config_arguments(parser, default="config/gca-dist.toml")
    parser.add_argument("--phase", choices=("train", "test"), default="train", help="default: %(default)s")
    parser.add_argument("--device", metavar="NAME",
                        help="compute device, such as cpu (default: one GPU per process, or the CPU)")
    parser.add_argument("--local_rank", "--local-rank", type=int, metavar="N",
                        help="local rank of this process; passed by torch.distributed.launch")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("main.py", f"{'testing' if args.phase == 'test' else 'training'}, configured by {args.config}")
    return run(args)


def run(args: argparse.Namespace) -> int:
    """Trains or tests; returns the exit status."""
    from tester import test  # these import PyTorch, which takes seconds
    from trainer import train
    from training.run_log import logging_to_file
    from utils.config import ConfigError, load_config

    world = None
    try:
        config = load_config(args.config, args.set)
        device = usable_device("cpu" if args.phase == "test" and config.test.cpu else args.device)
        world = join_world(device, args.local_rank)
        logging.basicConfig(level=config.log.logging_level if world.is_main else "WARNING", format="%(message)s")
        if world.size > 1 and not config.dist:
            raise ConfigError(f"{args.config}: started as {world.size} processes, but dist is false; expected "
                              "dist = true (--set dist=true)")
        with logging_to_file(config, world):
            status = test(config, world) if args.phase == "test" else train(config, world)
        leave_world(world)
        return status
    except ConfigError:  # the same on all processes
        if world is None or world.is_main:
            raise
        return 1


if __name__ == "__main__":
    sys.exit(main())
