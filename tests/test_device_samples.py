"""Batches made on the device: the truth about what they show, reproducible, distributed as samples made singly."""

import cv2
import numpy as np
import pytest
import torch
from generated_images import write_training_set

from dataloader.dataset import make_training_dataset
from dataloader.image_file import ImageFileError, TooManyBrokenFilesError
from dataloader.on_device.batches import DeviceSamples, make_banks, make_samples, to_batch
from dataloader.on_device.draws import Draws
from dataloader.on_device.layer_banks import LayerBanks, in_order
from dataloader.on_device.recipe import PRESENT, REALISTIC, Recipe
from dataloader.synthetic.items import DrawnBackground, DrawnForeground
from utils.config import load_config
from utils.distributed import World
from utils.file_writing import write_png
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN
from utils.tensors import denormalise, encode_labels

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
SETTINGS = ["data.crop_size=64", "data.generated=12", "data.generated_size=128", "data.on_device=true",
            "data.finish=true",
            "model.batch_size=6", "data.bank=12"]


@pytest.fixture(scope="module")
def banks():
    return make_banks(load_config(overrides=SETTINGS), ALONE)


def same(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("recipe", [PRESENT, REALISTIC, Recipe(
    zoom=(0.5, 2), soft_share=0.5, matched_share=0.5, spill_share=0.5, mosaic_share=0.5, usual_trimap_share=0.5,
    plain_share=0.3)])
@pytest.mark.parametrize("crop", [32, 64, 160])
def test_samples_tell_the_truth(banks, crop, recipe):
    """Crops larger than the drawings' 128 pixels show them enlarged."""
    with torch.no_grad():
        samples = make_samples(Draws(CPU, crop), banks, 24, crop, recipe)
    alpha, trimap = samples.alpha[:, 0], samples.trimap
    assert samples.image.shape == (24, 3, crop, crop)
    assert samples.image.min() >= 0
    assert samples.image.max() <= 255
    assert (alpha[trimap == FOREGROUND] == 1).all()
    assert (alpha[trimap == BACKGROUND] == 0).all()
    assert (trimap == UNKNOWN).flatten(1).any(1).float().mean() > 0.9
    both = (trimap == FOREGROUND).flatten(1).any(1) & (trimap == BACKGROUND).flatten(1).any(1)
    assert both.float().mean() > 0.3
    assert torch.allclose(alpha * 255, (alpha * 255).round(), atol=1e-3)
    assert len({each.numpy().tobytes() for each in samples.image}) == 24


def test_samples_are_the_same_under_autocast_and_without_gradients(banks):
    alone = make_samples(Draws(CPU, 1), banks, 8, 64, REALISTIC)
    with torch.autocast("cpu", torch.bfloat16):
        under = make_samples(Draws(CPU, 1), banks, 8, 64, REALISTIC)
    assert all(torch.equal(*each) for each in zip(alone, under, strict=True))
    assert not alone.image.requires_grad


def test_composites_are_of_their_alpha(banks):
    """Without light and camera a sample is plain where it is plain: alpha times one colour and the rest of another."""
    with torch.no_grad():
        samples = make_samples(Draws(CPU, 3), banks, 16, 64, Recipe(plain_share=1.0))
    compared = 0
    for image, alpha in zip(samples.image, samples.alpha[:, 0], strict=True):
        solid, empty = image[:, alpha == 1], image[:, alpha == 0]
        if not (solid.shape[1] and empty.shape[1]):
            continue
        between = alpha[(alpha > 0.2) & (alpha < 0.8)]
        if len(between) > 50:
            seen = image[:, (alpha > 0.2) & (alpha < 0.8)]
            expected = between * solid.mean(1)[:, None] + (1 - between) * empty.mean(1)[:, None]
            assert (seen - expected).abs().mean() < 25  # plain colours change a little over a crop
            compared += 1
    assert compared >= 3


def test_a_batch_is_what_the_network_takes(banks):
    config = load_config(overrides=SETTINGS)
    batch = next(DeviceSamples(banks, config, ALONE))
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "image": (6, 3, 64, 64), "trimap": (6, 3, 64, 64), "alpha": (6, 1, 64, 64)}
    assert all(value.dtype == torch.float32 for value in batch.values())
    assert torch.equal(batch["trimap"].sum(1), torch.ones(6, 64, 64))
    colours = denormalise(batch["image"])
    assert -1e-5 < colours.min() < colours.max() < 1 + 1e-5
    labels = torch.tensor([[[0, 1], [2, 1]]], dtype=torch.uint8)
    assert encode_labels(labels, 1).tolist() == [[[[0, 1], [2, 1]]]]
    assert encode_labels(labels, 3)[0, :, 1, 0].tolist() == [0, 0, 1]


