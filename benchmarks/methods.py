"""Compares errors, time and memory of checkpoints and of PyMatting's methods on sets of test images.

    python tools/make_generated_data.py --foregrounds 0 --backgrounds 0 --tests 32
    python benchmarks/methods.py --data data/generated/test --flip --scales 1 0.5 --output data/comparison

A set is a folder with merged/, alpha/ and trimap/, or the three folders of --image-dir, --alpha-dir and --trimap-dir.
For each set a table is printed: mean SAD, MSE, Grad and Conn over the images, seconds per image, and the peak memory of
a process that does nothing else. --output gets mattes, errors.csv with a line for each set, image and method,
methods.png, error over seconds (needs matplotlib), and worst.jpg, the images on which the first method is worst.

Images on which a method fails, as it can if almost nothing is known, are excluded for all methods and counted; so are
unreadable files, and then the exit status is 1. A checkpoint that does not store its architecture needs --config,
unless it has the published one.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.compared_methods import (
    PYMATTING,
    Method,
    MethodError,
    MethodProcess,
    NetworkMethod,
    PyMattingMethod,
    limit_threads,
)
from benchmarks.methods_report import MATTES, Row, draw_chart, draw_worst, file_name, print_table, write_csv
from dataloader.image_file import read_grey, read_image
from dataloader.image_folders import Triple, find_test_images
from evaluation.metrics import check_inputs, matting_errors
from matting.options import DEFAULT_CHECKPOINT, add_device_argument
from utils.arguments import any_path, positive_int, scale_factor
from utils.errors import InputError
from utils.file_writing import check_writable, write_png
from utils.program import announce, program
from utils.progress_bar import in_steps

PARTS = ("merged", "alpha", "trimap")
WORST = 5  # images of worst.jpg

METHODS = tuple(PYMATTING)


def unique_names(names: list[tuple[str, Path]], taken: Iterable[str] = ()) -> list[str]:
    """Each path's short name, or the whole path if the short one is not unique.

    Args:
        names: short name and path.
        taken: names that others have.

    Raises:
        InputError: if a path is given twice, or its files would have the same names as another's.
    """
    count = Counter(file_name(name) for name in (*(name for name, _ in names), *taken))
    result = [name if count[file_name(name)] == 1 else str(path) for name, path in names]
    taken = {file_name(name) for name in taken}
    for name, (_, path) in zip(result, names, strict=True):
        if file_name(name) in taken:
            raise InputError(f"{path}: given twice, or the same name as something else that is compared")
        taken.add(file_name(name))
    return result


def chosen_sets(args: argparse.Namespace) -> dict[str, list[Triple]]:
    """The test images by the name of their set.

    Raises:
        ImageFileError: as `find_test_images` does.
        InputError: as `unique_names` does.
    """
    folders = [(folder, tuple(folder / part for part in PARTS)) for folder in args.data]
    if args.image_dir:
        folders.append((args.image_dir, (args.image_dir, args.alpha_dir, args.trimap_dir)))
    names = [(_set_name(folder.resolve()), folder) for folder, _ in folders]
    return dict(zip(unique_names(names), (find_test_images(*parts) for _, parts in folders), strict=True))


def _set_name(folder: Path) -> str:
    """The folder's name, or that of the folder around it if it is called "test"."""
    return folder.parent.name if folder.name == "test" and folder.parent.name else folder.name


def chosen_methods(args: argparse.Namespace) -> dict[str, Method]:
    """The methods by name: each checkpoint, also refined, from coarse to fine and averaged as asked, and PyMatting's.

    Raises:
        InputError: as `unique_names` does.
    """
    methods = {}
    averages = [(True, (1.0,))] * args.flip + ([(args.flip, tuple(args.scales))] if args.scales else [])
    names = unique_names([(path.stem, path) for path in args.checkpoint], PYMATTING.values())
    for name, path, config in zip_longest(names, args.checkpoint, args.config):
        methods[name] = NetworkMethod(path, config, device=args.device)
        if args.refine:
            methods[f"{name} --refine"] = methods[name]._replace(refine=True)
        if args.coarse_to_fine:
            options = ["--coarse-to-fine"] + ["--refine"] * args.refine
            methods[" ".join([name, *options])] = methods[name]._replace(refine=args.refine, coarse_to_fine=True)
        for flip, scales in averages:
            options = ["--flip"] * flip + ["--scales", *(f"{scale:g}" for scale in scales)] * (scales != (1.0,))
            options += ["--refine"] * args.refine
            methods[" ".join([name, *options])] = methods[name]._replace(flip=flip, scales=scales, refine=args.refine)
    return methods | {PYMATTING[name]: PyMattingMethod(name) for name in args.methods}


def compare(name: str, triples: list[Triple], methods: dict[str, Method],
            output: Path | None) -> tuple[list[Row], list[ValueError]]:
    """A row for each image and method of a set, and the errors of images that were left out.

    Methods take turns, image by image, so that what else the machine does meets them alike.

    Args:
        output: folder for the mattes, if they are wanted.

    Raises:
        InputError: for a checkpoint, configuration or device that cannot be used.
        MethodError: if a method's process ended, or memory ran out.
    """
    rows, failed = [], []
    needs_both = any(isinstance(method, PyMattingMethod) for method in methods.values())
    with ExitStack() as stack:
        processes = [stack.enter_context(MethodProcess(*method)) for method in methods.items()]
        for process in processes:
            process.wait()
        for triple in in_steps(triples, len(triples), name):
            try:
                rows += rows_of(name, triple, processes, needs_both, output)
            except ValueError as error:
                print(f"{triple.image}: left out ({error})", file=sys.stderr)
                failed.append(error)
            except MethodError as error:
                raise MethodError(f"{triple.image}: {error}") from None
    return rows, failed


