"""The test phase: predictions of a test set, their errors, and a look at the worst."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict
from tqdm import tqdm

from dataloader.folders import Triple, find_test_images
from dataloader.image_file import ImageFileError, read_grey, read_image
from evaluate import score
from evaluation.metrics import Errors, top_left
from evaluation.report import print_table, write_csv, write_json
from matting.predictor import BACKGROUND, FOREGROUND, STRIDE, Matting, alpha_to_uint8, size_text, trimap_labels
from utils.checkpoint import load_network
from utils.config import ConfigError, architecture
from utils.device import as_memory_allows
from utils.distributed import World, gather, wait_for_all
from utils.files import atomic_path, write_png
from utils.pictures import contact_sheet, error_map, panel
from utils.processes import process_pool

WORST_SHOWN = 10
SHEET_ROW_HEIGHT = 240

log = logging.getLogger(__name__)


def test(config: EasyDict, world: World) -> int:
    """Predicts and scores the images of test.*, shared out over the processes.

    Predictions go to <test.alpha_path>/<version>/, with errors.csv, errors.json and
    worst_images/sheet.png. What an interrupted run with the same weights has predicted is not
    predicted again.

    Returns:
        0, or 1 if an image could not be scored.

    Raises:
        ConfigError, ImageFileError, CheckpointError: if folders or weights are missing or do not fit.
    """
    triples = find_test_images(*test_folders(config))
    checkpoint = test_checkpoint(config)
    matting = Matting(load_network(checkpoint, **architecture(config)), world.device, border=0)
    output = Path(config.test.alpha_path) / config.version
    if world.is_main:
        keep_or_start_anew(output, {"scale": config.test.scale, "files": fingerprint(checkpoint, triples)})
    wait_for_all(world)
    errors, failed = predict_and_score(matting, triples[world.rank::world.size], output, config, world)
    errors = {name: row for part in gather(world, errors) for name, row in part.items()}
    failed = {name: reason for part in gather(world, failed) for name, reason in part.items()}
    return report(dict(sorted(errors.items())), failed, triples, output, config) if world.is_main else 0


def test_folders(config: EasyDict) -> tuple[str, str, str]:
    """The folders of merged images, alphas and trimaps."""
    for key in ("merged", "alpha", "trimap"):
        if not config.test[key]:
            raise ConfigError(f"test.{key} is not set; testing needs the folders of images, alphas and trimaps")
    return config.test.merged, config.test.alpha, config.test.trimap


def test_checkpoint(config: EasyDict) -> Path:
    """The file of test.checkpoint: a path, or a name in the run's folder such as "best_model"."""
    name = config.test.checkpoint
    return Path(name) if name.endswith(".pth") else Path(config.log.checkpoint_path) / config.version / f"{name}.pth"


def fingerprint(checkpoint: Path, triples: list[Triple]) -> str:
    """A digest of all that predictions are made from: the weights, and the files of images and trimaps."""
    digest = hashlib.sha256(checkpoint.read_bytes())
    for path in (path for triple in triples for path in (triple.image, triple.trimap)):
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def keep_or_start_anew(output: Path, made_with: dict[str, str]) -> None:
    """Removes predictions that were made with something else.

    Raises:
        ConfigError: if the folder holds pictures of another origin, which must not be taken for predictions.
    """
    marker, pictures = output / "made_with.json", list(output.glob("*.png"))
    if pictures and not marker.exists():
        raise ConfigError(f"test.alpha_path: {output} holds pictures that are no predictions of this program")
    if marker.exists() and json.loads(marker.read_text()) == made_with:
        return
    for path in pictures:
        path.unlink()
    with atomic_path(marker) as temporary:
        temporary.write_text(json.dumps(made_with))


