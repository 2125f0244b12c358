"""Writing networks as ONNX graphs, and comparing what ONNX Runtime computes with PyTorch."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

from matting.export_stages import stages
from matting.folded_network import folded
from matting.half_weights import with_half_weights
from matting.onnx_predictor import OnnxMatting, Padded
from matting.onnx_stages import DESCRIPTION, FORMAT, signatures, stage_path
from networks import GuidedContextualAttention, MattingNetwork
from networks.attention_chunked import attend
from utils.errors import InputError, one_line
from utils.file_writing import atomic_folder, atomic_path
from utils.preprocessing import STRIDE
from utils.tensors import encode_trimap, normalise

VERIFIED_SIZES = ((64, 64), (96, 160), (224, 128), (320, 352))  # height and width
TOLERANCE = 1e-4  # of alpha, between ONNX Runtime and PyTorch
FP16, FP32 = "fp16", "fp32"  # of stored weights


class ExportError(InputError):
    """A network that cannot be exported."""


class InexactError(ExportError):
    """A network of which ONNX Runtime computes another alpha."""


class AlphaOf(nn.Module):
    """A matting network that returns only its alpha."""

    def __init__(self, network: MattingNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        return self.network(image, trimap).alpha


def export(network: MattingNetwork, path: Path, metadata: dict[str, str], weights: str | None = None,
           say: Callable[[str], object] = lambda step: None) -> float:
    """Writes a network, provided ONNX Runtime computes the same alpha.

    Args:
        network: float32, on the CPU; not modified.
        path: a name that ends in .onnx: the file of a single graph; else the folder of a network in stages.
        metadata: entries besides trimap_channel and stride.
        weights: "fp16" or "fp32", how weights are stored; None: fp16 if alpha is then the same, else fp32.
        say: called with what is done next.

    Returns:
        The largest difference in alpha between ONNX Runtime and PyTorch.

    Raises:
        ExportError: if PyTorch cannot export the network, the difference exceeds `TOLERANCE`, or `path` exists and is
            something else. An existing network is then unchanged, and nothing else is left.
    """
    check_replaceable(path)
    metadata = {**metadata, "trimap_channel": str(network.trimap_channel), "stride": str(STRIDE)}
    plain = folded(network)
    if weights != FP32:
        try:
            return _export(with_half_weights(folded(network), network), path, metadata, plain, say)
        except InexactError as error:
            if weights:
                raise
            say(f"{error}: storing weights in fp32 instead of fp16")
    return _export(plain, path, metadata, plain, say)


def _export(network: MattingNetwork, path: Path, metadata: dict[str, str], reference: MattingNetwork,
            say: Callable[[str], object]) -> float:
    """`export` of a network as it is to be stored."""
    write, temporary_path = (write_onnx, atomic_path) if is_file_name(path) else (write_stages, atomic_folder)
    with temporary_path(path) as temporary:
        say("tracing and writing the network")
        write(network, temporary, metadata)
        say(f"comparing ONNX Runtime's alpha with PyTorch's at {len(VERIFIED_SIZES)} sizes")
        difference = largest_difference(reference, temporary)
        if not difference <= TOLERANCE:
            raise InexactError(f"{path}: not written: ONNX Runtime's alpha differs from PyTorch's by {difference:.1e}; "
                               f"expected at most {TOLERANCE:.0e}")
    return difference


def is_file_name(path: Path) -> bool:
    """Whether a network of this name is a single file."""
    return path.suffix.lower() == ".onnx"


def check_replaceable(path: Path) -> None:
    """Raises ExportError if a path exists and is not what an export would write there."""
    if not path.exists() or (is_file_name(path) and path.is_file()):
        return
    if is_file_name(path) or not path.is_dir():
        raise ExportError(f"{path}: exists and is not {'a file' if is_file_name(path) else 'a folder'}")
    others = [other.name for other in path.iterdir() if other.name != DESCRIPTION and not is_file_name(other)]
    if others or (any(path.iterdir()) and not (path / DESCRIPTION).is_file()):
        raise ExportError(f"{path}: exists and is not an exported network; expected a new folder, or one that holds "
                          f"only {DESCRIPTION} and its .onnx files")


def write_onnx(network: MattingNetwork, path: Path, metadata: dict[str, str]) -> None:
    """Writes a folded network as an ONNX file, without verifying it."""
    from networks.attention_onnx import attend_by_row  # needs torch's scan, which some versions lack

    batch, height, width = Dim("batch"), Dim("height", min=2, max=1024), Dim("width", min=2, max=1024)
    free = {0: batch, 2: STRIDE * height, 3: STRIDE * width}
    images, labels = drawn_inputs(2, 3 * STRIDE, 4 * STRIDE)
    set_attention(network, attend_by_row)
    try:
        program = exported(AlphaOf(network), as_tensors(images, labels, network.trimap_channel),
                           {"image": free, "trimap": free}, ("image", "trimap"), ("alpha",), optimize=True)
    finally:
        set_attention(network, attend)
    program.model.metadata_props.update(metadata)
    save(program, path)


def write_stages(network: MattingNetwork, folder: Path, metadata: dict[str, str]) -> None:
    """Writes a folded network as a folder of stages, without verifying it."""
    attention, colours = network.encoder.gca is not None, network.colour_channels is not None
    modules = stages(network)
    for name, (inputs, outputs) in signatures(attention, colours).items():
        stage = modules[name]
        program = exported(stage.module, stage.examples(), stage.dynamic_shapes(), inputs, outputs)
        save(program, stage_path(folder, name))
    description = {"format": FORMAT, **metadata, "attention": attention, "colour_samples": colours}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")


def exported(module: nn.Module, inputs: tuple[Tensor, ...], dynamic_shapes: object, input_names: tuple[str, ...],
             output_names: tuple[str, ...], optimize: bool = False) -> torch.onnx.ONNXProgram:
    """A module as ONNX graph; ExportError if PyTorch cannot export it.

    ONNX Runtime optimises graphs when it loads them. Other runtimes may not: `optimize` simplifies the graph.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.onnx.export(module.eval(), inputs, dynamo=True, verbose=False, optimize=optimize,
                                     input_names=input_names, output_names=output_names,
                                     dynamic_shapes=dynamic_shapes)
    except Exception as error:  # the exporter raises many kinds of errors
        reason = one_line(error) or type(error).__name__
        raise ExportError(f"PyTorch {torch.__version__} cannot export the network ({reason})") from error


