"""The training set's samples, whatever the workers, and what broken files do to them."""

import logging
import multiprocessing
from functools import partial
from pathlib import Path

import pytest
import torch
from generated_images import write_training_set
from torch.utils.data import DataLoader

from dataloader.dataset import TooManyBrokenFilesError, TrainingData, make_training_dataset
from dataloader.image_folders import find_backgrounds, find_foregrounds
from dataloader.loader import loaded, start_worker
from dataloader.sampler import StepBatches
from utils.config import ConfigError, load_config
from utils.tensors import normalise

CROP = 64


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_training_set(tmp_path / "set")


def training_data(folder: Path, **options) -> TrainingData:
    foregrounds = find_foregrounds(folder / "fg", folder / "alpha")
    return TrainingData(foregrounds, find_backgrounds(folder / "bg"), CROP, **options)


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) if torch.is_tensor(value) else value == other[key]
        for key, value in one.items())


def samples(data: TrainingData, workers: int = 0, epoch: int = 0, log_file: Path | None = None) -> list[dict]:
    """All samples of an epoch, in order.

    Workers come from a server that has imported PyTorch, faster than the spawned ones that training has.
    """
    multiprocessing.set_forkserver_preload(["dataloader.dataset"])
    keys = [(epoch, number) for number in range(len(data))]
    return list(loaded(DataLoader(data, batch_size=None, sampler=keys, num_workers=workers,
                                  worker_init_fn=partial(start_worker, log_file=log_file),
                                  multiprocessing_context="forkserver" if workers else None)))


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_sample(folder):
    data = training_data(folder)
    assert len(data) == 6
    for number in range(6):
        sample = data[0, number]
        assert {key: tuple(value.shape) for key, value in sample.items() if key != "name"} == {
            "image": (3, CROP, CROP), "trimap": (3, CROP, CROP), "alpha": (1, CROP, CROP),
            "foreground": (3, CROP, CROP), "background": (3, CROP, CROP)}
        assert all(value.dtype == torch.float32 for key, value in sample.items() if key != "name")
        assert sample["name"].startswith(f"f{number % 3}")
        assert sample["name"].endswith(f" on b{number}")
        background, unknown, foreground = sample["trimap"].bool()
        alpha, = sample["alpha"]
        assert ((background.int() + unknown.int() + foreground.int()) == 1).all()
        assert (alpha[background] == 0).all()
        assert (alpha[foreground] == 1).all()
        image = alpha * sample["foreground"] + (1 - alpha) * sample["background"]
        expected = normalise((image * 255).permute(1, 2, 0).numpy())
        assert (sample["image"] - expected).abs().max() < 1e-4
    with pytest.raises(IndexError):
        data[0, 6]


def test_trimap_of_one_channel_and_no_layers(folder):
    sample = training_data(folder, trimap_channel=1, with_layers=False)[0, 0]
    assert sample.keys() == {"image", "trimap", "alpha", "name"}
    assert sample["trimap"].shape == (1, CROP, CROP)
    assert set(sample["trimap"].unique().tolist()) <= {0.0, 1.0, 2.0}


def test_same_seed_same_samples_with_any_number_of_workers(folder):
    alone = samples(training_data(folder, seed=5))
    for workers in (0, 2, 3):
        assert all(map(same, alone, samples(training_data(folder, seed=5), workers)))
    assert not any(map(same, alone, samples(training_data(folder, seed=6))))


def test_every_epoch_draws_anew(folder):
    data = training_data(folder)
    first, second = samples(data), samples(data, epoch=1)
    assert not any(map(same, first, second))
    assert all(map(same, second, samples(data, workers=2, epoch=1)))
    assert all(map(same, first, samples(data)))


def test_numbers_draw_differently(folder):
    data = training_data(folder)
    data.backgrounds = data.backgrounds[:1] * 6
    alphas = [data[0, number]["alpha"] for number in range(6)]
    assert not any(torch.equal(alphas[i], alphas[j]) for i in range(6) for j in range(i))


def test_batches(folder):
    order = StepBatches(6, batch_size=2, accumulate=1, first_step=0, last_step=3)
    batches = list(DataLoader(training_data(folder), batch_sampler=order))
    assert [tuple(batch["image"].shape) for batch in batches] == [(2, 3, CROP, CROP)] * 3
    assert len({name.split(" on ")[1] for batch in batches for name in batch["name"]}) == 6


def test_second_foreground_shares(folder):
    data = training_data(folder, with_layers=False)
    data.backgrounds = data.backgrounds * 50
    names = [data[0, number]["name"] for number in range(300)]
    assert abs(sum("+" in name for name in names) / 300 - 0.5) < 0.1
    assert {name.partition(" ")[0].partition("+")[2] for name in names} == {"", "f0", "f1", "f2"}


