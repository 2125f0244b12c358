"""Pieces of the samples made on the device: distances, pictures, crops and trimaps, by hand."""

import cv2
import numpy as np
import pytest
import torch

from dataloader.on_device import batch_trimaps
from dataloader.on_device.bank import Bank, read_bilinear
from dataloader.on_device.bank_images import (
    PLACES,
    bank_background,
    fit_into_square,
    foreground_places,
    with_colours_everywhere,
)
from dataloader.on_device.distances import any_of_cells, squared_distances
from dataloader.on_device.draws import Draws, for_some
from dataloader.on_device.placing import around, composite_foregrounds, fitted, read_levels, softened
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

CPU = torch.device("cpu")


class FromArray:
    """An item that reads as an array."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def read(self) -> np.ndarray:
        return self.pixels


def draws(*numbers: int) -> Draws:
    return Draws(CPU, *numbers)


def smooth_pictures(count: int = 3, size: int = 64) -> np.ndarray:
    """(count, size, size, 4) uint8, smooth enough that interpolation's rounding hardly matters."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 216, (count, 5, 5, 4), dtype=np.uint8)
    return np.stack([cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in coarse])


def filled_bank(pictures: np.ndarray, levels: int = 3) -> Bank:
    bank = Bank(len(pictures), pictures.shape[1], levels, CPU)
    for slot, pixels in enumerate(pictures):
        bank.put(slot, pixels, np.full((PLACES, 2), 20.0))
    return bank


def identity(count: int, left: float = 0, top: float = 0, scale: float = 1) -> torch.Tensor:
    return torch.tensor([[[scale, 0.0, left], [0.0, scale, top]]]).repeat(count, 1, 1)


def test_draws_depend_on_all_numbers():
    first = draws(1, 2, 3).uniform(0, 1, 4)
    assert torch.equal(first, draws(1, 2, 3).uniform(0, 1, 4))
    for other in ((1, 2, 4), (3, 2, 1), (12, 3), (1, 23)):
        assert not torch.equal(first, draws(*other).uniform(0, 1, 4))


def test_for_some_changes_the_drawn_share():
    images = torch.zeros(4000, 1, 1, 1)
    numbers = torch.arange(4000.0).view(-1, 1, 1, 1)
    assert for_some(draws(0), 0.25, images, lambda _, chosen, others: chosen + 1 + others, numbers) is images
    changed = images > 0
    assert changed.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(images[changed], numbers[changed] + 1)
    for_some(draws(0), 0.0, images, lambda *_: pytest.fail("nothing was chosen"))


@pytest.mark.parametrize("reach", [1, 5, 40, 126, 127, 150])
def test_squared_distances(reach):
    """Against OpenCV's exact distances; beyond the reach all are alike."""
    rng = np.random.default_rng(1)
    regions = rng.random((3, 37, 53)) < np.array([0.01, 0.1, 0.0])[:, None, None]
    found = squared_distances(torch.from_numpy(regions), reach).numpy()
    for region, squares in zip(regions, found, strict=True):
        exact = cv2.distanceTransform((~region).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        exact = np.rint(exact**2) if region.any() else np.full(region.shape, np.inf)
        expected = np.where(exact <= reach**2, exact, (reach + 1) ** 2)
        near = exact <= reach**2
        assert np.array_equal(squares[near], expected[near])
        assert (squares[~near] > reach**2).all()


def test_any_of_cells():
    region = torch.zeros(1, 8, 8, dtype=torch.bool)
    region[0, 5, 2] = True
    assert any_of_cells(region, 4).tolist() == [[[False, False], [True, False]]]


def test_both_ways_of_reading_pictures_agree():
    """OpenCV, which CPUs use, and PyTorch, which GPUs use, through the same map; OpenCV rounds places to 1/32."""
    pictures = smooth_pictures()
    bank = filled_bank(pictures)
    items = torch.tensor([2, 0, 1, 0])
    maps = torch.tensor([[0.9, 0.2, 5.0], [-0.15, 1.1, 9.0]]).repeat(4, 1, 1)
    maps[:, :, 2] += torch.arange(4)[:, None] * 2.3
    ours = read_bilinear(bank.levels[0], items, maps, 40)
    theirs = bank.read(items, maps, 40)
    inside = slice(None), slice(None), slice(0, 36), slice(0, 36)
    assert (ours - theirs)[inside].abs().max() < 1.6
    assert (ours - theirs)[inside].abs().mean() < 0.5


def test_reading_at_whole_places_is_exact():
    pictures = smooth_pictures()
    bank = filled_bank(pictures)
    expected = torch.from_numpy(pictures[[1, 2], 7:27, 11:31]).permute(0, 3, 1, 2).float()
    for read in (bank.read(torch.tensor([1, 2]), identity(2, 11, 7), 20),
                 read_bilinear(bank.levels[0], torch.tensor([1, 2]), identity(2, 11, 7), 20)):
        assert torch.equal(read, expected)


def test_beyond_a_picture_is_nothing():
    bank = filled_bank(smooth_pictures())
    for read in (bank.read(torch.tensor([0]), identity(1, -8, -8), 16),
                 read_bilinear(bank.levels[0], torch.tensor([0]), identity(1, -8, -8), 16)):
        assert (read[..., :7, :] == 0).all()
        assert (read[..., 8:, 8:] > 0).all()


def test_levels_show_the_same_place():
    """A picture that is a ramp has, at each level, the same values at the same places."""
    ramp = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 3, (64, 1, 4))
    bank = filled_bank(ramp[None].repeat(3, axis=0))
    values = read_levels(bank, torch.tensor([0, 1, 2]), identity(3, 20, 20, 1), 16, torch.tensor([0, 1, 2]))
    assert (values - values[:1]).abs().max() <= 2


