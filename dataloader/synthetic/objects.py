"""Complete foregrounds: drawings joined into objects, coloured and layered."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from types import ModuleType

import cv2
import numpy as np

from dataloader.synthetic import meshes, patterns, plants, shapes, strands, things, translucent
from dataloader.synthetic.colours import apply_shade, foreground_colours, pale_colours
from dataloader.synthetic.drawing import NEUTRAL, Drawing, Family
from dataloader.synthetic.subjects import Subject

SHARES = {shapes: 0.14, strands: 0.38, plants: 0.20, patterns: 0.06, meshes: 0.03, translucent: 0.07,
          things: 0.12}  # hair is the main use of mattes
_MODULES = tuple(SHARES)
FAMILIES: tuple[Family, ...] = tuple(family for module in _MODULES for family in module.FAMILIES)
HELD_OUT: tuple[Family, ...] = tuple(family for module in _MODULES for family in getattr(module, "HELD_OUT", ()))
JOINED_SHARE = 0.15  # share of objects made of two drawings
FRAMED_SHARE = 0.5  # share of patterns joined to a solid shape
FILLED_SHARE = 0.5  # share of lowest objects, if translucent, that have a solid one behind them
PALE_SHARE = 0.75  # share of translucent objects with hardly any colour
SUBJECT_SHARE = 0.6  # share of bodies that are photographed subjects
SUBJECT_SHADE = 0.35  # strength of the shade on photographed subjects, which are lit already
SMOOTH_SHARE = 0.6  # share of photograph-textured strands whose photograph is blurred, as hair varies little in colour
SMOOTH_PARTS = 20  # that blur's sigma is the photograph's longer side divided by this
COUNT_SHARES = (0.85, 0.13, 0.02)  # shares of foregrounds with one, two and three objects
PHOTOGRAPH_SHARE = 0.75  # share of the other objects textured with a photograph
_BODIES = (shapes.figure, shapes.defocused, shapes.motion_blurred, strands.fur, strands.whiskers, strands.bristles)
_PATTERNS = patterns.FAMILIES + patterns.HELD_OUT + meshes.FAMILIES
_TRANSLUCENT = translucent.FAMILIES + translucent.HELD_OUT

View = Callable[[np.random.Generator], np.ndarray]  # draws a part of a photograph, (h, w, 3) uint8
Subjects = Callable[[np.random.Generator], Subject | None]  # draws a photographed subject; None if none is found


def draw_cutout(rng: np.random.Generator, size: int, families: tuple[Family, ...] = FAMILIES,
                view: View | None = None, subjects: Subjects | None = None) -> np.ndarray:
    """A foreground, (size, size, 4) uint8 RGBA, colours not premultiplied.

    Args:
        families: to choose from, see `choose_family`.
        view: draws textures from photographs; None: all colours are generated.
        subjects: draws photographed bodies; None: all bodies are drawn.
    """
    chosen = [choose_family(rng, families) for _ in range(int(rng.choice(3, p=COUNT_SHARES)) + 1)]
    alpha = colours = None
    for drawn_alpha, drawn_colours in _layers(rng, size, chosen, families, view, subjects):
        if alpha is None:
            alpha, colours = drawn_alpha, drawn_colours
        else:
            alpha, colours = layer_over(alpha, colours, drawn_alpha, drawn_colours)
    return cv2.merge([*cv2.split(colours), alpha])


def _layers(rng: np.random.Generator, size: int, chosen: list[Family], families: tuple[Family, ...],
            view: View | None, subjects: Subjects | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Alpha (S, S) and colours (S, S, 3) of the objects, topmost first."""
    for family in chosen:
        if family is things.wrapped:
            yield from _wrapped_layers(rng, size, view, subjects)
            continue
        if family in _BODIES and (body := draw_subject(rng, size, family, subjects)):
            yield body
            continue
        drawing = draw_object(rng, size, family, families)
        yield drawing.alpha, object_colours(rng, family, drawing, view)
    if chosen[-1] in _TRANSLUCENT and rng.random() < FILLED_SHARE:  # the bag's contents
        if body := draw_subject(rng, size, shapes.figure, subjects):
            yield body
        else:
            drawing = shapes.crisp(rng, size)
            yield drawing.alpha, object_colours(rng, shapes.crisp, drawing, view)


