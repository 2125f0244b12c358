"""Options with values that make no sense, and environments of launchers that are incomplete."""

import importlib.util
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from audit_bad_images import trimap_of
from audit_run import Run, Thing
from audit_shared import CONFIG, GOOD_CUTOUTS, GOOD_MATTES, cut_out, demo, tiny_checkpoint, write, write_good

NUMBERS = ("-1", "0", "nan", "inf", "1e300", str(10**30), "abc", "")
REFUSED = (1, 2)
ANY = (0, 1, 2)


def tool(name: str, *arguments: str) -> Callable[[Path], list]:
    """A command; arguments that begin with @ are paths in the folder of the run."""
    return lambda folder: [name, *(str(folder / text[1:]) if text.startswith("@") else text for text in arguments)]


MASKS = ("@trimaps", "--output", "@out")
FOLDERS = ("--pred-dir", "@trimaps", "--alpha-dir", "@trimaps", "--trimap-dir", "@trimaps", "--csv", "@out/a.csv")
MERGE = ("--fg-dir", "@images", "--alpha-dir", "@trimaps", "--bg-dir", "@images", "--output", "@out",
         "--backgrounds-per-foreground=1")
DRAWN = ("--output", "@out", "--foregrounds=1", "--backgrounds=0", "--tests=0", "--size=64")
TRAINED = ("--parts", "@out", "--device=cpu")

# Program and option -> values that are not refused by themselves: usable, or refused for another reason.
USABLE = {
    ("demo.py", "--batch"): {str(10**30)}, ("demo.py", "--scales"): set(), ("demo.py", "--memory-limit"): set(),
    ("evaluate.py", "--processes"): {str(10**30)},
    ("tools/make_trimap.py", "--erode"): {"0", str(10**30)}, ("tools/make_trimap.py", "--dilate"): {"0", str(10**30)},
    ("tools/make_trimap.py", "--rectangle"): set(),
    ("tools/composite_test_set.py", "--backgrounds-per-foreground"): {str(10**30)},
    ("tools/composite_test_set.py", "--processes"): {str(10**30)},
    ("tools/make_generated_data.py", "--foregrounds"): {"0", str(10**30)},
    ("tools/make_generated_data.py", "--size"): set(),
    ("tools/make_generated_data.py", "--seed"): {"0", str(10**30)},
    ("tools/make_generated_data.py", "--processes"): {str(10**30)},
    ("tools/train_free.py", "--minutes"): {"1e300", str(10**30)},
    ("tools/train_free.py", "--total"): {"1e300", str(10**30)},
    ("tools/train_free.py", "--first-crop"): set(), ("main.py", "--local_rank"): {"-1", "0", str(10**30)},
}
# Usable values of these take long, or do nothing.
ENDLESS = {("tools/train_free.py", "--minutes"), ("tools/make_generated_data.py", "--foregrounds"),
           ("main.py", "--local_rank"), ("tools/train_free.py", "--total"),
           ("tools/composite_test_set.py", "--backgrounds-per-foreground")}
FAST = {("demo.py", "--batch"), ("demo.py", "--scales")}


def number_runs() -> Iterator[Run]:
    """Every numeric option with every senseless value."""
    commands = {"demo.py": demo, "evaluate.py": tool("evaluate.py", *FOLDERS),
                "tools/make_trimap.py": tool("tools/make_trimap.py", *MASKS),
                "tools/composite_test_set.py": tool("tools/composite_test_set.py", *MERGE),
                "tools/make_generated_data.py": tool("tools/make_generated_data.py", *DRAWN),
                "tools/train_free.py": tool("tools/train_free.py", *TRAINED), "main.py": tool("main.py")}
    for (name, option), usable in USABLE.items():
        for value in NUMBERS:
            if value in usable and (name, option) in ENDLESS:
                continue
            shown = "10^30" if value == str(10**30) else value
            yield Run("numbers", f"{name} {option}={shown}",
                      (Thing(shown, option, "either" if value in usable else "refused"),),
                      lambda folder, name=name, option=option, value=value: [*commands[name](folder),
                                                                             f"{option}={value}"],
                      write_good, ANY if value in usable else REFUSED, fast=(name, option) in FAST)


def refused(name: str, token: str, argv: Callable[[Path], list], status: object = REFUSED, **options) -> Run:
    """A run of one senseless option, on good images."""
    return Run("options", name, (Thing(name, token),), argv, options.pop("prepare", write_good), status, **options)