def test_places_lie_where_alpha_is_in_between():
    alpha = np.zeros((64, 64), np.uint8)
    alpha[10:30, 10:30] = 255
    on_edge = foreground_places(alpha)
    assert on_edge.shape == (PLACES, 2)
    assert (on_edge.min(0) >= 9).all()
    assert (on_edge.max(0) <= 30).all()
    alpha[40:44, 50:60] = 100
    assert {(x, y) for x, y in foreground_places(alpha)} == {(x, y) for x in range(50, 60) for y in range(40, 44)}
    assert (foreground_places(np.full((64, 64), 255, np.uint8)) == 31.5).all()


def test_colours_of_files_go_on_where_nothing_is_seen():
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[8:16, 8:16] = (200, 100, 50, 255)
    filled = with_colours_everywhere(pixels)
    assert (filled[..., :3] == (200, 100, 50)).all()
    assert np.array_equal(filled[..., 3], pixels[..., 3])
    drawn = np.full((8, 8, 4), 90, np.uint8)
    drawn[..., 3] = 0
    assert with_colours_everywhere(drawn) is drawn  # has colours there


def test_pictures_become_squares():
    pixels = np.full((30, 60, 4), 255, np.uint8)
    square = fit_into_square(pixels, 64)
    assert square.shape == (64, 64, 4)
    assert (square[:16, :, 3] == 0).all()
    assert (square[16:48, :, 3] == 255).all()
    assert (square[..., :3] == 255).all()
    picture, _ = bank_background(FromArray(np.full((40, 90, 3), 7, np.uint8)), 64)
    assert picture.shape == (64, 64, 4)
    assert (picture[..., :3] == 7).all()


def test_crops_lie_within_their_picture():
    """However much a crop would show, fitting keeps it within; its middle shows the picture's middle."""
    matrices, half = fitted(torch.tensor([[[3.0, 1.0], [0.0, 2.0]], [[0.5, 0.0], [0.0, 0.5]]]), crop=32, size=64)
    assert half[0].max().item() == pytest.approx(32)
    assert torch.equal(matrices[1], torch.eye(2) * 0.5)  # small enough before
    maps = around(matrices, torch.full((2, 2), 31.5), side=32)
    corners = torch.tensor([[0.0, 0, 1], [31, 31, 1], [0, 31, 1], [31, 0, 1]]).T
    at = maps @ corners
    assert at.min() >= -0.5
    assert at.max() <= 63.5
    assert torch.allclose(maps @ torch.tensor([15.5, 15.5, 1]), torch.full((2, 2), 31.5), atol=1e-4)


def layer(alpha: float, colour: float, n: int = 1) -> torch.Tensor:
    return torch.cat([torch.full((n, 3, 8, 8), float(colour)), torch.full((n, 1, 8, 8), float(alpha))], dim=1)


def test_foregrounds_over_each_other():
    joint = composite_foregrounds(layer(128, 240), layer(128, 0))
    assert joint[0, 3, 0, 0].item() == round(128 + 128 * 127 / 255)
    assert joint[0, 0, 0, 0].item() == pytest.approx(240 * 128 / joint[0, 3, 0, 0].item(), abs=1)
    assert (composite_foregrounds(layer(255, 10), layer(90, 200))[:, :3] == 10).all()
    half = layer(255, 10)
    half[..., 4:] = 0
    joint = composite_foregrounds(torch.cat([half, half]), torch.cat([layer(255, 200), layer(100, 200)]))
    assert joint[0, 3, 0, 7] == 0  # the lower one would leave nothing to see: it is left out
    assert joint[1, 3, 0, 7] == 100