def predict_and_score(matting: Matting, triples: list[Triple], output: Path, config: EasyDict,
                      world: World) -> tuple[dict[str, Errors], dict[str, str]]:
    """File name -> errors, and file name -> reason, of this process's images; scored beside predicting."""
    errors, failed, tasks = {}, {}, {}
    bar = tqdm(total=len(triples), unit="image", disable=None if world.is_main else True)
    multiple = STRIDE if config.test.scale == "crop" else 1
    with bar, process_pool(max(1, os.cpu_count() // world.size)) as pool:
        for group in grouped(triples, config.test.batch_size):
            failed |= predict_group(matting, group, output, config.test.scale)
            for triple in group:
                if triple.image.name not in failed:
                    tasks[triple.image.name] = pool.submit(score, output_path(output, triple), triple.alpha,
                                                           triple.trimap, config.test.fast_eval, multiple)
            bar.update(len(group))
        for name, task in tasks.items():
            try:
                errors[name] = task.result()
            except ValueError as error:
                failed[name] = str(error)
    return errors, failed


def grouped(triples: list[Triple], batch_size: int) -> Iterator[list[Triple]]:
    """Neighbours of one size together, at most `batch_size` of them."""
    for _, same_size in groupby(triples, key=lambda triple: triple.size):
        group = list(same_size)
        for first in range(0, len(group), batch_size):
            yield group[first:first + batch_size]


def predict_group(matting: Matting, group: list[Triple], output: Path, scale: str) -> dict[str, str]:
    """Writes the predictions of a group that are not on disk.

    Returns:
        File name -> reason, of the images that could not be read, or are too large for the memory.
    """
    pairs, failed = {}, {}
    for triple in group:
        if not output_path(output, triple).exists():
            try:
                pairs[triple] = fit(read_image(triple.image), scale), fit(read_grey(triple.trimap), scale)
            except ImageFileError as error:
                failed[triple.image.name] = str(error)
    scaled = [at_scale(*pair, scale) for pair in pairs.values()]
    mattes = as_memory_allows(matting.predict_batch, scaled) if scaled else []
    for (triple, (image, trimap)), matte in zip(pairs.items(), mattes, strict=True):
        if matte is None:
            failed[triple.image.name] = f"{triple.image}: not enough memory for {size_text(image)} pixels"
        else:
            write_png(output_path(output, triple), alpha_to_uint8(back_to_size(matte.alpha, trimap)))
    return failed


def output_path(output: Path, triple: Triple) -> Path:
    return output / f"{triple.image.stem}.png"


def fit(image: np.ndarray, scale: str) -> np.ndarray:
    """For scale "crop", the top left part whose sides are multiples of 32; else the image as it is."""
    return top_left(image, STRIDE) if scale == "crop" else image


def at_scale(image: np.ndarray, trimap: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """For scale "resize", image and trimap resized to the nearest multiples of 32; else as they are."""
    if scale != "resize":
        return image, trimap
    height, width = (max(STRIDE, round(side / STRIDE) * STRIDE) for side in trimap.shape)
    return (cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
            cv2.resize(trimap, (width, height), interpolation=cv2.INTER_NEAREST))


def back_to_size(alpha: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Alpha at the trimap's size, its known pixels set again."""
    if alpha.shape == trimap.shape:
        return alpha
    alpha = cv2.resize(alpha, trimap.shape[::-1], interpolation=cv2.INTER_LINEAR)
    labels = trimap_labels(trimap)
    alpha[labels == BACKGROUND] = 0
    alpha[labels == FOREGROUND] = 1
    return alpha


def report(errors: dict[str, Errors], failed: dict[str, str], triples: list[Triple], output: Path,
           config: EasyDict) -> int:
    """Prints and writes the errors, and the contact sheet of the worst images."""
    for reason in failed.values():
        log.error("refused: %s", reason)
    if not errors:
        log.error("no image could be scored")
        return 1
    print_table(errors, per_image=True)
    write_csv(output / "errors.csv", errors)
    write_json(output / "errors.json", errors, failed)
    worst = sorted(errors, key=lambda name: errors[name].sad, reverse=True)[:WORST_SHOWN]
    by_name = {triple.image.name: triple for triple in triples}
    write_png(output / "worst_images" / "sheet.png",
              contact_sheet([sheet_row(by_name[name], errors[name], output, config.test.scale) for name in worst]))
    log.info("predictions, errors.csv, errors.json and worst_images/sheet.png are in %s", output)
    return 1 if failed else 0


def sheet_row(triple: Triple, errors: Errors, output: Path, scale: str) -> tuple[str, np.ndarray]:
    """Image, trimap, prediction, truth and error map of an image, with its errors as title."""
    image, trimap, truth = (fit(read(path), scale) for read, path in (
        (read_image, triple.image), (read_grey, triple.trimap), (read_grey, triple.alpha)))
    prediction = read_grey(output_path(output, triple))
    row = panel([image, trimap, prediction, truth, error_map(prediction, truth)], SHEET_ROW_HEIGHT)
    return f"{triple.image.name}   SAD {errors.sad:.3f}   MSE {errors.mse:.5f}", row
