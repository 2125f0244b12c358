"""The trial and the example of one's own cut-outs run as docs/training.md shows them."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from fresh_clone import ROOT, fresh_clone, run, shrink_samples
from PIL import Image

from dataloader.image_file import read_grey
from dataloader.image_folders import find_test_images
from evaluation.metrics import check_inputs
from utils.config import load_config

FEWER = {"trial": {"total_step = 250": "total_step = 40", "warmup_step = 25": "warmup_step = 10",
                   "val_step = 50": "val_step = 40", "batch_size = 16": "batch_size = 8",
                   "generated = 400": "generated = 12", "bank = 400": "bank = 12"},
         "own-cutouts": {"total_step = 40": "total_step = 3", "warmup_step = 10": "warmup_step = 1",
                         "crop_size = 128": "crop_size = 64", "val_step = 20": "val_step = 3"}}
TEXT = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


def commands(heading: str) -> list[str]:
    """The commands in the first block of a section."""
    section = TEXT.partition(f"\n## {heading}\n")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.S)[1].replace("\\\n", "")
    return [line for line in block.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture
def clone(tmp_path) -> Path:
    """A fresh clone with small samples, whose trainings have few steps."""
    clone = fresh_clone(tmp_path / "project")
    shrink_samples(clone, 96, 80)
    for name, changes in FEWER.items():
        path = clone / "config" / f"{name}.toml"
        text = path.read_text(encoding="utf-8")
        for before, after in changes.items():
            assert text.count(before) == 1
            text = text.replace(before, after)
        path.write_text(text, encoding="utf-8")
    return clone


def test_the_trial(clone):
    """Its loss falls, and test phase and demo take what it saves."""
    training, testing, demo = commands("A trial in two minutes")
    assert "--set" not in training
    run(clone, training)
    with (clone / "logs" / "stdout" / "trial.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.8 * losses[0]
    assert "validation at step 40: sad " in (clone / "logs" / "stdout" / "trial.log").read_text()
    assert "mean of 16" in run(clone, testing)
    assert (clone / "prediction" / "trial" / "worst_images" / "sheet.png").exists()
    assert "5 of 5 mattes" in run(clone, demo)


def test_the_trials_images_can_be_scored():
    config = load_config(ROOT / "config" / "trial.toml")
    triples = find_test_images(*(ROOT / config.test[kind] for kind in ("merged", "alpha", "trimap")))
    assert len(triples) == 16
    assert [config.data[f"test_{kind}"] for kind in ("merged", "alpha", "trimap")] == [
        config.test[kind] for kind in ("merged", "alpha", "trimap")]
    for triple in triples:
        alpha, trimap = read_grey(triple.alpha), read_grey(triple.trimap)
        check_inputs(alpha, alpha, trimap)
        assert (alpha[trimap == 0] == 0).all()
        assert (alpha[trimap == 255] == 255).all()


def test_ones_own_cutouts(clone):
    """From cut-outs to errors: the test images are the held-out cut-out on three backgrounds, with its alpha."""
    steps = commands("Your own cut-outs")
    printed = [run(clone, step) for step in steps]
    own = clone / "data" / "own"
    assert sorted(path.name for path in (own / "cutouts").iterdir()) == [
        f"{name}_cutout.png" for name in ("astronaut", "coffee", "raccoon", "rocket")]
    (held_out,) = (own / "held-out").iterdir()
    pixels = np.array(Image.open(held_out))
    backgrounds = sorted((clone / "demo" / "input_lowres").iterdir())
    for number in range(3):
        name = f"{held_out.stem}_{number}.png"
        assert np.array_equal(read_grey(own / "test" / "alpha" / name), pixels[..., 3])
        merged = np.array(Image.open(own / "test" / "merged" / name)).astype(int)
        background = np.array(Image.open(backgrounds[number]).convert("RGB"))
        share = pixels[..., 3:] / 255
        assert np.abs(merged - (share * pixels[..., :3] + (1 - share) * background)).max() <= 1
    before, after = printed[-2:]
    assert "mean of 3" in before
    assert "mean of 3" in after
    rows = [(clone / "prediction" / version / "errors.csv").read_text() for version in ("before", "own-cutouts")]
    assert len(rows[0].splitlines()) == 4
    assert rows[0] != rows[1]  # the weights have changed