def rows_of(name: str, triple: Triple, processes: list[MethodProcess], needs_both: bool,
            output: Path | None) -> list[Row]:
    """The rows of an image.

    Args:
        needs_both: whether a method needs known foreground and known background.

    Raises:
        ValueError: if a file cannot be read, or the image cannot be compared.
        MethodError: as the processes.
    """
    image, truth, trimap = read_image(triple.image), read_grey(triple.alpha), read_grey(triple.trimap)
    check_inputs(truth, truth, trimap, names=("", str(triple.alpha), str(triple.trimap)))
    for level, region in ((0, "background"), (255, "foreground")):
        if needs_both and not (trimap == level).any():  # or a method would find out after it has taken much memory
            raise ValueError(f"no known {region}, which PyMatting needs")
    answers = {process.name: process(image, trimap) for process in processes}
    rows = [Row(name, triple.image.stem, method, matting_errors(answer.alpha, truth, trimap), answer.seconds,
                answer.memory) for method, answer in answers.items()]
    if output:
        for method, answer in answers.items():
            folder = output / MATTES / file_name(name) / file_name(method)
            folder.mkdir(parents=True, exist_ok=True)
            write_png(folder / f"{triple.image.stem}.png", answer.alpha)
    return rows


def draw_results(output: Path, rows: list[Row], sets: dict[str, list[Triple]]) -> None:
    """The pictures of --output."""
    draw_worst(output, rows, {(name, triple.image.stem): triple for name, triples in sets.items()
                              for triple in triples}, WORST)
    draw_chart(output / "methods.png", rows)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare checkpoints with PyMatting's methods.")
    parser.add_argument("--data", type=any_path, nargs="*", metavar="DIR",
                        help="sets: folders with merged/, alpha/ and trimap/ (default: data/generated/test, unless "
                             "--image-dir is given)")
    for option, what in (("image", "images"), ("alpha", "their true alphas, of the same names"),
                         ("trimap", "their trimaps, of the same names")):
        parser.add_argument(f"--{option}-dir", type=any_path, metavar="DIR", help=f"another set: folder of {what}")
    parser.add_argument("--checkpoint", type=any_path, nargs="*", default=[DEFAULT_CHECKPOINT], metavar="FILE",
                        help="checkpoints to compare (default: the included one)")
    parser.add_argument("--config", nargs="*", default=[], metavar="FILE",
                        help="configurations of the first checkpoints, in the same order (default: the architecture "
                             "stored in each file, else the published network)")
    parser.add_argument("--refine", action="store_true",
                        help="each checkpoint also with the refined mattes that demo.py --refine writes")
    parser.add_argument("--coarse-to-fine", action="store_true",
                        help="each checkpoint also as demo.py computes large images; refined if --refine is given")
    parser.add_argument("--flip", action="store_true",
                        help="each checkpoint also averaged with the matte of the mirrored image; refined if --refine "
                             "is given")
    parser.add_argument("--scales", type=scale_factor, nargs="+", metavar="FACTOR",
                        help="each checkpoint also averaged over rescaled images, such as 1 0.5, with --flip mirrored "
                             "ones, too; refined if --refine is given")
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS),
                        help="of PyMatting: closed form, KNN, large kernel, learning based, random walk (default: all)")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N",
                        help="threads of each method; PyMatting's solvers have one (default: %(default)s)")
    parser.add_argument("--output", type=any_path, metavar="DIR",
                        help="folder for mattes, errors.csv, methods.png and worst.jpg")
    add_device_argument(parser)
    args = parser.parse_args()
    if len(args.config) > len(args.checkpoint):
        parser.error(f"{len(args.config)} configurations for {len(args.checkpoint)} checkpoints")
    if not args.checkpoint and not args.methods:
        parser.error("nothing to compare: give --checkpoint or --methods")
    given = [bool(folder) for folder in (args.image_dir, args.alpha_dir, args.trimap_dir)]
    if any(given) and not all(given):
        parser.error("--image-dir, --alpha-dir and --trimap-dir belong together")
    if args.data is None:
        args.data = [] if args.image_dir else [Path("data/generated/test")]
    return args


@program
def main() -> int:
    args = parse_arguments()
    methods = chosen_methods(args)
    announce("methods.py", f"methods: {', '.join(methods)}")
    if args.output and not find_spec("matplotlib"):
        raise InputError("--output needs matplotlib: pip install matplotlib")
    sets = chosen_sets(args)
    if args.output:
        check_writable(args.output)
    limit_threads(args.threads)
    rows, failed = [], []
    for name, triples in sets.items():
        of_set, errors = compare(name, triples, methods, args.output)
        rows, failed = rows + of_set, failed + errors
        if of_set:
            print_table(of_set, len(errors))
            if args.output:
                write_csv(args.output / "errors.csv", rows)
        else:
            print(f"{name}: nothing to compare: all {len(errors)} images were left out", file=sys.stderr)
    if not rows:
        raise InputError("no images to compare")
    if args.output:
        draw_results(args.output, rows, sets)
    return 1 if any(isinstance(error, InputError) for error in failed) else 0


if __name__ == "__main__":
    sys.exit(main())
