"""Whole things, meshes and photographed subjects: their form, that a seed fixes them, and whose colours they have."""

import cv2
import numpy as np
import pytest

from dataloader.image_file import ImageFileError
from dataloader.synthetic import items, meshes, objects, shapes, strands, things
from dataloader.synthetic.drawing import SUPERSAMPLING, Drawing
from dataloader.synthetic.items import DrawnForeground, subject_chooser
from dataloader.synthetic.objects import draw_cutout, draw_subject
from dataloader.synthetic.photographs import LONGEST_SIDE, read_cutout, read_photograph
from dataloader.synthetic.subjects import Subject, continued, cutout_subject, find_subject
from utils.file_writing import write_png


def test_balls_are_bright_towards_the_light():
    mask = np.zeros((96, 96), np.uint8)
    cv2.circle(mask, (48, 48), 40, 255, -1)
    shade = things._ball(mask, np.array([0.0, -1.0]), tone=128, contrast=50, gloss=0)  # from above
    above, middle, below = (float(shade[y - 4:y + 5, 44:53].mean()) for y in (16, 48, 80))
    assert above > middle + 5 > below + 10


def view_of_a_thing() -> np.ndarray:
    """A red disc with a texture before green, (160, 160, 3)."""
    rng = np.random.default_rng(0)
    view = np.full((160, 160, 3), (40, 120, 60), np.uint8)
    cv2.circle(view, (80, 80), 48, (200, 40, 50), -1)
    return cv2.add(view, rng.integers(0, 20, view.shape, dtype=np.uint8))


def test_a_subject_follows_its_colours():
    """Found around a place near the middle: of one colour, mostly the disc's, with an outline that stays within it."""
    found = 0
    for seed in range(20):
        subject = find_subject(np.random.default_rng(seed), view_of_a_thing(), 128)
        if subject is None:
            continue
        assert subject.solid.shape == (SUPERSAMPLING * 128,) * 2
        assert set(np.unique(subject.solid)) == {0, 255}
        assert subject.colours.shape == (128, 128, 3)
        inside = cv2.resize(subject.solid, (128, 128), interpolation=cv2.INTER_AREA) == 255
        red, green = (float(subject.colours[inside][:, i].mean()) for i in (0, 1))
        found += red > 150 and green < 80
    assert found >= 8


