"""Turns a folder of images and a folder of trimaps into alpha mattes.

    python demo.py --config=config/gca-dist-all-data.toml \\
        --checkpoint=checkpoints/gca-dist-all-data/gca-dist-all-data.pth \\
        --image-dir=demo/input_lowres --trimap-dir=demo/trimap_lowres/Trimap3 --output=demo/pred/Trimap3

These are the defaults. For each image NAME.* the folder OUTPUT/<version>_<checkpoint> receives
NAME.png, the alpha matte, and NAME_offset1.png and NAME_offset2.png: where each place of the image
found its nearest likeness, as optical-flow colours.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from easydict import EasyDict
from tqdm import tqdm

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey, read_image
from inference import UNKNOWN, Matte, Matting, alpha_to_uint8, size_text, trimap_labels
from networks import build_network
from utils.checkpoint import CheckpointError, load_network
from utils.config import ConfigError, add_config_arguments, architecture, load_config
from utils.device import device_argument, is_out_of_memory
from utils.files import write_png
from utils.pictures import offset_picture

RANDOM_WEIGHTS = "random-weights"

MISSING_CHECKPOINT = """\
demo.py: {path}: no such file
  The published weights are a download of their authors' (see checkpoints/README.md for which file goes where):
  https://github.com/Yaoyi-Li/GCA-Matting, "Models". Save gca-dist-all-data.pth under the path above,
  or name another file with --checkpoint.
  To try the program without weights: python demo.py --random-weights (the mattes will be meaningless)."""


def read_pair(image_path: Path, trimap_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Image (H, W, 3) RGB and trimap (H, W), both uint8.

    Raises:
        ImageFileError: if either cannot be read, or they do not fit each other.
    """
    image, trimap = read_image(image_path), read_grey(trimap_path)
    if image.shape[:2] != trimap.shape:
        turned = " (the image after the rotation its EXIF data asks for)" if image.shape[1::-1] == trimap.shape else ""
        raise ImageFileError(f"{trimap_path}: the trimap is {size_text(trimap)}, "
                             f"but {image_path.name} is {size_text(image)}{turned}")
    brightest = trimap.max()
    if 0 < brightest < 85:
        raise ImageFileError(f"{trimap_path}: no trimap: its brightest value is {brightest}; "
                             "expected about 0 (background), 128 (unknown) and 255 (foreground)")
    return image, trimap


def write_matte(folder: Path, name: str, matte: Matte) -> None:
    """Writes NAME.png and, for a network with attention, the two offset pictures."""
    for i, (offset, scale) in enumerate(zip(matte.offsets, matte.scales, strict=True), start=1):
        write_png(folder / f"{name}_offset{i}.png", offset_picture(offset, scale))
    write_png(folder / f"{name}.png", alpha_to_uint8(matte.alpha))


def matte_file(matting: Matting, path: Path, trimap_path: Path, output: Path) -> str:
    """Mattes one image and returns a line about it.

    Raises:
        ImageFileError: if image or trimap cannot be used, or there is not enough memory for them.
        OSError: if the matte cannot be written.
    """
    start = time.perf_counter()
    image, trimap = read_pair(path, trimap_path)
    try:
        matte = matting.predict(image, trimap)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ImageFileError(f"{path}: not enough memory on {matting.device} for {size_text(image)} pixels") from None
    write_matte(output, path.stem, matte)
    unknown = (trimap_labels(trimap) == UNKNOWN).mean()
    remark = "" if unknown else " (the trimap decides every pixel)"
    return f"{path.name}: {size_text(image)}, {unknown:.1%} unknown, {time.perf_counter() - start:.2f} s{remark}"


def matte_folder(matting: Matting, image_dir: Path, trimap_dir: Path, output: Path) -> tuple[int, int]:
    """Mattes every image of a folder, whatever happens to the others, and reports on each.

    Returns:
        The number of mattes written and the number of images.

    Raises:
        ImageFileError: if a folder is missing or without images.
    """
    images, trimaps = list_images(image_dir), list_images(trimap_dir)
    first_of_stem = {path.stem: path for path in reversed(images)}
    written = 0
    for path in (bar := tqdm(images, unit="image", disable=None)):
        try:
            first = first_of_stem[path.stem]
            if path != first:
                raise ImageFileError(f"{path}: would be written over the matte of {first.name}; rename one")
            bar.write(matte_file(matting, path, find_partner(path, trimaps, "trimap", trimap_dir), output))
            written += 1
        except (ImageFileError, OSError) as error:
            bar.write(f"failed: {error}", file=sys.stderr)
    return written, len(images)


def build_matting(config: EasyDict, checkpoint: Path | None, device: torch.device | None) -> Matting:
    """The predictor of a configuration, with a checkpoint's weights or (None) random ones."""
    if checkpoint is not None:
        return Matting(load_network(checkpoint, **architecture(config)), device)
    torch.manual_seed(0)
    return Matting(build_network(**architecture(config)), device)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Estimate alpha mattes for a folder of images with trimaps.")
    add_config_arguments(parser, default="config/gca-dist-all-data.toml")
    weights = parser.add_mutually_exclusive_group()
    weights.add_argument("--checkpoint", type=Path, metavar="FILE",
                         default=Path("checkpoints/gca-dist-all-data/gca-dist-all-data.pth"),
                         help="the network's weights (default: %(default)s)")
    weights.add_argument("--random-weights", action="store_true",
                         help="try the program without a checkpoint; the mattes are meaningless")
    parser.add_argument("--image-dir", type=Path, metavar="DIR", default=Path("demo/input_lowres"),
                        help="folder of images (default: %(default)s)")
    parser.add_argument("--trimap-dir", type=Path, metavar="DIR", default=Path("demo/trimap_lowres/Trimap3"),
                        help="folder of trimaps named as the images (default: %(default)s)")
    parser.add_argument("--output", type=Path, metavar="DIR", default=Path("demo/pred/Trimap3"),
                        help="folder to which a folder of mattes is written (default: %(default)s)")
    parser.add_argument("--device", type=device_argument, metavar="NAME",
                        help="where to compute, such as cpu or cuda:1 (default: CUDA where there is one)")
    return parser.parse_args()


def main() -> int:
    args = parse_arguments()
    checkpoint = None if args.random_weights else args.checkpoint
    if checkpoint is not None and not checkpoint.exists():
        print(MISSING_CHECKPOINT.format(path=checkpoint), file=sys.stderr)
        return 1
    if checkpoint is None:
        print("RANDOM WEIGHTS: the mattes show that the program runs, nothing else")
    start = time.perf_counter()
    try:
        config = load_config(args.config, args.set)
        output = args.output / f"{config.version}_{checkpoint.name if checkpoint else RANDOM_WEIGHTS}"
        matting = build_matting(config, checkpoint, args.device)
        written, count = matte_folder(matting, args.image_dir, args.trimap_dir, output)
    except (ConfigError, CheckpointError, ImageFileError) as error:
        print(f"demo.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo.py: interrupted; the mattes written so far are whole", file=sys.stderr)
        return 130
    print(f"{written} of {count} mattes in {time.perf_counter() - start:.1f} s on {matting.device}: {output}")
    return 0 if written == count else 1


if __name__ == "__main__":
    sys.exit(main())
