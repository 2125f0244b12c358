"""The test phase: predictions of a test set, their errors, and a contact sheet of the worst."""

import hashlib
import json
import logging
import os
from contextlib import suppress
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from easydict import EasyDict

from dataloader.image_file import ImageFileError, named_by, read_grey, read_image
from dataloader.image_folders import Triple, find_test_images
from evaluation.metrics import Errors, top_left
from evaluation.report import print_table, write_csv, write_json
from evaluation.score import score_files
from matting.predictor import Matting
from utils.batching import batches_of_equal
from utils.checkpoint import checkpoint_path, load_network
from utils.config import ConfigError, architecture
from utils.device import batch_or_one_by_one
from utils.distributed import World, all_gather, barrier
from utils.file_writing import atomic_path, write_png
from utils.preprocessing import STRIDE, alpha_to_uint8, set_known, size_text, trimap_labels
from utils.processes import process_pool
from utils.progress_bar import ProgressBar, batch_name
from utils.visualisation import contact_sheet, error_map, panel

WORST_SHOWN = 10
SHEET_ROW_HEIGHT = 240

log = logging.getLogger(__name__)


def test(config: EasyDict, world: World) -> int:
    """Predicts and scores the images of test.*, distributed over the processes.

    Writes predictions, errors.csv, errors.json and worst_images/sheet.png to <test.alpha_path>/<version>/.
    Predictions of an interrupted run with the same weights and images are kept.

    Returns:
        0, or 1 if an image could not be scored.

    Raises:
        ConfigError, ImageFileError, CheckpointError: if folders or weights are missing or do not fit.
    """
    with named_by("test.*"):
        triples = find_test_images(*evaluation_folders(config))
    checkpoint = checkpoint_path(config, config.test.checkpoint)
    matting = Matting(load_network(checkpoint, **architecture(config)), world.device, border=0,
                      attention="exact", offsets=False)
    output = Path(config.test.alpha_path) / config.version
    if world.is_main:
        prepare_output(output, {"scale": config.test.scale, "files": predictions_digest(checkpoint, triples)})
    barrier(world)
    errors, failed = predict_and_score(matting, triples[world.rank::world.size], output, config, world)
    errors = {name: row for part in all_gather(world, errors) for name, row in part.items()}
    failed = {name: reason for part in all_gather(world, failed) for name, reason in part.items()}
    return report(dict(sorted(errors.items())), failed, triples, output, config) if world.is_main else 0


def evaluation_folders(config: EasyDict) -> tuple[str, str, str]:
    """The folders of images, alphas and trimaps.

    Raises:
        ConfigError: if one is not set.
    """
    for key in ("merged", "alpha", "trimap"):
        if not config.test[key]:
            raise ConfigError(f"test.{key} is not set; testing needs the folders of images, alphas and trimaps")
    return config.test.merged, config.test.alpha, config.test.trimap


