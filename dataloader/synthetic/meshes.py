"""A family of fine meshes (laundry bags, curtains) whose holes a camera barely resolves."""

import cv2
import numpy as np

from dataloader.synthetic.drawing import Drawing, noise, to_uint8
from dataloader.synthetic.growth import stacked_alpha
from dataloader.synthetic.warping import cut, drape, log_uniform


def mesh_bag(rng: np.random.Generator, size: int) -> Drawing:
    """A bag or curtain of fine net in folds, one or two layers, with holes of a few pixels, barely resolved."""
    layers = [drape(rng, size, _fine_net(rng, size)) for _ in range(int(rng.integers(1, 3)))]
    drawing = Drawing(stacked_alpha(*(layer.alpha for layer in layers)), layers[0].shade)
    return cut(rng, drawing, rng.uniform(1, size / 50)) if rng.random() < 0.35 else drawing


def _fine_net(rng: np.random.Generator, size: int) -> np.ndarray:
    """The alpha (h, w) uint8 of a flat net of varying density, with opaque seams and nearly opaque fold lines."""
    height, width = (int(size * rng.uniform(0.7, 1.3)) for _ in range(2))
    pitch, stretch = log_uniform(rng, 4, max(5, size / 40)), rng.uniform(0.6, 1.6)
    y, x = (at.astype(np.float32) for at in np.ogrid[:height, :width])
    x, y = np.float32(2 * np.pi / pitch) * x, np.float32(2 * np.pi / pitch / stretch) * y
    if rng.random() < 0.5:  # diagonal lattice
        x, y = (x + y) / 2, (x - y) / 2
    wave = np.cos(x) + np.cos(y)
    density = noise(rng, max(height, width), size * rng.uniform(0.15, 0.6))[:height, :width]
    density = np.float32(rng.uniform(-0.8, 1)) + np.float32(rng.uniform(0, 0.5)) * density
    threads = np.clip(0.5 + (wave + density) * np.float32(pitch / 4), 0, 1)
    if rng.random() < 0.6:  # threads not resolved by the lens
        threads = cv2.GaussianBlur(threads, (0, 0), rng.uniform(0.05, 0.25) * pitch)
    sheet = to_uint8(threads * (1 if rng.random() < 0.6 else rng.uniform(0.6, 1)))
    seam = max(1, round(size * rng.uniform(0, 0.02)))
    sheet[:seam], sheet[-seam:], sheet[:, :seam], sheet[:, -seam:] = 255, 255, 255, 255
    for at in rng.uniform(0, width, int(rng.integers(5))).astype(int):  # fold lines
        line = sheet[:, at:at + max(1, round(rng.uniform(0.3, 2) * pitch))]
        np.maximum(line, 192, out=line)
    return sheet


FAMILIES = (mesh_bag,)