def test_batches_depend_on_seed_rank_and_number_alone(banks):
    config = load_config(overrides=SETTINGS)
    run = DeviceSamples(banks, config, ALONE)
    first, second, third = (next(run) for _ in range(3))
    assert same(second, next(DeviceSamples(banks, config, ALONE, first_step=1)))
    assert not same(first, second)
    assert not same(second, third)
    assert not same(first, next(DeviceSamples(banks, config, World(1, 2, CPU))))
    config.train.seed = 1
    assert not same(first, next(DeviceSamples(banks, config, ALONE)))


def contents(banks: LayerBanks) -> list[bytes]:
    return [each.numpy().tobytes() for bank in (banks.foregrounds, banks.backgrounds) for each in bank.levels[0]]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_oldest_pictures_are_replaced(workers):
    """Whatever draws them; and a run that goes on holds what it would have held."""
    foregrounds = [DrawnForeground(7, i, 64) for i in range(6)]
    backgrounds = [DrawnBackground(7, i, 64) for i in range(6)]

    def made(samples: int = 0, **options) -> LayerBanks:
        return LayerBanks(foregrounds, backgrounds, 64, most=4, renew=8, seed=3, samples=samples, **options)

    with made(workers=workers) as banks:
        before = contents(banks)
        banks.renew(7)
        assert contents(banks) == before
        banks.renew(10)  # 17 in all: two are due
        after = contents(banks)
    changed = [a != b for a, b in zip(before, after, strict=True)]
    assert changed == 2 * [True, True, False, False]
    with made(samples=17) as resumed:
        assert contents(resumed) == after


def test_processes_share_the_pictures():
    items = [DrawnForeground(0, i, 64) for i in range(5)]
    alone = [item for item, _ in zip(in_order(items, 1, 0, 1, 0, False), range(10), strict=False)]
    assert sorted(item.number for item in alone[:5]) == list(range(5))
    assert [item.epoch for item in alone] == 5 * [0] + 5 * [1]  # others in each epoch
    two = [[item for item, _ in zip(in_order(items, 1, rank, 2, 0, False), range(5), strict=False)] for rank in (0, 1)]
    assert [item for pair in zip(*two, strict=True) for item in pair] == alone
    kept = [item for item, _ in zip(in_order(items, 1, 0, 1, 5, True), range(3), strict=False)]
    assert [item.epoch for item in kept] == [0, 0, 0]


class Broken:
    """An item whose file cannot be read."""

    def __init__(self, name: str = "here.png"):
        self.name = name

    def read(self) -> np.ndarray:
        raise ImageFileError(f"{self.name}: is broken")


def test_broken_files_are_left_out_and_named(caplog):
    foregrounds = [DrawnForeground(0, i, 64) for i in range(5)] + [Broken()]
    backgrounds = [DrawnBackground(0, i, 64) for i in range(5)]
    with LayerBanks(foregrounds, backgrounds, 64, most=6, renew=50, seed=0) as banks:
        assert all(any(each) for each in contents(banks))
        banks.renew(1000)  # met again and again
    assert caplog.messages == ["unreadable image file, skipped: here.png: is broken"]
    with pytest.raises(TooManyBrokenFilesError, match=r"1 files are unreadable, the last of them: here\.png: is"):
        LayerBanks([Broken()], backgrounds, 64, most=6)
    many = [Broken(f"{number}.png") for number in range(6)]
    with pytest.raises(TooManyBrokenFilesError, match="6 files are unreadable"):
        LayerBanks([*foregrounds, *many], backgrounds, 64, most=99)


