"""Near attention against exact: differences of alpha on enlarged pictures, and what they do to the errors.

    python benchmarks/near_attention.py --picture near.jpg                       # the included samples, 12 megapixels
    python benchmarks/near_attention.py --image-dir IMAGES --trimap-dir TRIMAPS --alpha-dir ALPHAS

Each picture is enlarged (bicubic; trimaps to the nearest pixel) and matted with the included weights. Differences are
over the unknown region. With --alpha-dir the four errors of both mattes follow, against alphas enlarged likewise.
"""

import argparse
import sys
import time
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("near_attention.py: loading PyTorch", file=sys.stderr)

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import by_stem, find_partner, list_images, read_grey, read_image
from evaluation.metrics import Errors, matting_errors
from matting.options import DEFAULT_CHECKPOINT
from matting.predictor import Matting
from utils.arguments import ATTENTIONS, any_path, positive_float
from utils.file_writing import write_jpeg
from utils.preprocessing import UNKNOWN, alpha_to_uint8, trimap_grey, trimap_labels
from utils.program import program
from utils.visualisation import contact_sheet, panel

GAIN = 20  # of the differences in the picture
ROW_HEIGHT, QUALITY = 400, 88


def enlarged(image: np.ndarray, pixels: float, interpolation: int) -> np.ndarray:
    factor = (pixels / (image.shape[0] * image.shape[1])) ** 0.5
    size = tuple(round(side * factor) for side in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=interpolation)


def both_mattes(matting: Matting, image: np.ndarray, trimap: np.ndarray) -> tuple[list[np.ndarray], list[float]]:
    """Exact and near alpha (H, W) float32, and the seconds they took."""
    mattes, seconds = [], []
    for attention in ATTENTIONS:
        matting.attention = attention
        start = time.perf_counter()
        mattes.append(matting(image, trimap))
        seconds.append(time.perf_counter() - start)
    return mattes, seconds


def row_of_picture(name: str, image: np.ndarray, exact: np.ndarray, near: np.ndarray) -> tuple[str, np.ndarray]:
    difference = (np.abs(near - exact) * 255 * GAIN).clip(0, 255).astype(np.uint8)
    pictures = [image, alpha_to_uint8(exact), alpha_to_uint8(near), difference]
    return f"{name}: image, exact, near, difference x {GAIN}", panel(pictures, ROW_HEIGHT)


def errors_of(mattes: list[np.ndarray], alpha: np.ndarray, trimap: np.ndarray) -> list[Errors]:
    """The four errors of both mattes; each is printed as near's relative to exact's."""
    return [matting_errors(alpha_to_uint8(matte), alpha, trimap) for matte in mattes]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare near attention with exact attention on enlarged pictures.")
    parser.add_argument("--image-dir", type=any_path, default=Path("demo/input_lowres"))
    parser.add_argument("--trimap-dir", type=any_path, default=Path("demo/trimap_lowres/Trimap3"))
    parser.add_argument("--alpha-dir", type=any_path, help="true alphas, for the four errors")
    parser.add_argument("--megapixels", type=positive_float, default=12.0, help="(default: %(default)s)")
    parser.add_argument("--picture", type=any_path, metavar="FILE", help="write both mattes and their difference")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    matting = Matting.from_checkpoint(DEFAULT_CHECKPOINT)
    trimaps = by_stem(list_images(args.trimap_dir))
    alphas = by_stem(list_images(args.alpha_dir)) if args.alpha_dir else {}
    print(f"{'image':>12} | {'exact':>7} {'near':>7} | {'mean':>8} {'99.9 %':>8} {'largest':>8} |"
          + " SAD, MSE, Grad, Conn: exact, and near / exact" * bool(alphas))
    rows, sums = [], np.zeros((2, 4))
    for path in list_images(args.image_dir):
        image = enlarged(read_image(path), args.megapixels * 1e6, cv2.INTER_CUBIC)
        trimap = trimap_grey(trimap_labels(read_grey(find_partner(path, trimaps.get(path.stem, []), "trimap",
                                                                  args.trimap_dir))))
        trimap = enlarged(trimap, args.megapixels * 1e6, cv2.INTER_NEAREST)
        mattes, seconds = both_mattes(matting, image, trimap)
        difference = np.abs(mattes[1] - mattes[0])[trimap_labels(trimap) == UNKNOWN]
        line = (f"{path.stem:>12} | {seconds[0]:5.1f} s {seconds[1]:5.1f} s | {difference.mean():8.5f} "
                f"{np.quantile(difference, 0.999):8.4f} {difference.max():8.4f} |")
        if alphas:
            alpha = read_grey(find_partner(path, alphas.get(path.stem, []), "alpha", args.alpha_dir))
            errors = np.array(errors_of(mattes, enlarged(alpha, args.megapixels * 1e6, cv2.INTER_CUBIC), trimap))
            sums += errors
            line += relative(errors)
        print(line, flush=True)
        rows.append(row_of_picture(path.stem, image, *mattes))
    if alphas:
        print(f"{'all':>12} {relative(sums)}")
    if args.picture:
        write_jpeg(args.picture, contact_sheet(rows), QUALITY)
    return 0


def relative(errors: np.ndarray) -> str:
    """Exact errors, and near ones as multiples of them, given (2, 4)."""
    return " ".join(f" {exact:.4g} x {near / exact:.4f}" for exact, near in errors.T)


if __name__ == "__main__":
    sys.exit(main())
