"""Photographs with known alpha in training: shown as they are, with right trimaps, and mattes made for it."""

import sys

import cv2
import numpy as np
import pytest
import torch

from dataloader.image_file import ImageFileError, read_grey, read_image
from dataloader.image_folders import Foreground
from dataloader.on_device.bank_images import PLACES, bank_matted
from dataloader.on_device.batches import DeviceSamples, make_banks, make_samples
from dataloader.on_device.draws import Draws
from dataloader.on_device.recipe import REALISTIC
from tools import matte_photographs
from utils.config import ConfigError, load_config
from utils.distributed import World
from utils.file_writing import write_png
from utils.preprocessing import BACKGROUND, FOREGROUND, UNKNOWN
from utils.tensors import denormalise

CPU = torch.device("cpu")
ALONE = World(0, 1, CPU)
SETTINGS = ["data.crop_size=64", "data.generated=6", "data.generated_size=128", "data.on_device=true",
            "data.finish=true", "model.batch_size=6", "data.bank=6"]


def soft_disc(height: int, width: int) -> np.ndarray:
    """Alpha uint8 of a disc in the middle with an edge of eight pixels."""
    y, x = np.mgrid[:height, :width] + 0.5
    return (255 * np.clip((height / 3 - np.hypot(x - width / 2, y - height / 2)) / 8, 0, 1)).round().astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures whose grey values are their alpha: no composite of drawn layers looks like that."""
    folder = tmp_path_factory.mktemp("matted")
    for name, size in (("a", (100, 120)), ("b", (128, 90)), ("c", (300, 200))):
        alpha = soft_disc(*size)
        write_png(folder / "image" / f"{name}.png", cv2.merge([alpha] * 3))
        write_png(folder / "alpha" / f"{name}.png", alpha)
    return folder


def settings(folder, *more: str):
    return load_config(overrides=[*SETTINGS, f"data.matted_image={folder / 'image'}",
                                  f"data.matted_alpha={folder / 'alpha'}", *more])


@pytest.fixture(scope="module")
def banks(folder):
    return make_banks(settings(folder), ALONE)


def likeness(images: torch.Tensor, alphas: torch.Tensor) -> list[float]:
    """Correlation of each image's grey values with its alpha."""
    return [float(np.corrcoef(image.mean(0).flatten(), alpha.flatten())[0, 1]) for image, alpha in
            zip(images, alphas, strict=True)]


def test_photographs_are_shown_as_they_are(banks):
    samples = make_samples(Draws(CPU, 1), banks, 32, 64, REALISTIC._replace(matted_share=1.0))
    alpha, trimap = samples.alpha[:, 0], samples.trimap
    assert min(likeness(samples.image, alpha)) > 0.95
    assert (alpha[trimap == FOREGROUND] == 1).all()
    assert (alpha[trimap == BACKGROUND] == 0).all()
    assert (trimap == UNKNOWN).flatten(1).any(1).all()
    assert samples.image.shape == (32, 3, 64, 64)
    assert len({each.numpy().tobytes() for each in samples.image}) == 32


def test_their_share_of_the_samples(banks):
    samples = make_samples(Draws(CPU, 2), banks, 200, 64, REALISTIC._replace(matted_share=0.3))
    alike = np.array(likeness(samples.image, samples.alpha[:, 0])) > 0.95
    assert 0.2 < alike.mean() < 0.45  # a few composites are, by chance


def test_the_share_of_a_configuration(folder, banks):
    def alike(*more: str) -> float:
        batches = DeviceSamples(banks, settings(folder, "model.batch_size=16", *more), ALONE)
        batch = next(batches)
        return np.mean(np.array(likeness(denormalise(batch["image"]), batch["alpha"])) > 0.95)

    assert alike("data.matted_share=1") == 1
    assert alike("data.matted_share=0") < 0.2


