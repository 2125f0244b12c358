"""Finds the subject inside a box, or of a whole photo, without a trimap.

Superpixels get a probability to be subject from `matting.superpixels` by logistic regression on their features and the
features' products, fitted by tools/fit_subject_model.py on hand-drawn outlines; GrabCut (Rother et al. 2004) then finds
the outline. It works at a few hundred pixels, in the box and its surroundings.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from matting.grabcut import grab_cut, without_specks
from matting.superpixels import FEATURES, describe, rim_distance
from matting.trimaps import reduced
from utils.boxes import Box

MODEL = Path(__file__).with_name("subject_model.json")
SIDE = 300  # pixels of the longer side of what is analysed
LEAST_SIDE = 8  # pixels of the shorter side of what is analysed
SURROUNDINGS = 0.2  # of the box's longer side, on each side of it
SURE_SUBJECT, SURE_BACKGROUND = 0.97, 0.02  # probabilities that GrabCut must not change
FRAME_RIM = 0.03  # share of the shorter side that is background if no box is given
RIM_BACKGROUND = 0.25  # probability below which the rim is surely background if no box is given
RIM_SEGMENTS = 10  # pixels inside the rim where superpixels are not part of it
GRABCUT_SHARE = 0.5  # of plain GrabCut in the probability if no box is given
FALLBACK_SHARE = 0.2  # of the pixels, the most likely, if no subject stands out
FARTHEST = 3.0  # standard deviations: products of features beyond would decide alone
GRABCUT_PROBABILITIES = 0.15, 0.85  # of its background and subject


class Subject(NamedTuple):
    """Where the subject is; both (H, W) float32 in 0..1."""

    mask: np.ndarray  # 0 or 1 but for the interpolated outline
    probability: np.ndarray


def find_subject(image: np.ndarray, box: Box | None = None) -> Subject:
    """The subject of an image.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: contains the whole subject; default: the image less a rim.

    Raises:
        ValueError: if the image is too thin, or the box leaves nothing outside or inside it.
    """
    height, width = image.shape[:2]
    whole = box is None
    box = box or frame_box(height, width)
    if min(height, width) * SIDE < LEAST_SIDE * max(height, width, SIDE):
        raise ValueError(f"{width} x {height} pixels are too thin to find a subject in; mark it with strokes")
    around = box.grown(round(SURROUNDINGS * max(box.height, box.width)), height, width)
    small, inner = reduced_box(image[around.slices], box.seen_from(around))
    distance = rim_distance(inner, *small.shape[:2])
    if not np.isfinite(distance).any() or not (distance > 0).any() or min(small.shape[:2]) < LEAST_SIDE:
        raise ValueError("the rectangle leaves too little outside or inside it; draw it larger, or mark with strokes")
    superpixels = describe(small, inner)
    likely = np.where(superpixels.inside, probabilities(superpixels.features, "frame" if whole else "box"), 0)
    probability = likely.astype(np.float32)[superpixels.labels]
    outside = distance < 0
    if whole:
        plain = grab_cut(small, np.where(outside, cv2.GC_BGD, cv2.GC_PR_FGD))
        prior = np.where(plain, *GRABCUT_PROBABILITIES[::-1]).astype(np.float32)
        probability = _into_rim(probability + GRABCUT_SHARE * (prior - probability), distance >= RIM_SEGMENTS)
        outside &= probability < RIM_BACKGROUND
    probability[outside] = 0
    mask = find_outline(small, probability, outside)
    planes = [np.zeros((height, width), np.float32) for _ in range(2)]
    for plane, found in zip(planes, (mask.astype(np.float32), probability), strict=True):
        plane[around.slices] = cv2.resize(found, (around.width, around.height), interpolation=cv2.INTER_LINEAR)
        if not whole:
            inside = plane[box.slices].copy()
            plane[:] = 0
            plane[box.slices] = inside
    return Subject(*planes)


def _into_rim(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Values (h, w) that continue from inside into the rim of a photo: subjects may be cut off by its border."""
    if not inside.any():
        return values
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    part = values[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    (height, width), top, left = values.shape, rows[0], columns[0]
    return cv2.copyMakeBorder(part, top, height - top - len(part), left, width - left - part.shape[1],
                              cv2.BORDER_REPLICATE)


def frame_box(height: int, width: int) -> Box:
    """An image less a rim on all sides."""
    rim = max(1, round(FRAME_RIM * min(height, width)))
    return Box(rim, height - rim, rim, width - rim)


def find_outline(image: np.ndarray, probability: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """The subject (h, w) bool by GrabCut from a probability; if that finds none, the most likely part.

    Args:
        outside: what is surely background.
    """
    likely = probability > np.quantile(probability[~outside], 1 - FALLBACK_SHARE)
    for probable in (probability > 0.5, likely):
        labels = np.where(probable, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
        labels[probability > SURE_SUBJECT] = cv2.GC_FGD
        labels[(probability < SURE_BACKGROUND) | outside] = cv2.GC_BGD
        mask = without_specks(grab_cut(image, labels, steps=1))
        if mask.any():
            return mask
    return without_specks(likely)


def reduced_box(image: np.ndarray, box: Box) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """An image of at most `SIDE` pixels on its longer side, and the box in it: left, top, right, bottom."""
    small, _ = reduced(image, SIDE)
    across, down = small.shape[1] / image.shape[1], small.shape[0] / image.shape[0]
    return small, (box.left * across, box.top * down, box.right * across, box.bottom * down)


def probabilities(features: np.ndarray, kind: str) -> np.ndarray:
    """Probability (n,) of being subject, of superpixels with these features (n, K).

    Args:
        kind: "box", or "frame" if the box is the image less a rim.
    """
    model = read_model()[kind]
    return logistic(design(features, model["mean"], model["deviation"]) @ model["weights"])


def design(features: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The terms of the regression (n, 1 + K + K (K + 1) / 2): one, standardised features, products of each two."""
    x = ((features - mean) / deviation).clip(-FARTHEST, FARTHEST)
    rows, columns = np.triu_indices(x.shape[1])
    return np.column_stack([np.ones(len(x)), x, x[:, rows] * x[:, columns]])


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))"""
    return 1 / (1 + np.exp(-x.clip(-50, 50)))


@cache
def read_model() -> dict[str, dict[str, np.ndarray]]:
    """The fitted models: mean, deviation and weights of each kind."""
    content = json.loads(MODEL.read_text(encoding="utf-8"))
    if tuple(content["features"]) != FEATURES:
        raise ValueError(f"{MODEL}: fitted on other features; run tools/fit_subject_model.py again")
    return {kind: {name: np.array(numbers) for name, numbers in content[kind].items()} for kind in ("box", "frame")}
