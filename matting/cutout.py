"""Subjects cut out of photos with their own colours, and put before other backgrounds.

In a pixel that shows the subject at opacity alpha, the photo mixes the subject's colour with the old
background's. A cut-out that keeps the photo's colours keeps a halo of that background; the functions
here estimate the subject's colours and use those. Images are (H, W, 3) RGB, uint8 or uint16, alpha is
(H, W) float in 0..1; results have the image's depth.
"""

import threading
from collections.abc import Iterator
from importlib.util import find_spec

import cv2
import numpy as np

from utils.boxes import Box, cover
from utils.errors import InputError
from utils.preprocessing import alpha_to_uint8, size_text

COARSE_PIXELS = {"ml": 4_000_000, "cf": 500_000}  # of the copy that PyMatting gets, by method
BOX_PIXELS = 100_000  # of the parts in which colours are refined at full size
STRIP_PIXELS = 1_000_000  # of the parts in which a composite is made
CELL = 32  # side of the squares of which these parts are made
STEPS = 6  # of refinement at full size
REGULARISATION = 1e-5  # PyMatting's default
EDGE = 16  # pixels around the subject that get its colours although they are transparent
BLUR = 0.02  # standard deviation of the blurred background, as a share of the longer side

_ONE_AT_A_TIME = threading.Lock()  # one of Numba's schedulers ends the program where two threads start loops


class CutoutError(InputError):
    """A cut-out or composite that cannot be made as asked. The message says why, in one line."""


def check_pymatting() -> None:
    """Raises CutoutError where PyMatting is not installed; loading it to find out would take seconds."""
    if find_spec("pymatting") is None:
        raise CutoutError("cut-outs and composites need PyMatting: pip install pymatting")


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, method: str = "ml") -> np.ndarray:
    """The subject's colours: the image's where alpha is 1, without the background's share where it is below.

    PyMatting estimates them on the whole image, reduced where it is large; they are then refined at full
    size, part by part, with the multi-level method's own step (Germer et al., arXiv 2006.14970). Memory
    beyond the result is bounded: about half a gigabyte. The parts do not show.

    Args:
        image: (H, W, 3) uint8 or uint16 RGB.
        alpha: (H, W) float in 0..1.
        method: "ml", multi-level; or "cf", closed-form (Levin et al. 2008), slower.

    Returns:
        (H, W, 3) of the image's type; 0 where alpha is 0, but for `EDGE` pixels around the subject, which
        get its colours, so that enlarging a cut-out does not darken its edge.

    Raises:
        CutoutError: where PyMatting is not installed.
        ValueError: for an unknown method, or arrays of other shapes, types or ranges.
    """
    _check(image, alpha)
    if method not in COARSE_PIXELS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(COARSE_PIXELS)}")
    result = image.copy()
    near = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)) == 1
    result[~near] = 0
    wanted = near & (alpha < 1)
    if not wanted.any():
        return result
    coarse = _estimate_coarse(image, alpha, method)
    for box in _boxes(wanted):
        colours = _refined(image, alpha, *coarse, box)
        inside = wanted[box.slices]
        result[box.slices][inside] = _as_levels(colours[inside], image.dtype)
    return result