def test_without_photographs_samples_are_as_before(folder, banks):
    plain = make_banks(load_config(overrides=SETTINGS), ALONE)
    assert plain.matted is None
    first, second = (next(DeviceSamples(each, settings(folder, f"data.matted_share={share}"), ALONE))
                     for each, share in ((plain, 0.5), (banks, 0)))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_photograph_in_a_bank(folder):
    """Smaller ones are not enlarged but mirrored around, larger ones reduced; crops are around what is unknown."""
    def read(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        image, alpha = (folder / kind / f"{name}.png" for kind in ("image", "alpha"))
        pixels, places = bank_matted(Foreground(image, alpha, 0, 0), 128)
        assert pixels.shape == (128, 128, 4)
        assert places.shape == (PLACES, 2)
        return pixels, places, read_grey(alpha)

    pixels, places, alpha = read("a")
    inside = slice(14, 114), slice(4, 124)
    assert np.array_equal(pixels[inside], cv2.merge([alpha] * 4))
    assert np.array_equal(pixels[:14], pixels[14:28][::-1])
    assert np.array_equal(pixels[:, 124:], pixels[:, 120:124][:, ::-1])
    at = alpha[places[:, 1].astype(int) - 14, places[:, 0].astype(int) - 4]
    assert ((at > 0) & (at < 255)).all()
    pixels, _, alpha = read("c")
    assert np.abs(pixels[:, 21:106, 3].mean() - alpha.mean()) < 1  # 300 x 200 reduced to 128 x 85


@pytest.mark.parametrize(("overrides", "message"), [
    (["data.matted_image=a"], "data.matted_image is set and data.matted_alpha is not; expected both"),
    (["data.matted_alpha=a"], "data.matted_alpha is set and data.matted_image is not; expected both"),
    (["data.matted_image=a", "data.matted_alpha=b"], "data.matted_image is set and data.on_device is false"),
])
def test_settings_that_do_not_fit(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=overrides)


def test_a_photograph_without_alpha(tmp_path):
    write_png(tmp_path / "image" / "a.png", np.zeros((20, 20, 3), np.uint8))
    write_png(tmp_path / "alpha" / "a.png", np.zeros((20, 21), np.uint8))
    with pytest.raises(ImageFileError, match=r"data\.matted_image, data\.matted_alpha: .*a\.png"):
        make_banks(settings(tmp_path), ALONE)
    (tmp_path / "alpha" / "a.png").unlink()
    with pytest.raises(ImageFileError, match=r"data\.matted_image, data\.matted_alpha: .*"):
        make_banks(settings(tmp_path), ALONE)


def test_mattes_along_outlines(tmp_path, monkeypatch, capsys):
    """A disc's photograph is reduced, its matte is the disc, and 0 and 1 are exact; others are named."""
    alpha = soft_disc(200, 260)[..., None] / 255
    write_png(tmp_path / "photos" / "disc.png", (alpha * (220, 60, 30) + (1 - alpha) * (20, 90, 200)).astype(np.uint8))
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = (1000 * np.column_stack([130 + 63 * np.cos(angle), 100 + 63 * np.sin(angle)]) / (260, 200)).round()
    (tmp_path / "outlines.toml").write_text(
        f'["disc.png"]\nband = 25\nforeground = [{outline.ravel().astype(int).tolist()}]\n'
        '["none.png"]\nforeground = [[1, 2, 3, 4, 5, 6]]\n')
    monkeypatch.setattr(sys, "argv", [
        "matte_photographs.py", "--photographs", str(tmp_path / "photos"), "--outlines",
        str(tmp_path / "outlines.toml"), "--output", str(tmp_path / "matted"), "--side", "130", "--device", "cpu"])
    assert matte_photographs.main() == 1
    output = capsys.readouterr()
    assert "matte_photographs.py: none.png: not found in" in output.err
    assert "1 of 2 mattes" in output.out
    image, trimap, matte = (tmp_path / "matted" / kind / "disc.png" for kind in ("image", "trimap", "alpha"))
    assert read_image(image).shape == (100, 130, 3)
    expected = cv2.resize(alpha[..., 0], (130, 100), interpolation=cv2.INTER_AREA)
    assert np.abs(read_grey(matte) / 255 - expected).mean() < 0.01
    assert set(np.unique(read_grey(trimap))) == {0, 128, 255}
    before = matte.stat().st_mtime_ns
    matte_photographs.main()
    assert matte.stat().st_mtime_ns == before
    assert np.array_equal(matte_photographs.snapped(np.float32([0.009, 0.011, 0.989, 0.991])),
                          np.float32([0, 0.011, 0.989, 1]))
