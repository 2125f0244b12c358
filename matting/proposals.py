"""A trimap proposed from a photo alone, a box or a few strokes, and what is suspicious about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from matting.grabcut import mask_from_scribbles, without_specks
from matting.subject import SURROUNDINGS, Subject, find_subject
from matting.trimaps import WIDTHS, farther_inside, trimap_of_width, widen_at_hair
from utils.boxes import Box

if TYPE_CHECKING:
    from matting.predictor import Matting

COARSE_SIDE = 640  # pixels of the longer side of what the network sees
CORE = 0.35  # share of the found subject, the least probable, that the network decides on
LIKELY_BACKGROUND = 0.1  # probability of being subject below which the network is told background
FIRST_BAND = 0.02  # half the width of the unknown band for the network, as a share of the longer side
AGREED = 0.8  # alpha from which, and its complement up to which, the network agrees with what was found
CERTAIN, FAR = 0.85, 3  # probability that needs no agreement at this multiple of the band's half from the outline
UNLIKELY = 0.4  # probability that at twice this distance is background, whatever the network says
HAIR_REACH = 3  # multiple of the band's half
LARGE, FILLED, WIDE, PART = 0.5, 0.9, 0.28, 0.05  # shares from which a remark is made

RectangleBox = tuple[int, int, int, int]  # left, top, right, bottom in pixels, right and bottom excluded
Report = Callable[[float, str], object]  # called with the share of the work done, and the name of the next step


class Proposal(NamedTuple):
    """A trimap, and what is suspicious about it."""

    trimap: np.ndarray  # (H, W) uint8 of 0, 128, 255
    remarks: list[str]  # one sentence each, with advice


def propose(image: np.ndarray, box: RectangleBox | None = None, scribbles: np.ndarray | None = None,
            matting: Matting | None = None, width: str = "medium", hair: bool = False,
            report: Report = lambda share, text: None) -> Proposal:
    """Proposes a trimap.

    Without scribbles, `matting.subject` finds the subject. With a network, its matte of a wide unknown region is a
    second opinion: only what both agree on is not unknown.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: contains the whole subject; default, and if it is the whole image: the image less a rim. Ignored with
            scribbles.
        scribbles: (H, W) uint8, examples: 0 background, 255 subject, 128 unmarked.
        matting: the network.
        width: of the unknown band, a key of `WIDTHS`.
        hair: whether to widen the band where the image has strands.
        report: progress.

    Raises:
        ValueError: if no subject is found, or the marks do not fit the image.
    """
    report(0.0, "Finding the subject")
    if scribbles is not None:
        mask = mask_from_scribbles(image, scribbles)
        trimap, remarks = trimap_of_width(mask, width), remarks_on(mask, None)
    else:
        inside = None if box is None else box_inside(image, box)
        whole = inside == Box(0, image.shape[0], 0, image.shape[1])
        subject = find_subject(image, None if whole else inside)
        mask = np.where(subject.mask >= 0.5, 255, 0).astype(np.uint8)
        if not mask.any():
            raise ValueError("no subject found; mark it with a tighter rectangle, or with strokes")
        remarks = remarks_on(mask, inside)
        trimap = trimap_of_width(mask, width)
        if matting is not None:
            report(0.3, "Asking the network")
            trimap = second_opinion(image, subject, matting, width, inside or Box(0, mask.shape[0], 0, mask.shape[1]))
    if hair:
        report(0.9, "Looking for hair")
        trimap = widen_at_hair(trimap, image, HAIR_REACH * WIDTHS[width] * max(mask.shape))
    return Proposal(trimap, remarks + remarks_on_trimap(trimap))


def box_inside(image: np.ndarray, box: RectangleBox) -> Box:
    """The part of a box that is inside an image.

    Raises:
        ValueError: if there is none.
    """
    height, width = image.shape[:2]
    left, top, right, bottom = box
    inside = Box(max(0, top), min(height, bottom), max(0, left), min(width, right))
    if inside.height <= 0 or inside.width <= 0:
        raise ValueError(f"the rectangle {','.join(map(str, box))} contains none of the {width} x {height} pixels")
    return inside


def second_opinion(image: np.ndarray, subject: Subject, matting: Matting, width: str, box: Box) -> np.ndarray:
    """The trimap (H, W) uint8 on which the found subject and the network's matte of it agree.

    Args:
        width: of the unknown band, a key of `WIDTHS`.
        box: contains the subject.
    """
    height, across = subject.mask.shape
    around = box.grown(round(SURROUNDINGS * max(box.height, box.width)), height, across)
    factor = min(1.0, COARSE_SIDE / max(around.height, around.width))
    size = max(1, round(around.width * factor)), max(1, round(around.height * factor))
    small, found, likely, inside = (
        cv2.resize(plane[around.slices], size, interpolation=cv2.INTER_AREA)
        for plane in (image, subject.mask, subject.probability, _filled(box, height, across)))
    found, inside, longest = found >= 0.5, inside > 0.5, factor * max(height, across)
    first = np.full(found.shape, 128, np.uint8)
    core = likely >= np.quantile(likely[found], CORE) if found.any() else found
    first[farther_inside(found, FIRST_BAND * longest) & core] = 255
    first[farther_inside(~found, FIRST_BAND * longest) & (likely < LIKELY_BACKGROUND) | ~inside] = 0
    alpha = matting(small, first)
    band = WIDTHS[width] * longest
    sure = farther_inside(found & (alpha > AGREED), band) | (likely > CERTAIN) & farther_inside(found, FAR * band)
    not_at_all = farther_inside(~found & (alpha < 1 - AGREED), band) | ~inside
    not_at_all |= (likely < 1 - CERTAIN) & farther_inside(~found, FAR * band)
    not_at_all |= (likely < UNLIKELY) & farther_inside(~found, 2 * FAR * band)
    sure = without_specks(sure)
    not_at_all |= ~_touching(~not_at_all, found)
    trimap = np.zeros((height, across), np.uint8)
    whole = around.width, around.height
    enlarged = [cv2.resize(region.astype(np.float32), whole, interpolation=cv2.INTER_LINEAR) >= 0.5
                for region in (sure, not_at_all)]
    trimap[around.slices] = np.select(enlarged, [255, 0], 128)
    return trimap


def remarks_on(mask: np.ndarray, box: Box | None) -> list[str]:
    """What is suspicious about a found subject.

    Args:
        mask: (H, W) uint8, 0 or 255.
        box: in which it was looked for; None: the image.
    """
    height, width = mask.shape
    found, remarks = float((mask > 0).mean()), []
    if box is not None and (box.top <= 0) + (box.left <= 0) + (box.bottom >= height) + (box.right >= width) >= 3:
        remarks.append("The rectangle touches three sides of the photo, which leaves little that is surely background; "
                       "draw it tighter, or mark subject and background with strokes.")
    if found > LARGE:
        remarks.append(f"The subject found covers {found:.0%} of the photo; check that no background is among it.")
    if box is not None and (mask[box.slices] > 0).mean() > FILLED:
        remarks.append("The subject found is nearly the rectangle itself; draw the rectangle with some background "
                       "around the subject, or mark both with strokes.")
    areas = np.sort(cv2.connectedComponentsWithStats(mask)[2][1:, cv2.CC_STAT_AREA])[::-1]
    if len(areas) > 1 and areas[1] > PART * areas[0]:
        count = int((areas > PART * areas[0]).sum())
        remarks.append(f"The subject found has {count} separate parts; mark what does not belong to it as background.")
    return remarks


def remarks_on_trimap(trimap: np.ndarray) -> list[str]:
    """What is suspicious about a trimap (H, W) uint8."""
    unknown = float((trimap == 128).mean())
    if not (trimap == 255).any():
        return ["Nothing is surely subject; mark some of it."]
    if unknown > WIDE:
        return [f"{unknown:.0%} of the photo is unknown; mark what is surely subject or background."]
    return []


def _touching(region: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The connected parts of a region (bool) that contain something of another one."""
    _, parts = cv2.connectedComponents(region.astype(np.uint8))
    return region & np.isin(parts, np.unique(parts[other & region]))


def _filled(box: Box, height: int, width: int) -> np.ndarray:
    """(height, width) float32, 1 inside the box."""
    plane = np.zeros((height, width), np.float32)
    plane[box.slices] = 1
    return plane
