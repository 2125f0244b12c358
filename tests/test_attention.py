"""Guided contextual attention against the published program's answers and against its definition."""

import copy
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from attention_oracle import attention_oracle
from reference import drawn_tensor, load_cases
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from networks import GuidedContextualAttention

CASES = load_cases("attention_cases.npz")


@pytest.fixture(scope="module")
def block() -> GuidedContextualAttention:
    block = GuidedContextualAttention().eval()
    block.load_state_dict({name: torch.as_tensor(drawn_tensor(f"attention.{name}", tuple(value.shape)))
                           for name, value in block.state_dict().items()})
    return block


def with_budget(block: GuidedContextualAttention, memory_budget: int | None) -> GuidedContextualAttention:
    """A copy of the block, to be changed."""
    block = copy.deepcopy(block)
    block.memory_budget = memory_budget
    return block


def random_inputs(seed: int, n: int, h: int, w: int, unknown_share: float) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    guidance = torch.randn(n, 128, 2 * h, 2 * w, generator=generator)
    alpha = torch.randn(n, 128, 2 * h, 2 * w, generator=generator)
    unknown = (torch.rand(n, 1, 2 * h, 2 * w, generator=generator) < unknown_share).float()
    return guidance, alpha, unknown


@pytest.mark.parametrize("memory_budget", [None, 100_000])
@pytest.mark.parametrize("case", CASES)
def test_published_answers(block, case, memory_budget):
    arrays = {name: torch.as_tensor(array) for name, array in CASES[case].items()}
    block = with_budget(block, memory_budget)
    with torch.no_grad():
        output, offset, scale = block(arrays["guidance"], arrays["alpha_feature"], arrays.get("unknown"))
    torch.testing.assert_close(output, arrays["output"], atol=1e-4, rtol=0)
    torch.testing.assert_close(scale, arrays["scale"], atol=1e-6, rtol=0)
    assert torch.equal(offset, arrays["offset"].long())


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(),
                                                                             reason="needs a GPU"))])
def device(request) -> str:
    return request.param


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets the number of threads for the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@contextmanager
def array_sizes() -> Iterator[list[int]]:
    """A list that receives the bytes of every tensor which an operation makes meanwhile."""
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            result = operation(*args, **(kwargs or {}))
            sizes.extend(part.nbytes for part in tree_leaves(result)
                         if isinstance(part, torch.Tensor))
            return result

    with Watch():
        yield sizes


