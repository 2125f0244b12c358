"""Validation during training: the test phase's SAD and MSE, without writing files."""

import logging
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from easydict import EasyDict

from dataloader.image_file import ImageFileError, named_by, read_grey, read_image
from dataloader.image_folders import Triple, find_test_images
from evaluation.metrics import check_inputs
from evaluation.score import score
from utils.distributed import World, all_reduce_sum
from utils.preprocessing import alpha_to_uint8

READERS = 8  # threads that check trimaps

log = logging.getLogger(__name__)


def validation_images(config: EasyDict) -> list[Triple]:
    """The images of data.test_*, checked; none if these are not set.

    Those whose trimap is unusable, such as a soft one, are left out with a warning.

    Raises:
        ImageFileError: as `find_test_images`; also if no image is left.
    """
    keys = ("test_merged", "test_alpha", "test_trimap")
    folders, unset = [config.data[key] for key in keys], [f"data.{key}" for key in keys if not config.data[key]]
    if 0 < len(unset) < len(keys):
        log.warning("no validation: %s not set", " and ".join(unset))
    with named_by("data.test_*"):
        images = find_test_images(*folders) if not unset else []
    with ThreadPoolExecutor(READERS) as pool:
        problems = list(pool.map(_trimap_problem, images))
    named = [problem for problem in problems if problem]
    if named:
        summary = f"{len(named)} of {len(images)} validation images cannot be scored: {named[0]}"
        if len(named) == len(images):
            raise ImageFileError(summary)
        log.warning("left out of the validation: %s", summary)
    return [image for image, problem in zip(images, problems, strict=True) if not problem]


def _trimap_problem(files: Triple) -> str | None:
    try:
        trimap = read_grey(files.trimap)
        check_inputs(trimap, trimap, trimap, names=(str(files.trimap),) * 3)
    except ValueError as error:
        return str(error)
    return None


def validate(predict: Callable[[np.ndarray, np.ndarray], np.ndarray], test_images: list[Triple],
             world: World) -> dict[str, float]:
    """Mean SAD and MSE of the test images at their own size, scored as by the test phase.

    Images that cannot be scored are logged and left out.

    Args:
        predict: image (H, W, 3) and trimap (H, W), uint8, to alpha (H, W) in 0..1, such as a `Matting`.

    Returns:
        "sad" and "mse", the same on all processes; NaN if no image could be scored, or alpha is not finite.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=world.device)
    for files in test_images[world.rank::world.size]:
        try:
            image, truth, trimap = read_image(files.image), read_grey(files.alpha), read_grey(files.trimap)
            check_inputs(truth, truth, trimap, names=("", str(files.alpha), str(files.trimap)))
        except ValueError as error:
            log.warning("left out of the validation: %s", error)
            continue
        alpha = predict(image, trimap)
        if np.isfinite(alpha).all():
            errors = score(alpha_to_uint8(alpha), truth, trimap, fast=True)
            sums += sums.new_tensor([errors.sad, errors.mse, 1])
        else:  # which 8 bits cannot express
            sums += math.nan
    sad_sum, mse_sum, images = all_reduce_sum(world, sums).tolist()
    return {"sad": sad_sum / images, "mse": mse_sum / images} if images else {"sad": math.nan, "mse": math.nan}
