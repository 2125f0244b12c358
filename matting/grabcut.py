"""A subject's mask by GrabCut (Rother et al. 2004), from labels or from a few strokes; deterministic.

Images are (H, W, 3) uint8 RGB.
"""

import cv2
import numpy as np

from matting.trimaps import reduced

GRABCUT_SIDE = 1000  # pixels of the longer side
GRABCUT_STEPS = 5
SPECK = 0.01  # share of the subject's area: smaller parts and holes are removed

Models = tuple[np.ndarray, np.ndarray]  # GrabCut's colour models of background and foreground


def grab_cut(image: np.ndarray, labels: np.ndarray, steps: int = GRABCUT_STEPS) -> np.ndarray:
    """The subject, (H, W) bool; all or nothing if the labels have no background or no foreground.

    Args:
        labels: (H, W) of OpenCV's GC_BGD, GC_FGD, GC_PR_BGD, GC_PR_FGD.
        steps: iterations.
    """
    labels = labels.astype(np.uint8)
    subject = is_subject(labels)
    if subject.any() and not subject.all():
        _run(image, labels, _empty_models(), cv2.GC_INIT_WITH_MASK, steps)
    return is_subject(labels)


def is_subject(labels: np.ndarray) -> np.ndarray:
    """Where labels are foreground, sure or probable."""
    return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


def mask_from_scribbles(image: np.ndarray, scribbles: np.ndarray) -> np.ndarray:
    """The subject marked by a few strokes: 0 or 255, (H, W) uint8; pixels under strokes as marked.

    Args:
        scribbles: (H, W) uint8; background below 85, foreground from 170, unmarked between.

    Raises:
        ValueError: if sizes differ, or one kind of stroke is missing.
    """
    if scribbles.shape != image.shape[:2]:
        raise ValueError(f"the scribbles are {scribbles.shape[1]} x {scribbles.shape[0]}, "
                         f"but the image is {image.shape[1]} x {image.shape[0]}")
    black, white = scribbles < 85, scribbles >= 170
    for strokes, kind in ((white, "white strokes for the foreground"), (black, "black strokes for the background")):
        if not strokes.any():
            raise ValueError(f"no {kind} among the scribbles")
    small, _ = reduced(image, GRABCUT_SIDE)
    size = small.shape[1::-1]
    # Area averaging keeps thin strokes.
    covered = [cv2.resize(strokes.astype(np.float32), size, interpolation=cv2.INTER_AREA) for strokes in (black, white)]
    background = (covered[0] > 0) & (covered[0] >= covered[1])
    foreground = (covered[1] > 0) & ~background
    if not background.any() or not foreground.any():  # GrabCut needs both
        hidden, other = ("black", "white") if foreground.any() else ("white", "black")
        raise ValueError(f"the {hidden} strokes vanish under the {other} ones when the photo is downscaled to "
                         f"{size[0]} x {size[1]} pixels; draw them wider or farther apart")
    models = _empty_models()
    _learn_from_strokes(small, background, foreground, models)
    labels = np.full(background.shape, cv2.GC_PR_BGD, np.uint8)
    labels[background], labels[foreground] = cv2.GC_BGD, cv2.GC_FGD
    _run(small, labels, models, cv2.GC_EVAL_FREEZE_MODEL, steps=1)
    _run(small, labels, models, cv2.GC_EVAL, GRABCUT_STEPS)
    subject = without_specks(is_subject(labels)).astype(np.uint8) * 255
    enlarged = cv2.resize(subject, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    mask = np.where(enlarged >= 128, 255, 0).astype(np.uint8)
    mask[black], mask[white] = 0, 255
    return mask


def without_specks(subject: np.ndarray) -> np.ndarray:
    """A subject (bool) without parts and holes that are small compared with it."""
    least = SPECK * subject.sum()
    return ~_large_parts(~_large_parts(subject, least), least)


def _large_parts(region: np.ndarray, least: float) -> np.ndarray:
    """A region (bool) without connected components of fewer than `least` pixels."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    keep = statistics[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return keep[parts]


def _empty_models() -> Models:
    return np.zeros((1, 65)), np.zeros((1, 65))


def _learn_from_strokes(image: np.ndarray, background: np.ndarray, foreground: np.ndarray, models: Models) -> None:
    """Fits the colour models to the strokes only; GrabCut itself would count the rest as background."""
    pixels = np.concatenate([image[background], image[foreground]])[None]
    labels = np.repeat(np.array([cv2.GC_BGD, cv2.GC_FGD], np.uint8), (background.sum(), foreground.sum()))[None]
    _run(pixels, labels, models, cv2.GC_INIT_WITH_MASK, steps=1)


def _run(image: np.ndarray, labels: np.ndarray, models: Models, mode: int, steps: int) -> None:
    """Updates labels and models in place; deterministic."""
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(image), labels, None, *models, steps, mode)
