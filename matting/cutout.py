"""Cut-outs with estimated foreground colours, and composites over other backgrounds.

In a pixel of opacity alpha, the photo mixes the subject's colour with the background's. A cut-out that
keeps the photo's colours has a halo of the old background; the functions here use estimated foreground
colours instead, and by default an alpha that agrees with them. Images are (H, W, 3) RGB, uint8 or uint16,
alpha is (H, W) float in 0..1; results have the image's bit depth.
"""

import threading
from collections.abc import Iterator
from importlib.util import find_spec

import cv2
import numpy as np

from matting.robust_colours import ALPHA_DEVIATION, Colours, most_probable, nearby_colours
from utils.boxes import Box, cover
from utils.errors import InputError
from utils.preprocessing import alpha_to_uint8, size_text

COARSE_PIXELS = {"robust": 100_000, "ml": 4_000_000, "cf": 500_000}  # of the image for PyMatting, by method
DEFAULT_METHOD = "robust"
BOX_PIXELS = 100_000  # of the boxes in which colours are refined at full size
STRIP_PIXELS = 1_000_000  # of the strips in which a composite is computed
COVER_CELL = 32  # side of the cells that the boxes consist of
MATTE_DEVIATION = 0.1  # expected error of an alpha of 0.5 in `refined_alpha`
STEPS = 6  # refinement iterations at full size
REGULARISATION = 1e-5  # PyMatting's default
EDGE = 16  # pixels around the subject that get its colours although they are transparent
BLUR_SIGMA_SHARE = 0.02  # standard deviation of the background blur, as a share of the longer side

_ONE_AT_A_TIME = threading.Lock()  # one of Numba's schedulers aborts the program if two threads start parallel loops


class CutoutError(InputError):
    """A cut-out or composite that cannot be computed. The message says why, in one line."""


def check_pymatting() -> None:
    """Raises CutoutError if PyMatting is not installed, without importing it, which takes seconds."""
    if find_spec("pymatting") is None:
        raise CutoutError("cut-outs, composites and refined mattes need PyMatting: pip install pymatting")


def estimate_foreground(image: np.ndarray, alpha: np.ndarray, method: str = DEFAULT_METHOD) -> np.ndarray:
    """The foreground of `estimate_layers` alone, (H, W, 3) of the image's type, for use with another alpha."""
    return estimate_layers(image, alpha, method)[0]


def estimate_layers(image: np.ndarray, alpha: np.ndarray,
                    method: str = DEFAULT_METHOD) -> tuple[np.ndarray, np.ndarray]:
    """Foreground colours, and the alpha to cut out and compose them with.

    The colours are the image's where alpha is 1, without the background's share elsewhere. PyMatting estimates
    them on the whole image, downscaled if large; they are then refined at full size, box by box: by default pixel by
    pixel together with alpha (`matting.robust_colours`), for the other methods with the iteration of the multi-level
    method (Germer et al., arXiv 2006.14970). Memory beyond the results is bounded by about 0.5 GB. Box borders do not
    show.

    Args:
        image: (H, W, 3) uint8 or uint16 RGB.
        alpha: (H, W) float in 0..1.
        method: "robust", for an alpha that may have errors; "ml", multi-level, for one without; or "cf",
            closed-form (Levin et al. 2008), slower.

    Returns:
        Foreground, (H, W, 3) of the image's type; 0 where alpha is 0, except within `EDGE` pixels of the subject,
        which get its colours, so that upscaling a cut-out does not darken its edge.
        Alpha, (H, W) float in 0..1: with "robust" the refined one, in which exact 0 and 1 are the given ones; with
        the other methods `alpha` itself.

    Raises:
        CutoutError: if PyMatting is not installed.
        ValueError: for an unknown method, or arrays of other shapes, types or ranges.
    """
    _check(image, alpha)
    if method not in COARSE_PIXELS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(COARSE_PIXELS)}")
    foreground, refined = image.copy(), alpha.copy() if method == "robust" else alpha
    near = cv2.dilate((alpha > 0).astype(np.uint8), np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)) == 1
    foreground[~near] = 0
    wanted = near & (alpha < 1)
    if not wanted.any():
        return foreground, refined
    coarse = _estimate_coarse(image, alpha, method)
    for box in _boxes(wanted):
        if method == "robust":
            colours, refined[box.slices] = _robust(image, alpha, coarse, box)
        else:
            colours = _refined(image, alpha, coarse, box)
        inside = wanted[box.slices]
        foreground[box.slices][inside] = _as_levels(colours[inside], image.dtype)
    return foreground, refined


