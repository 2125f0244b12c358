"""Probabilities and strengths of the augmentations of samples generated on the device."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """Shares are of samples. The defaults are those of samples generated one by one.

    `benchmarks/training_data.py` compares recipes that differ from them.
    """

    zoom: tuple[float, float] = (0.8, 1.25)  # of foregrounds: crop pixels per foreground pixel
    background_zoom: tuple[float, float] = (0.7, 1.4)
    second_share: float = 0.5  # foregrounds composited over another
    soft_share: float = 0.0  # foregrounds defocused as a whole
    defocused_share: float = 0.35  # defocused backgrounds
    hue: float = 40  # maximum hue rotation of foregrounds, degrees in either direction
    saturation: tuple[float, float] = (0.85, 1.15)  # factor on that of foregrounds
    near_share: float = 0.25  # foregrounds with colours moved towards the background's
    matched_share: float = 0.0  # foregrounds with exposure matched to the background
    spill_share: float = 0.0  # foregrounds with background light spilled onto their edges
    decoy_share: float = 0.0  # backgrounds with something in the colours of the foreground
    mosaic_share: float = 0.0  # images demosaiced from a Bayer pattern
    usual_trimap_share: float = 0.0  # trimaps as wide as those of test sets
    matted_share: float = 0.0  # photographs with known alpha, instead of composites
    plain_share: float = 0.0  # plain, distinct colours, from which a network first learns to infer opacity from colour


PRESENT = Recipe()
REALISTIC = Recipe(second_share=0.2, usual_trimap_share=0.8, defocused_share=0.5, soft_share=0.1, matched_share=0.2,
                   spill_share=0.15)
