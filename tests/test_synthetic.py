"""Drawn training data: always the same for a seed, and the truth about what it shows."""

import cv2
import numpy as np
import pytest
import torch
from generated_images import write_training_set

from dataloader.cache import decode_cached
from dataloader.dataset import CROP_TRIES, make_training_dataset
from dataloader.image_file import ImageFileError, read_grey, read_image
from dataloader.sample import Sample
from dataloader.synthetic import objects
from dataloader.synthetic.colours import pale_colours
from dataloader.synthetic.drawing import NEUTRAL, Drawing, Family
from dataloader.synthetic.fingerprint import files_digest, program_files
from dataloader.synthetic.items import DrawnBackground, DrawnForeground
from dataloader.synthetic.objects import FAMILIES, HELD_OUT, SHARES, choose_family, draw_cutout, joined, layer_over
from dataloader.synthetic.photographs import photograph_surface
from dataloader.synthetic.postprocess import PLAIN_DISTANCE, plain_colours, postprocess
from tools.make_generated_data import make_data_set
from utils.config import load_config
from utils.file_writing import write_png
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN
from utils.tensors import denormalise


def level(value: int) -> np.ndarray:
    return np.full((2, 2), value, np.uint8)


def test_layer_over_by_hand():
    """Half opaque over half opaque: 3/4 opaque; two thirds of what is seen is the upper one."""
    red, blue = (np.full((2, 2, 3), colour, np.uint8) for colour in ((240, 0, 0), (0, 0, 240)))
    alpha, colours = layer_over(level(128), red, level(128), blue)
    assert alpha[0, 0] == 128 + round(128 * 127 / 255)
    assert np.abs(colours[0, 0].astype(int) - (160, 0, 80)).max() <= 1
    alpha, colours = layer_over(level(255), red, level(255), blue)
    assert (alpha == 255).all()
    assert (colours == red).all()
    alpha, colours = layer_over(level(0), red, level(77), blue)
    assert (alpha == 77).all()
    assert (colours == blue).all()


def test_joined_takes_the_more_opaque():
    result = joined(Drawing(level(200), level(10)), Drawing(np.array([[255, 0], [200, 201]], np.uint8), None))
    assert result.alpha.tolist() == [[255, 200], [200, 201]]
    assert result.shade.tolist() == [[NEUTRAL, 10], [10, NEUTRAL]]


def test_families_are_held_out():
    assert len(FAMILIES) >= 20
    assert len(HELD_OUT) >= 2
    assert not set(FAMILIES) & set(HELD_OUT)
    assert len({family.__name__ for family in FAMILIES + HELD_OUT}) == len(FAMILIES + HELD_OUT)


def test_families_are_drawn_as_often_as_their_shares_say():
    rng = np.random.default_rng(0)
    drawn = [choose_family(rng, FAMILIES) for _ in range(4000)]
    for module, share in SHARES.items():
        assert sum(family in module.FAMILIES for family in drawn) / len(drawn) == pytest.approx(share, abs=0.03)
    assert sum(SHARES.values()) == pytest.approx(1)
    drawn = [choose_family(rng, HELD_OUT) for _ in range(2000)]
    for family in HELD_OUT:
        assert drawn.count(family) / len(drawn) == pytest.approx(1 / len(HELD_OUT), abs=0.05)


def test_joined_objects_are_of_one_material(monkeypatch):
    """All objects are joined: translucent ones with translucent ones, the others with the others."""
    monkeypatch.setattr(objects, "JOINED_SHARE", 1)
    monkeypatch.setattr(objects, "FRAMED_SHARE", 0)
    drawn = []

    def recorded(translucent: bool) -> Family:
        def family(rng: np.random.Generator, size: int) -> Drawing:
            drawn.append(translucent)
            return Drawing(np.zeros((size, size), np.uint8))
        return family

    solid, sheer = recorded(False), recorded(True)
    monkeypatch.setattr(objects, "_TRANSLUCENT", (sheer,))
    for seed in range(8):
        for family in (solid, sheer):
            objects.draw_object(np.random.default_rng(seed), 16, family, (solid, sheer))
    assert drawn == 8 * [False, False, True, True]


@pytest.mark.parametrize("filled", [0, 1])
def test_translucent_things_lie_before_solid_ones(monkeypatch, filled):
    def nothing(rng: np.random.Generator, size: int) -> Drawing:
        return Drawing(np.zeros((size, size), np.uint8))

    monkeypatch.setattr(objects, "_TRANSLUCENT", (nothing,))
    monkeypatch.setattr(objects, "FILLED_SHARE", filled)
    pixels = draw_cutout(np.random.default_rng(0), 64, (nothing,))
    assert pixels[..., 3].any() == bool(filled)


def test_cutouts_depend_on_the_seed_alone():
    pixels = [draw_cutout(np.random.default_rng(seed), 96) for seed in (1, 1, 2)]
    assert pixels[0].shape == (96, 96, 4)
    assert np.array_equal(pixels[0], pixels[1])
    assert not np.array_equal(pixels[0], pixels[2])


