"""Speed of the test phase and of the four errors on images of Composition-1K's sizes.

    python benchmarks/composition_1k_speed.py --published-images 5    # a tenth of the published loop's half an hour
    python benchmarks/composition_1k_speed.py --folder DIR            # keeps the images for the next run
    python benchmarks/composition_1k_speed.py --processes 2           # the test phase with torchrun, a core per process

Draws 50 test images (`benchmarks/typical_images.py`) and measures commands from their start to their end, on the CPU:
main.py's test phase on all images, and on those that the published loop (`benchmarks/published_test.py`) is measured
on; then, on the predictions of all images, evaluate.py and the errors in the published Python formulation. The network
is the published one with seeded weights. Each pair of commands has the same files, and their results are compared.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("composition_1k_speed.py: loading PyTorch", file=sys.stderr)

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.published import random_network
from benchmarks.typical_images import draw_sizes, write_examples
from dataloader.image_file import read_grey
from dataloader.image_folders import Triple, find_test_images
from utils.arguments import any_path, positive_int, whole_number
from utils.checkpoint import save_checkpoint
from utils.program import program

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("merged", "alpha", "trimap")
IMAGES = 50


class Run(NamedTuple):
    """A command's duration and results."""

    seconds: float
    predictions: Path
    errors: dict[str, dict[str, float]]  # file name -> errors by name


def spread(triples: list[Triple], count: int) -> list[Triple]:
    """At most `count` images evenly spread over the images in order of size."""
    ordered = sorted(triples, key=lambda triple: triple.size[0] * triple.size[1])
    count = min(count, len(ordered))
    return [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]


def copied(triples: list[Triple], folder: Path) -> Path:
    """Copies the files of test images to merged, alpha and trimap in a folder; returns the folder."""
    for kind, files in zip(KINDS, list(zip(*triples, strict=True))[:3], strict=True):
        (folder / kind).mkdir(parents=True)
        for file in files:
            shutil.copy2(file, folder / kind)
    return folder


