"""Configuration files and --set values that are damaged, hostile or senseless."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from audit_run import Run, Thing
from audit_shared import CONFIG, demo, tiny_checkpoint, write, write_good

DEEP = 4000
REFUSED = (1, 2)
TOML_FILES = {  # name -> content; all refused
    "binary": bytes(range(256)), "truncated": b"version = 'a'\n[train\n", "half-text": b"version = \"abc",
    "unknown-key": b"[train]\nlearning = 1\n", "unknown-table": b"[nothing]\na = 1\n", "not-a-table": b"model = 3\n",
    "list-for-table": b"model = [1, 2]\n", "tables-for-table": b"[[model]]\nbatch_size = 1\n",
    "text-for-number": b"[train]\nseed = 'x'\n", "number-for-text": b"version = 3\n", "list": b"version = ['a']\n",
    "float-for-int": b"[train]\nseed = 1.5\n", "date": b"version = 2020-01-01\n", "nan": b"[train]\nG_lr = nan\n",
    "inf": b"[train]\nG_lr = inf\n", "bool-for-int": b"[train]\nseed = true\n", "table-for-key": b"[version]\na = 1\n",
    "deep-keys": b".".join([b"a"] * DEEP) + b" = 1\n", "deep-lists": b"version = " + b"[" * DEEP,
    "closed-lists": b"version = " + b"[" * DEEP + b"]" * DEEP, "deep-tables": b"version = " + b"{a = " * DEEP,
    "duplicate": b"version = 'a'\nversion = 'b'\n", "duplicate-table": b"[train]\nseed = 1\n[train]\nseed = 2\n",
    "cp1252": "version = 'M\u00e4rz'\n".encode("cp1252"), "utf16": "version = 'a'\n".encode("utf-16"),
    "html": b"<!DOCTYPE html>\n<html></html>\n", "json": b'{"version": "a"}\n', "no-value": b"version =\n",
    "only-equals": b"=\n", "only-bracket": b"[", "escape": b"version = \"\\x\"\n", "nul": b"version = \"a\0b\"\n",
    "long-line": b"x" * 10**6, "control-key": b"\"a\\u001b[31m\" = 1\n", "newline-key": b"\"a\\nINJECTED\" = 1\n",
    "long-key": b"k" * 5000 + b" = 1\n", "long-value": b"[train]\nprecision = '" + b"v" * 5000 + b"'\n",
    "huge-seed": b"[train]\nseed = 10000000000000000000000000000\n", "huge-float": b"[model]\nwidth = 1e999\n",
    "digits": b"[train]\nseed = " + b"9" * 5000 + b"\n", "crop-31": b"[data]\ncrop_size = 31\n",
}
VALUES = {  # --set KEY=VALUE -> the text that its line must hold; all refused
    "model=3": "model", "train.seed": "train.seed", "=3": "=3", "": "--set", "a.b=1": "a.b",
    "train.seed=x": "train.seed",
    "train.seed=": "train.seed", "train.seed=1.5": "train.seed", "train.seed=-1": "train.seed",
    "train.seed=1" + "0" * 28: "train.seed", "train.seed=" + "9" * 5000: "train.seed",
    "train.seed=" + "[" * DEEP: "train.seed", "version=" + "[" * DEEP: "version",
    "train.G_lr=nan": "train.G_lr", "train.G_lr=inf": "train.G_lr", "train.G_lr=1e999": "train.G_lr",
    "model.width=1e300": "model.width", "model.width=0": "model.width", "model.trimap_channel=2": "trimap_channel",
    "model.arch.encoder=x": "encoder", "data.crop_size=33": "crop_size", "train.precision=fp8": "precision",
    "train.seed=1\nversion = 'INJECTED'": "train.seed", "train.seed=\x1b[31m": "train.seed", "\x1b[31m=1": "--set",
    ".".join(["a"] * DEEP) + "=1": "--set",
}
VERSIONS = ("", "..", ".", "a/b", "../x", "a\0b", "v" * 300, "a\x1b[31mb", "a\nb", " ", "\udcff", "ABSOLUTE")


def configuration_runs() -> Iterator[Run]:
    """Bad configurations in the demo, and a few in main.py."""
    yield from missing_runs()
    for name, content in TOML_FILES.items():
        def prepare(folder: Path, name: str = name, content: bytes = content) -> None:
            write_good(folder)
            write(folder / f"b-{name}.toml", content)

        yield Run("configurations", f"{name}.toml", (Thing(name, f"b-{name}.toml"),), partial(_demo, f"b-{name}.toml"),
                  prepare, 1, fast=True)
    for text, token in VALUES.items():
        yield Run("configurations", f"--set {ascii(text[:40])[1:-1]}", (Thing(text[:40], token),), partial(_set, text),
                  write_good, REFUSED, fast=True)
    yield from usable_runs()
    yield from version_runs()


def _demo(name: str, folder: Path) -> list:
    return [*demo(folder), "--config", folder / name]


def _set(text: str, folder: Path) -> list:
    return demo(folder, "--set", text)


def missing_runs() -> Iterator[Run]:
    """Configurations that are no files."""
    for name, make in (("missing", lambda path: None), ("a folder", Path.mkdir),
                       ("dangling", lambda path: path.symlink_to("nowhere")),
                       ("a loop", lambda path: path.symlink_to(path.name)),
                       ("endless", lambda path: path.symlink_to("/dev/zero"))):
        yield Run("configurations", name, (Thing(name, "b.toml"),), partial(_demo, "b.toml"),
                  lambda folder, make=make: (write_good(folder), make(folder / "b.toml")), 1, seconds=30,
                  fast=name != "endless")
    for command in (["main.py"], ["tools/train_free.py", "--parts=none"], ["tools/export_onnx.py"]):
        yield Run("configurations", f"{command[0]} missing", (Thing("missing", "b.toml"),),
                  lambda folder, command=command: [*command, "--config", folder / "b.toml"])


def usable_runs() -> Iterator[Run]:
    """Odd, but usable configurations."""
    whole = CONFIG.read_bytes()
    for name, content in (("byte order mark", b"\xef\xbb\xbf" + whole),
                          ("carriage returns", whole.replace(b"\n", b"\r\n")),
                          ("empty", b""), ("comments", b"# nothing\n\n")):
        yield Run("configurations", name, (Thing(name, "b.toml", "done"),), partial(_demo, "b.toml"),
                  lambda folder, content=content: (write_good(folder), write(folder / "b.toml", content)), 0, fast=True)
    yield Run("configurations", "keys of training only", (Thing("crop", "crop_size", "either"),),
              lambda folder: demo(folder, "--set", "data.crop_size=3200000"), write_good, (0, 1))


def version_runs() -> Iterator[Run]:
    """Names of runs that are no file names: refused, or at least nothing is written elsewhere."""
    for version in VERSIONS:
        def content(folder: Path, version: str = version) -> str:
            return str(folder / "elsewhere") if version == "ABSOLUTE" else version

        def in_file(folder: Path, text=content) -> None:
            write_good(folder)
            quoted = "".join(c if c.isalnum() or c in " ./-" else f"\\u{ord(c):04x}" for c in text(folder))
            write(folder / "b-version.toml", f'version = "{quoted}"\n'.encode())

        name, thing = ascii(version[:20]), Thing("version", "version", "refused" if version != " " else "either")
        status = 1 if version != " " else (0, 1)
        if "\0" not in version:
            yield Run("configurations", f"--set version={name}", (thing,), lambda folder, text=content: demo(
                folder, "--set", f"version={text(folder)}"), write_good, status, fast=True, spare=True)
        if version != "\udcff":
            yield Run("configurations", f"version {name} in a file", (thing,), partial(_demo, "b-version.toml"),
                      in_file, status, spare=True)
    yield Run("configurations", "export_onnx.py, version ../a", (Thing("version", "version"),), lambda folder: [
        "tools/export_onnx.py", "--config", CONFIG, "--checkpoint", tiny_checkpoint(), "--set=version=../a",
        "--output", folder / "out" / "a"], status=1, seconds=60)
