"""What `benchmarks/methods.py` reports: a table, a CSV file, a chart, and a picture of the worst mattes."""

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.compared_methods import PYMATTING
from dataloader.image_file import read_grey, read_image
from dataloader.image_folders import Triple
from evaluation.metrics import Errors
from utils.file_writing import atomic_path, write_jpeg
from utils.visualisation import contact_sheet, panel

if TYPE_CHECKING:
    from matplotlib.text import Annotation

MATTES = "mattes"  # folder in the output folder, with one for each set, and in these one for each method
HEIGHT = 240  # pixels of the pictures in worst.jpg
QUALITY = 86  # of JPEG files
CLASSICAL, NETWORK, AVERAGED = "#c05621", "#2b6cb0", "#63a4e0"  # colours of the chart


class Row(NamedTuple):
    """A method on an image."""

    set: str
    image: str
    method: str
    errors: Errors
    seconds: float
    memory: int  # peak bytes of the method's process, so far in the set


class Summary(NamedTuple):
    """A method on a set: means over the images, and the peak memory."""

    errors: Errors
    seconds: float
    gibibytes: float


def grouped(rows: list[Row], key: Callable[[Row], str]) -> dict[str, list[Row]]:
    """Rows by a key, in the order of its first appearance."""
    groups = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def summaries(rows: list[Row]) -> dict[str, Summary]:
    """By method, of the rows of one set."""
    return {method: Summary(Errors(*np.mean([row.errors for row in group], axis=0).tolist()),
                            float(np.mean([row.seconds for row in group])), max(row.memory for row in group) / 2**30)
            for method, group in grouped(rows, lambda row: row.method).items()}


def print_table(rows: list[Row], left_out: int) -> None:
    """Prints the summary of each method on one set."""
    methods = summaries(rows)
    width = max(map(len, ("method", *methods)))
    images = len(rows) // len(methods)
    print(f"{rows[0].set}: means of {images} images" + (f"; {left_out} left out" if left_out else ""))
    print(f"{'method':{width}} {'SAD':>8} {'MSE':>8} {'Grad':>8} {'Conn':>8} {'s/image':>8} {'GiB':>6}")
    for method, (errors, seconds, gibibytes) in methods.items():
        print(f"{method:{width}} {errors.sad:8.2f} {errors.mse:8.4f} {errors.grad:8.2f} {errors.conn:8.2f} "
              f"{seconds:8.2f} {gibibytes:6.2f}")


def write_csv(path: Path, rows: list[Row]) -> None:
    """A line for each set, image and method."""
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "image", "method", *Errors._fields, "seconds", "peak_bytes"))
        for row in rows:
            values = [f"{value:.9g}" for value in (*row.errors, row.seconds)]
            writer.writerow((row.set, row.image, row.method, *values, row.memory))


def draw_chart(path: Path, rows: list[Row]) -> None:
    """SAD over seconds per image, a panel for each set, a point for each method."""
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    sets = grouped(rows, lambda row: row.set)
    figure, axes = plt.subplots(1, len(sets), figsize=(0.6 + 4.4 * len(sets), 3.6), squeeze=False)
    labels = []
    for axis, (name, group) in zip(axes[0], sets.items(), strict=True):
        methods = summaries(group)
        for method, (errors, seconds, _) in methods.items():
            colour = CLASSICAL if method in PYMATTING.values() else AVERAGED if " --" in method else NETWORK
            axis.plot(seconds, errors.sad, "o", color=colour)
            rescaled = " --scales" in method  # slower and less exact than its neighbours: their names go below
            text, height, side = (method.replace(" --", "\n--", 1), 4, "bottom") if rescaled else (method, -4, "top")
            labels.append(axis.annotate(text, (seconds, errors.sad), (6, height), textcoords="offset points",
                                        fontsize=8, va=side, parse_math=False))
        times = [summary.seconds for summary in methods.values()]
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(min(times) / 1.5, max(times) * 5)  # room for the names
        axis.set_ylim(0, 1.12 * max(summary.errors.sad for summary in methods.values()))
        axis.set_title(name, fontsize=10, parse_math=False)
        axis.set_xlabel("seconds per image")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("SAD, thousands")
    with warnings.catch_warnings(), atomic_path(path) as temporary:
        warnings.filterwarnings("ignore", "Glyph .* missing")  # in names that matplotlib's font lacks
        figure.tight_layout()
        move_apart(labels)
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def move_apart(labels: list["Annotation"]) -> None:
    """Moves labels down until none covers another, from the uppermost on; their offsets are in points."""
    placed = []
    for label in sorted(labels, key=lambda label: -label.get_window_extent().y1):
        box = label.get_window_extent()
        for other in sorted(placed, key=lambda other: -other.y1):
            if box.overlaps(other):
                box = box.translated(0, other.y0 - box.y1 - 1)
        moved = box.y0 - label.get_window_extent().y0
        label.xyann = label.xyann[0], label.xyann[1] + moved * 72 / label.figure.dpi
        placed.append(box)


def draw_worst(output: Path, rows: list[Row], files: dict[tuple[str, str], Triple], count: int) -> None:
    """worst.jpg: where the first method's SAD is largest, image, trimap, its matte, the best other one, and the truth.

    Args:
        output: folder that has the mattes.
        files: by set and image.
    """
    first = rows[0].method
    worst = sorted((row for row in rows if row.method == first), key=lambda row: -row.errors.sad)[:count]
    sheet = []
    for row in worst:
        others = [other for other in rows if other[:2] == row[:2] and other.method != first
                  and not other.method.startswith(f"{first} --")]
        shown = [row, *sorted(others, key=lambda other: other.errors.sad)[:1]]
        triple = files[row.set, row.image]
        mattes = [read_grey(output / MATTES / file_name(each.set) / file_name(each.method) / f"{each.image}.png")
                  for each in shown]
        title = "; ".join(f"{each.method} {each.errors.sad:.2f}" for each in shown)
        sheet.append((f"{row.set}, {row.image}. SAD: {title}", panel(
            [read_image(triple.image), read_grey(triple.trimap), *mattes, read_grey(triple.alpha)], HEIGHT)))
    write_jpeg(output / "worst.jpg", contact_sheet(sheet), QUALITY)


def file_name(name: str) -> str:
    """A method's or set's name as that of a folder, the same for names that differ in case only."""
    name = name.strip(".") or "_"  # neither this folder nor the one above
    return "".join(character if character.isalnum() or character in "-.," else "_" for character in name).casefold()
