"""Exports a network to ONNX graphs, which run without PyTorch.

    python tools/export_onnx.py --output=gca-onnx
    python tools/export_onnx.py --checkpoint=checkpoints/gca-dist/gca-dist.pth --config=config/gca-dist.toml
    python demo.py --onnx=gca-onnx --image-dir=... --trimap-dir=...
    python tools/export_onnx.py --single --output=gca.onnx

Without --checkpoint and --config, the shipped network is exported. It becomes a folder of graphs, one a stage, which
`matting.onnx_predictor` runs in tiles; `matting.onnx_stages` describes them.

With --single it becomes one graph for whole images, for other runtimes. Inputs are `image` (N, 3, H, W), RGB in 0..1
normalised by ImageNet's mean and standard deviation, and `trimap` (N, trimap_channel, H, W), encoded as for the
network; the output is `alpha` (N, 1, H, W) in 0..1. All are float32; N, H and W are dynamic, H and W multiples of 32.
The file's metadata hold version, trimap_channel, width, colour_samples, encoder, decoder, stride. Attention is computed
row by row (`networks.attention_onnx`), without holding the full score matrix, everything else for the whole image at
once: at the published width 0.7 GB for 512 x 512 pixels, 1.8 GB for 1024 x 1024, 6.1 GB for 2048 x 2048.

What is written is only kept if ONNX Runtime computes the same alpha as PyTorch at several sizes. Weights are stored in
half precision if alpha is then the same.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("export_onnx.py: loading PyTorch", flush=True)

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from matting.onnx_export import FP16, FP32, ExportError, check_replaceable, export, is_file_name
from matting.options import add_network_arguments, chosen_network
from utils.arguments import any_path
from utils.checkpoint import load_network
from utils.config import architecture
from utils.errors import printable
from utils.file_writing import check_writable, naming
from utils.program import program

PACKAGES = ("onnx", "onnxscript", "onnxruntime")  # requirements-onnx.txt
LOWEST_TORCH = "2.11"  # 2.6 does not export attention, 2.9 exports another alpha


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Export a network to ONNX, a folder of stages or one graph.")
    add_network_arguments(parser)
    parser.add_argument("--output", type=any_path, metavar="PATH",
                        help="folder, or with --single file, that is written (default: gca-onnx, gca.onnx)")
    parser.add_argument("--single", action="store_true",
                        help="write one graph for whole images instead, for other runtimes")
    parser.add_argument("--weights", choices=(FP16, FP32),
                        help="how weights are stored (default: fp16 if alpha is the same, else fp32)")
    args = parser.parse_args()
    args.output = args.output or Path("gca.onnx" if args.single else "gca-onnx")
    return args


@program
def main() -> int:
    args = parse_arguments()
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(f"{', '.join(missing)} not installed: pip install -r requirements-onnx.txt")
    if torch.__version__ < LOWEST_TORCH:
        raise ExportError(f"PyTorch {torch.__version__} cannot export attention: install {LOWEST_TORCH} or later")
    config, checkpoint = chosen_network(args)
    if is_file_name(args.output) != args.single:
        raise ExportError(f"{args.output}: expected a name that ends in .onnx with --single, another one without it")
    check_replaceable(args.output)
    with naming(args.output):
        check_writable(args.output.parent)
    print(f"reading {printable(str(checkpoint))}")
    network = load_network(checkpoint, **architecture(config))
    metadata = {name: str(value) for name, value in network.architecture.items()}
    difference = export(network, args.output, {"version": config.version, **metadata}, args.weights, print)
    size = args.output.stat().st_size if args.single else sum(file.stat().st_size for file in args.output.iterdir())
    print(f"{args.output}: {size / 1e6:.1f} MB; alpha within {difference:.1e} of PyTorch's")
    return 0


if __name__ == "__main__":
    sys.exit(main())