def test_drawn_items(tmp_path):
    foreground = DrawnForeground(seed=3, number=5, size=80)
    assert np.array_equal(foreground.read(), foreground.read())
    assert not np.array_equal(foreground.read(), foreground.at_epoch(1).read())
    assert not np.array_equal(foreground.read(), foreground._replace(number=6).read())
    cached, labels = decode_cached(foreground, tmp_path)
    assert np.array_equal(cached, foreground.read())
    assert labels.shape == (20, 20)
    background = DrawnBackground(seed=3, number=5, size=80)
    assert background.read().shape == (80, 80, 3)
    assert np.array_equal(background.read(), background.read())


def test_colours_and_backgrounds_of_photographs(tmp_path, monkeypatch):
    """Photographs of one colour: foregrounds and backgrounds drawn from them have it."""
    path = tmp_path / "green.png"
    cv2.imwrite(str(path), np.full((90, 120, 3), (10, 200, 30), np.uint8))
    backgrounds = [DrawnBackground(0, number, 64, (path,)).read() for number in range(32)]
    assert 25 <= sum((background == (30, 200, 10)).all() for background in backgrounds) < 32
    monkeypatch.setattr(objects, "PHOTOGRAPH_SHARE", 1)
    monkeypatch.setattr(objects, "PALE_SHARE", 0)
    monkeypatch.setattr(objects, "apply_shade", lambda colours, shade: colours)
    monkeypatch.setattr("dataloader.synthetic.colours.apply_shade", lambda colours, shade: colours)
    for number in range(4):
        foreground = DrawnForeground(0, number, 64, (path,))
        pixels = foreground.read()
        assert np.abs(pixels[..., :3].astype(int) - (30, 200, 10)).max() <= 1
        assert np.array_equal(pixels, foreground.read())


def test_caches_know_all_programs_that_draw():
    """Whatever they import, such as how image files are read; not what only uses them."""
    names = {path.name for path in program_files()}
    assert {"items.py", "objects.py", "strands.py", "photographs.py", "image_file.py"} <= names
    assert not {"dataset.py", "cache.py"} & names


def test_a_photograph_that_changes_outdates_cached_drawings(tmp_path):
    """Though its name stays; and one that is gone is named."""
    path = tmp_path / "photo.png"
    states = []
    for side in (64, 80):
        write_png(path, np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8))
        files_digest.cache_clear()  # as in a new process
        states.append(DrawnForeground(0, 0, 64, (path,)).identity())
    assert states[0][0] == states[1][0]  # the same foreground
    assert states[0][1] != states[1][1]
    path.unlink()
    files_digest.cache_clear()
    with pytest.raises(ImageFileError, match=r"photo\.png: no such file"):
        DrawnForeground(0, 0, 64, (path,)).identity()


@pytest.mark.parametrize("shape", [(90, 120), (400, 300), (20, 33)])
def test_surfaces_are_of_their_photograph(shape):
    image = np.random.default_rng(0).integers(100, 180, (*shape, 3)).astype(np.uint8)
    for seed in range(10):
        surface = photograph_surface(np.random.default_rng(seed), image, 128)
        assert surface.shape == (128, 128, 3)
        assert 100 <= surface.min() <= surface.max() < 180
        assert np.array_equal(surface, photograph_surface(np.random.default_rng(seed), image, 128))


@pytest.mark.parametrize("wanted", [1, 60])
def test_surfaces_are_as_colourful_as_was_drawn(monkeypatch, wanted):
    """A photograph that is flat on the left and a checkerboard of standard deviation (100, 50, 25) on the right."""
    image = np.full((300, 600, 3), (200, 100, 50), np.uint8)
    rows, columns = np.mgrid[:300, 300:600] // 8
    image[:, 300:][(rows + columns) % 2 == 1] = 0
    monkeypatch.setattr("dataloader.synthetic.photographs.SURFACE_DEVIATION", wanted)
    monkeypatch.setattr("dataloader.synthetic.photographs.LARGEST_SCALE", 1)
    deviations = [photograph_surface(np.random.default_rng(seed), image, 128).std(axis=(0, 1)).mean()
                  for seed in range(12)]
    assert np.median(deviations) == pytest.approx(0 if wanted == 1 else (100 + 50 + 25) / 3, abs=2)


def test_pale_colours():
    colours = np.float32([pale_colours(np.random.default_rng(seed), 64) for seed in range(40)])
    assert colours.shape == (40, 64, 64, 3)
    assert np.ptp(colours, axis=3).mean(axis=(1, 2)).max() < 45
    assert colours.std(axis=(1, 2)).max() < 25
    assert 150 < colours.mean() < 230


