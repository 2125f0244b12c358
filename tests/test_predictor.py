"""The predictor against the published steps, written out, and on sizes that break plain padding."""

import doctest
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from reference import reference_network

from matting import predictor, tile_sizes
from matting.predictor import Matting
from networks import MattingNetwork, build_network
from utils.preprocessing import alpha_to_uint8, trimap_labels


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return reference_network("gca")


@pytest.fixture(scope="module")
def matting(network) -> Matting:
    return Matting(network, device="cpu")


def random_pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(height * 1000 + width)
    trimap = rng.choice(np.array([0, 84, 85, 128, 169, 170, 255], np.uint8), (height, width))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8), trimap


def published_steps(network, image: np.ndarray, trimap: np.ndarray) -> np.ndarray:
    """The matte of an image whose sides exceed 32, step by step, as floats in 0..1."""
    height, width = trimap.shape
    bottom, right = -height % 32, -width % 32
    image = np.pad(image, ((32, bottom + 32), (32, right + 32), (0, 0)), mode="reflect")
    trimap = np.pad(trimap, ((32, bottom + 32), (32, right + 32)), mode="reflect")
    tensor = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    tensor = (tensor - mean[:, None, None]) / deviation[:, None, None]
    background, foreground = trimap < 85, trimap >= 170
    one_hot = np.stack([background, ~background & ~foreground, foreground]).astype(np.float32)
    with torch.no_grad():
        alpha = network(tensor[None], torch.from_numpy(one_hot)[None]).alpha[0, 0].numpy().copy()
    alpha[background] = 0.0
    alpha[foreground] = 1.0
    return alpha[32:height + 32, 32:width + 32]


@pytest.mark.parametrize(("height", "width"), [(64, 96), (70, 45), (33, 100)])
@pytest.mark.parametrize("options", [{}, {"fold": False}, {"memory_limit": 2**20}])
def test_the_published_steps(monkeypatch, network, options, height, width):
    """To rounding; the 8-bit matte may differ by a level where rounding decides it."""
    monkeypatch.setattr(tile_sizes, "LEAST_WORKING", 0)
    image, trimap = random_pair(height, width)
    alpha, published = Matting(network, "cpu", **options)(image, trimap), published_steps(network, image, trimap)
    assert alpha.dtype == np.float32
    assert np.abs(alpha - published).max() < 1e-4
    near_a_level = np.abs(published * 255 - np.round(published * 255)) < 0.03
    assert ((alpha_to_uint8(alpha) == alpha_to_uint8(published)) | near_a_level).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 50), (7, 3), (31, 32)])
@pytest.mark.parametrize("border", [0, 32])
def test_small_sizes(matting, height, width, border):
    image, trimap = random_pair(height, width)
    alpha = Matting(matting.network, "cpu", border)(image, trimap)
    assert alpha.shape == (height, width)
    assert ((alpha >= 0) & (alpha <= 1)).all()
    assert (alpha[trimap < 85] == 0).all()
    assert (alpha[trimap >= 170] == 1).all()


def test_border_zero_pads_at_the_bottom_and_right_only(matting):
    image, trimap = random_pair(64, 64)
    without_border = Matting(matting.network, "cpu", border=0)
    padded = without_border(image[:40], trimap[:40])
    pad = ((0, 24), (0, 0), (0, 0))
    by_hand = without_border(np.pad(image[:40], pad, mode="reflect"), np.pad(trimap[:40], pad[:2], mode="reflect"))
    assert np.abs(padded - by_hand[:40]).max() < 1e-5


def test_nothing_unknown_is_the_trimap(matting):
    image, _ = random_pair(40, 40)
    trimap = np.zeros((40, 40), np.uint8)
    trimap[10:20] = 255
    assert np.array_equal(matting(image, trimap), trimap / np.float32(255))


def test_attention_is_returned(matting):
    matte = matting.predict(*random_pair(40, 70))
    assert [offset.shape for offset in matte.offsets] == [(2, 8, 10)] * 2  # (40 + 24 + 64) / 16, (70 + 26 + 64) / 16
    assert [scale.shape for scale in matte.scales] == [(2,)] * 2


