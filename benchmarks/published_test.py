"""The published test phase as a plain loop on the CPU: the baseline of benchmarks/composition_1k_speed.py.

    python -m benchmarks.published_test --data DIR --predictions DIR --errors errors.json --checkpoint FILE

DIR holds merged, alpha and trimap. Each image is predicted whole, with attention as published, then scored by
`published_errors`. Without --checkpoint existing predictions are scored only, and PyTorch is not loaded.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.published_errors import published_errors
from dataloader.image_file import read_grey, read_image
from dataloader.image_folders import find_test_images
from utils.arguments import any_path
from utils.file_writing import write_png
from utils.preprocessing import alpha_to_uint8, finished_alpha, padding, trimap_labels
from utils.program import program

Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


def whole_image_predictor(checkpoint: Path) -> Predict:
    """Image (H, W, 3) and trimap (H, W), uint8, to alpha (H, W) in 0..1, by the network as published.

    Raises:
        utils.checkpoint.CheckpointError: as `utils.checkpoint.load_network`.
    """
    import torch

    from benchmarks.published import as_published
    from utils.checkpoint import load_network
    from utils.tensors import encode_trimap, normalise

    network = as_published(load_network(checkpoint)).eval()

    @torch.inference_mode()
    def predict(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
        labels = trimap_labels(trimap)
        pad = padding(*labels.shape, border=0)
        image = np.pad(image, (*pad, (0, 0)), mode="reflect")
        inputs = normalise(image)[None], encode_trimap(np.pad(labels, pad, mode="reflect"), 3)[None]
        return finished_alpha(network(*inputs).alpha[0, 0].numpy(), labels, border=0)

    return predict


def test(data: Path, predictions: Path, predict: Predict | None) -> dict[str, dict[str, float]]:
    """Predicts, if a predictor is given, and scores every image; file name -> errors by name.

    Raises:
        ImageFileError: if a folder or file is missing or cannot be read.
    """
    errors = {}
    for triple in find_test_images(*(data / kind for kind in ("merged", "alpha", "trimap"))):
        start = time.perf_counter()
        trimap, output = read_grey(triple.trimap), predictions / f"{triple.image.stem}.png"
        if predict is not None:
            write_png(output, alpha_to_uint8(predict(read_image(triple.image), trimap)))
        predicted = time.perf_counter()
        row = published_errors(read_grey(output), read_grey(triple.alpha), trimap)
        errors[triple.image.name] = {name: float(value) for name, value in row._asdict().items()}
        print(f"{triple.image.name}: {triple.size[0]} x {triple.size[1]}, predicted in {predicted - start:.2f} s, "
              f"scored in {time.perf_counter() - predicted:.2f} s", file=sys.stderr)
    return errors


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Predict and score test images as published.")
    parser.add_argument("--data", type=any_path, required=True, metavar="DIR",
                        help="folder with merged/, alpha/ and trimap/")
    parser.add_argument("--predictions", type=any_path, required=True, metavar="DIR", help="folder of predictions")
    parser.add_argument("--errors", type=any_path, required=True, metavar="FILE", help="JSON file for the errors")
    parser.add_argument("--checkpoint", type=any_path, metavar="FILE", help="default: score existing predictions")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    predict = whole_image_predictor(args.checkpoint) if args.checkpoint else None
    errors = test(args.data, args.predictions, predict)
    args.errors.write_text(json.dumps(errors, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
