"""Known colours as input: hand-worked values, an oracle, exact projection, symmetry, and where nothing is known."""

import numpy as np
import pytest
import torch
from colour_oracle import cell_means as oracle_means
from colour_oracle import fill, oracle_channels, seen
from torch import Tensor

from networks import build_network, colour_samples
from networks import known_colours as known
from networks.colour_samples import CHANNELS, colour_channels
from networks.known_colours import GRID, cell_means, known_colours

FILLED_ALPHA, PAIR_ALPHA = 7, 9


def one_hot(labels: Tensor) -> Tensor:
    """Labels (N, 1, H, W) as (N, 3, H, W)."""
    return torch.cat([labels == label for label in range(3)], dim=1).float()


def example(n: int = 1, height: int = 64, width: int = 96) -> tuple[Tensor, Tensor]:
    """Noise, and labels in squares of 8 pixels of which half are unknown, with single known pixels between."""
    generator = torch.Generator().manual_seed(height + width)
    image = torch.randn(n, 3, height, width, generator=generator)
    squares = torch.randint(-1, 3, (n, 1, height // 8, width // 8), generator=generator).abs()
    labels = squares.repeat_interleave(8, 2).repeat_interleave(8, 3)
    labels[..., ::13, ::7] = 2
    return image, labels


@pytest.mark.parametrize("case", ["mixed", "few", "no foreground", "no background", "all unknown", "all known"])
def test_against_the_definition(case):
    image, labels = example(height=32, width=64)
    if case == "few":
        labels[:] = 1
        labels[..., 20, 9], labels[..., 3:5, 60], labels[..., 31, 63] = 2, 0, 0
    labels[{"no foreground": labels == 2, "no background": labels == 0, "all unknown": labels != 1}.get(
        case, labels < 0)] = 1
    if case == "all known":
        labels[labels == 1] = 0
    channels = colour_channels(image, one_hot(labels))
    assert channels.shape == (1, CHANNELS, 32, 64)
    expected = oracle_channels(image[0].double().numpy(), labels[0, 0].numpy())
    np.testing.assert_allclose(channels[0].numpy(), expected, atol=5e-5)


@pytest.mark.parametrize(("height", "width"), [(32, 1024), (1024, 32)])
def test_wide_levels_against_the_definition(height, width):
    """Little is known of a long image, which even the widest steps do not leave."""
    image = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    labels = torch.ones(1, 1, height, width, dtype=torch.long)
    for part, label in ((0, 2), (70, 0), (400, 2), (760, 0), (1010, 2)):
        labels[(..., slice(part, part + 9)) if width > height else (..., slice(part, part + 9), slice(None))] = label
    known = known_colours(cell_means(image, one_hot(labels)))
    for i, label in ((0, 2), (1, 0)):
        mask = labels[0, 0].numpy() == label
        means = oracle_means(image[0].double().numpy() * mask, mask)
        np.testing.assert_allclose(known.samples[0, i].numpy(), seen(*means), atol=1e-5)
        np.testing.assert_allclose(known.filled[0, 3 * i:3 * i + 3].numpy(), fill(*means), atol=1e-5)


def test_constant_colours_are_projected_exactly():
    """Whatever alpha is: it follows from one colour of the foreground and one of the background."""
    colours = torch.tensor([[1.2, -0.4, 0.3], [-0.9, 0.1, 0.8]])
    alpha = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    alpha[..., :9], alpha[..., 50:] = 1, 0
    labels = torch.where(alpha == 1, 2, torch.where(alpha == 0, 0, 1))
    foreground, background = colours.view(2, 1, 3, 1, 1)
    channels = colour_channels(alpha * foreground + (1 - alpha) * background, one_hot(labels))
    expected = torch.cat([(1 - alpha) * (foreground - background), alpha * (background - foreground)], dim=1)
    torch.testing.assert_close(channels[:, :6], expected, atol=2e-6, rtol=0)
    for channel in (FILLED_ALPHA, PAIR_ALPHA):
        torch.testing.assert_close(channels[:, channel], 2 * alpha[:, 0] - 1, atol=2e-6, rtol=0)
        assert channels[:, channel + 1].abs().max() < 2e-6


def test_filled_colours_by_hand():
    """One known cell of 32 x 32 pixels: 1/64 is known, at 1/32 of the size all that is left is the mean of it."""
    image, labels = torch.full((1, 3, 32, 32), 0.7), torch.ones(1, 1, 32, 32, dtype=torch.long)
    labels[..., :GRID, :GRID] = 2
    labels[..., 28:, 28:] = 0
    filled = known_colours(cell_means(image, one_hot(labels))).filled
    torch.testing.assert_close(filled[:, :6], torch.full_like(filled[:, :6], 0.7))
    # Both are known equally at 1/32: the trimap is 1/2 there. At 16 pixels a quarter of a quarter is known.
    quarter = (1 / 16 + 0.02 * 0.5) / (1 / 16 + 0.02)
    eighth = (1 / 4 + 0.02 * quarter) / (1 / 4 + 0.02)
    corner = (1 + 0.02 * eighth) / 1.02
    assert filled[0, 6, 0, 0].item() == pytest.approx(corner, abs=1e-6)
    assert filled[0, 6, 7, 7].item() == pytest.approx(1 - corner, abs=1e-6)


def test_views_by_hand():
    """Known foreground, red 2, in the cell (3, 3), as seen by cells to the right of it. Some red -1 is far away.

    What comes from the wider levels is between both and counts 0.02 against the part of the cell that is seen.
    """
    image, labels = torch.full((1, 3, 32, 32), 2.0), torch.ones(1, 1, 32, 32, dtype=torch.long)
    labels[..., 12:16, 12:16] = 2
    labels[..., 0, 31], image[..., 0, 31] = 2, -1.0
    samples = known._samples(known._levels(cell_means(image, one_hot(labels))))
    assert known.DIRECTIONS[1] == (0, -1)
    left = samples[0, 0, 1, 0]
    for row, column, part in ((3, 4, 1), (3, 5, 1 / 2), (2, 5, 1 / 4), (4, 5, 1 / 4)):
        assert (part * 2 - 0.02) / (part + 0.02) <= left[row, column] <= 2
    assert left[3, 2] < 1.9  # sees nothing of it


def test_pairs_by_hand():
    """A grey pixel between black and white: the pair that explains it wins over one that does not."""
    image = torch.zeros(3, 1, 1)
    white, black, red = (torch.tensor(colour) for colour in ((1.0, 1, 1), (-1.0, -1, -1), (1.0, -1, -1)))
    samples = torch.stack([torch.stack([red, white]), torch.stack([black, black])])[..., None]
    alpha, residual = colour_samples._pair_means(image, samples)[:, 0, 0].tolist()
    # White and black: alpha 1/2, nothing left. Red and black: (2, 0, 0) . (1, 1, 1) / 4 = 1/2 leaves (0, 1, 1).
    weights = 1 / 0.005, 1 / 2.005
    assert alpha == pytest.approx(0, abs=1e-6)
    assert residual == pytest.approx((weights[1] * 2 / sum(weights)) ** 0.5, rel=1e-4)


def test_a_single_known_pixel_of_a_large_image_fills_it():
    image, labels = torch.full((1, 3, 1280, 1280), 1.5), torch.ones(1, 1, 1280, 1280, dtype=torch.long)
    labels[..., 7, 7] = 2
    filled = known_colours(cell_means(image, one_hot(labels))).filled
    torch.testing.assert_close(filled[:, :3], torch.full_like(filled[:, :3], 1.5))
    torch.testing.assert_close(filled[:, 6], torch.ones_like(filled[:, 6]))
    assert not filled[:, 3:6].any()


@pytest.mark.parametrize("side", [2, 3])
def test_mirrored_input_gives_mirrored_channels(side):
    image, labels = example()
    mirrored = colour_channels(image.flip(side), one_hot(labels.flip(side))).flip(side)
    torch.testing.assert_close(mirrored, colour_channels(image, one_hot(labels)), atol=5e-5, rtol=0)


def test_shifted_input_gives_shifted_channels():
    """A picture in the middle of unknown surroundings, and 32 pixels farther down and right.

    The widest means end at the border. A few pixels at the picture's edge can tell it, by the pairs where one direction
    sees nothing known; those inside cannot.
    """
    image, labels = example(height=128, width=128)

    def placed(offset: int) -> Tensor:
        canvas, trimap = torch.zeros(1, 3, 288, 288), torch.ones(1, 1, 288, 288, dtype=torch.long)
        inside = (..., slice(offset, offset + 128), slice(offset, offset + 128))
        canvas[inside], trimap[inside] = image, labels
        return colour_channels(canvas, one_hot(trimap))[inside]

    difference = (placed(96) - placed(64)).abs()
    for part in (difference[:, :PAIR_ALPHA], difference[..., 32:96, 32:96]):
        assert part.max() < 0.02
        assert part.mean() < 1e-4


def test_images_of_a_batch_do_not_mix_and_both_forms_of_trimaps_count():
    image, labels = example(n=3)
    labels[1][labels[1] == 2] = 1
    together = colour_channels(image, labels.float())
    for i in range(3):
        torch.testing.assert_close(colour_channels(image[i:i + 1], one_hot(labels[i:i + 1])), together[i:i + 1],
                                   atol=1e-6, rtol=0)


def test_parts_need_only_their_part_of_the_known_colours():
    image, labels = example(n=2)
    known = known_colours(cell_means(image, one_hot(labels)))
    whole = colour_channels(image, one_hot(labels))
    for top, bottom, left, right in ((8, 40, 24, 96), (0, 4, 0, 8), (28, 64, 0, 40)):
        inside = (..., slice(top, bottom), slice(left, right))
        part = colour_channels(image[inside], one_hot(labels)[inside], known.of(top, bottom, left, right))
        torch.testing.assert_close(part, whole[inside], atol=2e-5, rtol=0)


@pytest.mark.skipif(torch.__version__ < "2.11", reason="PyTorch 2.6 cannot compile colour samples")
def test_a_compiled_graph_gives_the_same_channels():
    image, labels = example(n=2)
    compiled = torch.compile(colour_channels, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image, one_hot(labels)), colour_channels(image, one_hot(labels)),
                               atol=1e-6, rtol=0)


def test_no_gradients_and_single_precision_under_autocast(monkeypatch):
    image, labels = example()
    expected = colour_channels(image, one_hot(labels))
    monkeypatch.setattr(colour_samples, "_pair_means", unless_autocast(colour_samples._pair_means))
    monkeypatch.setattr(known, "_blend", unless_autocast(known._blend))
    with torch.autocast("cpu", torch.bfloat16):
        channels = colour_channels(image.requires_grad_(), trimap=one_hot(labels))
        alpha = build_network(width=0.1, colour_samples=True)(image, one_hot(labels)).alpha
    assert not channels.requires_grad
    assert channels.dtype == torch.float32
    assert torch.equal(channels, expected)
    assert alpha.requires_grad


def unless_autocast(function):
    def checked(*args):
        assert not torch.is_autocast_enabled("cpu")
        return function(*args)
    return checked


def test_a_network_in_half_precision():
    image, labels = example(n=1, height=64, width=64)
    assert torch.equal(colour_channels(image.bfloat16(), one_hot(labels).bfloat16()),
                       colour_channels(image.bfloat16().float(), one_hot(labels)))
    network = build_network("res_shortcut_encoder_29", "res_shortcut_decoder_22", width=0.1, colour_samples=True)
    with torch.no_grad():
        expected = network.eval()(image, one_hot(labels)).alpha
        alpha = network.bfloat16()(image.bfloat16(), one_hot(labels).bfloat16()).alpha
    assert (alpha - expected).abs().mean() < 0.05


def test_the_published_network_has_none():
    assert build_network(width=0.1).colour_channels is None
    network = build_network(width=0.1, colour_samples=True)
    assert network.encoder.conv1.weight.shape[1] == network.encoder.shortcut[0][0].weight.shape[1] == 6 + CHANNELS
    trimap, colours = network.encoder.conv1.weight[:, 3:6], network.encoder.conv1.weight[:, 6:]
    assert not trimap.any()
    assert colours.std() > 0
    assert network.architecture["colour_samples"] is True
    with pytest.raises(ValueError, match="colour_samples is 1; expected true or false"):
        build_network(colour_samples=1)