def option_runs() -> Iterator[Run]:
    """Senseless values of the other options."""
    yield refused("unknown option", "--unknown", lambda folder: demo(folder, "--unknown=1"), 2, fast=True)
    for scale in ("1e-300", "1e-6", "1000", "1e9"):
        yield refused(f"--scales {scale}", "--scales", lambda folder, scale=scale: demo(folder, "--scales", scale), 2)
    for limit in ("1KB", "0.001 kb", "999999999999GB"):
        yield Run("options", f"--memory-limit {limit}", (Thing(limit, "--memory-limit", "either"),),
                  lambda folder, limit=limit: demo(folder, "--memory-limit", limit), write_good, ANY)
    for device in ("cuda:99", "foo", "", "meta", "cuda:-1", "cpu:x", "mps:0", "cpu\x1b[31m"):
        yield refused(f"--device {device!a}", "--device", lambda folder, device=device: demo(
            folder, f"--device={device}"), 1, fast=device in ("cuda:99", "foo"))
    for text in ("--precision=abc", "--cutout=abc", "--batch=1.5", "--memory-limit=5XB", "--scales"):
        yield refused(text, text.partition("=")[0], lambda folder, text=text: demo(folder, text), 2)
    for colour in ("#12", "#gggggg", "", "nowhere.jpg", "#00b140 "):
        yield refused(f"--background {colour!r}", colour or "--background| .: |: .:",
                      lambda folder, colour=colour: demo(folder, f"--background={colour}"), REFUSED)
    yield from rectangle_runs()
    yield from cut_out_runs()
    yield refused("--output is the input", "images", lambda folder: [
        "tools/make_trimap.py", folder / "images", "--output", folder / "images"])
    yield refused("weights twice", "--onnx", lambda folder: demo(folder, "--onnx=a.onnx"), 2, fast=True)
    for name in ("evaluate.py", "tools/make_trimap.py", "tools/composite_test_set.py", "tools/train_free.py"):
        token = {"evaluate.py": "--pred-dir", "tools/make_trimap.py": "source", "tools/train_free.py": "--parts"}
        yield refused(f"{name} alone", token.get(name, "--fg-dir"), lambda folder, name=name: [name], 2)
    yield refused("--phase=abc", "--phase", lambda folder: ["main.py", "--phase=abc"], 2)


def rectangle_runs() -> Iterator[Run]:
    """Rectangles, senseless and not, for the two programs that take them."""
    def trimap_tool(folder: Path, *more: object, source: str = "images") -> list:
        return ["tools/make_trimap.py", folder / source, "--output", folder / "out", "--checkpoint", tiny_checkpoint(),
                "--config", CONFIG, "--device=cpu", *more]

    for name, command in (("make_trimap", trimap_tool), ("cutout_photo", cut_out)):
        for box in ("1,2,3", "5,5,5,5", "900,900,999,999", "9,9,1,1", f"0,0,{10**30},5", "a,b,c,d", "a,b",
                    "50%,0,10%,9", "1%%,0,9,9", "-1,0,9,9", "nan,0,9,9", "auto,auto", "0%,0%,0%,0%", ""):
            yield refused(f"{name} --rectangle {box[:20]}", "rectangle|good1",
                          lambda folder, box=box, command=command: command(folder, f"--rectangle={box}",
                                                                           source="images/good1.png"))
        for box in ("10%,5%,90%,100%", "auto", " auto", "0,0,40,33", "5,5,30,28", "12.5%,3.0,90%,99999"):
            yield Run("options", f"{name} --rectangle {box} is taken", (),
                      lambda folder, box=box, command=command: command(folder, f"--rectangle={box}",
                                                                       source="images/good1.png"),
                      write_good, 0, ("good1.png" if name == "make_trimap" else "good1_cutout.png",))
    for name, command, good in (("make_trimap", trimap_tool, ("good1.png", "good2.png")),
                                ("cutout_photo", cut_out, GOOD_CUTOUTS)):
        for box in ("10%,5%,90%,100%", "auto"):
            yield Run("options", f"{name} --rectangle {box} on a folder", (),
                      lambda folder, box=box, command=command: command(folder, f"--rectangle={box}"), write_good, 0,
                      good)
    yield Run("options", "make_trimap --rectangle of pixels on a folder", (),
              lambda folder: trimap_tool(folder, "--rectangle=5,5,30,28"), write_good, 0, ("good1.png", "good2.png"))
    yield refused("make_trimap --rectangle with --erode", "--erode",
                  lambda folder: trimap_tool(folder, "--rectangle=auto", "--erode=3"))