def cut_out(image: np.ndarray, alpha: np.ndarray, method: str = "ml") -> np.ndarray:
    """The subject as straight RGBA (colours not multiplied by alpha), (H, W, 4) of the image's type.

    Arguments and errors as in `estimate_foreground`. In 8 bits the alpha channel is that of the matte files.
    """
    return with_alpha(estimate_foreground(image, alpha, method), alpha)


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 or uint16 and alpha (H, W) in 0..1 as RGBA of their type."""
    levels = alpha_to_uint8(alpha) if colours.dtype == np.uint8 else _as_levels(alpha, np.uint16)
    return np.dstack([colours, levels])


def compose_onto(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """alpha foreground + (1 - alpha) background, rounded; the foreground itself where alpha is 1.

    Args:
        foreground: (H, W, 3) uint8 or uint16, as `estimate_foreground` gives it.
        alpha: (H, W) float in 0..1.
        background: of the foreground's shape or that of one pixel, (3,), and of its type.

    Returns:
        (H, W, 3) of the foreground's type.

    Raises:
        ValueError: for arrays of other shapes, types or ranges.
    """
    _check(foreground, alpha)
    if background.dtype != foreground.dtype or background.shape not in (foreground.shape, (3,)):
        raise ValueError(f"background is {background.dtype} of shape {background.shape}; "
                         f"expected {foreground.dtype} of shape {foreground.shape} or (3,)")
    background = np.broadcast_to(background, foreground.shape)
    result = np.empty_like(foreground)
    rows = max(1, STRIP_PIXELS // alpha.shape[1])
    for top in range(0, len(alpha), rows):
        strip = slice(top, top + rows)
        opacity = alpha[strip, :, None].astype(np.float32)
        result[strip] = np.rint(opacity * foreground[strip] + (1 - opacity) * background[strip])
    return result


def blurred_background(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """The photo out of focus and without its subject, so that no glow of it surrounds it; as `image`.

    Errors as in `estimate_foreground`.
    """
    _check(image, alpha)
    height, width = alpha.shape
    sigma = BLUR * max(height, width)
    factor = max(1, sigma / 4)  # a smaller copy holds all that the blur leaves
    size = max(1, round(width / factor)), max(1, round(height / factor))
    weight = 1 - cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = weight**2 + 1e-6  # colours under the subject come from far away, and from itself where it fills the image

    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), sigma / factor).reshape(x.shape)

    small = blur(small * weight) / blur(weight)
    return cv2.resize(_as_levels(small / _maximum(image), image.dtype), (width, height), interpolation=cv2.INTER_LINEAR)


def covering(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture (h, w, 3) scaled so that it just covers a frame, and its centre cut out: (height, width, 3)."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    # First the cut: the whole of a long, thin picture would be enormous at that scale.
    shape = [min(side, max(1, round(wanted / scale)))
             for side, wanted in zip(picture.shape[:2], (height, width), strict=True)]
    top, left = ((side - part) // 2 for side, part in zip(picture.shape[:2], shape, strict=True))
    part = picture[top:top + shape[0], left:left + shape[1]]
    if part.shape[:2] == (height, width):
        return part
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_depth(picture: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """uint8 or uint16 levels as levels of `dtype`, one of the two; white stays white."""
    if picture.dtype == dtype:
        return picture
    if dtype == np.uint16:
        return picture.astype(np.uint16) * 257
    return np.rint(picture / np.float32(257)).astype(np.uint8)


def _check(image: np.ndarray, alpha: np.ndarray) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype not in (np.uint8, np.uint16) or not image.size:
        raise ValueError(f"image is {image.dtype} of shape {image.shape}; expected uint8 or uint16 "
                         "of shape (H, W, 3)")
    if alpha.ndim != 2 or not np.issubdtype(alpha.dtype, np.floating):
        raise ValueError(f"alpha is {alpha.dtype} of shape {alpha.shape}; expected floats of shape (H, W)")
    if alpha.shape != image.shape[:2]:
        raise ValueError(f"alpha is {size_text(alpha)}, but the image is {size_text(image)} (width x height)")
    if not (alpha.min() >= 0 and alpha.max() <= 1):  # NaN, too
        raise ValueError(f"alpha reaches from {alpha.min()} to {alpha.max()}; expected 0 to 1")


def _maximum(image: np.ndarray) -> int:
    return np.iinfo(image.dtype).max


def _as_levels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """0..1 as the levels of an integer type, rounded; what lies outside is cut off."""
    return np.rint(values.clip(0, 1) * np.float32(np.iinfo(dtype).max)).astype(dtype)


def _estimate_coarse(image: np.ndarray, alpha: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """PyMatting's foreground and background in 0..1, both (h, w, 3) float32, of at most `COARSE_PIXELS`."""
    check_pymatting()
    from pymatting import estimate_foreground_cf, estimate_foreground_ml  # takes seconds: only where it is needed

    height, width = alpha.shape
    scale = min(1, (COARSE_PIXELS[method] / alpha.size) ** 0.5)
    size = max(2, int(width * scale)), max(2, int(height * scale))  # PyMatting cannot do a single pixel
    if size != (width, height):
        image, alpha = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (image, alpha))
    estimate = estimate_foreground_ml if method == "ml" else estimate_foreground_cf
    with _ONE_AT_A_TIME:
        layers = estimate(image / np.float32(_maximum(image)), alpha, return_background=True)
    return tuple(layer.astype(np.float32).clip(0, 1) for layer in layers)