def _wrapped_layers(rng: np.random.Generator, size: int, view: View | None,
                    subjects: Subjects | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The film, then the object inside it."""
    body = draw_subject(rng, size, shapes.figure, subjects)
    if not body:
        family = (shapes.figure, shapes.crisp, things.toy)[int(rng.integers(3))]
        drawing = family(rng, size)
        body = drawing.alpha, object_colours(rng, family, drawing, view)
    film = things.film_around(rng, body[0])
    colours = pale_colours(rng, size) if rng.random() < PALE_SHARE else foreground_colours(rng, size, film.shade)
    yield film.alpha, apply_shade(colours, film.shade)
    yield body


def draw_subject(rng: np.random.Generator, size: int, family: Family,
                 subjects: Subjects | None) -> tuple[np.ndarray, np.ndarray] | None:
    """A photographed subject as the body of a family: alpha (S, S) and colours (S, S, 3).

    None if the body is to be drawn instead: with probability 1 - `SUBJECT_SHARE`, or if no subject is found.
    """
    if not subjects or rng.random() >= SUBJECT_SHARE:
        return None
    subject = subjects(rng)
    if subject is None:
        return None
    drawing = family(rng, size, subject.solid)
    shade = cv2.addWeighted(drawing.shade, SUBJECT_SHADE, drawing.shade, 0, NEUTRAL * (1 - SUBJECT_SHADE))
    return drawing.alpha, apply_shade(subject.colours, shade)


def object_colours(rng: np.random.Generator, family: Family, drawing: Drawing, view: View | None) -> np.ndarray:
    """Colours (S, S, 3) uint8 of an object whose first drawing is of this family, lit by the object's shade."""
    size = drawing.alpha.shape[0]
    shade = np.full_like(drawing.alpha, NEUTRAL) if drawing.shade is None else drawing.shade
    if family in _TRANSLUCENT and rng.random() < PALE_SHARE:
        return apply_shade(pale_colours(rng, size), shade)
    photograph = view(rng) if view and rng.random() < PHOTOGRAPH_SHARE else None
    if photograph is not None and family in strands.FAMILIES and rng.random() < SMOOTH_SHARE:
        photograph = cv2.GaussianBlur(photograph, (0, 0), max(photograph.shape) / SMOOTH_PARTS)
    return foreground_colours(rng, size, shade, photograph)


def draw_object(rng: np.random.Generator, size: int, family: Family, families: tuple[Family, ...]) -> Drawing:
    """One object: the family's drawing, sometimes rotated by a multiple of 90 degrees or joined with another drawing.

    Patterns are joined to a solid shape. Otherwise both drawings are translucent or neither is: a joined object is of
    one material.
    """
    drawing = _turned(rng, family(rng, size))
    if family in _PATTERNS and rng.random() < FRAMED_SHARE:
        return joined(drawing, shapes.crisp(rng, size))
    if rng.random() >= JOINED_SHARE:
        return drawing
    alike = tuple(other for other in families if (other in _TRANSLUCENT) == (family in _TRANSLUCENT))
    return joined(drawing, _turned(rng, choose_family(rng, alike)(rng, size)))


def choose_family(rng: np.random.Generator, families: tuple[Family, ...]) -> Family:
    """A random family: those of `FAMILIES` weighted by their module's share in `SHARES`, others equally."""
    weights = np.array([_weights(tuple(SHARES.items())).get(family, 1 / len(FAMILIES)) for family in families])
    return families[int(rng.choice(len(families), p=weights / weights.sum()))]


@lru_cache(1)
def _weights(shares: tuple[tuple[ModuleType, float], ...]) -> dict[Family, float]:
    return {family: share / len(module.FAMILIES) for module, share in shares for family in module.FAMILIES}


def joined(first: Drawing, second: Drawing) -> Drawing:
    """Two drawings as one object: the more opaque one at each pixel."""
    shades = [np.full_like(drawing.alpha, NEUTRAL) if drawing.shade is None else drawing.shade
              for drawing in (first, second)]
    return Drawing(np.maximum(first.alpha, second.alpha), np.where(first.alpha >= second.alpha, *shades))


def layer_over(alpha: np.ndarray, colours: np.ndarray, alpha_below: np.ndarray,
               colours_below: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Composites a layer over another: joint alpha 1 - (1 - a)(1 - b), and colours, not premultiplied."""
    seen_below = cv2.multiply(alpha_below, cv2.bitwise_not(alpha), scale=1 / 255)
    joint = cv2.add(alpha, seen_below)
    share = cv2.divide(alpha, joint, dtype=cv2.CV_32F)
    share[joint == 0] = 1
    return joint, cv2.blendLinear(colours, colours_below, share, 1 - share)


def _turned(rng: np.random.Generator, drawing: Drawing) -> Drawing:
    """Rotates one drawing in four by a multiple of 90 degrees; most photographs are upright."""
    quarters = int(rng.integers(1, 4)) if rng.random() < 0.25 else 0
    if not quarters:
        return drawing
    return Drawing(*(None if image is None else np.ascontiguousarray(np.rot90(image, quarters)) for image in drawing))
