"""Training losses: functions of prediction and ground truth, over the unknown region.

Each returns a sum over the unknown pixels of the batch. The caller divides by the number of those
pixels in the whole step, over all processes and micro-batches, so that a step's loss does not depend on
how its samples are distributed.

Common arguments: `prediction` and `truth` are alpha (N, 1, H, W) in 0..1, `unknown` is (N, 1, H, W),
1 (or the weight of the sample) where the trimap is unknown and 0 elsewhere. Outside the unknown region
alpha is known, so the difference there counts as zero, also for filters that reach across its border.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from easydict import EasyDict
from torch import Tensor

from utils.tensors import denormalise

GABOR_ORIENTATIONS = 16
LAPLACIAN_LEVELS = 5
LARGEST_BALANCE = 3.0


def weighted_losses(weights: EasyDict, prediction: Tensor, batch: dict[str, Tensor], unknown: Tensor,
                    mean_unknown: float) -> dict[str, Tensor]:
    """The weighted losses of non-zero weight, and their sum as "loss".

    Args:
        weights: the configuration's table `train`.
        batch: tensors of `dataloader.dataset.TrainingData`.
        unknown: 0 and 1.
        mean_unknown: mean number of unknown pixels of the whole step's samples, for train.sample_balance.
    """
    truth, parts = batch["alpha"], {}
    if weights.sample_balance:
        unknown = balanced(unknown, weights.sample_balance, mean_unknown)
    if weights.rec_weight:
        parts["rec"] = weights.rec_weight * alpha_loss(prediction, truth, unknown)
    if weights.comp_weight:
        parts["comp"] = weights.comp_weight * composition_loss(
            prediction, unknown, denormalise(batch["image"]), batch["foreground"], batch["background"])
    if weights.gabor_weight:
        parts["gabor"] = weights.gabor_weight * gabor_loss(prediction, truth, unknown)
    if weights.grad_weight:
        parts["grad"] = weights.grad_weight * gradient_loss(prediction, truth, unknown)
    if weights.smooth_l1_weight:
        parts["smooth_l1"] = weights.smooth_l1_weight * smooth_l1_loss(prediction, truth, unknown)
    if weights.laplacian_weight:
        parts["laplacian"] = weights.laplacian_weight * laplacian_loss(prediction, truth, unknown)
    return {"loss": sum(parts.values()), **parts}


def balanced(unknown: Tensor, power: float, mean: float) -> Tensor:
    """Unknown regions with each sample's weight: the mean number of unknown pixels by its own, to this power.

    With 0.5, two samples with 100 and 400 unknown pixels count as 1 to 2, not as 1 to 4, so that those with wide
    unknown regions do not drown the others. Factors are limited to 1/3 to 3.
    """
    pixels = unknown.sum(dim=(1, 2, 3), keepdim=True)
    return unknown * (mean / pixels.clamp_min(1)).pow(power).clamp(1 / LARGEST_BALANCE, LARGEST_BALANCE)


def alpha_loss(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """Absolute error of alpha, the paper's loss (Li and Lu, AAAI 2020, section 3.4)."""
    return _difference(prediction, truth, unknown).abs().sum()


def smooth_l1_loss(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """sqrt(d^2 + 1e-6), the alpha-prediction loss of Xu et al., "Deep Image Matting" (CVPR 2017)."""
    return (((prediction - truth).square() + 1e-6).sqrt() * unknown).sum()


def composition_loss(prediction: Tensor, unknown: Tensor, image: Tensor, foreground: Tensor,
                     background: Tensor) -> Tensor:
    """Absolute error of the image composited with the predicted alpha (Xu et al., CVPR 2017), mean of the channels.

    `image`, `foreground` and `background` are (N, 3, H, W), colours in 0..1.
    """
    composite = prediction * foreground + (1 - prediction) * background
    return ((composite - image).abs().mean(dim=1, keepdim=True) * unknown).sum()


def gradient_loss(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """Absolute error of alpha's horizontal and vertical Sobel derivatives, mean of the two."""
    return _filtered_loss(_sobel_filters(), prediction, truth, unknown)


def gabor_loss(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """Absolute error of alpha filtered by 5x5 Gabor filters of 16 orientations, mean of them.

    After Li et al., "Inductive Guided Filter: Real-time Deep Image Matting with Weakly Annotated Masks on
    Mobile Devices" (ICME 2020).
    """
    return _filtered_loss(_gabor_filters(), prediction, truth, unknown)


def laplacian_loss(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    """Absolute error of the levels of alpha's Laplacian pyramid, level i from 0 weighted by 2^i.

    After Hou and Liu, "Context-Aware Image Matting for Simultaneous Foreground and Alpha Estimation"
    (ICCV 2019), with five levels, the last one the low-pass residual. Sides should be multiples of 16.
    """
    rest = _difference(prediction, truth, unknown)  # the pyramid is linear
    loss = rest.new_zeros(())
    for level in range(LAPLACIAN_LEVELS - 1):
        smaller = F.avg_pool2d(rest, 2)
        loss = loss + 2**level * (rest - F.interpolate(smaller, scale_factor=2, mode="bilinear")).abs().sum()
        rest = smaller
    return loss + 2 ** (LAPLACIAN_LEVELS - 1) * rest.abs().sum()


def _difference(prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    return (prediction - truth) * unknown


def _filtered_loss(filters: np.ndarray, prediction: Tensor, truth: Tensor, unknown: Tensor) -> Tensor:
    # The filters are linear: filtering the difference gives the difference of the responses.
    difference = _difference(prediction, truth, unknown)
    weight = torch.as_tensor(filters, dtype=difference.dtype, device=difference.device).unsqueeze(1)
    response = F.conv2d(difference, weight, padding=filters.shape[1] // 2)
    return (response.abs().mean(dim=1, keepdim=True) * (unknown > 0)).sum()  # weighted already


@lru_cache
def _sobel_filters() -> np.ndarray:
    """(2, 3, 3), scaled so that a ramp of slope 1 per pixel gives 1."""
    horizontal = np.outer([1, 2, 1], [-1, 0, 1]) / 8
    return np.stack([horizontal, horizontal.T])


@lru_cache
def _gabor_filters() -> np.ndarray:
    """(16, 5, 5), each of zero mean and absolute sum 1."""
    filters = np.stack([cv2.getGaborKernel((5, 5), sigma=1.4, theta=np.pi * i / GABOR_ORIENTATIONS, lambd=5, gamma=0.5,
                                           psi=np.pi / 2) for i in range(GABOR_ORIENTATIONS)])
    filters -= filters.mean(axis=(1, 2), keepdims=True)
    return filters / np.abs(filters).sum(axis=(1, 2), keepdims=True)
