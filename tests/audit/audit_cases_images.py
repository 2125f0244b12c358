"""Image files that are damaged, odd, huge or no files, given to the programs that read folders of images."""

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from audit_bad_images import (
    claiming,
    odd_files,
    picture,
    png_of_zeros,
    slightly_damaged_files,
    trimap_of,
    unreadable_files,
)
from audit_run import Run, Thing
from audit_shared import GOOD, GOOD_CUTOUTS, GOOD_MATTES, cut_out, demo, matte, write, write_good, write_pair

Writer = Callable[[Path, bytes], object]


def as_image(name: str, size: tuple[int, int] = (40, 33)) -> Writer:
    """Writes a file into images/, with a trimap."""
    return lambda folder, data: write_pair(folder, name, data, size)


def into(place: str, name: str) -> Writer:
    return lambda folder, data: write(folder / place / name, data)


def numbered(files: dict, expected: str, output: Callable[[str], str], writer: Callable[..., Writer] = as_image,
             first: int = 0) -> tuple[Thing, ...]:
    """Things from file name -> content, or content and size; numbers before the names tell them apart."""
    things = []
    for number, (name, value) in enumerate(files.items(), start=first):
        data, size = value if isinstance(value, tuple) else (value, None)
        own = f"b{number:02d}-{name}"
        write_it = writer(own, *([size] if size and writer is as_image else []))
        things.append(Thing(name, own[:4], expected, partial(_write, write_it, data), output(own.rpartition(".")[0]),
                            size))
    return tuple(things)


def _write(writer: Writer, data: bytes, folder: Path) -> None:
    writer(folder, data)


def demo_run(kind: str, name: str, things: tuple[Thing, ...], status: int | None, *more: object, **options) -> Run:
    """The demo on two good images and on others."""
    return Run(kind, name, things, lambda folder: demo(folder, *more), write_good, status, GOOD_MATTES, **options)


def image_runs() -> Iterator[Run]:
    """Damaged and odd files in the demo."""
    yield demo_run("images", "unreadable", numbered(unreadable_files(), "refused", matte), 1, fast=True)
    yield demo_run("images", "damaged bytes", numbered(slightly_damaged_files(), "either", matte), None, fast=True)
    yield demo_run("images", "odd", numbered(odd_files(), "done", matte), 0, fast=True)
    yield demo_run("images", "odd, with cut-outs", numbered(odd_files(), "done", lambda name: matte(f"{name}_cutout")),
                   0, "--cutout", "--background=blur")
    yield demo_run("images", "unreadable, with cut-outs", numbered(unreadable_files(), "refused", matte), 1, "--cutout")
    for number, (name, data) in enumerate(unreadable_files().items()):
        if number % 5 == 0:
            yield background_run(name, data)
    huge = {"20000.png": (png_of_zeros(20000, 20000), (40, 33)),
            "20000bits.png": (png_of_zeros(20000, 20000, 1), (40, 33)),
            "10by200000.png": (png_of_zeros(10, 200000), (40, 33))}
    for name, value in huge.items():  # larger than its trimap
        yield demo_run("images", f"huge {name}", numbered({name: value}, "refused", matte), 1)
    yield demo_run("images", "thin 5000", numbered({"1by5000.png": (_thin(), (1, 5000))}, "done", matte), 0)


def _thin() -> bytes:
    return png_of_zeros(1, 5000)


def background_run(name: str, data: bytes) -> Run:
    """The demo with an unreadable picture as --background: nothing is computed."""
    def prepare(folder: Path) -> None:
        write_good(folder)
        write(folder / f"background-{name}", data)

    return Run("images", f"background {name}", (Thing(name, f"background-{name}"),),
               lambda folder: demo(folder, "--background", folder / f"background-{name}"), prepare)


def special_runs() -> Iterator[Run]:
    """What is named like an image file, but is a folder, a link, a pipe, ..."""
    def special(name: str, make: Callable[[Path], object], expected: str = "refused") -> Thing:
        def create(folder: Path) -> None:
            write(folder / "trimaps" / f"{name}.png", trimap_of(40, 33))
            make(folder / "images" / f"{name}.png")

        return Thing(name, name, expected, create, matte(name), None)

    quick = (special("b-folder", Path.mkdir), special("b-dangling", lambda path: path.symlink_to("nowhere.png")),
             special("b-loop", lambda path: path.symlink_to(path.name)), special("b-socket", bind),
             special("b-null", lambda path: path.symlink_to(os.devnull)),
             special("b-good-link", lambda path: path.symlink_to(f"{GOOD[0]}.png"), "done"))
    if os.geteuid():
        quick += (special("b-locked", lambda path: path.touch(0)),)
    yield demo_run("special files", "links and folders", quick, 1, fast=True)
    for thing in (special("b-pipe", os.mkfifo), special("b-endless", lambda path: path.symlink_to("/dev/zero"))):
        yield demo_run("special files", thing.name, (thing,), 1, seconds=30)
        yield trimap_tool_run("special files", f"make_trimap {thing.name}", (thing,), seconds=30)
    yield trimap_tool_run("special files", "make_trimap links and folders", quick[:5])
    trimap_pipe = Thing("pipe as trimap", "b-piped", "refused", write_trimap_pipe)
    yield demo_run("special files", "pipe as trimap", (trimap_pipe,), 1, seconds=30)


