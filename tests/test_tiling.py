"""Tiles against the whole image: no seams, margins as wide as needed and no wider, work where it is wanted."""

import numpy as np
import pytest
import torch
from reference import reference_network
from torch import Tensor

from matting import colour_tiles, tile_sizes, tiling
from matting.folded_network import folded
from networks import MattingNetwork, build_network, colour_samples
from networks.known_colours import GRID
from utils.boxes import Box

HEIGHT, WIDTH = 192, 256


@pytest.fixture(scope="module")
def baseline() -> MattingNetwork:
    """In double precision, in which tiles and whole agree so closely that the smallest influence shows."""
    return folded(reference_network("baseline")).double()


@pytest.fixture(scope="module")
def gca() -> MattingNetwork:
    return folded(reference_network("gca"))


def example(height: int = HEIGHT, width: int = WIDTH) -> tuple[Tensor, Tensor]:
    """Image and trimap (1, 6, height, width) in double precision, and the unknown channel at 1/8."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (1, 1, height, width), generator=generator)
    trimap = labels == torch.arange(3).view(3, 1, 1)
    full = torch.cat([torch.randn(1, 3, height, width, generator=generator), trimap], dim=1).double()
    return full, full[:, 4:5, ::8, ::8]


def tiled_alpha(network: MattingNetwork, full: Tensor, unknown: Tensor, wanted: np.ndarray, tile_cells: int) -> Tensor:
    with torch.inference_mode():
        return tiling.run_tiled(network, lambda box: box.of(full), unknown, wanted, tile_cells).alpha


def whole_alpha(network: MattingNetwork, full: Tensor) -> Tensor:
    with torch.inference_mode():
        return network(full[:, :3], full[:, 3:]).alpha


@pytest.mark.parametrize("tile_cells", [1, 250, 400, 10**6])
def test_no_seams(baseline, tile_cells):
    full, unknown = example()
    wanted = np.ones(unknown.shape[2:], bool)
    difference = tiled_alpha(baseline, full, unknown, wanted, tile_cells) - whole_alpha(baseline, full)
    assert difference.abs().max() < 2e-7  # alpha is rounded to single precision


@pytest.mark.parametrize("tile_cells", [1, 400])
def test_no_seams_with_attention(gca, tile_cells):
    full, unknown = (x.float() for x in example())
    with torch.inference_mode():
        whole = gca(full[:, :3], full[:, 3:])
        tiled = tiling.run_tiled(gca, lambda box: box.of(full), unknown, np.ones(unknown.shape[2:], bool), tile_cells)
    assert (tiled.alpha - whole.alpha).abs().max() < 5e-5
    assert all(map(torch.equal, tiled.scales, whole.scales))
    assert [offset.shape for offset in tiled.offsets] == [offset.shape for offset in whole.offsets]


@pytest.mark.parametrize(("tile_cells", "trimap_channel"), [(1, 3), (400, 1)])
def test_no_seams_with_colour_samples(monkeypatch, tile_cells, trimap_channel):
    """Known colours in two corners, far from most tiles; the second image has no foreground."""
    monkeypatch.setattr(tiling, "CPU_STRIP", 2 * 3 * GRID * WIDTH)
    monkeypatch.setattr(colour_samples, "CPU_CELLS", 100)
    torch.manual_seed(0)
    network = build_network(width=0.2, trimap_channel=trimap_channel, colour_samples=True)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    network = folded(network)
    labels = torch.ones(2, 1, HEIGHT, WIDTH)
    labels[0, :, :50, :37], labels[:, :, -20:, 200:] = 2, 0
    trimap = torch.cat([labels == label for label in range(3)], dim=1).float() if trimap_channel == 3 else labels
    full = torch.cat([torch.randn(2, 3, HEIGHT, WIDTH), trimap], dim=1)
    unknown = (labels == 1).float()[..., ::8, ::8]
    with torch.inference_mode():
        tiled = tiling.run_tiled(network, lambda box: box.of(full), unknown, np.ones(unknown.shape[2:], bool),
                                 tile_cells).alpha
    monkeypatch.undo()
    whole = whole_alpha(network, full)
    assert (tiled - whole).abs().max() < 1e-5
    assert whole.std() > 0.01


def test_estimates_of_known_colours_where_the_trimap_is_unknown(monkeypatch):
    """Held for blocks of 16 x 16 pixels with unknown ones alone; the channels are those of the whole image."""
    network = build_network(width=0.1, colour_samples=True)
    labels = torch.zeros(1, 1, 64, 320)
    labels[..., 48:] = 2
    labels[..., 20:30, 40:52] = labels[..., 63, 319] = 1
    trimap = torch.cat([labels == label for label in range(3)], dim=1).float()
    full = torch.cat([torch.randn(1, 3, 64, 320), trimap], dim=1)
    estimated = []
    monkeypatch.setattr(colour_tiles, "estimates", lambda image, *others: estimated.append(
        image.shape[2] * image.shape[3]) or colour_samples.estimates(image, *others))
    read = colour_tiles.with_colours(network, lambda box: box.of(full), 64, 320, 10**6)
    assert sum(estimated) == 16 * 32 + 16 * 16
    box = Box(16, 64, 4, 320)
    expected = colour_samples.colour_channels(full[:, :3], trimap)
    torch.testing.assert_close(read(box)[:, 6:], box.of(expected), atol=5e-6, rtol=0)
    assert torch.equal(read(box)[:, :6], box.of(full))


def test_tiles_at_odd_positions(baseline):
    """Single cells in corners, at borders and inside are right; where nothing is wanted alpha is 0."""
    full, unknown = example()
    wanted = np.zeros(unknown.shape[2:], bool)
    for row, column in ((0, 0), (0, 13), (23, 31), (7, 0), (11, 17), (12, 18), (5, 30)):
        wanted[row, column] = True
    alpha, whole = tiled_alpha(baseline, full, unknown, wanted, 1), whole_alpha(baseline, full)
    inside = torch.from_numpy(wanted.repeat(8, 0).repeat(8, 1))
    assert (alpha - whole)[0, 0][inside].abs().max() < 2e-7
    assert (alpha[0, 0][~inside] == 0).any()


@pytest.mark.parametrize("margin", ["STEM_MARGIN", "QUARTER_MARGIN", "HALF_MARGIN", "ALPHA_MARGIN"])
def test_smaller_margins_would_not_do(monkeypatch, baseline, margin):
    full, unknown = example()
    wanted = np.ones(unknown.shape[2:], bool)
    monkeypatch.setattr(tiling, margin, getattr(tiling, margin) - 1)
    difference = tiled_alpha(baseline, full, unknown, wanted, 1) - whole_alpha(baseline, full)
    assert difference.abs().max() > 1e-5


def extent(function, x: Tensor, place: Box) -> tuple[list[int], list[int]]:
    """First and last row, and column, of x that the output of a function depends on at a place."""
    x = x.clone().requires_grad_()
    gradient, = torch.autograd.grad(place.of(function(x)).square().sum(), x)
    influence = gradient[0].abs().sum(dim=0) > 0
    return tuple(torch.nonzero(influence.any(dim=axis)).flatten()[[0, -1]].tolist() for axis in (1, 0))


def test_receptive_fields_of_the_stem():
    """A cell sees 29 pixels before it and 26 after it; its guidance 7 before it and none after."""
    encoder = reference_network("gca").double().encoder
    full, _ = example(128, 160)
    cell = Box(8, 9, 9, 10)
    assert extent(lambda x: encoder.quarter(encoder.half(x)), full, cell.times(2)) == ([35, 97], [43, 105])
    assert extent(encoder.guidance, full, cell) == ([57, 71], [65, 79])


def test_receptive_fields_from_eighth_to_alpha():
    """A cell of alpha sees 5 positions around it at 1/8, 5 at 1/4, and 9 pixels before it and 8 after it."""
    network = reference_network("baseline").double()
    encoder, decoder = network.encoder, network.decoder

    def alpha(eighth: Tensor, quarter: Tensor, full: Tensor) -> Tensor:
        x = decoder.quarter(eighth, encoder.shortcut[2](quarter))
        x = decoder.half(x, encoder.shortcut[1](encoder.half(full)))
        return decoder.alpha(x, encoder.shortcut[0](full))

    generator = torch.Generator().manual_seed(0)
    eighth, quarter = (torch.randn(1, channels, side, side, generator=generator).double()
                       for channels, side in ((128, 20), (64, 40)))
    full, _ = example(160, 160)
    cell = Box(9, 10, 11, 12)
    assert extent(lambda x: alpha(x, quarter, full), eighth, cell.times(8)) == ([4, 14], [6, 16])
    assert extent(lambda x: alpha(eighth, x, full), quarter, cell.times(8)) == ([13, 24], [17, 28])
    assert extent(lambda x: alpha(eighth, quarter, x), full, cell.times(8)) == ([63, 87], [79, 103])


def test_work_is_done_where_alpha_is_wanted():
    """Once for the stem, with its margins, and then around the cells wanted alone; in boxes within the limit."""
    full, unknown = example()
    full, boxes = full.float(), []
    network = folded(build_network("res_shortcut_encoder_29", "res_shortcut_decoder_22", width=0.1))

    def read(box: Box) -> Tensor:
        boxes.append(box)
        return box.of(full)

    def pixels_read(wanted: np.ndarray, tile_cells: int) -> int:
        boxes.clear()
        with torch.inference_mode():
            tiling.run_tiled(network, read, unknown.float(), wanted, tile_cells)
        return sum(box.height * box.width for box in boxes)

    wanted = np.zeros(unknown.shape[2:], bool)
    assert pixels_read(wanted, 10**6) == HEIGHT * WIDTH
    wanted[10:12, 10:14] = True
    assert pixels_read(wanted, 10**6) == HEIGHT * WIDTH + (16 + 2 * 12) * (32 + 2 * 12)
    pixels_read(np.ones_like(wanted), 400)
    assert max(box.height * box.width for box in boxes) <= 400 * 64


def test_memory_limit_decides_the_tiles():
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    working = tile_sizes.working_memory(6 * 10**9, 1, 500, 750)
    assert 4 * 10**9 < working < 6 * 10**9
    assert tiling.largest_tile(working, 1, cpu) == tiling.LARGEST_CPU_TILE
    assert tiling.largest_tile(working, 1, cuda) > 10 * tiling.LARGEST_CPU_TILE
    assert tiling.largest_tile(10**8, 4, cpu) == pytest.approx(tiling.largest_tile(10**8, 1, cpu) / 4, abs=1)
    assert tile_sizes.working_memory(10**6, 1, 500, 750) == 2**25
    with_colours = tile_sizes.working_memory(6 * 10**9, 1, 500, 750, has_colours=True)
    assert working - with_colours == 500 * 750 * tile_sizes.COLOUR_WHOLE_BYTES
    assert tiling.largest_tile(10**9, 1, cuda, has_colours=True) == 10**9 // (
        tiling.TILE_BYTES + tiling.COLOUR_TILE_BYTES)