def test_softened_edges():
    foreground = layer(255, 50)
    foreground = torch.nn.functional.interpolate(foreground, (64, 64))
    foreground[..., :32] = 0
    soft = softened(draws(3), foreground)
    alpha = soft[0, 3]
    assert torch.equal(alpha, alpha.round())
    assert (alpha[:, :24] == 0).all()
    assert (alpha[:, 40:] == 255).all()
    assert ((alpha > 0) & (alpha < 255)).any()


def disc(n: int, size: int, radius: float) -> torch.Tensor:
    """Alphas (n, size, size) in 0..255: a disc with a soft edge of 3 pixels."""
    at = torch.arange(size) - (size - 1) / 2
    distance = (at.square()[:, None] + at.square()).sqrt()
    return ((radius + 1.5 - distance) / 3).clamp(0, 1).mul(255).round().expand(n, -1, -1).clone()


@pytest.mark.parametrize("usual_share", [0.0, 1.0])
@pytest.mark.parametrize("crop", [32, 64, 160])
def test_what_trimaps_know_is_right(crop, usual_share):
    alpha = disc(48, crop + 2 * batch_trimaps.TRIMAP_MARGIN, crop / 3)
    trimap = batch_trimaps.draw_trimaps(draws(crop), alpha, crop, usual_share)
    margin = batch_trimaps.TRIMAP_MARGIN
    inside = alpha[:, margin:-margin, margin:-margin]
    assert trimap.shape == (48, crop, crop)
    assert trimap.dtype == torch.uint8
    assert (inside[trimap == FOREGROUND] == 255).all()
    assert (inside[trimap == BACKGROUND] == 0).all()
    assert (trimap == UNKNOWN).flatten(1).any(1).all()
    assert len({each.numpy().tobytes() for each in trimap}) > 12  # drawn differently


def test_usual_trimaps_are_as_wide_as_said():
    crop, radius = 160, 40
    alpha = disc(64, crop + 2 * batch_trimaps.TRIMAP_MARGIN, radius)
    trimap = batch_trimaps.draw_trimaps(draws(5), alpha, crop, 1.0)
    middle = trimap[:, crop // 2]  # a row through the disc
    widths = (middle[:, :crop // 2] == UNKNOWN).sum(1)
    ringed = widths < 60  # others are dabbed, their width changes along the edge
    assert ringed.float().mean() > 0.5
    low, high = 2 * 0.7 * batch_trimaps.USUAL_RADII[0], 2 * 1.3 * batch_trimaps.USUAL_RADII[-1] + 4
    assert low < widths[ringed].float().median() < high
    assert (widths[ringed] >= low).float().mean() > 0.9


def test_eroded_by_hand():
    """A kernel of 5 pixels takes what lies within 2 of the other side, as in the published trimaps."""
    alpha = torch.zeros(1, 64, 64)
    alpha[..., 32:] = 255
    squares = [squared_distances(region, 8) for region in (alpha < 255, alpha > 0)]
    trimap = batch_trimaps._eroded(squares, torch.full((2, 1), 2.0))
    assert trimap[0, 10].tolist() == 30 * [BACKGROUND] + 4 * [UNKNOWN] + 30 * [FOREGROUND]


@pytest.mark.parametrize("way", ["_widened", "_brushed", "_coarse", "_without_islands", "_scribbled", "_as_test_sets"])
def test_ways_of_drawing(way):
    """Each leaves something known of a disc in most cases, and makes more unknown than there was."""
    trimap = batch_trimaps.draw_trimaps(draws(1), disc(32, 128, 30), 96, 0.0)
    trimap = trimap[:1].repeat(32, 1, 1)
    unknown = getattr(batch_trimaps, way)(draws(2), trimap)
    assert unknown.shape == trimap.shape
    assert unknown.dtype == torch.bool
    added = (unknown & (trimap != UNKNOWN)).flatten(1).any(1)
    assert added.float().mean() > 0.3  # a disc has no islands but where it is too small itself
    known_left = (~unknown & (trimap != UNKNOWN)).flatten(1).any(1)
    assert known_left.float().mean() > 0.7
