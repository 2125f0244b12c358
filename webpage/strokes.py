"""Brush strokes on the photo: painted over a trimap, or as hints from which one is proposed."""

import cv2
import numpy as np

from matting.trimaps import mask_from_rectangle, mask_from_scribbles, trimap_of_width

# Colours of the brushes, and the trimap levels that they paint.
BRUSHES = {"Subject": ("#22c55e", 255), "Uncertain edge": ("#facc15", 128), "Background": ("#ef4444", 0)}
OPAQUE = 40  # opacity, of 255, from which a pixel counts as painted


def stroke_levels(layers: list[np.ndarray], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The strokes at the image's size: trimap levels (H, W) uint8, and where anything is painted, (H, W) bool.

    Args:
        layers: (h, w, 4) uint8 RGBA from the editor, the uppermost last. Colours count as the nearest of `BRUSHES`.
        shape: height and width of the image.
    """
    levels, painted = np.zeros(shape, np.uint8), np.zeros(shape, bool)
    colours = [np.float32(list(bytes.fromhex(colour[1:]))) for colour, _ in BRUSHES.values()]
    meanings = np.array([level for _, level in BRUSHES.values()], np.uint8)
    for layer in layers:
        opaque = layer[..., 3] >= OPAQUE
        distances = [np.linalg.norm(layer[..., :3] - colour, axis=2) for colour in colours]
        nearest = meanings[np.argmin(distances, axis=0)]
        opaque, nearest = (cv2.resize(x, shape[::-1], interpolation=cv2.INTER_NEAREST)
                           for x in (opaque.astype(np.uint8), nearest))
        levels[opaque == 1], painted[opaque == 1] = nearest[opaque == 1], True
    return levels, painted


def painted_over(trimap: np.ndarray | None, layers: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """A trimap with strokes painted over it; without one, unpainted pixels are background.

    Raises:
        ValueError: if the result is background only.
    """
    levels, painted = stroke_levels(layers, shape)
    if trimap is not None:
        levels = np.where(painted, levels, trimap)
    if not levels.any():
        raise ValueError("The trimap is empty: paint the subject and its uncertain edge, or load a trimap.")
    return levels


def propose_trimap(image: np.ndarray, layers: list[np.ndarray], width: str, rectangle: bool = True) -> np.ndarray:
    """A trimap from a few strokes, by GrabCut.

    Args:
        width: of the unknown band, a key of `matting.trimaps.WIDTHS`.
        rectangle: the bounding rectangle of all strokes contains the subject; otherwise the strokes are
            examples of subject and background.

    Raises:
        ValueError: if there are no strokes, or they mark too little or too much.
    """
    levels, painted = stroke_levels(layers, image.shape[:2])
    if not painted.any():
        raise ValueError("Nothing is painted: draw a line across the subject, from corner to corner.")
    if not rectangle:
        scribbles = np.where(painted, levels, 128).astype(np.uint8)
        if not ((scribbles == 0).any() and (scribbles == 255).any()):
            raise ValueError("Strokes of both kinds are needed: some on the subject and some on the background.")
        return trimap_of_width(mask_from_scribbles(image, scribbles), width)
    left, top, across, down = cv2.boundingRect(painted.astype(np.uint8))
    mask = mask_from_rectangle(image, (left, top, left + across, top + down))
    if not mask.any():
        raise ValueError("No subject was found in the rectangle: draw it larger, or mark subject and background.")
    return trimap_of_width(mask, width)


def trimap_text(trimap: np.ndarray) -> str:
    """The shares of subject and uncertain pixels, in words."""
    return f"Trimap: {(trimap == 255).mean():.0%} subject, {(trimap == 128).mean():.0%} uncertain"