def test_a_network_in_training_is_left_alone():
    network = build_network(width=0.1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Matting(network, "cpu")(*random_pair(40, 40))
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_images_of_a_batch_do_not_mix(matting):
    (image, trimap), (other_image, _) = random_pair(50, 60), random_pair(50, 61)
    other = other_image[:, :60], np.full_like(trimap, 128)
    alphas = [matting(*pair) for pair in ((image, trimap), other)]
    for offsets in (True, False):
        together = Matting(matting.network, "cpu", offsets=offsets).predict_batch([(image, trimap), other])
        for matte, alpha in zip(together, alphas, strict=True):
            assert np.abs(matte.alpha - alpha).max() < 1e-4
    pictures = matting.predict_batch([(Image.fromarray(image), Image.fromarray(trimap)), other])
    assert np.array_equal(pictures[0].alpha, matting.predict_batch([(image, trimap), other])[0].alpha)
    assert matting.predict_batch([]) == []


@pytest.mark.parametrize(("precision", "least", "most"), [
    ("tf32", 0, 1e-5), ("bf16", 1e-4, 0.03), ("fp16", 1e-5, 3e-3)])
def test_precisions(network, matting, precision, least, most):
    image, trimap = random_pair(64, 96)
    difference = np.abs(Matting(network, "cpu", precision=precision)(image, trimap) - matting(image, trimap))
    assert least <= difference.mean() < most


def test_compiled(monkeypatch, network, matting):
    """Without the compiler's last step, which takes minutes."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    compiled = Matting(network, "cpu", compile=True)
    for image, trimap in (random_pair(64, 96), random_pair(40, 70)):
        assert np.abs(compiled(image, trimap) - matting(image, trimap)).max() < 1e-4


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK"])
def test_images_of_pillow(matting, mode):
    image, trimap = random_pair(40, 50)
    picture = Image.fromarray(image).convert(mode)
    assert np.array_equal(matting(picture, Image.fromarray(trimap)),
                          matting(np.asarray(picture.convert("RGB")), trimap))
    if mode in ("RGBA", "LA", "RGB"):
        assert np.array_equal(matting(image, Image.fromarray(trimap).convert(mode)), matting(image, trimap))


def test_turned_and_deep_images_of_pillow(matting):
    image, trimap = random_pair(40, 50)
    turned = Image.fromarray(np.rot90(image).copy())
    turned.getexif()[0x0112] = 6  # the camera was held upright: turn clockwise
    assert np.array_equal(matting(turned, trimap), matting(image, trimap))
    with pytest.raises(ValueError, match="mode I;16; expected 8 bits"):
        matting(image, Image.fromarray(trimap.astype(np.uint16)))


def test_the_example(monkeypatch, tmp_path, matting):
    """The one in the predictor's documentation."""
    image, trimap = random_pair(40, 50)
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    Image.fromarray(trimap).save(tmp_path / "trimap.png")
    monkeypatch.chdir(tmp_path)
    names = {"matting": matting}
    example = doctest.DocTestParser().get_doctest(Matting.__call__.__doc__, names, "example", None, None)
    outcome = doctest.DocTestRunner().run(example)
    assert outcome.attempted == 6
    assert outcome.failed == 0


@pytest.mark.parametrize(("options", "message"), [
    ({"precision": "int8"}, "precision is 'int8'; expected one of fp32, tf32, bf16, fp16"),
    ({"compile": True, "fold": False}, "compile needs fold"),
    ({"attention": "far"}, "attention is 'far'; expected one of exact, near"),
])
def test_impossible_options(network, options, message):
    with pytest.raises(ValueError, match=message):
        Matting(network, "cpu", **options)


class Failing:
    """`run_tiled` that runs out of memory some times before it works."""

    def __init__(self, monkeypatch, times: int, error: Exception):
        self.run_tiled, self.left, self.error, self.tiles = predictor.run_tiled, times, error, []
        monkeypatch.setattr(predictor, "run_tiled", self)

    def __call__(self, network, read, unknown, wanted, tile_cells, report, offsets):
        self.tiles.append(tile_cells)
        self.left -= 1
        if self.left >= 0:
            raise self.error
        return self.run_tiled(network, read, unknown, wanted, tile_cells, report, offsets)


@pytest.mark.parametrize("offsets", [True, False])
def test_each_tile_is_reported(monkeypatch, network, offsets):
    """Also attention's and the steps after it. Without memory to speak of, tiles are as small as they get."""
    image, trimap = random_pair(160, 160)
    trimap[:, 40:] = 0
    reports = []
    monkeypatch.setattr(tile_sizes, "LEAST_WORKING", 0)
    matting = Matting(network, "cpu", memory_limit=1, offsets=offsets)
    matting.predict(image, trimap, lambda *counts: reports.append(counts))
    done, totals = zip(*reports, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == totals[0]
    assert len(set(done)) > totals[0] / 5


def test_attention_is_near_for_large_images_on_cpus(monkeypatch, network):
    """By default; a size of images as the files have them, without padding."""
    used = []
    for name, function in predictor.ATTENTIONS.items():
        monkeypatch.setitem(predictor.ATTENTIONS, name,
                            lambda *inputs, name=name, function=function: used.append(name) or function(*inputs))
    monkeypatch.setattr(predictor, "NEAR_FROM", 40 * 50)
    for attention, expected in ((None, ["exact", "near"]), ("exact", ["exact"] * 2), ("near", ["near"] * 2)):
        matting = Matting(network, "cpu", attention=attention)
        for (height, width), name in zip(((40, 49), (40, 50)), expected, strict=True):
            used.clear()
            matting(*random_pair(height, width))
            assert used == [name] * 2
            assert matting.attention_for(height, width) == name
    assert Matting(network, "meta").attention_for(9999, 9999) == "exact"


def test_running_out_of_memory_halves_the_limit(monkeypatch, network, matting):
    image, trimap = random_pair(64, 96)
    expected = matting(image, trimap)
    failing = Failing(monkeypatch, 3, torch.OutOfMemoryError("CUDA out of memory."))
    monkeypatch.setattr(tile_sizes, "LEAST_WORKING", 0)
    alpha = Matting(network, "cpu", memory_limit=2**27)(image, trimap)
    assert np.abs(alpha - expected).max() < 1e-4
    first, *others = failing.tiles
    assert len(others) == 3
    assert others == pytest.approx([first / 2, first / 4, first / 8], rel=0.1)


def test_threads_take_turns(monkeypatch, matting):
    """What one sets on the network, such as near attention, is not the other's: neither meets the other inside."""
    pair, inside, met, run_tiled = random_pair(40, 40), [], [], predictor.run_tiled

    def run(*arguments):
        inside.append(1)
        met.append(len(inside))
        try:
            return run_tiled(*arguments)
        finally:
            inside.pop()

    expected = matting(*pair)
    monkeypatch.setattr(predictor, "run_tiled", run)
    with ThreadPoolExecutor(4) as pool:
        alphas = list(pool.map(lambda _: matting(*pair), range(8)))
    assert met == [1] * 8
    assert all(np.abs(alpha - expected).max() < 1e-5 for alpha in alphas)


@pytest.mark.parametrize(("error", "attempts"), [
    (torch.OutOfMemoryError("CUDA out of memory."), 4), (RuntimeError("[enforce fail] can't allocate memory"), 4),
    (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), 1)])
def test_gives_up_with_the_error(monkeypatch, matting, error, attempts):
    failing = Failing(monkeypatch, 100, error)
    with pytest.raises(type(error), match=re.escape(str(error))):
        matting(*random_pair(40, 40))
    assert len(failing.tiles) == attempts


def test_limits_of_the_trimap():
    assert trimap_labels(np.array([[0, 84, 85, 128, 169, 170, 255]], np.uint8)).tolist() == [[0, 0, 1, 1, 1, 2, 2]]


def test_alpha_is_truncated():
    assert alpha_to_uint8(np.array([0, 0.5, 0.9999, 1], np.float32)).tolist() == [0, 127, 254, 255]


@pytest.mark.parametrize(("image", "trimap", "message"), [
    (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), r"image is uint8 of shape \(4, 4\); expected"),
    (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), "image is float32"),
    (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8), r"trimap is uint8 of shape \(4, 4, 1\)"),
    (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), "trimap is 4 x 5, but the image is 5 x 4"),
    (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), np.uint8), "no pixels"),
    ("photo.jpg", "trimap.png", "str given for an image or trimap; expected an array or a Pillow image"),
])
def test_refused_arrays(matting, image, trimap, message):
    with pytest.raises(ValueError, match=message):
        matting(image, trimap)
