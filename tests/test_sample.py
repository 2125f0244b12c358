"""Crops made without the rest of the image, held against whole images."""

import cv2
import numpy as np
import pytest
from generated_images import cutout, texture

from benchmarks import whole_image_pipeline as oracle
from dataloader.augment import FILTERS, Filters, draw_affine, draw_kernel_sizes, joint_alpha, rounded_matrix
from dataloader.crop import (
    any_window,
    block_labels,
    choose_in_trimap,
    choose_window,
    covers_all,
    possibly_unknown,
    resize_window,
)
from dataloader.sample import SampleDraws, draw_sample, place_layers, plain_sample, render_sample, render_window
from utils.boxes import Box
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN

CROP = 64


def rectangle(top: int, left: int, height: int, width: int) -> Box:
    return Box(top, top + height, left, left + width)


def with_labels(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels, block_labels(np.ascontiguousarray(pixels[..., 3]))


def drawn(rng: np.random.Generator, canvas: tuple[int, int], filters: Filters | None = None) -> SampleDraws:
    """The draws of a sample with a given canvas; the caller decides how many foregrounds it has."""
    affine = rounded_matrix(draw_affine(rng, *canvas))
    return SampleDraws(None, canvas, affine, draw_kernel_sizes(rng), filters or Filters(), None)


def test_sample_draws():
    rng = np.random.default_rng(0)
    draws = [draw_sample(rng, (1500, 2000), 10, random_interp=False) for _ in range(2000)]
    seconds = [each.second for each in draws if each.second is not None]
    assert abs(len(seconds) / 2000 - 0.5) < 0.04
    assert set(seconds) == set(range(10))
    canvases = [each.canvas for each in draws]
    assert set(canvases) == {(1500, 2000), (640, 640)}
    assert abs(canvases.count((640, 640)) / 2000 - 0.25) < 0.04
    assert all(np.array_equal(each.affine * 1024, np.rint(each.affine * 1024)) for each in draws)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_crop_equals_that_of_the_whole_image(seed, count):
    rng = np.random.default_rng(seed)
    cutouts = [with_labels(cutout(seed + 10 * i, 300, 420)) for i in range(count)]
    background = texture(rng, 300, 420)
    draws = drawn(rng, (300, 420))
    crop = render_sample(draws, cutouts, background, CROP, np.random.default_rng(seed))
    window = choose_window(place_layers(draws, cutouts), draws.canvas, draws.kernel_sizes, CROP, cv2.INTER_NEAREST,
                           np.random.default_rng(seed))
    whole = oracle.oracle_sample(draws, [pixels for pixels, _ in cutouts], background, CROP, rng,
                                 (window.top, window.left))
    assert np.array_equal(crop.trimap, whole.trimap)
    assert np.abs(crop.alpha - whole.alpha).max() < 1e-6
    for ours, theirs in zip(crop, whole, strict=True):
        assert np.abs(ours.astype(float) - theirs).max() < 1e-3


@pytest.mark.parametrize("resampling", FILTERS)
def test_window_equals_that_of_the_whole_canvas(resampling):
    """Whatever the sizes: the crop does not depend on where the window's borders lie."""
    rng = np.random.default_rng(resampling)
    cutouts = [with_labels(cutout(1, 300, 420)), with_labels(cutout(2, 150, 500))]
    for canvas in ((300, 420), (200, 200)):
        draws = drawn(rng, canvas, Filters(resampling, FILTERS[(resampling + 1) % 4] if resampling < 2 else resampling))
        layers = place_layers(draws, cutouts)
        whole = render_window(draws, layers, rectangle(0, 0, *canvas))
        for window in (rectangle(0, 0, CROP, CROP), rectangle(60, 71, CROP, CROP), rectangle(130, 136, CROP, CROP)):
            for part, image in zip(render_window(draws, layers, window), whole, strict=True):
                assert np.array_equal(part, image[window.slices])


@pytest.mark.parametrize("canvas", [(400, 400), (900, 350), (250, 1000)])
def test_resizes_in_one_step_show_the_pixels_of_two(canvas):
    """Colours that tell their own position: the two ways of resampling differ by a pixel of the coarser grid."""
    height, width = 511, 765
    rows, columns = np.mgrid[:height, :width]
    position = np.dstack([rows // 2, columns // 3, np.zeros_like(rows), np.full_like(rows, 255)]).astype(np.uint8)
    draws = drawn(np.random.default_rng(3), canvas)
    layers = place_layers(draws, [with_labels(position)])
    colours, alpha, _ = render_window(draws, layers, rectangle(0, 0, *canvas))
    resized = oracle.split(cv2.resize(position, canvas[::-1], interpolation=cv2.INTER_NEAREST))
    theirs, their_alpha = oracle.warp(*resized, draws)
    both = (alpha == 1) & (their_alpha == 1)
    assert both.sum() > 0.99 * (alpha == 1).sum()
    distance = np.abs(colours.astype(float) - theirs)[both] * (2, 3, 1)
    step = np.maximum((height / canvas[0], width / canvas[1]), 1)
    assert (distance[:, :2] <= 2 * step + 3).all()


def test_known_pixels_are_known_with_any_filter():
    for seed in range(12):
        rng = np.random.default_rng(seed)
        cutouts = [with_labels(cutout(seed, 200, 220)), with_labels(cutout(seed + 50, 90, 300))]
        canvas = (200, 220) if seed % 2 else (CROP - 4, 200)
        draws = drawn(rng, canvas, Filters(*(FILTERS[i] for i in rng.integers(4, size=3))))
        crop = render_sample(draws, cutouts, texture(rng, 50, 70), CROP, rng)
        assert (crop.alpha[crop.trimap == FOREGROUND] == 1).all()
        assert (crop.alpha[crop.trimap == BACKGROUND] == 0).all()
        assert crop.alpha.min() >= 0
        assert crop.alpha.max() <= 1
        assert crop.foreground.min() >= 0
        assert crop.foreground.max() <= 255


def test_block_labels():
    alpha = np.full((10, 9), 255, np.uint8)
    alpha[:4, :4] = 0
    alpha[5, 5] = 254
    assert block_labels(alpha).tolist() == [[BACKGROUND, FOREGROUND, UNKNOWN], [FOREGROUND, UNKNOWN, UNKNOWN],
                                            [UNKNOWN, UNKNOWN, UNKNOWN]]


def test_covers_all():
    left = np.zeros((40, 80), np.uint8)
    left[:, :40] = 255
    opaque = np.full((20, 20), 255, np.uint8)
    assert covers_all(left, 255 - left[::2, ::2])
    assert covers_all(left, opaque)
    assert covers_all(left[:, :77], opaque[:17, :19])
    assert not covers_all(left, left)
    opaque[10, 15] = 254
    assert not covers_all(left, opaque)


@pytest.mark.parametrize("resampling", FILTERS)
def test_every_unknown_pixel_is_possibly_unknown(resampling):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        cutouts = [with_labels(cutout(seed, 230, 320)), with_labels(cutout(seed + 50, 500, 200))][:1 + seed % 2]
        draws = drawn(rng, (230, 320) if seed % 3 else (150, 170), Filters(alpha=resampling))
        layers = place_layers(draws, cutouts)
        _, _, trimap = render_window(draws, layers, rectangle(0, 0, *draws.canvas))
        possible = possibly_unknown(layers, draws.canvas, draws.kernel_sizes, resampling)
        inner = np.s_[4:-4, 4:-4]
        unknown = trimap[::4, ::4][inner] == UNKNOWN
        assert unknown.any()
        assert possible[inner][unknown].all()
        if resampling == cv2.INTER_NEAREST:
            assert possible[inner].sum() < 6 * unknown.sum() + 100


@pytest.mark.parametrize("resampling", FILTERS)
@pytest.mark.parametrize("ground", [0, 255])
def test_single_pixels_are_not_overlooked(ground, resampling):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        pixels = np.full((300, 300, 4), ground, np.uint8)
        pixels[rng.integers(300, size=60), rng.integers(300, size=60), 3] = 255 - ground
        canvas = (300, 300) if seed % 2 else (90, 100)
        draws = drawn(rng, canvas, Filters(alpha=resampling))._replace(kernel_sizes=(1 + seed, 1 + seed))
        layers = place_layers(draws, [with_labels(pixels)])
        _, _, trimap = render_window(draws, layers, rectangle(0, 0, *canvas))
        possible = possibly_unknown(layers, canvas, draws.kernel_sizes, resampling)[4:-4, 4:-4]
        assert possible[trimap[::4, ::4][4:-4, 4:-4] == UNKNOWN].all()


def test_crops_are_drawn_among_the_unknown_pixels_alike():
    cutouts = [with_labels(cutout(3, 300, 400)), with_labels(cutout(4, 200, 260))]
    draws = drawn(np.random.default_rng(0), (300, 400))._replace(kernel_sizes=(3, 9))
    layers = place_layers(draws, cutouts)
    _, _, trimap = render_window(draws, layers, rectangle(0, 0, *draws.canvas))
    allowed = {tuple(corner): number for number, corner in enumerate(oracle.corners(trimap, CROP))}
    rng = np.random.default_rng(1)
    windows = [choose_window(layers, draws.canvas, draws.kernel_sizes, CROP, cv2.INTER_NEAREST, rng)
               for _ in range(2000)]
    assert len(allowed) > 200
    numbers = [allowed[window.top, window.left] for window in windows]  # KeyError: not centred on an unknown pixel
    bins = 20
    counts = np.bincount(np.array(numbers) * bins // len(allowed), minlength=bins)
    expected = np.bincount(np.arange(len(allowed)) * bins // len(allowed)) * 2000 / len(allowed)
    assert ((counts - expected) ** 2 / expected).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.1 %


def test_samples_are_distributed_as_those_of_whole_images():
    cutouts = [with_labels(cutout(i, 280 + 20 * i, 400)) for i in range(3)]
    background = texture(np.random.default_rng(9), 120, 90)
    differences = []
    for seed in range(200):
        ours, theirs = np.random.default_rng(seed), np.random.default_rng(seed)
        draws, _ = (draw_sample(rng, (280, 400), 3, random_interp=False) for rng in (ours, theirs))
        chosen = [cutouts[0]] if draws.second is None else [cutouts[0], cutouts[draws.second]]
        crop = render_sample(draws, chosen, background, CROP, ours)
        whole = oracle.oracle_sample(draws, [pixels for pixels, _ in chosen], background, CROP, theirs)
        differences.append([statistic(crop) - statistic(whole) for statistic in (
            lambda each: (each.trimap == UNKNOWN).mean(), lambda each: each.alpha.mean(),
            lambda each: each.image.mean(), lambda each: each.foreground.std())])
    mean, error = np.mean(differences, axis=0), np.std(differences, axis=0) / np.sqrt(len(differences))
    assert (np.abs(mean) < 3.5 * error).all()
    assert (error < (0.03, 0.05, 6, 3)).all()


def test_any_crop_where_nothing_is_unknown():
    blank = with_labels(np.zeros((200, 300, 4), np.uint8))
    draws = plain_sample((200, 300))
    layers = place_layers(draws, [blank])
    rng = np.random.default_rng(0)
    windows = np.array([choose_window(layers, (200, 300), (5, 5), CROP, cv2.INTER_NEAREST, rng) for _ in range(3000)])
    assert set(windows[:, 0]) == set(range(200 - CROP + 1))
    assert abs(windows[:, 2].mean() - (300 - CROP) / 2) < 6
    assert windows[:, 2].min() == 0
    assert windows[:, 2].max() == 300 - CROP
    middle = choose_window(layers, (200, 300), (5, 5), CROP, cv2.INTER_NEAREST, None)
    assert middle == any_window((200, 300), CROP, None) == rectangle(68, 118, CROP, CROP)


def test_fewer_than_ten_unknown_pixels():
    trimap = np.zeros((200, 200), np.uint8)
    trimap[100:100 + 9 * 4, 100] = UNKNOWN
    rng = np.random.default_rng(0)
    assert len({choose_in_trimap(trimap, CROP, rng) for _ in range(50)}) > 40
    trimap[100:100 + 10 * 4, 100] = UNKNOWN
    windows = [choose_in_trimap(trimap, CROP, rng) for _ in range(200)]
    corners = {(window.top, window.left) for window in windows}
    assert corners == {(row - CROP // 2, 100 - CROP // 2) for row in range(100, 140, 4)}


def test_small_images_are_enlarged():
    cutouts = [with_labels(cutout(0, 50, 70))]
    background = texture(np.random.default_rng(0), 40, 40)
    for seed in range(5):
        draws = drawn(np.random.default_rng(seed), (50, 70))
        crop = render_sample(draws, cutouts, background, CROP, np.random.default_rng(seed))
        whole = oracle.oracle_sample(draws, [cutouts[0][0]], background, CROP, np.random.default_rng(seed))
        assert crop.trimap.shape == (CROP, CROP)
        assert np.array_equal(crop.trimap, whole.trimap)
    tiny = render_sample(plain_sample((1, 3)), [with_labels(cutout(0, 1, 3))], background, CROP, None)
    assert tiny.image.shape == (CROP, CROP, 3)


@pytest.mark.parametrize("resampling", FILTERS)
@pytest.mark.parametrize(("source", "target"), [
    ((48, 64), (150, 210)), ((150, 210), (150, 210)), ((300, 500), (150, 99)), ((7, 5), (400, 300))])
def test_background_window(source, target, resampling):
    """Of an image that holds its own coordinates: the window shows what it should, but for less than a pixel."""
    rows, columns = np.mgrid[:source[0], :source[1]]
    image = np.dstack([rows, columns, rows]).astype(np.float32)
    whole = cv2.resize(image, target[::-1], interpolation=resampling)
    step = np.array(source) / target
    for window in (rectangle(0, 0, 64, 64), rectangle(37, 21, 64, 64),
                   rectangle(target[0] - 64, target[1] - 64, 64, 64)):
        part = resize_window(image, target, window, resampling)
        displacement = np.abs(part - whole[window.slices])[..., :2]
        assert part.shape == (64, 64, 3)
        if (window.top, window.left) == (0, 0) or source == target:
            assert displacement.max() < 1e-3
        else:
            assert (displacement < step + (resampling == cv2.INTER_NEAREST) + 0.1).all()


def test_without_augmentation():
    pixels = cutout(5, 200, 300)
    crop = render_sample(plain_sample((200, 300)), [with_labels(pixels)], pixels[..., :3], CROP, None)
    again = render_sample(plain_sample((200, 300)), [with_labels(pixels)], pixels[..., :3], CROP, None)
    assert all(np.array_equal(one, other) for one, other in zip(crop, again, strict=True))
    trimap = oracle.whole_trimap(joint_alpha([pixels[..., 3]]), (15, 15))
    corners = oracle.corners(trimap, CROP)
    top, left = corners[np.hypot(*(corners - (np.array([200, 300]) - CROP) / 2).T).argmin()]
    window = rectangle(top, left, CROP, CROP)
    assert np.array_equal(crop.foreground, pixels[window.slices][..., :3])
    assert np.array_equal(crop.trimap, trimap[window.slices])
