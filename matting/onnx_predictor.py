"""The predictor for exported networks, with ONNX Runtime. Needs no PyTorch."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from utils.device import available_memory
from utils.errors import InputError, cut, one_line
from utils.file_writing import is_folder_name
from utils.preprocessing import (
    BORDER,
    STRIDE,
    UNKNOWN,
    Matte,
    as_pair,
    checked_labels,
    finished_alpha,
    normalised_planes,
    padding,
    trimap_planes,
)
from utils.progress_bar import Report

METADATA = ("version", "trimap_channel", "width", "encoder", "decoder", "stride")  # written by tools/export_onnx.py

# Approximate memory per pixel, constant and times width; measured at the published width and at 3/8 of it.
BYTES_PER_PIXEL, BYTES_BY_WIDTH = 650, 700


class OnnxFileError(InputError):
    """An ONNX network that cannot be used. The message names the file."""


class OnnxMatting:
    """Alpha mattes from photos and trimaps with an exported network; used like `matting.predictor.Matting`.

    >>> matting = OnnxMatting("gca.onnx")
    >>> alpha = matting(image, trimap)

    The padded image is processed as a whole: about 1.3 GB per megapixel.

    Args:
        path: a file written by tools/export_onnx.py.
        border: pixels of reflection padding, as in `matting.predictor.Matting`.
        threads: CPU threads; 0: one per core.

    Raises:
        OnnxFileError: if the file is missing, damaged or another network, or ONNX Runtime is not installed.
    """

    device, precision = "cpu", "fp32"

    def __init__(self, path: str | Path, border: int = BORDER, threads: int = 0):
        self.path = Path(path)
        self.session = load_session(path, threads)
        metadata = self.session.get_modelmeta().custom_metadata_map
        problem = _metadata_problem(metadata) or _signature_problem(self.session, metadata)
        if problem:
            raise OnnxFileError(f"{path}: not a matting network of tools/export_onnx.py: {problem}")
        self.border = border
        self.version = metadata["version"]
        self.trimap_channel = int(metadata["trimap_channel"])
        self.width = float(metadata["width"])

    def __call__(self, image: np.ndarray | Image.Image, trimap: np.ndarray | Image.Image) -> np.ndarray:
        """Alpha (H, W), float32 in 0..1; arguments and errors as in `predict`."""
        return self.predict(image, trimap).alpha

    def attention_for(self, height: int, width: int) -> str:
        """As `Matting.attention_for`: always exact."""
        return "exact"

    def predict(self, image: np.ndarray | Image.Image, trimap: np.ndarray | Image.Image,
                report: Report = lambda done, total: None) -> Matte:
        """Alpha, without attention offsets. Arguments and errors as in `Matting.predict`; all is one step.

        Raises:
            MemoryError: if memory does not suffice.
        """
        return self.predict_batch([as_pair(image, trimap)], report)[0]

    def predict_batch(self, pairs: list[tuple[np.ndarray, np.ndarray]],
                      report: Report = lambda done, total: None) -> list[Matte]:
        """`predict` for several (image, trimap) of one size at once."""
        labels = checked_labels(pairs)
        if not any((label == UNKNOWN).any() for label in labels):
            return [Matte(finished_alpha(np.zeros(label.shape, np.float32), label, 0), (), ()) for label in labels]
        pad = padding(*labels[0].shape, self.border)
        padded = np.add(labels[0].shape, [sum(sides) for sides in pad])
        check_memory(len(pairs) * int(padded.prod()), self.width)
        images = np.stack([normalised_planes(np.pad(image, (*pad, (0, 0)), mode="reflect")) for image, _ in pairs])
        trimaps = np.stack([trimap_planes(np.pad(label, pad, mode="reflect"), self.trimap_channel)
                            for label in labels])
        alphas = self._run(images, trimaps)
        report(1, 1)
        return [Matte(finished_alpha(alpha[0], label, self.border), (), ())
                for alpha, label in zip(alphas, labels, strict=True)]

    def _run(self, images: np.ndarray, trimaps: np.ndarray) -> np.ndarray:
        try:
            alphas = run_session(self.session, images, trimaps)
        except MemoryError:
            raise
        except Exception as error:  # as in load_session
            raise OnnxFileError(f"{self.path}: cannot be run ({one_line(error)})") from None
        expected = (len(images), 1, *images.shape[2:])
        if alphas.shape != expected or alphas.dtype != np.float32:
            raise OnnxFileError(f"{self.path}: its alpha is {alphas.dtype} of shape {alphas.shape}; "
                                f"expected float32 of shape {expected}")
        return alphas


def _metadata_problem(metadata: dict[str, str]) -> str | None:
    """What is wrong with a file's metadata, or None."""
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


def _signature_problem(session, metadata: dict[str, str]) -> str | None:
    """What is wrong with the inputs and outputs of a network, or None."""
    expected = {"image": 3, "trimap": int(metadata["trimap_channel"]), "alpha": 1}
    found = {node.name: node.shape for node in (*session.get_inputs(), *session.get_outputs())}
    if set(found) != set(expected):
        return f"its inputs and outputs are {', '.join(sorted(found))}; expected {', '.join(sorted(expected))}"
    for name, channels in expected.items():
        shape = found[name]
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != channels):
            return f"its {name} has shape {shape}; expected 4 dimensions, of which the second is {channels}"
    return None


def check_memory(pixels: int, width: float) -> None:
    """Raises MemoryError if padded pixels need more memory than is available: the system might kill the process."""
    needed, available = pixels * (BYTES_PER_PIXEL + BYTES_BY_WIDTH * width), available_memory()
    if needed > available:
        raise MemoryError(f"{pixels} pixels take about {needed / 1e9:.1f} GB; {available / 1e9:.1f} GB are available")


def load_session(path: str | Path, threads: int = 0):
    """An ONNX Runtime session of a file, on the CPU; OnnxFileError if it cannot be loaded."""
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
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        reason = str(error).strip().splitlines()[0]
        raise OnnxFileError(f"{path}: cannot be loaded as an ONNX network ({reason})") from None


def run_session(session, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Alpha (N, 1, H, W) float32 of image (N, 3, H, W) and trimap (N, trimap_channel, H, W), both float32.

    Raises:
        MemoryError: if memory does not suffice.
    """
    try:
        return session.run(["alpha"], {"image": image, "trimap": trimap})[0]
    except Exception as error:  # as above
        if "allocate memory" in str(error) or "bad_alloc" in str(error):
            raise MemoryError(f"not enough memory for {image.shape[3]} x {image.shape[2]} pixels") from None
        raise
