"""What tells the subject in a box from its background: features of superpixels, for `matting.subject`.

They compare a superpixel with those outside the box, which are background, after ideas of saliency detection: geodesic
distances to the background (Wei et al., Geodesic Saliency Using Background Priors, ECCV 2012), colour contrast (Cheng
et al., Global Contrast Based Salient Region Detection, CVPR 2011) and sharpness.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from skimage.segmentation import slic

SEGMENTS, COMPACTNESS = 500, 12.0  # of SLIC, approximate number and weight of position against colour
TEXTURE_SCALES = (1.0, 3.0)  # pixels
WEIGHTS = np.array([1, 1.3, 1.3, 12, 12])  # of L, a, b and the textures in distances between superpixels
NEIGHBOURS, NEAR_NEIGHBOURS = 5, 3  # nearest background superpixels by colour and texture, and also by position
POSITION_WEIGHT = 40  # of the distance in units of the box's longer side against `WEIGHTS`
HISTOGRAM_BINS, HISTOGRAM_SIGMA = (10, 14, 14), 0.8  # of L, a and b, smoothed by this many bins
LAB_RANGE = np.array([[0, -80, -80], [100, 80, 80]])
FALLBACK_SHARE = 0.05  # of the superpixels, nearest to the rim, that are background if none is outside

FEATURES = ("geodesic", "colour_geodesic", "rim", "rim_root", "nearby", "contrast", "colour_contrast", "mean_contrast",
            "likelihood", "texture", "sharpness", "centre", "relative_contrast", "from_bottom", "from_top", "from_left",
            "from_right")


class Superpixels(NamedTuple):
    """An image's superpixels."""

    labels: np.ndarray  # (h, w) int, 0 to n - 1
    sizes: np.ndarray  # (n,) pixels
    inside: np.ndarray  # (n,) bool: at least half in the box
    features: np.ndarray  # (n, len(FEATURES))

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean per superpixel, (n,), of pixel values (h, w)."""
        return means(self.labels, self.sizes, values)


def means(labels: np.ndarray, sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Mean values (h, w) of each label, (n,)."""
    return np.bincount(labels.ravel(), values.ravel(), minlength=len(sizes)) / sizes


def rim_distance(box: tuple[float, float, float, float], height: int, width: int) -> np.ndarray:
    """Pixels (height, width) from a box's sides inwards, negative outside; sides on the image's border do not count.

    Args:
        box: left, top, right, bottom.
    """
    left, top, right, bottom = box
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    sides = [(left > 0, x - left), (right < width, right - x), (top > 0, y - top), (bottom < height, bottom - y)]
    distance = np.full((height, width), np.inf)
    for counts, side in sides:
        if counts:
            distance = np.minimum(distance, side)
    return distance


def describe(image: np.ndarray, box: tuple[float, float, float, float]) -> Superpixels:
    """The superpixels of an image (h, w, 3) uint8 RGB, a few hundred pixels on its longer side, and their features.

    Args:
        box: left, top, right, bottom in pixels; contains the subject.
    """
    height, width = image.shape[:2]
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    labels = slic(image, n_segments=SEGMENTS, compactness=COMPACTNESS, start_label=0, channel_axis=2)
    sizes = np.bincount(labels.ravel())

    def mean(values: np.ndarray) -> np.ndarray:
        return means(labels, sizes, values)

    distance = rim_distance(box, height, width)
    size = max(box[2] - box[0], box[3] - box[1])
    rim = mean(distance.clip(0, size)) / size
    outside = mean((distance < 0.5).astype(float)) > 0.5
    if not outside.any():
        outside[np.argsort(rim)[:max(3, round(FALLBACK_SHARE * len(sizes)))]] = True
    planes = [*np.moveaxis(lab, 2, 0), *(texture(lab[..., 0], sigma) for sigma in TEXTURE_SCALES)]
    look = np.stack([mean(plane) for plane in planes], axis=1) * WEIGHTS
    rows, columns = np.mgrid[:height, :width].astype(float)
    places = np.stack([mean(columns), mean(rows)], axis=1)
    sharp = mean(sharpness(lab[..., 0]))
    ratio = mean(colour_likelihood(lab, outside[labels]))
    features = np.stack([
        *background_distances(labels, look, np.flatnonzero(outside)),
        rim, np.sqrt(rim),
        *contrasts(look, places / size, sizes, outside),
        ratio,
        *(values - np.average(values[outside], weights=sizes[outside]) for values in (look[:, 3] / WEIGHTS[3], sharp)),
        np.hypot((places[:, 0] - (box[0] + box[2]) / 2) / (box[2] - box[0]),
                 (places[:, 1] - (box[1] + box[3]) / 2) / (box[3] - box[1])),
    ], axis=1)
    spread = (look[outside, :3] / WEIGHTS[:3]).std(axis=0).mean()
    relative = np.expm1(features[:, FEATURES.index("colour_contrast")]) / (spread + 3)
    features = np.column_stack([features, relative, border_distances(places, box, height, width, size)])
    return Superpixels(labels, sizes, ~outside, features)


