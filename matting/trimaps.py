"""Trimaps from masks, rectangles and scribbles, with values 0 (background), 128 (unknown) and 255 (foreground).

Images are (H, W, 3) uint8 RGB, masks and trimaps (H, W) uint8.
"""

import cv2
import numpy as np

# Half the width of the unknown band, as a share of the image's longer side. Typical of alphamatting.com's
# low-resolution trimaps, 800 pixels wide: Trimap1 (8 pixels), Trimap3 (11, by hand), Trimap2 (16).
WIDTHS = {"narrow": 0.01, "medium": 0.014, "wide": 0.02}

NEARLY = 12  # tolerance of 0 and 255 in grey levels, for JPEG masks
GRABCUT_SIDE = 1000  # pixels of the longer side for GrabCut and hair detection
GRABCUT_STEPS = 5
SPECK = 0.01  # share of the subject's area: GrabCut's smaller parts and holes are removed
HAIR_CONTRAST = 2.0  # grey levels per pixel: minimum gradient along the outline of hair
HAIR_SHARE = 0.25  # minimum share of the squared gradient that is along the outline of hair


def trimap_from_mask(mask: np.ndarray, erode: float, dilate: float) -> np.ndarray:
    """Unknown are all soft values and a band along the outline. The image's border is no outline.

    Uses a Euclidean distance transform, which is faster than erosion for wide bands.

    Args:
        mask: 0 background, 255 foreground, both with a tolerance of 12 levels, soft between.
        erode: pixels from the outline inwards.
        dilate: pixels from the outline outwards.
    """
    trimap = np.full(mask.shape, 128, np.uint8)
    trimap[_farther_inside(mask >= 255 - NEARLY, erode)] = 255
    trimap[_farther_inside(mask <= NEARLY, dilate)] = 0
    return trimap


def band_width(mask: np.ndarray, width: str) -> float:
    """The unknown band on each side of the outline in pixels, for a key of `WIDTHS`."""
    return WIDTHS[width] * max(mask.shape)


def trimap_of_width(mask: np.ndarray, width: str) -> np.ndarray:
    """`trimap_from_mask` with a band of a width from `WIDTHS` on both sides."""
    band = band_width(mask, width)
    return trimap_from_mask(mask, band, band)


def subject_size(mask: np.ndarray) -> int:
    """The longer side, in pixels, of the bounding box of what is at least half opaque."""
    return max(cv2.boundingRect((mask >= 128).astype(np.uint8))[2:])


def widen_at_hair(trimap: np.ndarray, image: np.ndarray, reach: float) -> np.ndarray:
    """Where the outline looks like hair, marks everything within `reach` pixels of it as unknown.

    A plain outline has gradients across it, protruding strands have gradients along it. Hair is where, in the
    outer half of the unknown band, a large share of the squared gradient is along the outline, and more than in
    the known background, so that grass behind the subject is not mistaken for hair.
    """
    small, factor = _reduced(image)
    labels = cv2.resize(trimap, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    sigma = max(2.0, reach * factor / 3)
    level = cv2.GaussianBlur(labels.astype(np.float32), (0, 0), sigma)
    outer = (labels == 128) & (level < 128)
    normal_x, normal_y = _gradient(level)
    x, y = _gradient(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32))
    along = (x * normal_y - y * normal_x) ** 2 / np.maximum(normal_x**2 + normal_y**2, 1e-6)

    def mean_around(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values * outer, (0, 0), sigma) / np.maximum(share, 1e-6)

    share = cv2.GaussianBlur(outer.astype(np.float32), (0, 0), sigma)
    along, total = mean_around(along), mean_around(x**2 + y**2)
    background = (x**2 + y**2)[labels == 0] / 2  # without an outline, half of it is along any direction
    limit = max(HAIR_CONTRAST**2, 2 * float(background.mean()) if background.size else 0.0)
    hair = (outer & (along > limit) & (along > HAIR_SHARE * total)).astype(np.uint8)
    hair = cv2.resize(hair, trimap.shape[::-1], interpolation=cv2.INTER_NEAREST)
    widened = trimap.copy()
    widened[~_farther_inside((hair == 0) | (trimap != 128), reach)] = 128
    return widened


