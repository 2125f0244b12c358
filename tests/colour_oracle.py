"""The channels of `networks.colour_samples`, pixel by pixel in double precision, as its docstring defines them."""

import itertools

import numpy as np

CELL = 4
PULL = 0.02


def oracle_channels(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(11, H, W) of an image (3, H, W) and labels (H, W): 0 background, 1 unknown, 2 foreground; 32 divides H and W."""
    masks = [labels == 2, labels == 0]
    exist = [mask.any() for mask in masks]
    means = [cell_means(image * mask, mask) for mask in masks]
    filled = [fill(*mean) for mean in means]
    smooth = [between(colours) for colours in filled]
    trimap = between(fill(means[0][1][None], means[0][1] + means[1][1], nothing=0.5))[0]
    samples = [ray_samples(*mean) for mean in means]
    channels = np.zeros((11, *labels.shape))
    for y, x in np.ndindex(labels.shape):
        cell, colour, known = (y // CELL, x // CELL), image[:, y, x], labels[y, x] != 1
        for i in range(2):
            if exist[i] and not masks[i][y, x]:
                channels[3 * i:3 * i + 3, y, x] = smooth[i][:, y, x] - colour
        channels[8, y, x] = labels[y, x] - 1 if known else 2 * trimap[y, x] - 1
        if known:
            channels[6, y, x] = labels[y, x] - 1
        elif all(exist):
            alpha, left = projected(colour, *(colours[:, y, x] for colours in smooth))
            channels[6:8, y, x] = 2 * alpha - 1, np.abs(left).mean()
        if known or not all(exist):
            channels[9:, y, x] = channels[6:8, y, x]
        else:
            nearest = [min((d for _, d in side[cell]), default=0) for side in samples]
            candidates = [[*side[cell], (colours[(slice(None), *cell)], d)]
                          for side, colours, d in zip(samples, filled, nearest, strict=True)]
            channels[9:, y, x] = pair_channels(colour, *candidates)
    return channels


def projected(colour: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> tuple[float, np.ndarray]:
    """Alpha of a colour between two others, and what it leaves unexplained."""
    contrast, middle = foreground - background, (foreground + background) / 2
    alpha = np.clip(0.5 + (colour - middle) @ contrast / max(contrast @ contrast, 0.05), 0, 1)
    return alpha, colour - alpha * foreground - (1 - alpha) * background


def between(planes: np.ndarray) -> np.ndarray:
    """Planes of cells (C, h, w) as pixels, linear between the middles of the cells, constant beyond the outermost."""
    for axis in (1, 2):
        count = planes.shape[axis]
        places = np.clip((np.arange(CELL * count) + 0.5) / CELL - 0.5, 0, count - 1)
        before = np.minimum(places.astype(int), max(0, count - 2))
        after = np.minimum(before + 1, count - 1)
        weight = (places - before).reshape([-1 if i == axis else 1 for i in range(3)])
        planes = np.take(planes, before, axis) * (1 - weight) + np.take(planes, after, axis) * weight
    return planes


def cell_means(values: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    def means(plane):
        return plane.reshape(plane.shape[0] // CELL, CELL, -1, CELL).mean(axis=(1, 3))
    return np.stack([means(plane) for plane in values]), means(mask.astype(float))


def halved(plane: np.ndarray) -> np.ndarray:
    return (plane[::2, ::2] + plane[1::2, ::2] + plane[::2, 1::2] + plane[1::2, 1::2]) / 4


def doubled(plane: np.ndarray) -> np.ndarray:
    """Linear interpolation between the middles of pixels, along columns and then along rows."""
    for _ in range(2):
        before, after = (np.concatenate(parts) for parts in (([plane[:1], plane[:-1]]), ([plane[1:], plane[-1:]])))
        rows = np.empty((2 * len(plane), plane.shape[1]))
        rows[::2], rows[1::2] = 0.75 * plane + 0.25 * before, 0.75 * plane + 0.25 * after
        plane = rows.T
    return plane


def widened(plane: np.ndarray, distance: int) -> np.ndarray:
    result = np.zeros_like(plane)
    for y, x in np.ndindex(plane.shape):
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            row, column = y + dy * distance, x + dx * distance
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                result[y, x] += plane[row, column] * (2 - abs(dy)) * (2 - abs(dx)) / 16
    return result


def fill(values: np.ndarray, weight: np.ndarray, nothing: float = 0.0) -> np.ndarray:
    levels = [(values, weight)]
    for _ in range(3):  # cells of 8, 16 and 32 pixels
        values, weight = np.stack([halved(plane) for plane in values]), halved(weight)
        levels.append((values, weight))
    total = weight.mean()
    mean = values.mean(axis=(1, 2)) / total if total else np.full(len(values), nothing)
    spread = [levels.pop()]
    for i in range(6):
        values, weight = spread[-1]
        spread.append((np.stack([widened(plane, 2**i) for plane in values]), widened(weight, 2**i)))
    filled = np.broadcast_to(mean[:, None, None], spread[-1][0].shape)
    for values, weight in reversed(spread):
        filled = (values + PULL * filled) / (weight + PULL)
    for values, weight in reversed(levels):
        filled = (values + PULL * np.stack([doubled(plane) for plane in filled])) / (weight + PULL)
    return filled


def ray_samples(values: np.ndarray, weight: np.ndarray) -> dict[tuple[int, int], list[tuple[np.ndarray, float]]]:
    """For each cell the colours that its rays meet, and how far away."""
    samples = {}
    for cell in np.ndindex(weight.shape):
        samples[cell] = []
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            row, column = cell
            while 0 <= row < weight.shape[0] and 0 <= column < weight.shape[1]:
                if weight[row, column]:
                    length = abs(row - cell[0]) + abs(column - cell[1])
                    samples[cell].append((values[:, row, column] / weight[row, column], length))
                    break
                row, column = row + dy, column + dx
    return samples


def pair_channels(colour: np.ndarray, foregrounds: list, backgrounds: list) -> np.ndarray:
    """Channels 9 and 10 of a pixel; of both lists the last are the filled colours, with the least length."""
    least = foregrounds[-1][1] + backgrounds[-1][1]
    rows, costs = [], []
    for (foreground, foreground_length), (background, background_length) in itertools.product(foregrounds, backgrounds):
        alpha, left = projected(colour, foreground, background)
        residual = np.abs(left).max()
        costs.append(residual / 0.09 + 0.7 * (foreground_length + background_length) / (least + 1)
                     - 0.68 * min(np.abs(foreground - background).mean(), 1.33))
        rows.append([2 * alpha - 1, residual])
    weights = np.exp(-np.array(costs))
    return weights @ np.array(rows) / weights.sum()
