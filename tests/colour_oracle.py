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
    samples = [seen(*mean) for mean in means]
    channels = np.zeros((11, *labels.shape))
    for y, x in np.ndindex(labels.shape):
        cell, colour, known = (y // CELL, x // CELL), image[:, y, x], labels[y, x] != 1
        for i in range(2):
            if exist[i] and not masks[i][y, x]:
                channels[3 * i:3 * i + 3, y, x] = smooth[i][:, y, x] - colour
        channels[6, y, x] = labels[y, x] - 1 if known else 2 * trimap[y, x] - 1
        if known:
            channels[7:, y, x] = labels[y, x] - 1, 0, labels[y, x] - 1, 0
        elif all(exist):
            alpha, left = projected(colour, *(colours[:, y, x] for colours in smooth))
            channels[7:9, y, x] = 2 * alpha - 1, np.abs(left).mean()
            channels[9:, y, x] = pair_channels(colour, *(side[(..., *cell)] for side in samples))
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


def all_levels(values: np.ndarray, weight: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Means over cells of 4, 8, 16 and 32 pixels, and six wider ones."""
    levels = [(values, weight)]
    for _ in range(3):
        values, weight = levels[-1]
        levels.append((np.stack([halved(plane) for plane in values]), halved(weight)))
    for i in range(6):
        values, weight = levels[-1]
        levels.append((np.stack([widened(plane, 2**i) for plane in values]), widened(weight, 2**i)))
    return levels


def mean_of_all(values: np.ndarray, weight: np.ndarray, nothing: float) -> np.ndarray:
    mean = values.mean(axis=(1, 2)) / weight.mean() if weight.any() else np.full(len(values), nothing)
    return np.broadcast_to(mean[:, None, None], (len(values), weight.shape[0] // 8, weight.shape[1] // 8))


def fill(values: np.ndarray, weight: np.ndarray, nothing: float = 0.0) -> np.ndarray:
    filled = mean_of_all(values, weight, nothing)
    for i, (level, known) in reversed(list(enumerate(all_levels(values, weight)))):
        if i < 3:
            filled = np.stack([doubled(plane) for plane in filled])
        filled = (level + PULL * filled) / (known + PULL)
    return filled


def seen(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """What each cell sees to the right, to the left, below and above: (4, 3, h, w)."""
    samples = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        colours = mean_of_all(values, weight, 0)
        for i, (level, known) in reversed(list(enumerate(all_levels(values, weight)))):
            step = {0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 4, 7: 8, 8: 16, 9: 32}[i]
            if i < 3:
                colours = np.stack([doubled(plane) for plane in colours])
            result = np.empty_like(colours)
            for y, x in np.ndindex(known.shape):
                colour = colours[:, y, x]
                for places in ([(2, -1, 0.25), (2, 0, 0.5), (2, 1, 0.25)], [(1, 0, 1.0)]):
                    value, share = 0, 0
                    for ahead, aside, part in places:
                        row = y + step * (ahead * down + aside * right)
                        column = x + step * (ahead * right + aside * down)
                        if 0 <= row < known.shape[0] and 0 <= column < known.shape[1]:
                            value, share = value + part * level[:, row, column], share + part * known[row, column]
                    colour = (value + PULL * colour) / (share + PULL)
                result[:, y, x] = colour
            colours = result
        samples.append(colours)
    return np.stack(samples)


def pair_channels(colour: np.ndarray, foregrounds: np.ndarray, backgrounds: np.ndarray) -> tuple[float, float]:
    """Channels 9 and 10 of a pixel."""
    pairs = [projected(colour, *pair) for pair in itertools.product(foregrounds, backgrounds)]
    weights = np.array([1 / (left @ left + 0.005) for _, left in pairs])
    alpha = weights @ [alpha for alpha, _ in pairs] / weights.sum()
    squared = weights @ [left @ left for _, left in pairs] / weights.sum()
    return 2 * alpha - 1, np.sqrt(squared)