def test_nothing_is_written_without_a_cache(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    make_banks(load_config(overrides=[*SETTINGS, "data.cache=", "data.generated=2"]), ALONE).close()
    assert not list(tmp_path.iterdir())


def test_photographs_that_are_all_broken_stop_training(tmp_path):
    """What their headers do not tell; one of several is left out."""
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8))[1].tobytes()
    settings = [*SETTINGS, f"data.photographs={tmp_path}"]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(whole[:len(whole) // 2])
    with pytest.raises(TooManyBrokenFilesError, match=r"files are unreadable, the last of them: .*\.jpg"):
        make_banks(load_config(overrides=settings), ALONE)
    (tmp_path / "a.jpg").write_bytes(whole)
    make_banks(load_config(overrides=settings), ALONE).close()
    (tmp_path / "c.jpg").write_text("text")
    with pytest.raises(ImageFileError, match=r"c\.jpg"):
        make_banks(load_config(overrides=settings), ALONE)


def test_cutouts_are_drawn_and_checked(tmp_path, monkeypatch):
    """Those of data.cutouts are drawn on; a missing folder, files without alpha and broken ones are told."""
    settings = [*SETTINGS, f"data.cutouts={tmp_path / 'cutouts'}"]
    with pytest.raises(ImageFileError, match=r"data\.cutouts: .*cutouts: no such folder"):
        make_banks(load_config(overrides=settings), ALONE)
    disc = np.zeros((80, 80, 4), np.uint8)
    cv2.circle(disc, (40, 40), 38, (30, 60, 220, 255), -1)
    write_png(tmp_path / "cutouts" / "disc.png", disc)
    monkeypatch.setattr("dataloader.synthetic.items.AS_IT_IS_SHARE", 1.0)
    with make_banks(load_config(overrides=settings), ALONE) as banks:
        pictures = banks.foregrounds.levels[0].view(torch.uint8).unflatten(-1, (-1, 4)).numpy()
    assert 0.2 < (pictures[..., 3] == 255).mean() < 0.95
    assert (np.abs(pictures[..., :3].astype(int) - (30, 60, 220)) <= 3).all()  # around the disc, too
    write_png(tmp_path / "cutouts" / "empty.png", np.zeros((80, 80, 4), np.uint8))
    (tmp_path / "cutouts" / "disc.png").unlink()
    with pytest.raises(TooManyBrokenFilesError, match=r"empty\.png: alpha is 0 everywhere"):
        make_banks(load_config(overrides=settings), ALONE)
    write_png(tmp_path / "cutouts" / "empty.png", np.full((80, 80, 4), 255, np.uint8))
    with pytest.raises(TooManyBrokenFilesError, match=r"empty\.png: alpha is 255 everywhere"):
        make_banks(load_config(overrides=settings), ALONE)
    write_png(tmp_path / "cutouts" / "opaque.png", np.full((80, 80, 3), 90, np.uint8))
    with pytest.raises(ImageFileError, match=r"opaque\.png"):
        make_banks(load_config(overrides=settings), ALONE)


def test_files_and_drawings_share_a_bank(tmp_path):
    folder = write_training_set(tmp_path / "set")
    paths = [f"data.train_{name}={folder / name}" for name in ("fg", "alpha", "bg")]
    with make_banks(load_config(overrides=[*SETTINGS, *paths, "data.bank=99"]), ALONE) as banks:
        assert len(banks.foregrounds) == 3 + 12
        assert len(banks.backgrounds) == 6
        batch = to_batch(make_samples(Draws(CPU, 0), banks, 8, 64, REALISTIC), 3)
    assert batch["alpha"].max() == 1


def moments(batches: list[dict]) -> dict[str, tuple[float, float]]:
    """Mean over samples, and its standard error, of what tells distributions apart."""
    image, trimap, alpha = (torch.cat([batch[name] for batch in batches]) for name in ("image", "trimap", "alpha"))
    unknown = trimap[:, 1]
    colours = denormalise(image)
    between = ((alpha[:, 0] > 0.02) & (alpha[:, 0] < 0.98)).float()
    each = {
        "alpha": alpha.mean((1, 2, 3)), "alpha's deviation": alpha.std((1, 2, 3)),
        "between 0 and 1": between.mean((1, 2)), "unknown": unknown.mean((1, 2)),
        "known foreground": trimap[:, 2].mean((1, 2)), "red": colours[:, 0].mean((1, 2)),
        "green": colours[:, 1].mean((1, 2)), "blue": colours[:, 2].mean((1, 2)),
        "contrast": colours.std((1, 2, 3)), "grain": (colours[..., 1:] - colours[..., :-1]).abs().mean((1, 2, 3)),
        "both known": (trimap[:, [0, 2]].amax((2, 3)).amin(1)),
    }
    return {name: (values.mean().item(), (values.std() / len(values) ** 0.5).item()) for name, values in each.items()}


# How far the means of the two ways may lie apart, beside chance: crops are placed, turned and filtered otherwise.
APART = {"alpha": 0.06, "alpha's deviation": 0.03, "between 0 and 1": 0.03, "unknown": 0.04, "known foreground": 0.06,
         "red": 0.02, "green": 0.02, "blue": 0.02, "contrast": 0.02, "grain": 0.005, "both known": 0.08}


def test_distributed_as_samples_made_one_by_one():
    """Means over 320 samples each of the same drawings, with the recipe that does what the other way does."""
    count, batch = 320, 32
    config = load_config(overrides=["data.crop_size=96", f"data.generated={count}", "data.generated_size=192",
                                    f"model.batch_size={batch}", "data.finish=true", f"data.bank={count}"])
    data = make_training_dataset(config, config.train.seed)
    single = [{name: torch.stack([data[0, number][name] for number in range(first, first + batch)])
               for name in ("image", "trimap", "alpha")} for first in range(0, count, batch)]
    with make_banks(config, ALONE) as banks:
        stream = DeviceSamples(banks, config, ALONE, recipe=PRESENT)
        together = [next(stream) for _ in range(count // batch)]
    ours, theirs = moments(together), moments(single)
    for name, (mean, error) in ours.items():
        other, other_error = theirs[name]
        chance = 3 * (error**2 + other_error**2) ** 0.5
        assert abs(mean - other) < APART[name] + chance, (name, mean, other)
