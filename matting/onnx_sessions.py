"""ONNX Runtime: loading a graph, running it, and what can be wrong with a network's files. Needs no PyTorch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from utils.errors import InputError, cut, one_line
from utils.file_writing import is_folder_name
from utils.preprocessing import STRIDE

METADATA = ("version", "trimap_channel", "width", "encoder", "decoder", "stride")  # written by tools/export_onnx.py


class OnnxFileError(InputError):
    """An ONNX network that cannot be used. The message names the file."""


def load_session(path: str | Path, threads: int = 0, **settings: str):
    """An ONNX Runtime session of a file, on the CPU.

    Args:
        threads: 0: one per core.
        settings: further entries of the session's configuration, with "__" for ".".

    Raises:
        OnnxFileError: if the file cannot be loaded, or ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise OnnxFileError("ONNX Runtime is not installed: pip install -r requirements-onnx-run.txt") from None
    path = Path(path)
    if not path.is_file():
        raise OnnxFileError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4  # errors are raised as exceptions
    for key, value in settings.items():
        options.add_session_config_entry(key.replace("__", "."), value)
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise OnnxFileError(f"{path}: cannot be loaded as an ONNX network ({one_line(error)})") from None


def run_session(session, inputs: dict[str, np.ndarray], path: Path | None = None) -> list[np.ndarray]:
    """The outputs of a graph.

    Args:
        path: of the file, for messages.

    Raises:
        MemoryError: if memory does not suffice.
        OnnxFileError: if the graph cannot be run.
    """
    with _known_errors(inputs, path):
        return session.run(None, inputs)


def run_into(session, output: np.ndarray, inputs: dict[str, np.ndarray], path: Path | None = None) -> None:
    """`run_session` of a graph with float32 inputs and one output, written to existing, contiguous memory."""
    inputs = {name: np.ascontiguousarray(array, np.float32) for name, array in inputs.items()}
    with _known_errors(inputs, path):
        binding = session.io_binding()
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        name = session.get_outputs()[0].name
        binding.bind_output(name, "cpu", 0, np.float32, output.shape, output.ctypes.data)
        session.run_with_iobinding(binding)


@contextmanager
def _known_errors(inputs: dict[str, np.ndarray], path: Path | None) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # as above
        if "allocate memory" in str(error) or "bad_alloc" in str(error):
            shapes = ", ".join(" x ".join(map(str, array.shape)) for array in inputs.values())
            raise MemoryError(f"not enough memory for inputs of {shapes}") from None
        raise OnnxFileError(f"{path}: cannot be run ({one_line(error)})") from None


def metadata_problem(metadata: dict[str, str]) -> str | None:
    """What is wrong with a network's metadata, or None."""
    missing = [name for name in METADATA if name not in metadata]
    if missing:
        return f"its metadata lacks {', '.join(missing)}"
    if not is_folder_name(metadata["version"]):
        return f"its version is {cut(repr(metadata['version']))}; expected the name of a folder"
    if metadata["trimap_channel"] not in ("1", "3"):
        return f"its trimap_channel is {cut(repr(metadata['trimap_channel']))}; expected 1 or 3"
    if metadata["stride"] != str(STRIDE):
        return f"its stride is {cut(repr(metadata['stride']))}; expected {STRIDE}"
    if not re.fullmatch(r"\d+(\.\d+)?", metadata["width"]) or not 0 < float(metadata["width"]) <= 4:
        return f"its width is {cut(repr(metadata['width']))}; expected a factor above 0, at most 4"
    return None


def names_problem(session, names: tuple[str, ...]) -> str | None:
    """What is wrong with the names of a graph's inputs and outputs, or None."""
    found = {node.name for node in (*session.get_inputs(), *session.get_outputs())}
    if found == set(names):
        return None
    return f"its inputs and outputs are {', '.join(sorted(found))}; expected {', '.join(sorted(names))}"


def signature_problem(session, metadata: dict[str, str]) -> str | None:
    """What is wrong with the inputs and outputs of the graph of a whole network, or None."""
    expected = {"image": 3, "trimap": int(metadata["trimap_channel"]), "alpha": 1}
    problem = names_problem(session, tuple(expected))
    if problem:
        return problem
    found = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    for name, channels in expected.items():
        shape = found[name]
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != channels):
            return f"its {name} has shape {shape}; expected 4 dimensions, of which the second is {channels}"
    return None