def cutout_of_a_disc(size: int = 120) -> np.ndarray:
    """A blue disc, all of the picture's width, black where it is not, (size, size, 4) RGBA."""
    cutout = np.zeros((size, size, 4), np.uint8)
    cv2.circle(cutout, (size // 2, size // 2), size // 2 - 1, (30, 60, 220, 255), -1)
    return cutout


def test_a_cutouts_subject_is_solid_and_in_its_colours():
    """A disc shown whole, or a part of it, of radius 1/2 to its longer side; nothing black from around it."""
    areas = []
    for seed in range(20):
        solid, colours = cutout_subject(np.random.default_rng(seed), cutout_of_a_disc(), 128)
        assert solid.shape == (SUPERSAMPLING * 128,) * 2
        assert set(np.unique(solid)) <= {0, 255}
        assert colours.shape == (128, 128, 3)
        assert (np.abs(colours.astype(int) - (30, 60, 220)) <= 2).all()
        areas.append((solid > 0).mean())
    assert min(areas) > 0.45  # pi / 4 / 1.25^2 is 0.50
    assert max(areas) > 0.9
    faint = cutout_of_a_disc()
    faint[..., 3] //= 3
    assert cutout_subject(np.random.default_rng(0), faint, 128) is None


def test_subjects_come_from_cutouts_and_photographs(tmp_path, monkeypatch):
    write_png(tmp_path / "disc.png", np.pad(cutout_of_a_disc(), ((10, 90), (30, 30), (0, 0))))
    write_png(tmp_path / "view.png", view_of_a_thing())
    write_png(tmp_path / "empty.png", np.zeros((20, 20, 4), np.uint8))
    disc, view, empty = (tmp_path / f"{name}.png" for name in ("disc", "view", "empty"))
    assert subject_chooser((), (), 64) is None
    rng = np.random.default_rng(0)
    only_cutouts = subject_chooser((), (disc,), 64)
    assert all(np.ptp(only_cutouts(rng).colours.reshape(-1, 3), axis=0).max() <= 2 for _ in range(5))
    both = subject_chooser((view,), (disc,), 64)
    blue = [subject.colours[..., 2].mean() > 200 for subject in (both(rng) for _ in range(60)) if subject]
    assert 0.4 < np.mean(blue) < 0.85
    with pytest.raises(ImageFileError, match=r"empty\.png: alpha is 0 everywhere"):
        subject_chooser((), (empty,), 64)(rng)
    monkeypatch.setattr(objects, "SUBJECT_SHARE", 1.0)
    monkeypatch.setattr(items, "AS_IT_IS_SHARE", 0.0)
    drawn = DrawnForeground(0, 0, 64, (), (shapes.figure,), cutouts=(disc,))
    pixels = drawn.read()
    assert pixels[pixels[..., 3] == 255][:, 2].mean() > 150
    assert drawn.identity()[1] != drawn._replace(cutouts=()).identity()[1]


def test_small_cutouts_are_not_enlarged_much():
    """One of 40 pixels covers at most (2.5 * 40 / 256)^2 of the picture."""
    for seed in range(10):
        subject = cutout_subject(np.random.default_rng(seed), cutout_of_a_disc(40), 256)
        assert 0.08 < (subject.solid > 0).mean() < 0.16


def test_foregrounds_that_are_a_cutout_as_it_is(tmp_path, monkeypatch):
    half = cutout_of_a_disc()
    half[..., 3] //= 2
    write_png(tmp_path / "half.png", half)
    monkeypatch.setattr(items, "AS_IT_IS_SHARE", 1.0)
    pixels = DrawnForeground(0, 0, 96, (), cutouts=(tmp_path / "half.png",)).read()
    assert pixels.shape == (96, 96, 4)
    assert pixels[..., 3].max() == 127
    assert (np.abs(pixels[pixels[..., 3] > 60][:, :3].astype(int) - (30, 60, 220)) <= 3).all()


def test_files_are_read_as_photographs_and_as_cutouts(tmp_path):
    """Large ones are reduced, and what is empty does not darken what is beside it."""
    path = tmp_path / "large.png"
    write_png(path, cutout_of_a_disc(2000))
    for read, channels in ((read_photograph, 3), (read_cutout, 4), (read_photograph, 3)):
        image = read(path)
        assert image.shape == (LONGEST_SIDE, LONGEST_SIDE, channels)
    cutout = read_cutout(path)
    assert (cutout[cutout[..., 3] > 2][:, 2] >= 215).all()


def test_meshes_have_many_holes():
    """Where a mesh has not been cut short its alpha goes up and down every few pixels."""
    crossings = []
    for seed in range(10):
        alpha = meshes.mesh_bag(np.random.default_rng(seed), 256).alpha.astype(int)
        middle = alpha[64:192, 64:192]
        signs = np.sign(middle - cv2.blur(middle.astype(np.float32), (25, 25)))
        crossings.append((np.diff(signs, axis=1) != 0).mean())
    assert np.median(crossings) > 0.1  # a wave of 20 pixels has as many


def test_meshes_have_nearly_opaque_lines_where_they_are_folded():
    sheet = meshes._fine_net(np.random.default_rng(4), 256)
    assert sheet.dtype == np.uint8
    lines = (sheet >= 192).all(axis=0)
    assert 2 < lines.sum() < 0.5 * lines.size  # seams among them


def test_colours_go_on_beyond_the_outline():
    solid = np.zeros((96, 96), np.uint8)
    solid[24:72, 24:72] = 255
    colours = np.full((96, 96, 3), (20, 200, 90), np.uint8)
    colours[26:70, 26:70] = (180, 90, 40)  # near the outline something behind shines through
    filled = continued(colours, solid)
    assert (np.abs(filled.astype(int) - (180, 90, 40)) <= 1).all()
    assert np.array_equal(continued(colours, np.zeros_like(solid)), colours)  # nothing to continue


@pytest.mark.parametrize("family", [shapes.figure, shapes.defocused, shapes.motion_blurred, strands.fur,
                                    strands.whiskers, strands.bristles], ids=lambda family: family.__name__)
def test_families_of_bodies_take_one(family):
    solid = np.zeros((192, 192), np.uint8)
    cv2.circle(solid, (96, 96), 50, 255, -1)
    before = solid.copy()
    drawing = family(np.random.default_rng(1), 96, solid)
    assert np.array_equal(solid, before)
    assert drawing.alpha[48, 48] == 255
    assert drawing.alpha[2, 2] == 0
    assert family in objects._BODIES


def test_subjects_are_the_bodies(monkeypatch):
    """With subjects at hand, and a family of bodies, a subject's colours are those of the foreground."""
    solid = np.full((128, 128), 255, np.uint8)
    subject = Subject(solid, np.full((64, 64, 3), (10, 60, 200), np.uint8))
    monkeypatch.setattr(objects, "SUBJECT_SHARE", 1.0)
    monkeypatch.setattr(objects, "COUNT_SHARES", (1, 0, 0))
    pixels = draw_cutout(np.random.default_rng(0), 64, (shapes.figure,), None, lambda _: subject)
    assert (pixels[..., 3] == 255).all()
    assert np.abs(np.median(pixels[..., :3], axis=(0, 1)) - (10, 60, 200)).max() < 25
    for subjects in (None, lambda _: None):
        assert draw_subject(np.random.default_rng(0), 64, shapes.figure, subjects) is None


def test_strands_in_colours_that_change_little(monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    drawing = Drawing(np.full((64, 64), 255, np.uint8))
    monkeypatch.setattr(objects, "PHOTOGRAPH_SHARE", 1.0)
    deviations = []
    for share in (0.0, 1.0):
        monkeypatch.setattr(objects, "SMOOTH_SHARE", share)
        colours = objects.object_colours(np.random.default_rng(1), strands.long_hair, drawing, lambda _: noise)
        deviations.append(float(colours.std()))
    assert deviations[1] < 0.4 * deviations[0]


def test_film_is_a_layer_of_its_own(monkeypatch):
    """Wrapped things are film over a body, which shows through where the film is clear."""
    monkeypatch.setattr(objects, "COUNT_SHARES", (1, 0, 0))
    (film, film_colours), (body, _) = objects._layers(np.random.default_rng(2), 128, [things.wrapped], (), None, None)
    outside = (body == 0) & (film > 0)
    assert outside.mean() > 0.01
    assert 0 < film[outside].mean() < 200
    assert film_colours.std(axis=2).mean() < 40  # film is hardly coloured, mostly
    pixels = draw_cutout(np.random.default_rng(2), 128, (things.wrapped,))
    assert ((pixels[..., 3] > 0) & (pixels[..., 3] < 255)).mean() > 0.01
    around = things.film_around(np.random.default_rng(0), np.zeros((64, 64), np.uint8))
    assert around.alpha.shape == (64, 64)  # around nothing there is no film to speak of, and no error