def cut_out_runs() -> Iterator[Run]:
    """Senseless arguments of cutout_photo.py."""
    def given(folder: Path, name: str, *more: object) -> list:
        return cut_out(folder, *more, source=f"images/{name}.png")

    yield refused("cutout_photo alone", "PHOTO", lambda folder: ["cutout_photo.py"], 2)
    yield refused("cutout_photo missing photo", "b-none", lambda folder: given(folder, "b-none"), 1, fast=True)
    yield refused("cutout_photo missing folder", "b-none", lambda folder: cut_out(folder, source="b-none"), 1)
    yield refused("cutout_photo empty folder", "b-empty", lambda folder: cut_out(folder, source="b-empty"), 1,
                  prepare=lambda folder: (folder / "b-empty").mkdir())
    yield refused("cutout_photo --rectangle of pixels on a folder", "images",
                  lambda folder: cut_out(folder, "--rectangle=1,1,9,9"), 1)
    for colour in ("#12", "#gggggg", "", "nowhere.jpg"):
        yield refused(f"cutout_photo --background {colour!r}", colour or "--background",
                      lambda folder, colour=colour: cut_out(folder, f"--background={colour}"), 1)
    yield refused("cutout_photo --output is the folder of photos", "images",
                  lambda folder: cut_out(folder, "--output", folder / "images"), 1, fast=True)
    yield refused("cutout_photo --output is the photo's folder", "images",
                  lambda folder: given(folder, "good1", "--output", folder / "images"), 1)
    yield refused("cutout_photo trimap of another size", "trimap|good1", lambda folder: given(
        folder, "good1", "--trimap", folder / "b-trimap.png"), 1, prepare=lambda folder: (
            write_good(folder), write(folder / "b-trimap.png", trimap_of(41, 33))))
    yield refused("cutout_photo missing trimap", "b-none", lambda folder: given(
        folder, "good1", "--trimap", folder / "b-none.png"), 1)
    yield refused("cutout_photo one trimap for a folder", "good1.png", lambda folder: cut_out(
        folder, "--trimap", folder / "trimaps" / "good1.png"), 1)
    yield Run("options", "cutout_photo no trimap for one of two", (Thing("trimap", "good2"),), lambda folder: cut_out(
        folder, "--trimap", folder / "trimaps"), lambda folder: (
            write_good(folder), (folder / "trimaps" / "good2.png").unlink()), 1, ("good1_cutout.png",))
    yield refused("cutout_photo --scribbles for a folder", "--scribbles", lambda folder: cut_out(
        folder, "--scribbles", folder / "trimaps" / "good1.png"), 1)
    yield refused("cutout_photo --scribbles of another size", "good1", lambda folder: given(
        folder, "good1", "--scribbles", folder / "b-strokes.png"), 1, prepare=lambda folder: (
            write_good(folder), write(folder / "b-strokes.png", trimap_of(41, 33))))
    yield refused("cutout_photo --rectangle and --trimap", "--trimap", lambda folder: given(
        folder, "good1", "--rectangle=auto", "--trimap", folder / "trimaps"), 2)
    yield Run("options", "cutout_photo trimaps of a folder", (), lambda folder: cut_out(
        folder, "--trimap", folder / "trimaps"), write_good, 0, GOOD_CUTOUTS)