def test_without_augmentation_nothing_is_random(folder):
    first = training_data(folder, augmentation=False)
    other = training_data(folder, augmentation=False, seed=9)
    assert all(map(same, samples(first), samples(other, epoch=3)))
    assert [sample["name"] for sample in samples(first)] == [f"f{i % 3} on b{i}" for i in range(6)]


def test_random_interp_changes_the_samples(folder):
    usual, random = training_data(folder), training_data(folder, random_interp=True)
    assert not all(map(same, samples(usual), samples(random)))


def test_cached_samples_are_the_same(folder, tmp_path):
    plain = samples(training_data(folder))
    for workers in (2, 0):
        assert all(map(same, plain, samples(training_data(folder, cache=tmp_path / "cache"), workers)))


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_files_cost_a_sample_and_are_named_once(folder, tmp_path, workers):
    expected = samples(training_data(folder))
    damage(folder / "bg" / "b2.jpg")
    handler = logging.FileHandler(tmp_path / "log")  # workers, too, write to it
    logger = logging.getLogger("dataloader.dataset")
    logger.addHandler(handler)
    data = training_data(folder)
    rounds = [samples(data, workers, log_file=tmp_path / "log") for _ in range(3)]
    logger.removeHandler(handler)
    lines = (tmp_path / "log").read_text().splitlines()
    assert len(lines) == 1
    assert "broken" in lines[0]
    assert "b2.jpg" in lines[0]
    for made in rounds:
        as_before = [same(one, other) for one, other in zip(made, expected, strict=True)]
        assert as_before == [True, True, False, True, True, True]
        assert same(made[2], rounds[0][2])


def test_spawned_workers_write_to_the_log_file(folder, tmp_path):
    damage(folder / "bg" / "b2.jpg")
    worker_start = partial(start_worker, log_file=tmp_path / "log")
    loader = DataLoader(training_data(folder), batch_size=None, sampler=[(0, number) for number in range(6)],
                        num_workers=1, worker_init_fn=worker_start, multiprocessing_context="spawn")
    assert all(map(same, list(loader), samples(training_data(folder))))
    line, = (tmp_path / "log").read_text().splitlines()
    assert f"WARNING unreadable image file, its samples are replaced: {folder / 'bg' / 'b2.jpg'}: damaged" in line


def test_replacements_do_not_depend_on_workers(folder):
    damage(folder / "fg" / "f1.png")
    alone, shared = (samples(training_data(folder), workers) for workers in (0, 2))
    assert len(alone) == 6
    assert all(map(same, alone, shared))
    assert not any("f1" in sample["name"] for sample in alone)


@pytest.mark.parametrize("workers", [0, 2])
def test_too_many_broken_files_stop_training(tmp_path, workers):
    folder = write_training_set(tmp_path / "set", foregrounds=1, backgrounds=12)
    for number in range(5):
        damage(folder / "bg" / f"b{number}.jpg")
    assert len(samples(training_data(folder), workers)) == 12
    damage(folder / "bg" / "b5.jpg")
    data = training_data(folder)
    with pytest.raises(TooManyBrokenFilesError, match=r"6 of 12 backgrounds are unreadable, .*b\d\.jpg"):
        for _ in range(2):
            samples(data, workers)
    assert not multiprocessing.active_children()  # they ignore SIGTERM: the program would never end
    assert len(samples(training_data(folder, broken_share=0.5), workers)) == 12


def test_no_foreground_left(tmp_path):
    folder = write_training_set(tmp_path / "set", foregrounds=1)
    data = training_data(folder)
    damage(folder / "fg" / "f0.png")
    with pytest.raises(TooManyBrokenFilesError, match="1 of 1 foregrounds are unreadable"):
        data[0, 0]


def test_from_a_configuration(folder, tmp_path):
    paths = [f"data.train_{name}={folder / name}" for name in ("fg", "alpha", "bg")]
    options = ["data.crop_size=64", "model.trimap_channel=1", f"data.cache={tmp_path / 'cache'}"]
    data = make_training_dataset(load_config(overrides=[*paths, *options]), seed=3)
    assert same(data[0, 4], training_data(folder, trimap_channel=1, with_layers=False, seed=3)[0, 4])
    assert len(list((tmp_path / "cache").iterdir())) in (2, 4)
    with_layers = make_training_dataset(load_config(overrides=[*paths, *options, "train.comp_weight=0.5"]))
    assert with_layers[0, 0]["foreground"].shape == (3, CROP, CROP)
    with pytest.raises(ConfigError, match=r"data\.train_bg is not set"):
        make_training_dataset(load_config(overrides=paths[:2]))
