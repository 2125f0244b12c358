"""Checkpoint files that are damaged, hostile or of another network."""

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from audit_bad_images import cut, damaged, encoded, picture
from audit_run import Run, Thing
from audit_shared import CONFIG, demo, once, tiny_checkpoint, write, write_good

ARCHITECTURES = (
    {"encoder": "x"}, {"width": "x"}, {"width": float("nan")}, {"width": -1}, {"width": 1e300}, {"width": 3.99},
    {"width": True}, {"width": 1e-9}, {"trimap_channel": 2}, {"trimap_channel": [3]}, {"colour_samples": 1},
    {"colour_samples": "yes"}, {"unknown": 1}, {"encoder": None}, {"encoder": ["a"]}, {"encoder": {"a": 1}}, {1: 2},
    [1, 2], "resnet", 7, {"encoder": "x\x1b[31m\nINJECTED"}, {"encoder": "y" * 5000},
    {"encoder": "res_shortcut_encoder_29"},
)


class RunsCode:
    """Runs a shell command when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def saved(content: object) -> bytes:
    """A file of torch.save."""
    import torch

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def content(**changes: object) -> dict:
    """The content of a good checkpoint with other entries."""
    import torch

    return torch.load(tiny_checkpoint(), weights_only=True) | changes


def with_weight(change: Callable) -> dict:
    """A checkpoint with its first convolution changed."""
    weights = content()["state_dict"]
    name = next(name for name, value in weights.items() if value.dim() == 4)
    return content(state_dict=weights | {name: change(weights[name])})


@once
def files() -> dict[str, bytes]:
    """Name -> content of checkpoints that are refused."""
    whole, weights = tiny_checkpoint().read_bytes(), content()["state_dict"]
    bad = {"empty": b"", "html": b"<!DOCTYPE html>", "text": b"not a checkpoint\n", "image": encoded(picture()),
           "pickle-head": b"\x80\x02", "zip-head": b"PK\x03\x04"}
    bad |= {f"cut{percent}": cut(whole, percent / 100) for percent in (1, 10, 50, 90, 99)}
    bad |= {f"zeroed{seed}": damaged(whole, 3000, "zeroed", seed) for seed in range(3)}
    bad |= {"list": saved([1, 2]), "number": saved(3), "none": saved(None), "no-weights": saved({"a": 1}),
            "list-of-weights": saved(content(state_dict=[1])), "numbers": saved(content(state_dict={"a": 1})),
            "no-tensors": saved(content(state_dict={})),
            "odd-names": saved(content(state_dict={3: weights["encoder.bn1.weight"]})),
            "control-name": saved(content(state_dict=weights | {"a\x1b[31m\nINJECTED": weights["encoder.bn1.weight"]})),
            "missing-keys": saved(content(state_dict=dict(list(weights.items())[:50]))),
            "encoder-only": saved({"state_dict": {name.removeprefix("encoder."): value for name, value in
                                                  weights.items() if name.startswith("encoder.")}}),
            "other-zip": _zip({"a.txt": b"text"}), "zip-without-data": _zip({"archive/data.pkl": b"\x80\x02}q\x00.",
                                                                               "archive/version": b"3\n"})}
    bad |= {f"weight-{name}": saved(with_weight(change)) for name, change in _changes().items()}
    bad |= {f"architecture{number:02d}": saved(content(architecture=value))
            for number, value in enumerate(ARCHITECTURES)}
    return bad


def _changes() -> dict[str, Callable]:
    import warnings

    import torch

    warnings.filterwarnings("ignore", "torch.quantize")

    def huge(value: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1).expand(200_000, 200_000)  # one value that claims 160 GB

    return {"nan": lambda value: value * float("nan"), "inf": lambda value: value + float("inf"), "huge": huge,
            "huge-int": lambda value: torch.zeros(1, dtype=torch.int8).expand(400_000, 400_000),
            "shape": lambda value: value[:1], "scalar": lambda value: torch.tensor(1.0),
            "double": lambda value: value.double() + 1e300, "complex": lambda value: value.to(torch.complex64),
            "bool": lambda value: value > 0, "int": lambda value: value.long(), "meta": lambda value: value.to("meta"),
            "sparse": lambda value: value.to_sparse(),
            "quantised": lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
            "none": lambda value: None, "empty": lambda value: value[:0]}


def _zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def zip_bomb(path: Path) -> None:
    """A file of some megabytes whose pickle has 3 GB."""
    with (zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
          archive.open("archive/data.pkl", "w", force_zip64=True) as file):
        for _ in range(3000):
            file.write(bytes(10**6))


def checkpoint_run(name: str, make: Callable[[Path], object], expected: str = "refused", **options) -> Run:
    """The demo with a checkpoint NAME.pth, made in the run's folder."""
    def prepare(folder: Path) -> None:
        write_good(folder)
        make(folder / f"b-{name}.pth")

    return Run("checkpoints", name, (Thing(name, f"b-{name}.pth", expected),),
               lambda folder: demo(folder, checkpoint=folder / f"b-{name}.pth"), prepare,
               {"refused": 1, "done": 0, "either": None}[expected], **options)


def checkpoint_runs() -> Iterator[Run]:
    """Bad checkpoints in the demo, and some in the other programs."""
    for name in files():
        yield checkpoint_run(name, lambda path, name=name: write(path, files()[name]),
                             fast="architecture" not in name)
    for number in range(24):  # anywhere in the file, also where it does no harm
        yield checkpoint_run(f"flipped{number:02d}", lambda path, number=number: write(path, damaged(
            tiny_checkpoint().read_bytes(), 1, "flipped", number)), "either", fast=number < 4)
    for name, make in (("missing", lambda path: None), ("folder", Path.mkdir), ("pipe", os.mkfifo),
                       ("endless", lambda path: path.symlink_to("/dev/zero")),
                       ("dangling", lambda path: path.symlink_to("nowhere"))):
        yield checkpoint_run(name, make, seconds=30, fast=name in ("missing", "folder"))
    yield checkpoint_run("zip-bomb", zip_bomb)
    yield from code_runs()
    for name in ("list", "weight-nan", "weight-huge", "cut50", "architecture00", "control-name"):
        yield Run("checkpoints", f"export_onnx.py {name}", (Thing(name, f"b-{name}.pth"),), lambda folder, name=name: [
            "tools/export_onnx.py", "--checkpoint", folder / f"b-{name}.pth", "--config", CONFIG, "--output",
            folder / "out" / "a"], lambda folder, name=name: write(folder / f"b-{name}.pth", files()[name]))


def code_runs() -> Iterator[Run]:
    """Pickles that would run a command, in the old and the new file format; the command must not run."""
    import pickle

    for name, pack in (("code", saved), ("code-in-old-format", lambda value: pickle.dumps(value, 2))):
        marker = Path(os.environ.get("AUDIT_FOLDER", "/tmp")) / f"audit-{os.getpid()}-{name}"
        for place in ("top", "inside"):
            value = RunsCode(marker)
            data = pack(value if place == "top" else {"state_dict": {"a": value}})
            yield checkpoint_run(f"{name}-{place}", lambda path, data=data: write(path, data),
                                 outside=(str(marker),), fast=True)