def refined_alpha(image: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """A predicted alpha that agrees better with the photo's colours, of its shape and type; exact 0 and 1 stay.

    As the alpha of `estimate_layers`, but nearer to the given one. Arguments and errors as there.
    """
    _check(image, alpha)
    refined, wanted = alpha.copy(), (alpha > 0) & (alpha < 1)
    coarse = _estimate_coarse(image, alpha, "robust") if wanted.any() else None
    for box in _boxes(wanted):
        refined[box.slices] = _robust(image, alpha, coarse, box, MATTE_DEVIATION)[1]
    return refined


def cut_out(image: np.ndarray, alpha: np.ndarray, method: str = DEFAULT_METHOD) -> np.ndarray:
    """The subject as straight RGBA (colours not multiplied by alpha), (H, W, 4) of the image's type.

    Arguments and errors as in `estimate_layers`, whose alpha it has: only with the methods "ml" and "cf" an 8-bit
    alpha channel equals that of the matte files.
    """
    return with_alpha(*estimate_layers(image, alpha, method))


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) uint8 or uint16 and alpha (H, W) in 0..1 as RGBA of their type."""
    levels = alpha_to_uint8(alpha) if colours.dtype == np.uint8 else _as_levels(alpha, np.uint16)
    return np.dstack([colours, levels])


def compose_onto(foreground: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> np.ndarray:
    """alpha foreground + (1 - alpha) background, rounded; the foreground itself where alpha is 1.

    Args:
        foreground: (H, W, 3) uint8 or uint16, with its alpha from `estimate_layers`.
        alpha: (H, W) float in 0..1.
        background: of the foreground's shape, or (3,), and of its type.

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
    """The photo blurred without its subject, which would leave a glow around it; shape and type of `image`.

    Errors as in `estimate_layers`.
    """
    _check(image, alpha)
    height, width = alpha.shape
    sigma = BLUR_SIGMA_SHARE * max(height, width)
    factor = max(1, sigma / 4)  # downscaled, since the blur removes details anyway
    size = max(1, round(width / factor)), max(1, round(height / factor))
    weight = 1 - cv2.resize(alpha.astype(np.float32), size, interpolation=cv2.INTER_AREA)[..., None]
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = weight**2 + 1e-6  # colours under the subject come from afar, or from itself if it fills the image

    def blur(x: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(x, (0, 0), sigma / factor).reshape(x.shape)

    small = blur(small * weight) / blur(weight)
    return cv2.resize(_as_levels(small / _maximum(image), image.dtype), (width, height), interpolation=cv2.INTER_LINEAR)


def covering(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (h, w, 3) scaled to just cover a frame, and cropped to its centre: (height, width, 3)."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    # Cropped first: the whole of a long, thin image would be enormous at that scale.
    shape = [min(side, max(1, round(wanted / scale)))
             for side, wanted in zip(picture.shape[:2], (height, width), strict=True)]
    top, left = ((side - part) // 2 for side, part in zip(picture.shape[:2], shape, strict=True))
    part = picture[top:top + shape[0], left:left + shape[1]]
    if part.shape[:2] == (height, width):
        return part
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def to_depth(picture: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Converts uint8 or uint16 levels to `dtype`, one of the two; white stays white."""
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
    if not (alpha.min() >= 0 and alpha.max() <= 1):  # also for NaN
        raise ValueError(f"alpha ranges from {alpha.min()} to {alpha.max()}; expected 0 to 1")


def _maximum(image: np.ndarray) -> int:
    return np.iinfo(image.dtype).max


def _as_levels(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """0..1 as levels of an integer type, clipped and rounded."""
    return np.rint(values.clip(0, 1) * np.float32(np.iinfo(dtype).max)).astype(dtype)


def _estimate_coarse(image: np.ndarray, alpha: np.ndarray, method: str) -> np.ndarray:
    """Of at most `COARSE_PIXELS`: PyMatting's foreground and background in 0..1, (h, w, 6) float32.

    For "robust", the stacked `Colours` from these, (h, w, 8).
    """
    check_pymatting()
    from pymatting import estimate_foreground_cf, estimate_foreground_ml  # takes seconds: only if needed

    height, width = alpha.shape
    scale = min(1, (COARSE_PIXELS[method] / alpha.size) ** 0.5)
    size = max(2, int(width * scale)), max(2, int(height * scale))  # PyMatting fails for a single pixel
    if size != (width, height):
        image, alpha = (cv2.resize(x, size, interpolation=cv2.INTER_AREA) for x in (image, alpha))
    estimate = estimate_foreground_cf if method == "cf" else estimate_foreground_ml
    with _ONE_AT_A_TIME:
        layers = estimate(image / np.float32(_maximum(image)), alpha, return_background=True)
    layers = [layer.astype(np.float32).clip(0, 1) for layer in layers]
    if method == "robust":
        return nearby_colours(*layers, alpha.astype(np.float32)).stacked()
    return np.dstack(layers)


def _boxes(wanted: np.ndarray) -> Iterator[Box]:
    """Boxes of the image that cover the wanted pixels."""
    height, width = wanted.shape
    padded = np.pad(wanted, ((0, -height % COVER_CELL), (0, -width % COVER_CELL)))
    rows, columns = (side // COVER_CELL for side in padded.shape)
    cells = padded.reshape(rows, COVER_CELL, columns, COVER_CELL).any(axis=(1, 3))
    for box in cover(cells, BOX_PIXELS // COVER_CELL**2):
        yield box.times(COVER_CELL).grown(0, height, width)


def _robust(image: np.ndarray, alpha: np.ndarray, coarse: np.ndarray, box: Box,
            deviation: float = ALPHA_DEVIATION) -> tuple[np.ndarray, np.ndarray]:
    """Foreground (h, w, 3) and alpha (h, w) in a box, float32 in 0..1, from stacked `Colours` of the whole image."""
    near = Colours.unstacked(_enlarged(coarse, alpha.shape, box))
    colours = image[box.slices] / np.float32(_maximum(image))
    return most_probable(colours, alpha[box.slices].astype(np.float32), near, deviation)


def _refined(image: np.ndarray, alpha: np.ndarray, coarse: np.ndarray, box: Box) -> np.ndarray:
    """The foreground in a box, (h, w, 3) float32 in 0..1, from both layers of the whole image, coarse or full size.

    Each step averages a pixel's neighbours, then distributes the residual to the image's colour over both
    layers. It reaches one pixel far, so that with a margin of `STEPS` boxes agree with the whole image.
    """
    if coarse.shape[:2] == alpha.shape:
        return coarse[box.slices][..., :3]
    outer = box.grown(STEPS, *alpha.shape)
    layers = np.ascontiguousarray(np.moveaxis(_enlarged(coarse, alpha.shape, outer), 2, 0))
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
    """x (..., H, W) shifted to the neighbours above, below, left and right of each pixel, replicated at the border."""
    for axis in (-2, -1):
        last = x.shape[axis] - 1
        positions = np.arange(last + 1)
        yield x.take(np.maximum(positions - 1, 0), axis)
        yield x.take(np.minimum(positions + 1, last), axis)


def _enlarged(coarse: np.ndarray, shape: tuple[int, int], box: Box) -> np.ndarray:
    """A box of a coarse layer (h, w, 3) upscaled bilinearly to `shape`; float32."""
    result = coarse
    for axis, (first, end) in enumerate(((box.top, box.bottom), (box.left, box.right))):
        positions = (np.arange(first, end) + 0.5) * coarse.shape[axis] / shape[axis] - 0.5
        positions = positions.clip(0, coarse.shape[axis] - 1).astype(np.float32)
        before = positions.astype(int)
        after = np.minimum(before + 1, coarse.shape[axis] - 1)
        share = (positions - before).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        result = result.take(before, axis) * (1 - share) + result.take(after, axis) * share
    return result
