"""File names that are hard to print, and names that clash."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audit_bad_images import cut, encoded, picture, trimap_of
from audit_cases_images import cut_out_run, demo_run, trimap_tool_run
from audit_run import Run, Thing
from audit_shared import CONFIG, demo, matte, write, write_good, write_pair

STEMS = {  # token -> stem; a marker at a line's start shows that a name began a new line
    "n00": "n00 with  spaces ", "n01": "n01-composed-\u00e9\u00fc", "n02": "n02-decomposed-e\u0301u\u0308",
    "n03": "n03-\nINJECTED: 5 of 5 mattes", "n04": "n04-\x1b[31;1mred\x1b]0;title\x07", "n05": "n05\ttab",
    "n06": "-n06-dash", "n07": "n07-\r\rINJECTED", "n08": "n08-\u4e2d\u6587\U0001f431", "n09": "n09-\u202egnp.txt",
    "n10": "n10-\x9b31m\x85", "n11": "n11-'quoted' \"twice\" `id`", "n12": "n12-%s{0}{x}%n$HOME\\n",
    "n13": "n13-\udcff\udcfe", "n14": "n14-\u2028INJECTED", "n15": "--n15=option", "n16": "n16.tar.gz",
    "n17": "n17-" + "x" * 190, "n18": "n18-\x7f\x08\x08\x08", "n19": "n19*?[a]",
}
TOO_LONG = {"n20": "n20-" + "y" * 232, "n21": "n21-" + "z" * 242}
ENCODINGS = ({"PYTHONIOENCODING": "utf-8"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"},
             {"LC_ALL": "C", "LANG": "C"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})


def named(token: str, stem: str, data: bytes, expected: str) -> Thing:
    """A file of a name, with its trimap."""
    return Thing(token, token, expected, partial(_write, f"{stem}.png", data), matte(stem))


def _write(name: str, data: bytes, folder: Path) -> None:
    write_pair(folder, name, data)


def good_and_bad() -> tuple[Thing, ...]:
    """Each name with a good image and, in upper case, with a damaged one."""
    whole = encoded(picture())
    good = [named(token, stem, whole, "done") for token, stem in STEMS.items()]
    bad = [named(token.upper(), stem.replace(token, token.upper()), cut(whole, 0.5), "refused")
           for token, stem in STEMS.items()]
    return (*good, *bad, *(named(token, stem, whole, "either") for token, stem in TOO_LONG.items()))


def name_runs() -> Iterator[Run]:
    """The demo and make_trimap.py on such files, with several encodings of the streams."""
    yield demo_run("names", "odd names", good_and_bad(), 1, fast=True)
    yield trimap_tool_run("names", "make_trimap odd names", good_and_bad(), 1)
    yield cut_out_run("names", "cutout_photo odd names", good_and_bad(), 1)
    for env in ENCODINGS:
        text = " ".join(f"{name}={value}" for name, value in env.items())
        yield demo_run("names", f"odd names, {text}", good_and_bad(), 1, env=env, fork=False)
    yield demo_run("names", "clashes", clashes(), 1, fast=True)
    yield demo_run("names", "clashes of cut-outs", clashes("_cutout"), 1, "--cutout")
    yield trimap_tool_run("names", "make_trimap clashes", clashes()[:2])
    yield cut_out_run("names", "cutout_photo clashes", clashes()[:2])
    ignored = Thing("hidden", ".b-hidden", "ignored", partial(_write, ".b-hidden.png", b""), matte(".b-hidden"))
    skipped = Thing("other file", "b-notes.txt", "refused",
                    lambda folder: write(folder / "images" / "b-notes.txt", b"-"))
    yield demo_run("names", "hidden and other files", (ignored, skipped), 0, fast=True)
    for stem in ("n03", "n04", "n13"):
        yield from option_runs(stem, STEMS[stem])


def clashes(ending: str = "_offset1") -> tuple[Thing, ...]:
    """Two images of one stem, and an image named like another's result; the first of each is good."""
    def thing(name: str, expected: str, output: str = "") -> Thing:
        kind = "webp" if name.endswith("webp") else "png"
        return Thing(name, f"/{name}", expected, partial(_write, name, encoded(picture(), kind)), output)

    return (thing("c1-twin.png", "done", matte("c1-twin")), thing("c1-twin.webp", "refused"),
            thing("c2-a.png", "done", matte("c2-a")), thing(f"c2-a{ending}.png", "refused"))


