"""Draws a contact sheet of training samples and, for comparison, one of crops of real photographs at unknown pixels.

    python tools/draw_contact_sheets.py --photographs data/photographs/train --set data.cutouts=data/cutouts
    python tools/draw_contact_sheets.py --photographs data/photographs/train --output samples.png \\
        --real photographs/merged photographs/trimap --real-output real.png

Samples are generated as with `data.on_device` and the default recipe, with decoys as `--set data.decoy_share` says.
"""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":  # before PyTorch is imported, which takes seconds
    print("draw_contact_sheets.py: loading PyTorch", flush=True)

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey, read_image
from dataloader.on_device.batches import make_banks, make_samples
from dataloader.on_device.draws import Draws
from dataloader.on_device.recipe import PRESENT, REALISTIC
from utils.arguments import any_path, positive_int, whole_number
from utils.config import load_config
from utils.distributed import World
from utils.file_writing import write_jpeg, write_png
from utils.preprocessing import UNKNOWN, trimap_labels
from utils.program import program
from utils.visualisation import as_rgb

GAP = 4  # pixels between tiles
QUALITY = 88  # of JPEG files
ON_CPU = World(0, 1, torch.device("cpu"))


def sheet(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """Arranges tiles of equal size (h, w, 3) in rows on white, (H, W, 3)."""
    blank = np.full_like(tiles[0], 255)
    tiles = [np.pad(tile, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
             for tile in tiles + [blank] * (-len(tiles) % columns)]
    return np.vstack([np.hstack(tiles[first:first + columns]) for first in range(0, len(tiles), columns)])


def sample_tiles(settings: list[str], count: int, crop: int, seed: int, with_alpha: bool,
                 present: bool) -> list[np.ndarray]:
    """Images of training samples; with `with_alpha` each above its alpha."""
    config = load_config(overrides=[f"data.generated={2 * count}", *settings, f"data.crop_size={crop}",
                                    f"train.seed={seed}"])
    with make_banks(config, ON_CPU) as banks, torch.no_grad():
        draws = Draws(ON_CPU.device, seed)
        recipe = (PRESENT if present else REALISTIC)._replace(decoy_share=config.data.decoy_share)
        samples = make_samples(draws, banks, count, crop, recipe)
    images = samples.image.permute(0, 2, 3, 1).to(torch.uint8).numpy()
    if not with_alpha:
        return list(images)
    alphas = (samples.alpha[:, 0] * 255).to(torch.uint8).numpy()
    return [np.vstack([image, as_rgb(alpha)]) for image, alpha in zip(images, alphas, strict=True)]


def real_tiles(images: Path, trimaps: Path, count: int, crop: int, seed: int) -> list[np.ndarray]:
    """Crops of photographs around random unknown pixels, taken from the photographs in turn.

    Raises:
        ImageFileError: if a folder or file cannot be read, or a trimap is missing or has no unknown pixels.
    """
    rng = np.random.default_rng(seed)
    paths, partners = list_images(images), {path.stem: path for path in list_images(trimaps)}
    tiles = []
    for i in range(count):
        path = paths[i % len(paths)]
        trimap = find_partner(path, [partners[path.stem]] if path.stem in partners else [], "trimap", trimaps)
        image, labels = read_image(path), trimap_labels(read_grey(trimap))
        rows, columns = np.nonzero(labels == UNKNOWN)
        if not len(rows):
            raise ImageFileError(f"{trimap}: has no unknown pixels")
        chosen = int(rng.integers(len(rows)))
        top, left = (int(np.clip(at - crop // 2, 0, max(0, side - crop)))
                     for at, side in ((rows[chosen], image.shape[0]), (columns[chosen], image.shape[1])))
        tile = image[top:top + crop, left:left + crop]
        tiles.append(tile if tile.shape[:2] == (crop, crop) else cv2.resize(tile, (crop, crop)))
    return tiles


def write(path: Path, picture: np.ndarray) -> None:
    """Writes a JPEG file if the extension says so, otherwise a PNG file."""
    if path.suffix in (".jpg", ".jpeg"):
        write_jpeg(path, picture, QUALITY)
    else:
        write_png(path, picture)


@program
def main() -> int:
    parser = argparse.ArgumentParser(description="Draw contact sheets of training samples and real crops.")
    parser.add_argument("--photographs", required=True, metavar="DIR", help="folder of photographs for colours")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a key of the configuration, such as data.cutouts; may be repeated")
    parser.add_argument("--output", type=any_path, default=Path("samples.png"), help="default: %(default)s")
    parser.add_argument("--real", type=any_path, nargs=2, metavar=("IMAGES", "TRIMAPS"),
                        help="folders of real photographs and their trimaps")
    parser.add_argument("--real-output", type=any_path, default=Path("real.png"), help="default: %(default)s")
    parser.add_argument("--count", type=positive_int, default=60, help="default: %(default)s")
    parser.add_argument("--columns", type=positive_int, default=10, help="default: %(default)s")
    parser.add_argument("--crop", type=positive_int, default=192, help="side of the crops (default: %(default)s)")
    parser.add_argument("--seed", type=whole_number, default=0, help="default: %(default)s")
    parser.add_argument("--alpha", action="store_true", help="show each sample's alpha below it")
    parser.add_argument("--present", action="store_true", help="without the additions of the default recipe")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    settings = [f"data.photographs={args.photographs}", *args.set]
    write(args.output, sheet(sample_tiles(settings, args.count, args.crop, args.seed, args.alpha, args.present),
                             args.columns))
    if args.real:
        write(args.real_output, sheet(real_tiles(*args.real, args.count, args.crop, args.seed), args.columns))
    print(", ".join(str(path) for path in [args.output, args.real_output][:1 + bool(args.real)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