def texture(lightness: np.ndarray, sigma: float) -> np.ndarray:
    """Logarithm of the local standard deviation of the lightness at a scale of `sigma` pixels."""
    detail = lightness - cv2.GaussianBlur(lightness, (0, 0), sigma)
    return np.log1p(np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), 2 * sigma)))


def sharpness(lightness: np.ndarray) -> np.ndarray:
    """Logarithm of the strongest detail nearby, which defocus removes."""
    detail = cv2.GaussianBlur(np.abs(cv2.Laplacian(lightness, cv2.CV_32F)), (0, 0), 1.0)
    return np.log1p(cv2.dilate(detail, np.ones((5, 5))))


def colour_likelihood(lab: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Logarithm (h, w) of how much more frequent a pixel's colour is inside than outside."""
    bins = np.array(HISTOGRAM_BINS)
    index = ((lab - LAB_RANGE[0]) / (LAB_RANGE[1] - LAB_RANGE[0]) * bins).astype(int).clip(0, bins - 1)
    index = np.ravel_multi_index(tuple(np.moveaxis(index, 2, 0)), HISTOGRAM_BINS)

    def frequency(region: np.ndarray) -> np.ndarray:
        counts = np.bincount(index[region], minlength=bins.prod()).reshape(HISTOGRAM_BINS).astype(float)
        return gaussian_filter(counts, HISTOGRAM_SIGMA).ravel()[index] / max(1, region.sum())

    return np.log((frequency(~outside) + 1e-4) / (frequency(outside) + 1e-4))


def background_distances(labels: np.ndarray, look: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the geodesic distances (n,) to the background, by colour and texture, and by colour alone.

    Steps between neighbours count in units of their median; smaller ones than half, or than one, hardly count.
    """
    pairs = np.concatenate([np.stack([a.ravel(), b.ravel()], axis=1) for a, b in (
        (labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]))])
    one, other = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0).T

    def distance(values: np.ndarray, free: float) -> np.ndarray:
        steps = np.linalg.norm(values[one] - values[other], axis=1)
        median = max(1e-6, float(np.median(steps))) if len(steps) else 1.0
        steps = np.maximum(0, steps / median - free) + 0.02
        graph = coo_matrix((np.tile(steps, 2), (np.r_[one, other], np.r_[other, one])), (len(look), len(look)))
        return np.log1p(dijkstra(graph.tocsr(), directed=False, indices=background, min_only=True))

    return distance(look, 0.5), distance(look[:, :3], 1.0)


def contrasts(look: np.ndarray, places: np.ndarray, sizes: np.ndarray, outside: np.ndarray) -> list[np.ndarray]:
    """Differences (n,) from the background: of its most similar superpixels nearby, anywhere, by colour; its mean."""
    difference = np.linalg.norm(look[:, None] - look[None, outside], axis=2)
    by_colour = np.linalg.norm(look[:, None, :3] - look[None, outside, :3], axis=2)
    away = np.linalg.norm(places[:, None] - places[None, outside], axis=2)
    weight = np.exp(-2 * away) * sizes[outside]

    def nearest(values: np.ndarray, count: int) -> np.ndarray:
        return np.log1p(np.sort(values, axis=1)[:, :count].mean(axis=1))

    return [nearest(difference + POSITION_WEIGHT * away, NEAR_NEIGHBOURS), nearest(difference, NEIGHBOURS),
            nearest(by_colour, NEIGHBOURS), (by_colour * weight).sum(axis=1) / weight.sum(axis=1) / 50]


def border_distances(places: np.ndarray, box: tuple[float, float, float, float], height: int, width: int,
                     size: float) -> np.ndarray:
    """Distances (n, 4), at most 0.5, from the sides of the box at which the image's border may cut the subject off."""
    left, top, right, bottom = box
    x, y = places.T
    cut = [(bottom >= height, height - y), (top <= 0, y), (left <= 0, x), (right >= width, width - x)]
    return np.stack([values / size if counts else np.ones(len(places)) for counts, values in cut], axis=1).clip(0, 0.5)