def write_trimap_pipe(folder: Path) -> None:
    write(folder / "images" / "b-piped.png", picture())
    os.mkfifo(folder / "trimaps" / "b-piped.png")


def bind(path: Path) -> None:
    """A socket; its path is too long for bind, so that it is made beside."""
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


def trimap_tool_run(kind: str, name: str, things: tuple[Thing, ...], status: int | None = 1, **options) -> Run:
    """tools/make_trimap.py on the folder of images as masks; its results are OUT/NAME.png."""
    things = tuple(Thing(thing.name, thing.token, thing.expected, thing.write, thing.output.rpartition("/")[2],
                         thing.size) for thing in things)
    return Run(kind, name, things, lambda folder: ["tools/make_trimap.py", folder / "images", "--output",
                                                   folder / "out"], write_good, status,
               tuple(f"{good}.png" for good in GOOD), **options)


def cut_out_run(kind: str, name: str, things: tuple[Thing, ...], status: int | None = 1, *more: object,
                **options) -> Run:
    """cutout_photo.py on two good photos and on others."""
    things = tuple(Thing(thing.name, thing.token, thing.expected, thing.write,
                         thing.output.rpartition("/")[2].replace(".png", "_cutout.png"), thing.size)
                   for thing in things)
    return Run(kind, name, things, lambda folder: cut_out(folder, *more), write_good, status, GOOD_CUTOUTS, **options)


def other_program_runs() -> Iterator[Run]:
    """The same unreadable files given to the other programs."""
    yield cut_out_run("images elsewhere", "cutout_photo unreadable", numbered(unreadable_files(), "refused", matte),
                      fast=True)
    yield cut_out_run("images elsewhere", "cutout_photo damaged bytes",
                      numbered(slightly_damaged_files(), "either", matte), None)
    yield cut_out_run("images elsewhere", "cutout_photo odd", numbered(odd_files(), "either", matte), None,
                      seconds=400)
    yield trimap_tool_run("images elsewhere", "make_trimap unreadable", numbered(unreadable_files(), "refused", matte),
                          fast=True)
    yield trimap_tool_run("images elsewhere", "make_trimap damaged bytes",
                          numbered(slightly_damaged_files(), "either", matte), None)
    yield trimap_tool_run("images elsewhere", "make_trimap odd", numbered(
        {name: value for name, value in odd_files().items() if min(value[1]) > 3}, "done", matte), 0)
    for place in ("scribbles", "photo"):
        for name in ("png-cut50.png", "html.jpg", "claims-60000.png", "float.tif"):
            yield marks_run(place, name, unreadable_files()[name])
    yield composite_run("unreadable backgrounds", "bg", unreadable_files())
    yield composite_run("damaged foregrounds", "fg", {"png-cut50.png": unreadable_files()["png-cut50.png"]})
    yield composite_run("damaged alphas", "alpha", {"claims-60000.png": claiming(60000, 60000)})


def marks_run(place: str, name: str, data: bytes) -> Run:
    """make_trimap.py from one photo and scribbles, one of which is unreadable."""
    def prepare(folder: Path) -> None:
        for own in ("photo", "scribbles"):
            write(folder / f"{own}-{name}", data if own == place else picture())

    return Run("images elsewhere", f"make_trimap {place} {name}", (Thing(name, f"{place}-{name}"),),
               lambda folder: ["tools/make_trimap.py", folder / f"photo-{name}", "--scribbles",
                               folder / f"scribbles-{name}", "--output", folder / "out"], prepare)


def composite_run(name: str, place: str, files: dict[str, bytes]) -> Run:
    """tools/composite_test_set.py with bad files in one of its folders, and one good image."""
    def prepare(folder: Path) -> None:
        for number in range(1 + len(files) if place == "alpha" else 1):
            write(folder / "fg" / f"a{number}.png", picture(seed=number))
        for number in range(3 + len(files)):
            if place != "bg" or number < 2:
                write(folder / "bg" / f"a{number}.png", picture(50, 50, seed=number))
        write(folder / "alpha" / "a0.png", trimap_of(40, 33))
        for number, (own, data) in enumerate(files.items()):
            write(folder / place / (f"b{number:02d}-{own}" if place != "alpha" else f"a{number + 1}.png"), data)
            if place == "fg":
                write(folder / "alpha" / f"b{number:02d}-{own}", trimap_of(40, 33))

    tokens = [f"b{number:02d}-" if place != "alpha" else f"alpha/a{number + 1}.png" for number in range(len(files))]
    count = 2 if place != "bg" else 2 + len(files)
    return Run("images elsewhere", f"composite_test_set {name}",
               tuple(Thing(own, token) for own, token in zip(files, tokens, strict=True)),
               lambda folder: ["tools/composite_test_set.py", "--fg-dir", folder / "fg", "--alpha-dir",
                               folder / "alpha", "--bg-dir", folder / "bg", "--output", folder / "out",
                               f"--backgrounds-per-foreground={count}", "--processes=1"], prepare, 1,
               ("a0_0.png", "a0_1.png"))
