"""Writes generated data to disk: a training set in the Adobe layout and a held-out test set.

    python tools/fetch_photographs.py --output data/photographs
    python tools/make_generated_data.py --output data/generated --photographs data/photographs

writes `train/{fg,alpha,bg}` and `test/{merged,alpha,trimap}`. The test set has its own seeds, photographs and families:
nothing in it is seen in training. Every other test image shows a family excluded from training, and half of the trimaps
imitate hand-drawn ones. Without --photographs all colours are generated. The output depends only on the arguments, not
on the number of processes.
"""

import argparse
import sys
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.augment import make_trimap
from dataloader.image_file import list_images
from dataloader.sample import Sample
from dataloader.synthetic.items import DrawnBackground, DrawnForeground, random_stream
from dataloader.synthetic.objects import FAMILIES, HELD_OUT
from dataloader.synthetic.postprocess import composite_as_photograph, plain_colours
from dataloader.synthetic.trimap_styles import redraw_trimap
from utils.arguments import any_path, image_side, positive_int, whole_number
from utils.file_writing import write_png
from utils.preprocessing import trimap_grey
from utils.processes import process_pool
from utils.program import announce, program
from utils.progress_bar import ProgressBar

TEST_SEED = 10**9  # beyond the training seeds
TRIMAP_KERNELS = (0.015, 0.12)  # range of the test set's erosion kernel sizes, as shares of the image side


def write_foreground(number: int, output: Path, size: int, seed: int, photographs: tuple[Path, ...]) -> None:
    """Writes train/fg/NUMBER.png and train/alpha/NUMBER.png."""
    pixels = DrawnForeground(seed, number, size, photographs).read()
    write_png(output / "train" / "fg" / f"{number:06d}.png", pixels[..., :3])
    write_png(output / "train" / "alpha" / f"{number:06d}.png", pixels[..., 3])


def write_background(number: int, output: Path, size: int, seed: int, photographs: tuple[Path, ...]) -> None:
    """Writes train/bg/NUMBER.png."""
    write_png(output / "train" / "bg" / f"{number:06d}.png", DrawnBackground(seed, number, size, photographs).read())


def write_test_image(number: int, output: Path, size: int, seed: int, photographs: tuple[Path, ...],
                     in_plain_colours: bool = False) -> None:
    """Writes test/{merged,alpha,trimap}/NUMBER.png."""
    rng = random_stream(TEST_SEED + seed, number)
    families = HELD_OUT if number % 2 else FAMILIES
    pixels = DrawnForeground(TEST_SEED + seed, number, size, photographs, families).read()
    background = DrawnBackground(TEST_SEED + seed, number, size, photographs).read()
    background = cv2.resize(background, (size, size), interpolation=cv2.INTER_AREA)
    alpha = pixels[..., 3] / np.float32(255)
    kernels = [max(1, round(size * rng.uniform(*TRIMAP_KERNELS))) for _ in range(2)]
    colours, background = np.float32(pixels[..., :3]), np.float32(background)
    trimap = make_trimap(alpha, kernels)
    if number % 4 >= 2:
        trimap = redraw_trimap(rng, trimap)
    sample = Sample(colours, trimap, alpha, colours, background)
    folder = output / "test"
    merged = (plain_colours if in_plain_colours else composite_as_photograph)(rng, sample).image
    write_png(folder / "merged" / f"{number:06d}.png", merged.astype(np.uint8))
    write_png(folder / "alpha" / f"{number:06d}.png", pixels[..., 3])
    write_png(folder / "trimap" / f"{number:06d}.png", trimap_grey(sample.trimap))


def make_data_set(output: Path, foregrounds: int, backgrounds: int, tests: int, size: int, seed: int = 1,
                  photographs: tuple[Path, ...] = (), held_out: tuple[Path, ...] = (), processes: int = 1,
                  in_plain_colours: bool = False) -> None:
    """Writes the requested images below `output`.

    Args:
        in_plain_colours: test images in nearly uniform colours, as at the start of training.
        photographs, held_out: for the training set and for the test set.

    Raises:
        ImageFileError: if a photograph cannot be read.
        OSError: if a file cannot be written.
    """
    jobs = [(function, count, partial(function, output=output, size=size, seed=seed, photographs=paths))
            for function, count, paths in ((write_foreground, foregrounds, photographs),
                                           (write_background, backgrounds, photographs),
                                           (partial(write_test_image, in_plain_colours=in_plain_colours), tests,
                                            held_out))]
    with ProgressBar(foregrounds + backgrounds + tests, "drawing") as bar:
        if processes == 1:
            for _, count, write in jobs:
                for number in range(count):
                    write(number)
                    bar.update()
            return
        with process_pool(processes) as pool:
            tasks = [pool.submit(write, number) for _, count, write in jobs for number in range(count)]
            for done in as_completed(tasks):
                done.result()
                bar.update()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Write generated training and test images.")
    parser.add_argument("--output", type=any_path, default=Path("data/generated"), help="folder (default: %(default)s)")
    parser.add_argument("--photographs", type=any_path, metavar="DIR",
                        help="folder with train/ and held-out/, as written by tools/fetch_photographs.py")
    parser.add_argument("--foregrounds", type=whole_number, default=64, help="default: %(default)s")
    parser.add_argument("--backgrounds", type=whole_number, default=64, help="default: %(default)s")
    parser.add_argument("--tests", type=whole_number, default=16, help="default: %(default)s")
    parser.add_argument("--size", type=image_side, default=512,
                        help="side in pixels, at least 64 (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number, default=1, help="default: %(default)s")
    parser.add_argument("--plain", action="store_true", help="test images in plain colours, which are easier")
    parser.add_argument("--processes", type=positive_int, default=1, help="default: %(default)s")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("make_generated_data.py", f"drawing {args.foregrounds + args.backgrounds + args.tests} images")
    photographs = [tuple(list_images(args.photographs / part)) if args.photographs else ()
                   for part in ("train", "held-out")]
    make_data_set(args.output, args.foregrounds, args.backgrounds, args.tests, max(64, args.size), args.seed,
                  *photographs, args.processes, args.plain)
    print(f"{args.output}: {args.foregrounds} foregrounds, {args.backgrounds} backgrounds, {args.tests} test images")
    return 0


if __name__ == "__main__":
    sys.exit(main())