def save(program: torch.onnx.ONNXProgram, path: Path) -> None:
    """Writes a graph without the exporter's notes on each node, which take more than half of a light network's file."""
    import onnx  # here: the program first tells which packages are missing

    model = program.model_proto
    graphs = [model.graph]
    while graphs:
        graph = graphs.pop()
        del graph.metadata_props[:]
        for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
            del part.metadata_props[:]
            part.doc_string = ""
        graphs += [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    onnx.save(model, path)


def set_attention(network: MattingNetwork, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
    for module in network.modules():
        if isinstance(module, GuidedContextualAttention):
            module.attend = function


@torch.inference_mode()
def largest_difference(network: MattingNetwork, path: Path) -> float:
    """Largest difference in alpha between PyTorch and an exported network, over `VERIFIED_SIZES`."""
    exported_network = OnnxMatting(path).network
    differences = []
    for n, (height, width) in enumerate(VERIFIED_SIZES, start=1):
        images, labels = drawn_inputs(min(n, 2), height, width)
        alphas = network(*as_tensors(images, labels, network.trimap_channel)).alpha.numpy()
        everywhere = np.ones((height, width), bool)
        pairs = [Padded(image, label, everywhere) for image, label in zip(images, labels, strict=True)]
        found = exported_network.alphas(pairs, lambda done, total: None)
        differences.append(np.abs(np.stack(found) - alphas[:, 0]).max())
    return float(np.max(differences))  # propagates NaN


def drawn_inputs(n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise images (n, height, width, 3) uint8 and labels (n, height, width) uint8 of coarse squares."""
    rng = np.random.default_rng(height * width)
    images = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (n, height // STRIDE, width // STRIDE), dtype=np.uint8)
    return images, labels.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)


def as_tensors(images: np.ndarray, labels: np.ndarray, trimap_channel: int) -> tuple[Tensor, Tensor]:
    """The inputs of a network."""
    return (torch.stack([normalise(image) for image in images]),
            torch.stack([encode_trimap(label, trimap_channel) for label in labels]))