@pytest.mark.parametrize("seed", range(6))
def test_needed_queries_alone(block, seed):
    """The same refined feature wherever no other query's patch reaches, elsewhere not; and no offsets."""
    rng = random.Random(seed)
    h, w = rng.randint(8, 40), rng.randint(8, 70)
    inputs = random_inputs(seed, 1 + seed % 2, h, w, 0.3)
    needed = torch.zeros(h, w, dtype=torch.bool)
    needed[h // 2:, :w // 3] = needed[:3, 4:7] = True
    others = torch.nn.functional.interpolate((~needed).float()[None, None], scale_factor=2)
    reached = torch.nn.functional.max_pool2d(others, 3, stride=1, padding=1)[0, 0] > 0  # by patches of 4 x 4
    with torch.no_grad():
        expected, offsets, expected_scales = block(*inputs)
        output, no_offsets, scales = block(*inputs, needed)
    assert offsets is not None
    assert no_offsets is None
    assert torch.equal(scales, expected_scales)
    torch.testing.assert_close(output[..., ~reached], expected[..., ~reached], atol=2e-5, rtol=0)
    assert (output - expected)[..., -2:, -2:].abs().max() > 1e-4


@pytest.mark.parametrize("seed", range(24))
def test_agrees_with_the_definition(block, seed, device, threads):
    """Any size, mask, batch and chunk, on any number of cores; each by the way of inference and by that of training."""
    rng = random.Random(seed)
    threads(rng.randint(1, 3))
    n, h, w = rng.randint(1, 3), rng.randint(2, 11), rng.randint(2, 11)
    if seed == 0:
        n, h, w = 1, 2, 2
    guidance, alpha, mask = random_inputs(seed, n, h, w, rng.choice([0.0, 0.05, 0.5, 1.0]))
    unknown = None if seed % 6 == 5 else mask
    expected_output, expected_offset, expected_scale = attention_oracle(block, guidance, alpha, unknown)
    on_device = with_budget(block, rng.choice([None, 1, int(10 ** rng.uniform(3, 6.5))])).to(device)
    inputs = [x if x is None else x.to(device) for x in (guidance, alpha, unknown)]
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            output, offset, scale = on_device(*inputs)
        torch.testing.assert_close(output.cpu(), expected_output, atol=2e-5, rtol=0)
        torch.testing.assert_close(scale.cpu(), expected_scale, atol=1e-6, rtol=0)
        assert torch.equal(offset.cpu(), expected_offset)


@pytest.mark.parametrize("memory_budget", [None, 1, 50_000])
def test_gradients_agree_with_the_definition(block, memory_budget, device):
    guidance, alpha, unknown = random_inputs(7, 2, 4, 5, 0.4)
    on_device = with_budget(block, memory_budget).to(device)
    gradients = []
    for attention, place in ((on_device, device), (partial(attention_oracle, block), "cpu")):
        inputs = [x.to(place).requires_grad_() for x in (guidance.clone(), alpha.clone())]
        weight = (on_device if attention is on_device else block).guidance_conv.weight
        output = attention(*inputs, unknown.to(place))[0]
        gradients.append([x.cpu() for x in torch.autograd.grad(output.sin().sum(), [*inputs, weight])])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_gradients_of_an_empty_feature_are_finite(block):
    """Where the guidance is 0 the norm of a patch has no slope."""
    silent = with_budget(block, None)
    torch.nn.init.zeros_(silent.guidance_conv.bias)
    guidance, alpha, unknown = random_inputs(2, 1, 4, 4, 0.5)
    silent(guidance * 0, alpha, unknown)[0].sum().backward()
    assert silent.guidance_conv.weight.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("training", [False, True])
def test_autocast_neither_overflows_nor_rounds_the_scores(block, dtype, training, device):
    guidance, alpha, unknown = (x.to(device) for x in random_inputs(4, 1, 6, 5, 0.5))
    guidance, alpha = (100 * guidance).to(dtype), alpha.to(dtype)
    on_device = with_budget(block, None).to(device)
    with torch.set_grad_enabled(training):
        expected, expected_offset, _ = on_device(guidance.float(), alpha.float(), unknown)
        with torch.autocast(device, dtype):
            output, offset, _ = on_device(guidance, alpha, unknown)
    assert output.isfinite().all()
    torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
    assert torch.equal(offset, expected_offset)


@pytest.mark.skipif(torch.__version__ < "2.11", reason="PyTorch 2.6 makes an array larger by 18 %")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("size", [24, 48])
def test_no_array_exceeds_the_budget(size, training, threads):
    """All of the attention takes 1.3 and 21 MB."""
    threads(1)  # the arrays of other threads are not seen
    narrow = GuidedContextualAttention(8, 8, memory_budget=4_000_000)
    guidance, alpha, unknown = random_inputs(8, 1, size, size, 0.5)
    with torch.set_grad_enabled(training), array_sizes() as sizes:
        output = narrow(guidance[:, :8], alpha[:, :8], unknown)[0]
        if training:
            output.sum().backward()
    assert max(sizes) <= narrow.memory_budget


def test_threads_of_others_are_left_alone(block, threads):
    threads(2)
    with torch.no_grad():
        block(*random_inputs(6, 1, 6, 6, 0.5))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2


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


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_result_has_alphas_memory_format(block, memory_format, training):
    """On it depends how fast all later layers are, and how they round."""
    guidance, alpha, *unknown = random_inputs(0, 2, 4, 6, 0.3)
    with torch.set_grad_enabled(training):
        refined, *_ = block(guidance, alpha.contiguous(memory_format=memory_format), *unknown)
    assert refined.is_contiguous(memory_format=memory_format)


def test_images_of_a_batch_do_not_mix(block):
    guidance, alpha, unknown = random_inputs(5, 2, 4, 4, 0.5)
    with torch.no_grad():
        together = block(guidance, alpha, unknown)[0]
        alone = block(guidance[1:], alpha[1:], unknown[1:])[0]
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=0)
