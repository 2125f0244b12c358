"""Guided contextual attention against the published program's answers and against its definition."""

import pytest
import torch
from attention_oracle import attention_oracle
from reference import drawn_tensor, load_cases

from networks import GuidedContextualAttention

CASES = load_cases("attention_cases.npz")


@pytest.fixture(scope="module")
def block() -> GuidedContextualAttention:
    block = GuidedContextualAttention().eval()
    block.load_state_dict({name: torch.as_tensor(drawn_tensor(f"attention.{name}", tuple(value.shape)))
                           for name, value in block.state_dict().items()})
    return block


def random_inputs(seed: int, n: int, h: int, w: int, unknown_share: float) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    guidance = torch.randn(n, 128, 2 * h, 2 * w, generator=generator)
    alpha = torch.randn(n, 128, 2 * h, 2 * w, generator=generator)
    unknown = (torch.rand(n, 1, 2 * h, 2 * w, generator=generator) < unknown_share).float()
    return guidance, alpha, unknown


@pytest.mark.parametrize("score_limit", [2**24, 700])
@pytest.mark.parametrize("case", CASES)
def test_published_answers(block, case, score_limit):
    arrays = {name: torch.as_tensor(array) for name, array in CASES[case].items()}
    block.score_limit = score_limit
    with torch.no_grad():
        output, offset, scale = block(arrays["guidance"], arrays["alpha_feature"], arrays.get("unknown"))
    torch.testing.assert_close(output, arrays["output"], atol=1e-4, rtol=0)
    torch.testing.assert_close(scale, arrays["scale"], atol=1e-6, rtol=0)
    assert torch.equal(offset, arrays["offset"].long())


@pytest.mark.parametrize(("n", "h", "w", "unknown_share", "score_limit"), [
    (1, 2, 2, 0.5, 2**24), (2, 5, 3, 0.3, 31), (3, 4, 7, 0.05, 1), (1, 9, 6, 0.0, 500), (2, 6, 6, 1.0, 100),
])
def test_agrees_with_the_definition(block, n, h, w, unknown_share, score_limit):
    guidance, alpha, unknown = random_inputs(h * w, n, h, w, unknown_share)
    block.score_limit = score_limit
    with torch.no_grad():
        for mask in (unknown, None):
            output, offset, scale = block(guidance, alpha, mask)
            expected_output, expected_offset, expected_scale = attention_oracle(block, guidance, alpha, mask)
            torch.testing.assert_close(output, expected_output, atol=2e-5, rtol=0)
            torch.testing.assert_close(scale, expected_scale, atol=1e-6, rtol=0)
            assert torch.equal(offset, expected_offset)


def test_gradients_agree_with_the_definition(block):
    guidance, alpha, unknown = random_inputs(7, 2, 4, 5, 0.4)
    block.score_limit = 60
    gradients = []
    for attention in (block, lambda *inputs: attention_oracle(block, *inputs)):
        inputs = [guidance.clone().requires_grad_(), alpha.clone().requires_grad_()]
        output = attention(*inputs, unknown)[0]
        gradients.append(torch.autograd.grad(output.sin().sum(), [*inputs, block.guidance_conv.weight]))
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_scales_of_extreme_masks(block):
    guidance, alpha, _ = random_inputs(1, 1, 4, 4, 0)
    for unknown, expected in ((0.0, [0.1, 10.0]), (1.0, [10.0, 0.1])):
        scale = block(guidance, alpha, torch.full((1, 1, 8, 8), unknown))[2]
        assert scale.tolist()[0] == pytest.approx(expected)


def test_unknown_positions_look_elsewhere_and_known_ones_at_themselves(block):
    """A position's nearest likeness is itself, unless it is unknown: then that is forbidden."""
    guidance, alpha, _ = random_inputs(3, 1, 5, 6, 0)
    guidance = guidance / guidance.norm(dim=1, keepdim=True) * 12
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(6), indexing="ij")
    itself = torch.stack([rows - 2, columns - 3])
    nothing, everything = torch.zeros(1, 1, 10, 12), torch.ones(1, 1, 10, 12)
    assert torch.equal(block(guidance, alpha, nothing)[1][0], itself)
    assert not (block(guidance, alpha, everything)[1][0] == itself).all(dim=0).any()


def test_images_of_a_batch_do_not_mix(block):
    guidance, alpha, unknown = random_inputs(5, 2, 4, 4, 0.5)
    with torch.no_grad():
        together = block(guidance, alpha, unknown)[0]
        alone = block(guidance[1:], alpha[1:], unknown[1:])[0]
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)
