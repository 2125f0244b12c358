"""How often, and how strongly, what happens to the samples that are made on the device."""

from typing import NamedTuple


class Recipe(NamedTuple):
    """Shares are of the samples. The defaults are those of the samples made one by one.

    `benchmarks/training_data.py` compares what differs from them.
    """

    zoom: tuple[float, float] = (0.8, 1.25)  # of foregrounds: pixels of a crop for one of a drawing
    background_zoom: tuple[float, float] = (0.7, 1.4)
    second_share: float = 0.5  # foregrounds over another one
    soft_share: float = 0.0  # foregrounds out of focus as a whole
    defocused_share: float = 0.35  # backgrounds out of focus
    hue: float = 40  # degrees, to either side, by which foregrounds' colours are turned
    saturation: tuple[float, float] = (0.85, 1.15)  # factor on them
    near_share: float = 0.25  # foregrounds whose colours are moved towards the background's
    matched_share: float = 0.0  # foregrounds lit as their background is
    spill_share: float = 0.0  # edges that the background's light falls on
    mosaic_share: float = 0.0  # images that a sensor saw through a colour filter
    usual_trimap_share: float = 0.0  # trimaps as wide as those of test sets
    plain_share: float = 0.0  # plain colours that differ, from which a network learns first that colours tell


PRESENT = Recipe()
REALISTIC = Recipe(usual_trimap_share=0.5, defocused_share=0.5, soft_share=0.1, matched_share=0.2, spill_share=0.15)