def output_runs() -> Iterator[Run]:
    """Output folders that cannot be written to."""
    def prepare(folder: Path) -> None:
        write_good(folder)
        write(folder / "b-file", b"content")
        (folder / "b-locked").mkdir(mode=0o500)
        if not os.geteuid():  # like /dev/null
            os.mknod(folder / "b-device", 0o666 | stat.S_IFCHR, os.makedev(1, 3))

    places = {"a file": "b-file", "below a file": "b-file/below/it", "in /proc": "/proc/b-out", "empty": ""}
    places |= ({"not writable": "b-locked"} if os.geteuid() else {"a device": "b-device"})
    commands = {"demo.py": (demo, "--output"), "make_trimap": (tool("tools/make_trimap.py", *MASKS), "--output"),
                "composite_test_set": (tool("tools/composite_test_set.py", *MERGE), "--output"),
                "make_generated_data": (tool("tools/make_generated_data.py", *DRAWN), "--output"),
                "evaluate --csv": (tool("evaluate.py", *FOLDERS), "--csv"),
                "evaluate --json": (tool("evaluate.py", *FOLDERS), "--json"),
                "cutout_photo": (cut_out, "--output"),
                "export_onnx": (lambda folder: ["tools/export_onnx.py", "--checkpoint", tiny_checkpoint(), "--config",
                                                CONFIG], "--output")}
    for place, path in places.items():
        for name, (command, option) in commands.items():
            usable = place == "a device" and name.startswith(("evaluate", "export"))
            if place == "a file" and name in ("evaluate --csv", "evaluate --json", "export_onnx"):
                continue
            yield Run("outputs", f"{name} {place}", (Thing(place, path.partition("/below")[0] or f"{option}|: .: | .:",
                                                                      "either" if usable else "refused"),),
                      lambda folder, command=command, option=option, path=path: [
                          *command(folder), option, folder / path if path else ""],
                      prepare, ANY if usable else REFUSED, spare=True,
                      fast=name == "demo.py" or (place == "empty" and name != "export_onnx"))


def launcher_runs() -> Iterator[Run]:
    """Environments of torchrun that are incomplete or wrong."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29517"}
    environments = {
        "WORLD_SIZE=abc": ("WORLD_SIZE", {"WORLD_SIZE": "abc"}), "WORLD_SIZE=-3": ("WORLD_SIZE", {"WORLD_SIZE": "-3"}),
        "WORLD_SIZE=1e3": ("WORLD_SIZE", {"WORLD_SIZE": "1e3"}), "WORLD_SIZE=2 alone": ("RANK", {"WORLD_SIZE": "2"}),
        "RANK=7 of 2": ("RANK", {"WORLD_SIZE": "2", "RANK": "7", **address}),
        "RANK=x": ("RANK", {"WORLD_SIZE": "2", "RANK": "x", **address}),
        "MASTER_PORT=x": ("MASTER_PORT", {"WORLD_SIZE": "2", "RANK": "0", **address, "MASTER_PORT": "x"}),
        "MASTER_ADDR missing": ("MASTER_ADDR", {"WORLD_SIZE": "2", "RANK": "0", "MASTER_PORT": "29518"}),
        "LOCAL_RANK=x": ("LOCAL_RANK", {"LOCAL_RANK": "x"}),
    }
    commands = {"demo.py": demo, "main.py": lambda folder: ["main.py", "--config", CONFIG, "--device=cpu", "--set",
                                                            f"log.logging_path={folder / 'out'}"],
                "train_free.py": tool("tools/train_free.py", *TRAINED, "--config", str(CONFIG))}
    for text, (token, env) in environments.items():
        for name, command in commands.items():
            if name == "train_free.py" and not text.startswith("WORLD_SIZE"):
                continue
            yield Run("launchers", f"{name} {text}", (Thing(text, token),), command, write_good, REFUSED, env=env,
                      seconds=30, fast=name == "demo.py" and text != "RANK=7 of 2")
    yield Run("launchers", "WORLD_SIZE empty", (Thing("WORLD_SIZE empty", "WORLD_SIZE", "either"),), demo, write_good,
              ANY, env={"WORLD_SIZE": ""})
    yield Run("launchers", "one process of one", (), demo, write_good, 0, GOOD_MATTES,
              env={"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"})


def page_runs() -> Iterator[Run]:
    """Options of the web page's program, which must not start it."""
    if importlib.util.find_spec("gradio") is None:
        return
    for option, value in (("--port", "0"), ("--port", "70000"), ("--port", "abc"), ("--max-pixels", "0"),
                          ("--max-pixels", "nan"), ("--max-upload", "1"), ("--device", "cuda:99"),
                          ("--checkpoint", "b-none.pth"), ("--config", "b-none.toml"),
                          ("--host", "no.such.host.invalid")):
        token = value if value.startswith(("b-", "no.")) else option
        yield Run("web page", f"app.py {option}={value}", (Thing(value, token),),
                  lambda folder, option=option, value=value: ["app.py", "--config", CONFIG, "--checkpoint",
                                                              tiny_checkpoint(), f"{option}={value}"],
                  status=REFUSED, seconds=60)

