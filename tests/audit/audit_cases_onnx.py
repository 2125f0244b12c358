"""ONNX files that are damaged, no matting networks, or carry hostile metadata."""

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

from audit_bad_images import cut, damaged
from audit_run import Run, Thing
from audit_shared import GOOD, once, write, write_good

METADATA = {"version": "v", "trimap_channel": "3", "width": "0.1", "encoder": "e", "decoder": "d", "stride": "32"}
HOSTILE = [("version", value) for value in ("", "..", "../x", "a/b", "a\0b", "v" * 300, "a\x1b[31m\nINJECTED",
                                            "ABSOLUTE")]
HOSTILE += [("trimap_channel", value) for value in ("abc", "", "2", "-1", "1e9", "nan", "9" * 5000)]
HOSTILE += [("width", value) for value in ("x", "", "nan", "-1", "inf", "1e300")]


def network(metadata: dict[str, str] | None = None, inputs: tuple[str, str] = ("image", "trimap"),
            output: str = "alpha", kind: str = "alpha", side: int | None = None) -> bytes:
    """A small network: alpha is the sigmoid of the mean colour; `kind` changes what comes out."""
    from onnx import TensorProto, helper

    shape = ["n", 3, side or "h", side or "w"]
    nodes = [helper.make_node("ReduceMean", [inputs[0]], ["mean"], axes=[1], keepdims=int(kind != "flat")),
             helper.make_node("ReduceMean", [inputs[1]], ["mean2"], axes=[1], keepdims=int(kind != "flat")),
             helper.make_node("Add", ["mean", "mean2"], ["sum"])]
    last = {"alpha": ("Sigmoid", ["sum"], {}), "flat": ("Sigmoid", ["sum"], {}),
            "three": ("Concat", ["sum", "sum", "sum"], {"axis": 1}),
            "whole": ("Cast", ["sum"], {"to": TensorProto.INT64}),
            "nan": ("Log", ["minus"], {}),
            "half": ("MaxPool", ["sum"], {"kernel_shape": [2, 2], "strides": [2, 2]})}[kind]
    if kind == "nan":
        nodes += [helper.make_node("Exp", ["sum"], ["exp"]), helper.make_node("Neg", ["exp"], ["minus"])]
    nodes.append(helper.make_node(last[0], last[1], [output], **last[2]))
    number = TensorProto.INT64 if kind == "whole" else TensorProto.FLOAT
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    graph = helper.make_graph(nodes, "g", given, [helper.make_tensor_value_info(output, number, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA if metadata is None else metadata)
    return model.SerializeToString()


@once
def broken_files() -> dict[str, bytes]:
    """Name -> content of files that are refused."""
    whole = network()
    return {"empty": b"", "text": b"not a network\n", "html": b"<!DOCTYPE html><html></html>", "zip": b"PK\x03\x04" * 9,
            **{f"cut{percent}": cut(whole, percent / 100) for percent in (10, 50, 90)},
            **{f"zeroed{seed}": damaged(whole, 60, "zeroed", seed) for seed in range(3)}, "no-metadata": network({}),
            **{f"without-{name}": network({key: value for key, value in METADATA.items() if key != name})
               for name in ("version", "trimap_channel")},
            "other-inputs": network(inputs=("input", "mask")), "other-output": network(output="matte"),
            **{f"gives-{kind}": network(kind=kind) for kind in ("three", "flat", "whole", "nan", "half")},
            "fixed-size": network(side=64)}


def onnx_run(name: str, make: object, status: object = 1, **options) -> Run:
    """The demo with a network NAME.onnx."""
    def prepare(folder: Path) -> None:
        write_good(folder)
        data = make(folder / f"b-{name}.onnx")
        if isinstance(data, bytes):
            write(folder / f"b-{name}.onnx", data)

    return Run("onnx", name, (Thing(name, f"b-{name}.onnx|{GOOD[0]}|{GOOD[1]}", options.pop("expected", "refused")),),
               lambda folder: ["demo.py", "--onnx", folder / f"b-{name}.onnx", "--image-dir", folder / "images",
                               "--trimap-dir", folder / "trimaps", "--output", folder / "out"], prepare, status,
               spare=True, **options)


def onnx_runs() -> Iterator[Run]:
    """Bad ONNX files in the demo."""
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime")):
        return
    yield onnx_run("whole", lambda path: network(), 0, expected="done", good=tuple(
        f"v_b-whole.onnx/{name}.png" for name in GOOD), fast=True)
    for name in broken_files():
        yield onnx_run(name, lambda path, name=name: broken_files()[name], fast="-" not in name or "gives" in name)
    for key, value in HOSTILE:
        def make(path: Path, key: str = key, value: str = value) -> bytes:
            return network(METADATA | {key: str(path.parent / "elsewhere") if value == "ABSOLUTE" else value})

        yield onnx_run(f"{key}-{ascii(value[:9])[1:-1].replace('/', '|')}", make, fast=True)
    for name, special in (("missing", lambda path: None), ("folder", Path.mkdir), ("pipe", os.mkfifo),
                          ("endless", lambda path: path.symlink_to("/dev/zero"))):
        yield onnx_run(name, special, seconds=30)
