"""Fits the model that finds subjects in boxes (`matting.subject`) to hand-drawn outlines of photographs' subjects.

    python tools/fit_subject_model.py --photographs data/photographs/train data/further/photographs

Writes matting/subject_model.json, and prints how well subjects are found in photographs that a model was not fitted to
(five-fold cross-validation). Each photograph counts with a tight and a loose box around its subject for the model
"box", and without one for "frame". Logistic regression by Newton's method, with a ridge penalty.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from dataloader.image_file import read_image
from matting.subject import MODEL, SURROUNDINGS, design, frame_box, logistic, reduced_box
from matting.superpixels import FEATURES, describe
from tools.outlines import OUTLINES, draw_trimap, find_photograph, read_outlines
from utils.arguments import any_path
from utils.boxes import Box
from utils.errors import InputError
from utils.file_writing import atomic_path
from utils.program import announce, program

FOLDS = 5
NEWTON_STEPS = 12
PENALTY = {"box": 1000.0, "frame": 300.0}  # on the squared weights of standardised terms
TIGHT, LOOSE = (0.02, 0.02), (0.01, 0.12)  # margins of boxes, as shares of the subject's longer side
CLEAR = 0.2  # superpixels count whose share of subject is at most this, or at least one less this
LONGEST_SIDE = 800  # pixels to which photographs are reduced


class Example(NamedTuple):
    """The superpixels of a photograph inside a box."""

    features: np.ndarray  # (n, K)
    subject: np.ndarray  # (n,) share in 0..1
    weights: np.ndarray  # (n,) share of the area inside


def examples_of(image: np.ndarray, trimap: np.ndarray, margins: tuple[float, float] | None,
                chance: np.random.Generator) -> Example:
    """The example of an image (H, W, 3) and its trimap, with a box of random margins, or none."""
    height, width = trimap.shape
    if margins is None:
        box = frame_box(height, width)
    else:
        left, top, across, down = cv2.boundingRect((trimap >= 128).astype(np.uint8))
        more = np.rint(chance.uniform(*margins, 4) * max(across, down)).astype(int)
        box = Box(max(0, top - more[0]), min(height, top + down + more[1]),
                  max(0, left - more[2]), min(width, left + across + more[3]))
    around = box.grown(round(SURROUNDINGS * max(box.height, box.width)), height, width)
    small, inner = reduced_box(image[around.slices], box.seen_from(around))
    superpixels = describe(small, inner)
    truth = cv2.resize(trimap[around.slices].astype(np.float32) / 255, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    share = superpixels.mean(truth)
    clear = superpixels.inside & ((share <= CLEAR) | (share >= 1 - CLEAR))
    sizes = superpixels.sizes[clear]
    return Example(superpixels.features[clear], share[clear], sizes / sizes.sum())


def fit(examples: list[Example], penalty: float) -> dict[str, np.ndarray]:
    """Mean and deviation of the features, and the weights of the terms of `design`."""
    features, subject, weights = (np.concatenate(parts) for parts in zip(*examples, strict=True))
    subject = (subject > 0.5).astype(float)
    weights = weights / weights.mean()
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    deviation[deviation < 1e-9] = 1  # of what never changes without a box
    terms = design(features, mean, deviation)
    ridge = penalty * np.var(terms, axis=0)
    coefficients = np.zeros(terms.shape[1])
    for _ in range(NEWTON_STEPS):
        probability = logistic(terms @ coefficients)
        gradient = terms.T @ (weights * (probability - subject)) + ridge * coefficients
        curvature = (terms.T * (weights * probability * (1 - probability))) @ terms
        coefficients -= np.linalg.solve(curvature + np.diag(ridge + 1e-9), gradient)
    return {"mean": mean, "deviation": deviation, "weights": coefficients}


def error(model: dict[str, np.ndarray], examples: list[Example]) -> float:
    """Mean share of the area inside the boxes that is taken for the other kind."""
    wrong = [(example.weights * ((design(example.features, model["mean"], model["deviation"]) @ model["weights"] > 0)
                                 != (example.subject > 0.5))).sum() for example in examples]
    return float(np.mean(wrong))


def cross_validated(examples: list[list[Example]], penalty: float) -> float:
    """`error` on photographs that the model was not fitted to; examples are by photograph."""
    folds = np.array_split(np.random.default_rng(0).permutation(len(examples)), FOLDS)
    errors = []
    for fold in folds:
        others = [example for i, each in enumerate(examples) if i not in fold for example in each]
        errors.append(error(fit(others, penalty), [example for i in fold for example in examples[i]]))
    return float(np.average(errors, weights=[len(fold) for fold in folds]))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fit the model that finds subjects to hand-drawn outlines.")
    parser.add_argument("--photographs", type=any_path, nargs="+", required=True, metavar="DIR",
                        help="folders with the photographs; those that are missing are left out")
    parser.add_argument("--outlines", type=any_path, default=OUTLINES, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--output", type=any_path, default=MODEL, metavar="FILE", help="default: %(default)s")
    return parser.parse_args()


@program
def main() -> int:
    args = parse_arguments()
    announce("fit_subject_model.py", f"outlines: {args.outlines}")
    chance = np.random.default_rng(1)
    examples: dict[str, list[list[Example]]] = {"box": [], "frame": []}
    for name, outline in tqdm(read_outlines(args.outlines).items(), unit="photograph", disable=None):
        try:
            image = read_image(find_photograph(name, args.photographs))
        except InputError as error:
            tqdm.write(f"skipped: {error}", file=sys.stderr)
            continue
        factor = min(1, LONGEST_SIDE / max(image.shape[:2]))
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        trimap = draw_trimap(outline, *image.shape[:2])
        examples["box"].append([examples_of(image, trimap, margins, chance) for margins in (TIGHT, LOOSE)])
        examples["frame"].append([examples_of(image, trimap, None, chance)])
    if not examples["box"]:
        raise InputError(f"none of the outlined photographs in {', '.join(map(str, args.photographs))}")
    content: dict = {"features": FEATURES}
    for kind, each in examples.items():
        wrong = cross_validated(each, PENALTY[kind])
        print(f"{kind}: {len(each)} photographs, {wrong:.1%} of the area wrong in others")
        model = fit([example for parts in each for example in parts], PENALTY[kind])
        content[kind] = {name: [float(f"{number:.5g}") for number in numbers] for name, numbers in model.items()}
    with atomic_path(args.output) as temporary:
        temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
