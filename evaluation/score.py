"""Scores a matte, the files of one, or whole folders."""

from pathlib import Path

import numpy as np

from dataloader.image_file import ImageFileError, find_partner, list_images, read_grey
from evaluation.metrics import Errors, matting_errors, top_left
from utils.processes import process_pool
from utils.progress_bar import in_steps


def score(prediction: np.ndarray, truth: np.ndarray, trimap: np.ndarray, fast: bool = False, multiple: int = 1,
          names: tuple[str, str, str] = ("prediction", "alpha", "trimap")) -> Errors:
    """The errors of one 8-bit matte; used by the test phase, the validation and evaluate.py.

    Args:
        prediction, truth, trimap: (H, W) uint8; see `evaluation.metrics.matting_errors`.
        fast: SAD and MSE only.
        multiple: score only the top left part whose sides are multiples of this; see `top_left`.
        names: of the three images, for messages.

    Raises:
        ValueError: if the three do not fit.
    """
    return matting_errors(*(top_left(image, multiple) for image in (prediction, truth, trimap)), fast, names)


def score_files(prediction: Path, truth: Path, trimap: Path, fast: bool = False, multiple: int = 1) -> Errors:
    """`score` of three image files.

    Raises:
        ValueError: if a file cannot be read, or the three do not fit.
    """
    paths = prediction, truth, trimap
    return score(*map(read_grey, paths), fast, multiple, names=tuple(map(str, paths)))


def score_folders(prediction_dir: Path, alpha_dir: Path, trimap_dir: Path,
                  processes: int = 1) -> tuple[dict[str, Errors], dict[str, str]]:
    """Scores the prediction of each alpha in a folder, with the trimap of the same name.

    Returns:
        File name -> errors, and file name -> reason for each that could not be scored.

    Raises:
        ImageFileError: if a folder is missing or has no images.
    """
    predictions, truths, trimaps = (list_images(folder) for folder in (prediction_dir, alpha_dir, trimap_dir))
    triples, failed = {}, {}
    for truth in truths:
        try:
            triples[truth.name] = (find_partner(truth, predictions, "prediction", prediction_dir), truth,
                                   find_partner(truth, trimaps, "trimap", trimap_dir))
        except ImageFileError as error:
            failed[truth.name] = str(error)
    used = {prediction for prediction, _, _ in triples.values()}
    stems = {truth.stem for truth in truths}
    for prediction in predictions:
        if prediction not in used and prediction.stem not in stems:
            failed[prediction.name] = f"{prediction}: no alpha named {prediction.stem}.* in {alpha_dir}"

    errors = {}
    with process_pool(processes) as pool:
        tasks = {name: pool.submit(score_files, *paths) for name, paths in triples.items()}
        for name, task in in_steps(tasks.items(), len(tasks), "scoring"):
            try:
                errors[name] = task.result()
            except ValueError as error:
                failed[name] = str(error)
    return errors, failed