def timed(name: str, *command: str | Path, processes: int = 1) -> float:
    """Seconds of a command of this project, from its start to its end; ends this program if the command fails."""
    print(f"measuring {name}", file=sys.stderr)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
    start = time.perf_counter()
    result = subprocess.run([sys.executable, *launcher, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if result.returncode:
        sys.exit(f"{name} failed:\n{result.stdout}{result.stderr}")
    return seconds


def run_test_phase(data: Path, checkpoint: Path, output: Path, processes: int) -> Run:
    """main.py's test phase on a folder with merged, alpha and trimap."""
    values = {"version": "test", "dist": "true" if processes > 1 else "false", "test.checkpoint": checkpoint,
              "test.fast_eval": "false", "test.alpha_path": output, "log.logging_path": output / "log",
              **{f"test.{kind}": data / kind for kind in KINDS}}
    settings = [part for key, value in values.items() for part in ("--set", f"{key}={value}")]
    seconds = timed("the test phase", "main.py", "--config=config/gca-dist.toml", "--phase=test", "--device=cpu",
                    *settings, processes=processes)
    predictions = output / "test"
    return Run(seconds, predictions, json.loads((predictions / "errors.json").read_text())["images"])


def run_evaluate(data: Path, predictions: Path, output: Path) -> Run:
    """evaluate.py on existing predictions."""
    seconds = timed("the errors", "evaluate.py", "--pred-dir", predictions, "--alpha-dir", data / "alpha",
                    "--trimap-dir", data / "trimap", "--json", output)
    return Run(seconds, predictions, json.loads(output.read_text())["images"])


def run_published(data: Path, predictions: Path, output: Path, checkpoint: Path | None = None) -> Run:
    """The published loop; without a checkpoint only its errors, of existing predictions."""
    name = "the published loop" if checkpoint else "the published errors"
    seconds = timed(name, "-m", "benchmarks.published_test", "--data", data, "--predictions", predictions,
                    "--errors", output, *(("--checkpoint", checkpoint) if checkpoint else ()))
    return Run(seconds, predictions, json.loads(output.read_text()))


def difference_of_errors(ours: Run, published: Run) -> float:
    """The largest relative difference of an error of an image."""
    return max(abs(ours.errors[name][error] - value) / max(abs(value), 1e-12)
               for name, row in published.errors.items() for error, value in row.items())


def difference_of_predictions(ours: Run, published: Run) -> int:
    """The largest difference of two predictions, in levels of 255."""
    return max(np.abs(read_grey(ours.predictions / name).astype(int) - read_grey(published.predictions / name)).max()
               for name in published.errors)


def compare(data: Path, published_images: int, processes: int, work: Path) -> None:
    """Measures everything on a folder of test images and prints a table; intermediate files go to `work`.

    Args:
        processes: of the test phase.
    """
    triples = find_test_images(*(data / kind for kind in KINDS))
    pixels = np.array([width * height for *_, (width, height) in triples])
    unknown = np.mean([(read_grey(triple.trimap) == 128).mean() for triple in triples])
    print(f"{len(triples)} images of {pixels.mean() / 1e6:.2f} megapixels on average, the largest of "
          f"{pixels.max() / 1e6:.2f}, {unknown:.1%} unknown; {os.cpu_count()} cores")
    checkpoint = work / "network.pth"
    save_checkpoint(checkpoint, random_network())

    everything = run_test_phase(data, checkpoint, work / "all", processes)
    print(f"test phase: {everything.seconds:.1f} s, {60 * len(triples) / everything.seconds:.1f} images per minute")
    print(f"{'':28} {'images':>6} {'published':>10} {'here':>9} {'ratio':>6}  largest difference")
    if published_images:
        compare_test_phase(triples, published_images, checkpoint, everything, processes, work)
    errors = run_evaluate(data, everything.predictions, work / "errors.json")
    published = run_published(data, everything.predictions, work / "published_errors.json")
    print_row("the four errors", len(triples), published, errors,
              f"{difference_of_errors(errors, published):.0e} (relative)")


def compare_test_phase(triples: list[Triple], count: int, checkpoint: Path, everything: Run, processes: int,
                       work: Path) -> None:
    """Measures the published loop on some of the images, and the test phase on the same."""
    chosen = spread(triples, count)
    data = copied(chosen, work / "chosen")
    everything_chosen = len(chosen) == len(triples)
    ours = everything if everything_chosen else run_test_phase(data, checkpoint, work / "some", processes)
    predictions = work / "published"
    predictions.mkdir()
    published = run_published(data, predictions, work / "published.json", checkpoint)
    print_row("test phase", len(chosen), published, ours, f"{difference_of_predictions(ours, published)} of 255; "
              f"errors: {difference_of_errors(ours, published):.0e} (relative)")


def print_row(name: str, images: int, published: Run, ours: Run, difference: str) -> None:
    print(f"{name:28} {images:6} {published.seconds:8.1f} s {ours.seconds:7.1f} s "
          f"{published.seconds / ours.seconds:6.1f}  {difference}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time the test phase and the four errors.")
    parser.add_argument("--images", type=positive_int, default=IMAGES, metavar="N",
                        help="images to draw (default: %(default)s)")
    parser.add_argument("--published-images", type=whole_number, default=IMAGES, metavar="N",
                        help="measure the published loop on N images, evenly spread over their sizes; 0: not at all "
                             "(default: %(default)s)")
    parser.add_argument("--processes", type=positive_int, default=1, metavar="N",
                        help="of the test phase, started by torchrun (default: %(default)s)")
    parser.add_argument("--folder", type=any_path, metavar="DIR",
                        help="test images in merged/, alpha/ and trimap/, drawn if there is no such folder (default: "
                             "a temporary folder)")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    with tempfile.TemporaryDirectory() as work:
        data = args.folder.resolve() if args.folder else Path(work) / "data"
        if not data.exists():
            print(f"drawing {args.images} images", file=sys.stderr)
            drawn = Path(work) / "drawn"
            write_examples(drawn, draw_sizes(args.images))
            shutil.move(drawn, data)  # whole: an interrupted run leaves no part of them
        compare(data, args.published_images, args.processes, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