def predictions_digest(checkpoint: Path, triples: list[Triple]) -> str:
    """A digest of what determines the predictions: weights, images and trimaps."""
    digest = hashlib.sha256(checkpoint.read_bytes())
    for path in (path for triple in triples for path in (triple.image, triple.trimap)):
        status = path.stat()
        digest.update(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def prepare_output(output: Path, made_with: dict[str, str]) -> None:
    """Removes predictions made from other weights, images or settings.

    Raises:
        ConfigError: if the folder holds images that are not predictions.
    """
    marker, predictions = output / "made_with.json", list(output.glob("*.png"))
    if predictions and not marker.exists():
        raise ConfigError(f"test.alpha_path: {output} holds images that are not predictions of this program")
    with suppress(FileNotFoundError, ValueError):  # missing or damaged
        if json.loads(marker.read_text()) == made_with:
            return
    for path in predictions:
        path.unlink()
    with atomic_path(marker) as temporary:
        temporary.write_text(json.dumps(made_with))


def predict_and_score(matting: Matting, triples: list[Triple], output: Path, config: EasyDict,
                      world: World) -> tuple[dict[str, Errors], dict[str, str]]:
    """Predicts this process's images; a process pool scores them meanwhile.

    Returns:
        File name -> errors, and file name -> reason for each that could not be scored.
    """
    errors, failed, tasks = {}, {}, {}
    bar = ProgressBar(len(triples), "predicting", shown=world.is_main)
    multiple = STRIDE if config.test.scale == "crop" else 1
    with bar, process_pool(max(1, os.cpu_count() // world.size)) as pool:
        for batch in batches_of_equal(triples, lambda triple: triple.size, config.test.batch_size):
            failed |= write_predictions(matting, batch, output, config.test.scale, bar)
            for triple in batch:
                if triple.image.name not in failed:
                    tasks[triple.image.name] = pool.submit(score_files, output_path(output, triple), triple.alpha,
                                                           triple.trimap, config.test.fast_eval, multiple)
            bar.update(len(batch))
        for name, task in tasks.items():
            try:
                errors[name] = task.result()
            except ValueError as error:
                failed[name] = str(error)
    return errors, failed


def write_predictions(matting: Matting, batch: list[Triple], output: Path, scale: str,
                      bar: ProgressBar) -> dict[str, str]:
    """Writes those predictions of a batch that do not exist yet.

    Returns:
        File name -> reason for each image that is unreadable or too large for the memory.
    """
    pairs, failed = {}, {}
    for triple in batch:
        if not output_path(output, triple).exists():
            try:
                pairs[triple] = cropped(read_image(triple.image), scale), cropped(read_grey(triple.trimap), scale)
            except ImageFileError as error:
                failed[triple.image.name] = str(error)
    scaled = [at_scale(*pair, scale) for pair in pairs.values()]
    name = batch_name([triple.image.name for triple in batch])
    predict = partial(matting.predict_batch, report=partial(bar.within, name))
    mattes = batch_or_one_by_one(predict, scaled) if scaled else []
    for (triple, (image, trimap)), matte in zip(pairs.items(), mattes, strict=True):
        if matte is None:
            failed[triple.image.name] = f"{triple.image}: not enough memory for {size_text(image)} pixels"
        elif not np.isfinite(matte.alpha).all():
            failed[triple.image.name] = f"{triple.image}: the network's output contains NaN or Inf"
        else:
            write_png(output_path(output, triple), alpha_to_uint8(at_original_size(matte.alpha, trimap)))
    return failed


def output_path(output: Path, triple: Triple) -> Path:
    """The file of a prediction."""
    return output / f"{triple.image.stem}.png"


def cropped(image: np.ndarray, scale: str) -> np.ndarray:
    """For scale "crop", the top left part whose sides are multiples of 32; otherwise the image itself."""
    return top_left(image, STRIDE) if scale == "crop" else image


def at_scale(image: np.ndarray, trimap: np.ndarray, scale: str) -> tuple[np.ndarray, np.ndarray]:
    """For scale "resize", image and trimap resized to the nearest multiples of 32; otherwise unchanged."""
    if scale != "resize":
        return image, trimap
    height, width = (max(STRIDE, round(side / STRIDE) * STRIDE) for side in trimap.shape)
    return (cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR),
            cv2.resize(trimap, (width, height), interpolation=cv2.INTER_NEAREST))


def at_original_size(alpha: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """Alpha resized to the trimap's size, with known pixels set."""
    if alpha.shape == trimap.shape:
        return alpha
    return set_known(cv2.resize(alpha, trimap.shape[::-1], interpolation=cv2.INTER_LINEAR), trimap_labels(trimap))


def report(errors: dict[str, Errors], failed: dict[str, str], triples: list[Triple], output: Path,
           config: EasyDict) -> int:
    """Prints and writes the errors and the contact sheet; returns the exit status."""
    for reason in failed.values():
        log.error("not scored: %s", reason)
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
    """Errors as title; image, trimap, prediction, truth and error map of a test image."""
    image, trimap, truth = (cropped(read(path), scale) for read, path in (
        (read_image, triple.image), (read_grey, triple.trimap), (read_grey, triple.alpha)))
    prediction = read_grey(output_path(output, triple))
    row = panel([image, trimap, prediction, truth, error_map(prediction, truth)], SHEET_ROW_HEIGHT)
    return f"{triple.image.name}   SAD {errors.sad:.3f}   MSE {errors.mse:.5f}", row
