"""Visualisations, (H, W, 3) uint8 RGB: attention offsets, panels, contact sheets, error maps."""

import cv2
import numpy as np

OFFSET_PICTURE_SIDE = 512  # pixels of the shorter side
GAP = 4  # pixels between the pictures of a panel


def offset_picture(offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Attention offsets in optical-flow colours, with the two scales as text.

    Args:
        offset: (2, h, w), (row, column) of each position's strongest key, relative to the centre.
        scale: (2,), the scales of unknown and known keys.

    Returns:
        (H, W, 3) uint8 RGB, the shorter side 512.
    """
    import torch  # here, as everything else needs neither
    from torchvision.utils import flow_to_image

    flow = torch.from_numpy(offset[::-1].astype(np.float32))  # flow is (x, y)
    picture = np.ascontiguousarray(flow_to_image(flow).permute(1, 2, 0).numpy())
    height, width = picture.shape[:2]
    factor = OFFSET_PICTURE_SIDE / min(height, width)
    picture = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_NEAREST)
    text = f"unknown: {scale[0]:.2f}, known: {scale[1]:.2f}"
    return cv2.putText(picture, text, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2, cv2.LINE_AA)


def panel(pictures: list[np.ndarray], height: int) -> np.ndarray:
    """Images (H, W, 3) or (H, W) uint8 side by side, each resized to `height`."""
    row = [cv2.resize(as_rgb(picture), (max(1, round(picture.shape[1] * height / picture.shape[0])), height),
                      interpolation=cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_NEAREST)
           for picture in pictures]
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in row for part in (picture, gap)][:-1])


def contact_sheet(rows: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Panels below each other, each under its title."""
    width = max(picture.shape[1] for _, picture in rows)
    strips = []
    for title, picture in rows:
        caption = np.full((24, width, 3), 255, np.uint8)
        cv2.putText(caption, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        strips += [caption, np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)]
    return np.vstack(strips)


def error_map(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where a matte (H, W) uint8 is too opaque (red) or too transparent (blue), on black."""
    difference = prediction.astype(np.int16) - truth
    return np.stack([difference.clip(0), np.zeros_like(difference), (-difference).clip(0)], axis=2).astype(np.uint8)


def as_rgb(picture: np.ndarray) -> np.ndarray:
    """Grey (H, W) as RGB (H, W, 3); RGB unchanged."""
    return picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
