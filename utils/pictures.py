"""Pictures that people look at: attention offsets, training panels, contact sheets. All (H, W, 3) uint8 RGB."""

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.utils import flow_to_image

from matting.predictor import UNKNOWN, denormalise
from networks import MattingOutput

OFFSET_PICTURE_SIDE = 512  # pixels of the short side
GAP = 4  # pixels between the pictures of a panel


def offset_picture(offset: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """An attention block's offsets as optical-flow colours, with its two scales written on them.

    Args:
        offset: (2, h, w), (row, column) of each position's strongest key, from the centre.
        scale: (2,), the scales of unknown and known keys.

    Returns:
        (H, W, 3) uint8 RGB, the short side 512.
    """
    flow = torch.from_numpy(offset[::-1].astype(np.float32))  # flow is (x, y)
    picture = np.ascontiguousarray(flow_to_image(flow).permute(1, 2, 0).numpy())
    height, width = picture.shape[:2]
    factor = OFFSET_PICTURE_SIDE / min(height, width)
    picture = cv2.resize(picture, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_NEAREST)
    text = f"unknown: {scale[0]:.2f}, known: {scale[1]:.2f}"
    return cv2.putText(picture, text, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2, cv2.LINE_AA)


def training_pictures(batch: dict[str, Tensor], output: MattingOutput) -> dict[str, np.ndarray]:
    """The first sample of a batch: image, trimap, alpha and prediction in a row; and what attention looked at."""
    image = _grey_levels(denormalise(batch["image"][0].float())).permute(1, 2, 0)
    trimap = batch["trimap"][0]
    labels = trimap.argmax(dim=0) if len(trimap) == 3 else trimap[0]
    prediction = torch.where(labels == UNKNOWN, output.alpha[0, 0].float(), labels / 2)
    row = [image, _grey_levels(labels / 2), _grey_levels(batch["alpha"][0, 0]), _grey_levels(prediction)]
    pictures = {"image_trimap_alpha_prediction": panel([picture.cpu().numpy() for picture in row], len(image))}
    for i, (offset, scale) in enumerate(zip(output.offsets, output.scales, strict=True), start=1):
        pictures[f"offset{i}"] = offset_picture(offset[0].cpu().numpy(), scale[0].float().cpu().numpy())
    return pictures


def _grey_levels(values: Tensor) -> Tensor:
    return (values.detach().float().clamp(0, 1) * 255).byte()


def panel(pictures: list[np.ndarray], height: int) -> np.ndarray:
    """Pictures (H, W, 3) or (H, W) uint8 side by side, each scaled to `height`."""
    row = [cv2.resize(as_rgb(picture), (max(1, round(picture.shape[1] * height / picture.shape[0])), height),
                      interpolation=cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_NEAREST)
           for picture in pictures]
    gap = np.full((height, GAP, 3), 255, np.uint8)
    return np.hstack([part for picture in row for part in (picture, gap)][:-1])


def contact_sheet(rows: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Panels under each other, each with its title above."""
    width = max(picture.shape[1] for _, picture in rows)
    strips = []
    for title, picture in rows:
        caption = np.full((24, width, 3), 255, np.uint8)
        cv2.putText(caption, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        strips += [caption, np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0)), constant_values=255)]
    return np.vstack(strips)


def error_map(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where a matte (H, W) uint8 is too opaque (red) and too transparent (blue), on black."""
    difference = prediction.astype(np.int16) - truth
    return np.stack([difference.clip(0), np.zeros_like(difference), (-difference).clip(0)], axis=2).astype(np.uint8)


def as_rgb(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