def option_runs(token: str, name: str) -> Iterator[Run]:
    """Options whose files or folders have such names and do not exist, or are no such files."""
    def run(option: str, fast: bool = True) -> Run:
        return Run("names", f"{option} {token}", (Thing(option, token),),
                   lambda folder: demo(folder, option, folder / name), write_good, fast=fast)

    for option in ("--config", "--checkpoint", "--image-dir", "--trimap-dir", "--background"):
        yield run(option)
    yield Run("names", f"--onnx {token}", (Thing("--onnx", token),),
              lambda folder: ["demo.py", "--onnx", folder / name, "--image-dir", folder / "images"], write_good)
    yield Run("names", f"--output is a file {token}", (Thing("--output", token),),
              lambda folder: demo(folder, "--output", folder / name), lambda folder: (
                  write_good(folder), write(folder / name, b"")), spare=True)
    yield Run("names", f"--set version={token}", (Thing("version", token, "either"),),
              lambda folder: demo(folder, "--set", f"version={name}"), write_good, status=None, spare=True)
    for arguments in (["evaluate.py", "--pred-dir"], ["tools/composite_test_set.py", "--fg-dir"]):
        others = (["--alpha-dir", ".", "--trimap-dir", "."] if "evaluate" in arguments[0] else
                  ["--alpha-dir", ".", "--bg-dir", ".", "--output", "."])
        yield Run("names", f"{arguments[0]} {token}", (Thing(arguments[1], token),),
                  lambda folder, arguments=arguments, others=others: [*arguments, folder / name, *others])
    yield Run("names", f"make_trimap {token}", (Thing("source", token),),
              lambda folder: ["tools/make_trimap.py", folder / name, "--output", folder / "out"])
    yield Run("names", f"main.py --config {token}", (Thing("--config", token),),
              lambda folder: ["main.py", "--config", folder / name])
    yield Run("names", f"test.checkpoint {token}", (Thing("test.checkpoint", token),), lambda folder: [
        "main.py", "--config", CONFIG, "--phase=test", "--device=cpu",
        *(f"--set=test.{key}={folder / 'trimaps'}" for key in ("merged", "alpha", "trimap")),
        *(f"--set={key}={folder / 'out'}" for key in ("test.alpha_path", "log.logging_path")),
        f"--set=test.checkpoint={folder / name}.pth"], write_good)


def trimap_runs() -> Iterator[Run]:
    """Trimaps of all kinds."""
    yield demo_run("trimaps", "odd trimaps", tuple(odd_trimaps()), 1, fast=True)
    for name, make in (("missing", lambda folder: None), ("empty", lambda folder: folder.mkdir()),
                       ("a file", lambda folder: write(folder, b"")),
                       ("without images", lambda folder: write(folder / "a.txt", b""))):
        for option in ("--trimap-dir", "--image-dir"):
            yield Run("trimaps", f"{option} {name}", (Thing(name, "b-given"),),
                      lambda folder, option=option: demo(folder, option, folder / "b-given"),
                      lambda folder, make=make: (write_good(folder), make(folder / "b-given")), fast=True)


def odd_trimaps() -> Iterator[Thing]:
    """Images with odd trimaps."""
    stripes, whole = trimap_of(40, 33), encoded(picture())
    soft = picture(channels=1)[..., 0]

    def thing(token: str, name: str, trimap: bytes | None, expected: str = "done", image: bytes = whole) -> Thing:
        def create(folder: Path) -> None:
            write(folder / "images" / f"{token}-{name.partition('.')[0]}.jpg", image)
            if trimap is not None:
                write(folder / "trimaps" / f"{token}-{name}", trimap)

        return Thing(name, token, expected, create, matte(f"{token}-{name.partition('.')[0]}"))

    yield thing("t00", "missing.png", None, "refused")
    yield thing("t01", "other-size.png", encoded(trimap_of(41, 33)), "refused")
    yield thing("t02", "transposed.png", encoded(stripes), "refused", encoded(picture(), "jpeg", exif=_turned()))
    yield thing("t03", "all-unknown.png", encoded(stripes * 0 + 128))
    yield thing("t04", "all-black.png", encoded(stripes * 0))
    yield thing("t05", "all-white.png", encoded(stripes * 0 + 255))
    yield thing("t06", "soft.png", encoded(soft))
    yield thing("t07", "colour.png", encoded(picture()))
    yield thing("t08", "deep.tif", encoded(stripes.astype("uint16") * 257))
    yield thing("t09", "rgba.png", encoded(stripes[..., None].repeat(4, axis=2)))
    yield thing("t10", "labels.png", encoded(stripes // 127), "refused")
    yield thing("t11", "jpeg.jpg", encoded(stripes, "jpeg"))
    yield thing("t12", "cut.png", cut(encoded(stripes), 0.5), "refused")
    yield thing("t13", "empty.png", b"", "refused")
    yield thing("t14", "turned.jpg", encoded(trimap_of(33, 40), "jpeg", exif=_turned()))


def _turned() -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()