def _boxes(wanted: np.ndarray) -> Iterator[Box]:
    """Parts of the image that cover the wanted pixels."""
    height, width = wanted.shape
    padded = np.pad(wanted, ((0, -height % CELL), (0, -width % CELL)))
    rows, columns = (side // CELL for side in padded.shape)
    cells = padded.reshape(rows, CELL, columns, CELL).any(axis=(1, 3))
    for box in cover(cells, BOX_PIXELS // CELL**2):
        yield box.times(CELL).grown(0, height, width)


def _refined(image: np.ndarray, alpha: np.ndarray, foreground: np.ndarray, background: np.ndarray,
             box: Box) -> np.ndarray:
    """The foreground in a box, (h, w, 3) float32 in 0..1, from both layers of the whole image, coarse or not.

    Each step takes a pixel's colours from its neighbours', then shares out what is missing to the image's
    colour. It reaches one pixel far, so that with a margin of `STEPS` the boxes agree with the whole.
    """
    if foreground.shape == image.shape:
        return foreground[box.slices]
    outer = box.grown(STEPS, *alpha.shape)
    layers = np.stack([plane for layer in (foreground, background)
                       for plane in np.moveaxis(_enlarged(layer, alpha.shape, outer), 2, 0)])
    colours = np.moveaxis(image[outer.slices], 2, 0) / np.float32(_maximum(image))
    a = alpha[outer.slices].astype(np.float32)
    weights = np.stack([REGULARISATION + np.abs(a - neighbour) for neighbour in _neighbours(a)])
    total = weights.sum(axis=0)
    weights /= total
    scale = 1 / (total + a**2 + (1 - a)**2)
    for _ in range(STEPS):
        layers = sum(weight * neighbour for weight, neighbour in zip(weights, _neighbours(layers), strict=True))
        missing = (colours - a * layers[:3] - (1 - a) * layers[3:]) * scale
        layers[:3] += a * missing
        layers[3:] += (1 - a) * missing
        layers.clip(0, 1, out=layers)
    return np.moveaxis(layers[:3], 0, 2)[box.seen_from(outer).slices]


def _neighbours(x: np.ndarray) -> Iterator[np.ndarray]:
    """x (..., H, W) as its pixels' neighbours above, below, left and right see it; the border's are their own."""
    for axis in (-2, -1):
        last = x.shape[axis] - 1
        places = np.arange(last + 1)
        yield x.take(np.maximum(places - 1, 0), axis)
        yield x.take(np.minimum(places + 1, last), axis)


def _enlarged(coarse: np.ndarray, shape: tuple[int, int], box: Box) -> np.ndarray:
    """A box of a coarse layer (h, w, 3) enlarged to `shape`, linearly; float32."""
    result = coarse
    for axis, (first, end) in enumerate(((box.top, box.bottom), (box.left, box.right))):
        places = (np.arange(first, end) + 0.5) * coarse.shape[axis] / shape[axis] - 0.5
        places = places.clip(0, coarse.shape[axis] - 1).astype(np.float32)
        before = places.astype(int)
        after = np.minimum(before + 1, coarse.shape[axis] - 1)
        share = (places - before).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        result = result.take(before, axis) * (1 - share) + result.take(after, axis) * share
    return result
