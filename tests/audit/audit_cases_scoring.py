"""evaluate.py, copy_testing_alpha.sh and make_generated_data.py with files that are missing or do not fit."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audit_bad_images import encoded, picture, slightly_damaged_files, trimap_of, unreadable_files
from audit_cases_images import into, numbered
from audit_run import Run, Thing
from audit_shared import GOOD, write


def write_scored(folder: Path) -> None:
    """Predictions, alphas and trimaps of two images."""
    for name in GOOD:
        for place in ("pred", "alpha", "trimap"):
            write(folder / place / f"{name}.png", trimap_of(40, 33))


def evaluate(folder: Path, *more: object) -> list:
    return ["evaluate.py", "--pred-dir", folder / "pred", "--alpha-dir", folder / "alpha", "--trimap-dir",
            folder / "trimap", "--processes=1", "--csv", folder / "out" / "errors.csv", *more]


def scored_run(name: str, things: tuple[Thing, ...], status: int | None = 1, **options) -> Run:
    return Run("scoring", name, things, evaluate, write_scored, status, ("errors.csv",), **options)


def scoring_runs() -> Iterator[Run]:
    """Bad files and folders of evaluate.py."""
    for place in ("pred", "trimap", "alpha"):
        for kind, files in (("unreadable", unreadable_files()), ("damaged", slightly_damaged_files())):
            if place != "pred" and kind == "damaged":
                continue
            things = numbered(files, "refused" if kind == "unreadable" else "either", lambda name: "",
                              lambda name, place=place: into(place, name))
            yield scored_run(f"{kind} in {place}/", tuple(replace(thing, write=_with_others(thing, place), size=None)
                                                          for thing in things), 1 if kind == "unreadable" else None)
    yield scored_run("what does not fit", tuple(misfits()), 1)
    for place in ("pred", "alpha", "trimap"):
        for name, make in (("missing", lambda path: None), ("empty", Path.mkdir),
                           ("a file", lambda path: write(path, b""))):
            yield Run("scoring", f"{place} {name}", (Thing(name, "b-given"),),
                      lambda folder, place=place: evaluate(folder, f"--{place}-dir", folder / "b-given"),
                      lambda folder, make=make: (write_scored(folder), make(folder / "b-given")))
    for name, value in (("all known", 255), ("black", 0)):
        yield Run("scoring", f"trimap {name}", (Thing(name, "good", "either"),), evaluate, lambda folder, value=value: (
            write_scored(folder), [write(folder / "trimap" / f"{good}.png", trimap_of(40, 33) * 0 + value)
                                   for good in GOOD]), None, spare=True)


def _with_others(thing: Thing, place: str) -> object:
    """Writes a thing, and its good partners in the other folders."""
    def create(folder: Path) -> None:
        before = set((folder / place).iterdir())
        thing.write(folder)
        for path in set((folder / place).iterdir()) - before:
            for other in {"pred", "alpha", "trimap"} - {place}:
                size = (160, 121) if thing.size else (40, 33)
                write(folder / other / f"{path.stem}.png", trimap_of(*size))

    return create


def misfits() -> Iterator[Thing]:
    """Predictions and trimaps that do not fit."""
    def thing(token: str, expected: str = "refused", **images: tuple | None) -> Thing:
        def create(folder: Path) -> None:
            for place in ("pred", "alpha", "trimap"):
                image = images.get(place, trimap_of(40, 33))
                if image is not None:
                    write(folder / place / f"{token}.png", image)

        return Thing(token, token.partition("\x1b")[0], expected, create)  # escapes are printed otherwise

    yield thing("m0-no-prediction", pred=None)
    yield thing("m1-no-trimap", trimap=None)
    yield thing("m2-no-alpha", alpha=None, trimap=None)
    yield thing("m3-other-size", pred=trimap_of(41, 33))
    yield thing("m4-other-trimap", trimap=trimap_of(33, 40))
    yield thing("m5-colour", "done", pred=picture())
    yield thing("m6-soft-trimap", "either", trimap=picture(channels=1))
    yield thing("m7-escape\x1b[31m", pred=None)


def copy_run(name: str, prepare: object, token: str = "copy_testing_alpha.sh", status: int = 1,
             expected: str = "refused") -> Run:
    """copy_testing_alpha.sh on the output folder."""
    return Run("other programs", f"copy_testing_alpha.sh {name}", (Thing(name, token, expected),),
               lambda folder: ["copy_testing_alpha.sh", folder / "out"], prepare, status, fork=False, spare=True)


def program_runs() -> Iterator[Run]:
    """The programs that make data."""
    def png(path: Path) -> Path:
        return write(path, trimap_of(9, 9))

    yield copy_run("missing", lambda folder: None, "out")
    yield copy_run("no alpha", lambda folder: (folder / "out").mkdir(), "out/alpha")
    yield copy_run("no images", lambda folder: (folder / "out" / "alpha").mkdir(parents=True), "out/alpha")
    yield copy_run("alpha is a file", lambda folder: write(folder / "out" / "alpha", b"-"), "out/alpha")
    yield copy_run("target is a file", lambda folder: (png(folder / "out" / "alpha" / "a.png"),
                                                       write(folder / "out" / "alpha_copy", b"-")), "alpha_copy")
    yield copy_run("target is a link", lambda folder: (png(folder / "out" / "alpha" / "a.png"), (
        folder / "out" / "alpha_copy").symlink_to("nowhere")), "alpha_copy")
    yield copy_run("image is a folder", lambda folder: (png(folder / "out" / "alpha" / "a.png"), (
        folder / "out" / "alpha" / "b-folder.png").mkdir()), "b-folder.png")
    yield copy_run("dangling image", lambda folder: (png(folder / "out" / "alpha" / "a.png"), (
        folder / "out" / "alpha" / "b-gone.png").symlink_to("nowhere")), "b-gone.png")
    for name in ("-dash", "new\nINJECTED", "esc\x1b[31m", " space ", "*"):
        yield copy_run(f"named {name!a}", lambda folder, name=name: png(folder / "out" / "alpha" / f"{name}.png"),
                       "copy_testing", 0, expected="done")
    for name, make in (("missing", lambda path: None), ("empty", lambda path: path.mkdir()),
                       ("without held-out", lambda path: write(path / "train" / "a.png", picture()))):
        yield Run("other programs", f"make_generated_data.py --photographs {name}", (Thing(name, "b-photos"),),
                  lambda folder: ["tools/make_generated_data.py", "--photographs", folder / "b-photos", "--output",
                                  folder / "out", "--foregrounds=1", "--backgrounds=1", "--tests=1", "--size=64"],
                  lambda folder, make=make: make(folder / "b-photos"))
    for name in ("png-cut50.png", "html.jpg", "empty.png", "claims-60000.png"):
        yield Run("other programs", f"make_generated_data.py, photograph {name}", (Thing(name, f"b-{name}", "either"),),
                  lambda folder: ["tools/make_generated_data.py", "--photographs", folder / "photos", "--output",
                                  folder / "out", "--foregrounds=3", "--backgrounds=3", "--tests=0", "--size=64"],
                  lambda folder, name=name: (
                      write(folder / "photos" / "train" / f"b-{name}", unreadable_files()[name]),
                      write(folder / "photos" / "held-out" / "a.png", encoded(picture(200, 200)))), None)
