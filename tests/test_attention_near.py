"""Attention with pooled keys against exact attention: equal where nothing is lost, near where something is."""

import pytest
import torch
from attention_oracle import attention_oracle
from test_attention import random_inputs

from networks import GuidedContextualAttention, attention_near
from networks.attention_chunked import attend
from networks.attention_keys import SIDES, square_sides
from networks.attention_near import attend_near, keys_met


@pytest.fixture(scope="module")
def block() -> GuidedContextualAttention:
    torch.manual_seed(0)
    block = GuidedContextualAttention().eval()
    block.W[1].weight.data.fill_(1.0)
    return block


def near(block: GuidedContextualAttention, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    block.attend = attend_near
    try:
        with torch.no_grad():
            return block(*inputs)
    finally:
        block.attend = attend


def smooth_inputs(h: int, w: int, unknown_share: float, sharpness: float) -> tuple[torch.Tensor, ...]:
    """Guidance and alpha features of noise enlarged by 8, and an unknown band."""
    guidance, alpha, _ = random_inputs(1, 1, h // 8, w // 8, 0)
    guidance, alpha = (torch.nn.functional.interpolate(x, size=(2 * h, 2 * w), mode="bicubic")
                       for x in (guidance, alpha))
    unknown = torch.zeros(1, 1, 2 * h, 2 * w)
    unknown[..., round(2 * w * (1 - unknown_share)):] = 1
    return sharpness * guidance, alpha, unknown


@pytest.fixture
def all_close(monkeypatch):
    """No query is far from the unknown region, if there is one."""
    monkeypatch.setattr(attention_near, "CLOSE", 100)


def test_needed_queries_alone(monkeypatch, block):
    """The same refined feature as otherwise, near the unknown region and elsewhere."""
    inputs = smooth_inputs(48, 64, 0.2, 1.0)
    needed = torch.zeros(48, 64, dtype=torch.bool)
    needed[20:30, 40:] = True
    expected, *_ = near(block, *inputs)
    attended, attend_tile = [], attention_near._attend_tile
    monkeypatch.setattr(attention_near, "_attend_tile", lambda scene, tile: attended.append(tile) or attend_tile(
        scene, tile))
    output, offsets, _ = near(block, *inputs, needed)
    assert offsets is None
    assert attended == [(slice(16, 32), slice(32, 64))]  # of six tiles
    reached = ..., slice(41, 59), slice(81, None)
    torch.testing.assert_close(output[reached], expected[reached], atol=1e-5, rtol=0)
    assert (output - expected)[..., :16, :16].abs().max() > 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_with_a_key_per_position_it_is_the_definition(monkeypatch, all_close, block, seed):
    monkeypatch.setattr(attention_near, "keys_met", lambda positions: positions)
    n, h, w = 1 + seed % 2, 2 + 3 * seed, 13 - seed
    guidance, alpha, unknown = random_inputs(seed, n, h, w, (0.2, 0.05, 0.5, 1.0)[seed % 4])
    output, offset, scale = near(block, guidance, alpha, unknown)
    expected, expected_offset, expected_scale = attention_oracle(block, guidance, alpha, unknown)
    torch.testing.assert_close(output, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(scale, expected_scale, atol=1e-6, rtol=0)
    assert torch.equal(offset, expected_offset)


def test_queries_far_from_the_unknown_region_receive_means(monkeypatch, all_close, block):
    """The mean of what each would receive if it were close, and the same match."""
    monkeypatch.setattr(attention_near, "keys_met", lambda positions: positions)
    closely, differences, matches = attention_near._attend_closely, [], []

    def compared(scene, queries, itself):
        message, strongest = closely(scene, queries, itself)
        known = scene.own_penalty.flatten()[itself] == 0
        mean, match = attention_near._attend_roughly(scene.keys, queries)
        differences.append((message.mean(dim=1, keepdim=True) - mean)[known])
        matches.append((strongest == match)[known])
        return message, strongest

    monkeypatch.setattr(attention_near, "_attend_closely", compared)
    near(block, *smooth_inputs(24, 40, 0.2, 0.5))
    assert len(torch.cat(matches)) > 500
    assert torch.cat(matches).all()
    assert torch.cat(differences).abs().max() < 1e-5


def test_plain_areas_are_pooled_without_loss(monkeypatch, all_close, block):
    """Four plain quarters of known positions, keys enough for their borders: equal keys are their mean."""
    monkeypatch.setattr(attention_near, "keys_met", lambda positions: positions // 2)
    side = 64
    colours, features = torch.randn(2, 1, 128, 2, 2, generator=torch.Generator().manual_seed(0))
    guidance, alpha = (x.repeat_interleave(side, 2).repeat_interleave(side, 3) for x in (colours, features))
    unknown = torch.zeros(1, 1, 2 * side, 2 * side)
    unknown[..., -2:, -2:] = 1
    output, _, _ = near(block, guidance, alpha, unknown)
    with torch.no_grad():
        expected = block(guidance, alpha, unknown)[0]
    torch.testing.assert_close(output, expected, atol=1e-4, rtol=0)
    assert (expected - alpha).abs().max() > 0.1


@pytest.mark.parametrize(("sharpness", "error"), [(0.3, 0.05), (0.6, 0.1)])
def test_near_the_exact_message(all_close, block, sharpness, error):
    """Keys for an eighth of the positions, a query attending to 410, or 9; errors are relative to the message."""
    inputs = smooth_inputs(64, 72, 0.3, sharpness)
    assert relative_error(block, inputs) < error


@pytest.mark.parametrize("sharpness", [0.3, 0.6])
def test_far_from_the_unknown_region_it_may_differ_more(block, sharpness):
    """In the known region more than in the unknown one, whose queries meet twice as many keys, and some one by one."""
    inputs = smooth_inputs(64, 72, 0.3, sharpness)
    unknown = inputs[2][0, 0] > 0
    assert relative_error(block, inputs, unknown) < 0.2
    assert relative_error(block, inputs, ~unknown) < 0.5


@pytest.mark.parametrize("unknown_share", [0.0, 0.1])
def test_with_as_many_keys_only_queries_far_away_receive_means(monkeypatch, block, unknown_share):
    """A key per position: their matches are exact, and where a patch is not more than two positions away all is."""
    monkeypatch.setattr(attention_near, "keys_met", lambda positions: positions)
    monkeypatch.setattr(attention_near, "ROUGH_SHARE", 1)
    guidance, alpha, unknown = smooth_inputs(24, 40, unknown_share, 0.5)
    output, offset, _ = near(block, guidance, alpha, unknown)
    with torch.no_grad():
        expected, expected_offset, _ = block(guidance, alpha, unknown)
    assert torch.equal(offset, expected_offset)
    first_close = 40 - 4 - 1 - 2 if unknown_share else 40  # four unknown positions, a patch around them, and `CLOSE`
    exact = (output - expected).abs().amax(dim=(0, 1, 2)) < 1e-4
    columns = torch.arange(80)
    assert torch.equal(exact, columns > 2 * first_close)  # the first close query's patch overlaps that of a far one


def relative_error(block: GuidedContextualAttention, inputs: tuple[torch.Tensor, ...], where=...) -> torch.Tensor:
    """Root mean squares: the error of what is added to alpha, over that itself."""
    with torch.no_grad():
        expected = block(*inputs)[0]
    wrong, message = near(block, *inputs)[0] - expected, expected - inputs[1]
    return wrong[..., where].square().mean().sqrt() / message[..., where].square().mean().sqrt()


@pytest.mark.parametrize("close", [2, 100])
def test_the_strongest_match_is_among_the_strongest(monkeypatch, block, close):
    """The exact logit at the offset told is close to the largest one, of unknown positions at least, and of all if all
    count as close to them; unknown positions do not match themselves."""
    monkeypatch.setattr(attention_near, "CLOSE", close)
    guidance, alpha, unknown = smooth_inputs(40, 48, 0.4, 0.5)
    offset = near(block, guidance, alpha, unknown)[1][0]
    seen = {}

    def watched(feature, alpha, key_scale, own_penalty, *others):
        patches = torch.nn.functional.unfold(torch.nn.functional.pad(feature, (1, 1, 1, 1), mode="reflect"), 3)[0]
        seen["logits"] = patches.T @ (patches * key_scale.flatten()) + own_penalty.flatten().diag()
        return attend(feature, alpha, key_scale, own_penalty, *others)

    block.attend = watched
    with torch.no_grad():
        block(guidance, alpha, unknown)
    block.attend = attend
    logits, told = seen["logits"], ((offset[0] + 20) * 48 + offset[1] + 24).flatten()
    found = logits.gather(1, told[:, None])[:, 0]
    lacking = (logits.max(dim=1).values - found) / logits.std(dim=1)
    unknown = unknown[0, 0, ::2, ::2].flatten() > 0
    assert lacking[unknown | (close > 48)].quantile(0.9) < 0.5
    assert not (told == torch.arange(len(told)))[unknown].any()


def test_squares_are_split_where_keys_differ():
    """Noise in one corner of a plain image; squares lie on their own grids, as many as are allowed."""
    generator = torch.Generator().manual_seed(0)
    grid = torch.ones(70, 102, 16)
    grid[:34, :34] += torch.randn(34, 34, 16, generator=generator)
    norms = torch.nn.functional.avg_pool2d(grid.square().sum(2)[None], 3, stride=1)[0] * 9
    sides, = square_sides(grid, 1 / norms.sqrt(), torch.zeros(68, 100), [700])
    assert sides[:30, :30].float().mean() < 2
    assert (sides[64:] == max(SIDES)).all()
    assert (sides[:, 64:] == max(SIDES)).all()
    for side in (1, *SIDES):
        rows, columns = torch.where(sides == side)
        corners = set(zip((rows // side * side).tolist(), (columns // side * side).tolist(), strict=True))
        assert all((sides[top:top + side, left:left + side] == side).all() for top, left in corners)
    count = sum(((sides == side).float() / side**2).sum() for side in (1, *SIDES))
    assert 650 < count <= 700


def test_the_cost_is_bounded_by_the_number_of_keys(block, monkeypatch):
    """Whatever the size, no query meets more keys than that."""
    met = []
    pooled_keys = attention_near.pooled_keys
    monkeypatch.setattr(attention_near, "pooled_keys", lambda *inputs: met.append(pooled_keys(*inputs)) or met[-1])
    for h, w in ((24, 40), (64, 80)):
        near(block, *random_inputs(1, 1, h, w, 0.3))
        for keys, most in zip(met[-2:], (keys_met(h * w), keys_met(h * w) // 2), strict=True):
            assert 0.9 * most < len(keys.vectors) <= most
    assert keys_met(10**7) == attention_near.MOST_KEYS


def test_plain_areas_do_not_take_the_place_of_what_matters(all_close, block):
    """Half of the image is plain, as a background: the largest square of all, which all queries attend to."""
    guidance, alpha, unknown = smooth_inputs(64, 64, 0.3, 0.6)
    guidance[..., :64] = guidance[..., 5:6, 5:6]
    inputs = guidance, alpha, unknown
    assert relative_error(block, inputs) < 0.15


def test_gradients_are_refused(block):
    guidance, alpha, unknown = random_inputs(5, 1, 4, 4, 0.5)
    block.attend = attend_near
    with pytest.raises(RuntimeError, match="no gradients"):
        block(guidance, alpha.requires_grad_(), unknown)
    block.attend = attend


def test_images_of_a_batch_do_not_mix(block):
    parts = smooth_inputs(40, 48, 0.3, 0.6), smooth_inputs(40, 48, 0.8, 0.3)
    guidance, alpha, unknown = (torch.cat(part) for part in zip(*parts, strict=True))
    together = near(block, guidance, alpha, unknown)[0]
    alone = near(block, guidance[1:], alpha[1:], unknown[1:])[0]
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)


def test_little_memory_is_the_same(block):
    """Which positions a tile of queries meets one by one does not depend on memory."""
    inputs = smooth_inputs(64, 72, 0.3, 0.6)
    expected = near(block, *inputs)[0]
    block.memory_budget = 0
    output = near(block, *inputs)[0]
    block.memory_budget = None
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