def crop_of(size: int = 64) -> Sample:
    alpha = np.zeros((size, size), np.float32)
    alpha[16:48, 16:48] = 1
    alpha[:, 30:34] = np.maximum(alpha[:, 30:34], 0.5)
    trimap = np.full((size, size), BACKGROUND, np.uint8)
    trimap[alpha > 0] = 1
    trimap[20:44, 20:44] = FOREGROUND
    foreground, background = (np.full((size, size, 3), value, np.float32) for value in (200, 40))
    return Sample(alpha[..., None] * foreground + (1 - alpha[..., None]) * background, trimap, alpha, foreground,
                background)


def test_plain_colours_differ():
    for seed in range(5):
        crop = plain_colours(np.random.default_rng(seed), crop_of())
        assert np.linalg.norm(crop.foreground.mean((0, 1)) - crop.background.mean((0, 1))) > PLAIN_DISTANCE / 2
        weight = crop.alpha[..., None]
        assert np.allclose(crop.image, weight * crop.foreground + (1 - weight) * crop.background, atol=1e-2)


@pytest.mark.parametrize("plain_share", [0.0, 1.0])
def test_postprocessing_leaves_the_truth(plain_share):
    for seed in range(12):
        crop = postprocess(np.random.default_rng(seed), crop_of(), plain_share)
        assert np.array_equal(crop.alpha, crop_of().alpha)
        assert (crop.alpha[crop.trimap == FOREGROUND] == 1).all()
        assert (crop.alpha[crop.trimap == BACKGROUND] == 0).all()
        assert (crop.trimap == 1).any()


GENERATED = ["data.crop_size=64", "data.generated=3", "data.generated_size=96", "data.finish=true"]


def test_training_set_without_files():
    data = make_training_dataset(load_config(overrides=GENERATED), seed=4)
    assert len(data) == 3
    first, second = data[0, 1], data[0, 1]
    assert torch.equal(first["image"], second["image"])
    assert first["name"].startswith("drawn000001")
    assert not torch.equal(first["image"], data[1, 1]["image"])
    assert 0 <= denormalise(first["image"]).min() <= denormalise(first["image"]).max() <= 1.0001


@pytest.mark.parametrize("hidden", [BACKGROUND, FOREGROUND])
@pytest.mark.parametrize(("until", "tries"), [(1, 1), (2, 2), (99, CROP_TRIES)])
def test_crops_are_drawn_until_both_sides_are_known(until, tries, hidden):
    """The last step hides one side in all crops before that of number `until`."""
    seen = []

    def hide(rng: np.random.Generator, crop: Sample) -> Sample:
        seen.append(crop)
        trimap = np.full_like(crop.trimap, BACKGROUND + FOREGROUND - hidden)
        trimap[0] = hidden if len(seen) >= until else UNKNOWN
        return crop._replace(trimap=trimap)

    data = make_training_dataset(load_config(overrides=[*GENERATED, "data.generated_size=160"]), seed=4)
    data.postprocess = hide
    sample = data[0, 1]
    assert len(seen) == tries
    assert len({crop.alpha.tobytes() for crop in seen}) == tries  # others each time
    assert bool(sample["trimap"][hidden].any()) == (until == tries)
    assert torch.equal(sample["alpha"][0], torch.from_numpy(seen[-1].alpha))


def test_drawn_foregrounds_join_files(tmp_path):
    folder = write_training_set(tmp_path / "set")
    paths = [f"data.train_{name}={folder / name}" for name in ("fg", "alpha", "bg")]
    data = make_training_dataset(load_config(overrides=[*GENERATED, *paths]))
    names = [data[0, number]["name"] for number in range(6)]
    assert [name[0] for name in names] == list("fffddd")
    assert all(" on b" in name for name in names)


def test_cached_drawings_stay_the_same(tmp_path):
    data = make_training_dataset(load_config(overrides=[*GENERATED, f"data.cache={tmp_path}"]))
    for epoch in (0, 1):
        for number in range(3):
            data[epoch, number]
    assert len(list(tmp_path.glob("*.rgba.npy"))) == 3


def test_tool_writes_adobe_layout_and_held_out_set(tmp_path):
    make_data_set(tmp_path / "one", foregrounds=2, backgrounds=2, tests=2, size=96, seed=5)
    make_data_set(tmp_path / "two", foregrounds=2, backgrounds=2, tests=2, size=96, seed=5, processes=2)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert len(files) == 2 * 3 + 2 * 3
    for path in files:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    for number in range(2):
        name = f"{number:06d}.png"
        alpha, trimap = (read_grey(tmp_path / "one" / "test" / kind / name) for kind in ("alpha", "trimap"))
        assert set(np.unique(trimap)) <= {0, 128, 255}
        assert (alpha[trimap == 255] == 255).all()
        assert (alpha[trimap == 0] == 0).all()
        assert read_image(tmp_path / "one" / "test" / "merged" / name).shape == (96, 96, 3)
    assert np.array_equal(read_grey(tmp_path / "one" / "train" / "alpha" / "000001.png"),
                          DrawnForeground(5, 1, 96).read()[..., 3])
