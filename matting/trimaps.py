"""Trimaps from masks, with values 0 (background), 128 (unknown) and 255 (foreground), and pictures of them.

Images are (H, W, 3) uint8 RGB, masks and trimaps (H, W) uint8.
"""

import cv2
import numpy as np

# Half the width of the unknown band, as a share of the image's longer side. Typical of alphamatting.com's
# low-resolution trimaps, 800 pixels wide: Trimap1 (8 pixels), Trimap3 (11, by hand), Trimap2 (16).
WIDTHS = {"narrow": 0.01, "medium": 0.014, "wide": 0.02}

NEARLY = 12  # tolerance of 0 and 255 in grey levels, for JPEG masks
HAIR_SIDE = 1000  # pixels of the longer side for hair detection
HAIR_CONTRAST = 2.0  # grey levels per pixel: minimum gradient along the outline of hair
TINTS = {0: (0xef, 0x44, 0x44), 128: (0xfa, 0xcc, 0x15), 255: (0x22, 0xc5, 0x5e)}  # of overlays, by trimap level
TINT = 0.45  # opacity of the tints
BACKGROUND_SHARE = 0.7  # of the background, with less detail than a strand has
STRAND_MARGIN = 0.005  # pixels around strands, as a share of the longer side
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
    trimap[farther_inside(mask >= 255 - NEARLY, erode)] = 255
    trimap[farther_inside(mask <= NEARLY, dilate)] = 0
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
    """Where the outline looks like hair, marks the strands within `reach` pixels of it as unknown.

    A plain outline has gradients across it, protruding strands have gradients along it. Hair is where, in the
    outer half of the unknown band, a large share of the squared gradient is along the outline, and more than in
    the known background, so that grass behind the subject is not mistaken for hair. Strands are what has more
    detail than most of the background, and is connected with the band.
    """
    small, factor = reduced(image, HAIR_SIDE)
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
    hair = outer & (along > limit) & (along > HAIR_SHARE * total)
    near = ~farther_inside(~hair, reach * factor) & (labels != 255)
    near &= _strands(x**2 + y**2, labels) | (labels == 128)
    _, parts = cv2.connectedComponents(near.astype(np.uint8))
    strands = np.isin(parts, np.unique(parts[hair])) & near
    inner = ~farther_inside(~hair, reach * factor) & (labels == 255)  # hair over the subject itself: all of it
    wider = cv2.resize((strands | inner).astype(np.uint8), trimap.shape[::-1], interpolation=cv2.INTER_NEAREST)
    widened = trimap.copy()
    widened[wider == 1] = 128
    return widened


def _strands(energy: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Where there is detail, with a margin: the squared gradient (h, w) exceeds most of the known background's."""
    background = energy[labels == 0]
    limit = max(HAIR_CONTRAST**2, float(np.quantile(background, BACKGROUND_SHARE)) if background.size else 0.0)
    margin = 2 * round(STRAND_MARGIN * max(labels.shape)) + 1
    return cv2.dilate((energy > limit).astype(np.uint8), np.ones((margin, margin), np.uint8)) == 1


def overlay(image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The image, (H, W, 3) uint8, tinted to check a trimap: subject green, unknown yellow, background red."""
    tints = np.array([TINTS[level] for level in sorted(TINTS)], np.float32)
    labels = np.searchsorted(sorted(TINTS), trimap)
    table = TINT * tints[:, None, :] + (1 - TINT) * np.arange(256, dtype=np.float32)[:, None]
    return np.rint(table).astype(np.uint8)[labels[..., None], image, np.arange(3)]


def reduced(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """The image downscaled to at most `side` pixels on its longer side, and the scale factor (1: unchanged)."""
    factor = min(1.0, side / max(image.shape[:2]))
    if factor == 1:
        return image, factor
    size = [max(1, round(length * factor)) for length in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), factor


def farther_inside(region: np.ndarray, distance: float) -> np.ndarray:
    """The pixels of a region (bool) farther than `distance` from the nearest pixel outside."""
    if region.all():  # the distance transform needs an outside
        return region
    return cv2.distanceTransform(region.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > distance


def _gradient(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives to the right and down, per pixel."""
    return cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8)
