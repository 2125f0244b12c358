"""Trains the network, or tests it on Composition-1K, as a TOML file says.

    python main.py --config=config/gca-dist.toml
    torchrun --nproc_per_node=4 main.py --config=config/gca-dist.toml
    python main.py --config=config/gca-dist.toml --phase=test
"""

import argparse
import logging
import sys

from dataloader.image_file import ImageFileError
from tester import test
from trainer import TrainingError, train
from utils.checkpoint import CheckpointError
from utils.config import ConfigError, add_config_arguments, load_config
from utils.device import device_argument
from utils.distributed import join_world, leave_world


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train or test a matting network.")
    add_config_arguments(parser, default="config/gca-dist.toml")
    parser.add_argument("--phase", choices=("train", "test"), default="train", help="default: %(default)s")
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu (default: each process its GPU, or the CPU)")
    parser.add_argument("--local_rank", "--local-rank", type=int, metavar="N",
                        help="this process's number on its machine; passed by torch.distributed.launch")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    world = None
    try:
        config = load_config(args.config, args.set)
        device = device_argument("cpu") if args.phase == "test" and config.test.cpu else args.device
        world = join_world(device, args.local_rank)
        logging.basicConfig(level=config.log.logging_level if world.is_main else "WARNING", format="%(message)s")
        if world.size > 1 and not config.dist:
            raise ConfigError(f"{args.config}: started as {world.size} processes, but dist is false")
        if args.phase == "test":
            return test(config, world)
        stopped_by = train(config, world)
        return 128 + stopped_by if stopped_by else 0
    except (ConfigError, CheckpointError, ImageFileError, TrainingError) as error:
        if world is None or world.is_main:
            print(f"main.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("main.py: interrupted", file=sys.stderr)
        return 130
    finally:
        if world is not None:
            leave_world(world)


if __name__ == "__main__":
    sys.exit(main())
