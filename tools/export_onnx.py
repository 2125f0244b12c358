"""Exports a network to an ONNX file, which runs without PyTorch.

    python tools/export_onnx.py --output=gca.onnx
    python tools/export_onnx.py --checkpoint=checkpoints/gca-dist/gca-dist.pth --config=config/gca-dist.toml
    python demo.py --onnx=gca.onnx --image-dir=... --trimap-dir=...

Without --checkpoint and --config, the shipped network is exported.

Inputs are `image` (N, 3, H, W), RGB in 0..1 normalised by ImageNet's mean and standard deviation, and `trimap`
(N, trimap_channel, H, W), encoded as for the network; the output is `alpha` (N, 1, H, W) in 0..1. All are float32;
N, H and W are dynamic, H and W multiples of 32. The file's metadata holds version, trimap_channel, width,
colour_samples, encoder, decoder, stride.

The file is only kept if ONNX Runtime computes the same alpha as PyTorch at several sizes. Attention is computed row by
row (`networks.attention_onnx`), without holding the full score matrix. Everything else is computed for the whole image
at once, about 1.3 GB per megapixel at the published width. Measured in ONNX Runtime, with a border of 32: 0.7 GB for
512 x 512 pixels, 1.8 GB for 1024 x 1024, 6.1 GB for 2048 x 2048.
"""

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("export_onnx.py: loading PyTorch", flush=True)

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from matting.folded_network import folded
from matting.onnx_predictor import load_session, run_session
from matting.options import add_network_arguments, chosen_network
from networks import GuidedContextualAttention, MattingNetwork
from networks.attention_chunked import attend
from utils.arguments import any_path
from utils.checkpoint import load_network
from utils.config import architecture
from utils.errors import InputError, printable
from utils.file_writing import atomic_path, check_writable, naming
from utils.preprocessing import STRIDE, normalised_planes, trimap_planes
from utils.program import program

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # requirements-onnx.txt
VERIFIED_SIZES = ((64, 64), (96, 160), (224, 128), (320, 352))  # height and width
LOWEST_TORCH = "2.11"  # 2.6 does not export attention, 2.9 exports another alpha
TOLERANCE = 1e-4  # of alpha, between ONNX Runtime and PyTorch


class ExportError(InputError):
    """A network that cannot be exported."""


class AlphaOf(nn.Module):
    """A matting network that returns only its alpha."""

    def __init__(self, network: MattingNetwork):
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, trimap: Tensor) -> Tensor:
        return self.network(image, trimap).alpha


def export(network: MattingNetwork, path: Path, metadata: dict[str, str],
           say: Callable[[str], object] = lambda step: None) -> float:
    """Writes a network as an ONNX file, provided ONNX Runtime computes the same alpha.

    Args:
        network: float32, on the CPU; not modified.
        metadata: entries of the file besides trimap_channel and stride.
        say: called with what is done next.

    Returns:
        The largest difference in alpha between ONNX Runtime and PyTorch.

    Raises:
        ExportError: if PyTorch cannot export the network, or the difference exceeds `TOLERANCE`. No file is left.
    """
    network = folded(network)
    metadata = {**metadata, "trimap_channel": str(network.trimap_channel), "stride": str(STRIDE)}
    with atomic_path(path) as temporary:
        say("tracing and writing the network")
        write_onnx(network, temporary, metadata)
        say(f"comparing ONNX Runtime's alpha with PyTorch's at {len(VERIFIED_SIZES)} sizes")
        difference = largest_difference(network, temporary)
        if not difference <= TOLERANCE:
            raise ExportError(f"{path}: not written: ONNX Runtime's alpha differs from PyTorch's by {difference:.1e}; "
                              f"expected at most {TOLERANCE:.0e}")
    return difference


def write_onnx(network: MattingNetwork, path: Path, metadata: dict[str, str]) -> None:
    """Writes a folded network as an ONNX file, without verifying it."""
    batch, height, width = Dim("batch"), Dim("height", min=2, max=1024), Dim("width", min=2, max=1024)
    free = {0: batch, 2: STRIDE * height, 3: STRIDE * width}
    inputs = tuple(map(torch.from_numpy, drawn_inputs(2, 3 * STRIDE, 4 * STRIDE, network.trimap_channel)))
    from networks.attention_onnx import attend_by_row  # needs torch's scan, which some versions lack

    set_attention(network, attend_by_row)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(AlphaOf(network).eval(), inputs, dynamo=True, verbose=False,
                                        input_names=["image", "trimap"], output_names=["alpha"],
                                        dynamic_shapes={"image": free, "trimap": free})
    except Exception as error:  # the exporter raises many kinds of errors
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"PyTorch {torch.__version__} cannot export the network ({reason})") from error
    finally:
        set_attention(network, attend)
    program.model.metadata_props.update(metadata)
    program.save(path)


def set_attention(network: MattingNetwork, function: Callable[..., tuple[Tensor, Tensor]]) -> None:
    for module in network.modules():
        if isinstance(module, GuidedContextualAttention):
            module.attend = function


@torch.inference_mode()
def largest_difference(network: MattingNetwork, path: Path) -> float:
    """Largest difference in alpha between PyTorch and an ONNX file in ONNX Runtime, over `VERIFIED_SIZES`."""
    session = load_session(path)
    differences = []
    for n, (height, width) in enumerate(VERIFIED_SIZES, start=1):
        image, trimap = drawn_inputs(min(n, 2), height, width, network.trimap_channel)
        alpha = network(torch.from_numpy(image), torch.from_numpy(trimap)).alpha.numpy()
        differences.append(np.abs(run_session(session, image, trimap) - alpha).max())
    return float(np.max(differences))  # propagates NaN


def drawn_inputs(n: int, height: int, width: int, trimap_channel: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise images (n, 3, height, width) and trimaps (n, trimap_channel, height, width) of coarse squares."""
    rng = np.random.default_rng(height * width)
    images = rng.integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    labels = rng.integers(0, 3, (n, height // STRIDE, width // STRIDE), dtype=np.uint8)
    labels = labels.repeat(STRIDE, axis=1).repeat(STRIDE, axis=2)
    return (np.stack([normalised_planes(image) for image in images]),
            np.stack([trimap_planes(label, trimap_channel) for label in labels]))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a network to an ONNX file.")
    add_network_arguments(parser)
    parser.add_argument("--output", type=any_path, metavar="FILE", default=Path("gca.onnx"),
                        help="output file (default: %(default)s)")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"{', '.join(missing)} not installed: pip install -r requirements-onnx.txt")
    if torch.__version__ < LOWEST_TORCH:
        raise ExportError(f"PyTorch {torch.__version__} cannot export attention: install {LOWEST_TORCH} or later")
    config, checkpoint = chosen_network(args)
    if args.output.exists() and args.output.suffix.lower() != ".onnx":
        raise ExportError(f"{args.output}: exists and is not an ONNX file; expected a name that ends in .onnx")
    with naming(args.output):
        check_writable(args.output.parent)
    print(f"reading {printable(str(checkpoint))}")
    network = load_network(checkpoint, **architecture(config))
    metadata = {name: str(value) for name, value in network.architecture.items()}
    difference = export(network, args.output, {"version": config.version, **metadata}, print)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; alpha within {difference:.1e} of PyTorch's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