def mask_from_rectangle(image: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The subject inside a rectangle, by GrabCut (Rother et al. 2004): 0 or 255.

    Args:
        box: left, top, right, bottom in pixels, right and bottom excluded; contains the whole subject.

    Raises:
        ValueError: if the rectangle is outside the image, or covers all of it.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(width, box[2]), min(height, box[3])
    text = ",".join(map(str, box))
    if left >= right or top >= bottom:
        raise ValueError(f"the rectangle {text} contains none of the {width} x {height} pixels")
    labels = np.full((height, width), cv2.GC_BGD, np.uint8)
    labels[top:bottom, left:right] = cv2.GC_PR_FGD
    small, _ = _reduced(image)
    labels = cv2.resize(labels, small.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    if (labels == cv2.GC_PR_FGD).all() or (labels == cv2.GC_BGD).all():
        raise ValueError(f"the rectangle {text} leaves too little outside or inside it")
    _grab_cut(small, labels, _empty_models(), cv2.GC_INIT_WITH_MASK)
    return _as_mask(labels, image)


def mask_from_scribbles(image: np.ndarray, scribbles: np.ndarray) -> np.ndarray:
    """The subject marked by a few strokes, by GrabCut: 0 or 255; pixels under strokes as marked.

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
    small, _ = _reduced(image)
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
    _grab_cut(small, labels, models, cv2.GC_EVAL_FREEZE_MODEL, steps=1)
    _grab_cut(small, labels, models, cv2.GC_EVAL)
    mask = _as_mask(labels, image)
    mask[black], mask[white] = 0, 255
    return mask


def overlay(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The image, (H, W, 3) uint8, with the unknown region in yellow and the background darkened, to check a trimap."""
    picture = image.copy()
    unknown, background = trimap == 128, trimap == 0
    picture[unknown] = image[unknown] // 2 + np.array([127, 110, 0], np.uint8)
    picture[background] = image[background] // 4
    return picture


def _farther_inside(region: np.ndarray, distance: float) -> np.ndarray:
    """The pixels of a region (bool) farther than `distance` from the nearest pixel outside."""
    if region.all():  # the distance transform needs an outside
        return region
    return cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > distance


def _gradient(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives to the right and down, per pixel."""
    return cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)


def _reduced(image: np.ndarray) -> tuple[np.ndarray, float]:
    """The image downscaled for GrabCut, and the scale factor (1: unchanged)."""
    factor = min(1.0, GRABCUT_SIDE / max(image.shape[:2]))
    if factor == 1:
        return image, factor
    size = [max(1, round(side * factor)) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def _empty_models() -> tuple[np.ndarray, np.ndarray]:
    """Buffers for GrabCut's colour models of background and foreground."""
    return np.zeros((1, 65)), np.zeros((1, 65))


def _learn_from_strokes(image: np.ndarray, background: np.ndarray, foreground: np.ndarray,
                        models: tuple[np.ndarray, np.ndarray]) -> None:
    """Fits the colour models to the strokes only; GrabCut itself would count the rest as background."""
    pixels = np.concatenate([image[background], image[foreground]])[None]
    labels = np.repeat(np.array([cv2.GC_BGD, cv2.GC_FGD], np.uint8), (background.sum(), foreground.sum()))[None]
    _grab_cut(pixels, labels, models, cv2.GC_INIT_WITH_MASK, steps=1)


def _grab_cut(image: np.ndarray, labels: np.ndarray, models: tuple[np.ndarray, np.ndarray], mode: int,
              steps: int = GRABCUT_STEPS) -> None:
    """Updates labels and models in place; deterministic."""
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(image), labels, None, *models, steps, mode)


def _as_mask(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """GrabCut's labels at the image's size, 0 or 255, with a smooth outline and without specks."""
    subject = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
    least = SPECK * subject.sum()
    subject = ~_without_specks(~_without_specks(subject, least), least)
    enlarged = cv2.resize(subject.astype(np.uint8) * 255, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(enlarged >= 128, 255, 0).astype(np.uint8)


def _without_specks(region: np.ndarray, least: float) -> np.ndarray:
    """A region (bool) without connected components of fewer than `least` pixels."""
    _, parts, statistics, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    keep = statistics[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False
    return keep[parts]
