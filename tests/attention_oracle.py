"""Guided contextual attention as the paper words it: patches as convolution kernels, one image at a time."""

import torch
import torch.nn.functional as F
from torch import Tensor

from networks import GuidedContextualAttention


def attention_oracle(block: GuidedContextualAttention, guidance: Tensor, alpha: Tensor,
                     unknown: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """What `block(guidance, alpha, unknown)` must return."""
    results = [_one_image(block, guidance[i:i + 1], alpha[i:i + 1], None if unknown is None else unknown[i:i + 1])
               for i in range(len(alpha))]
    message, offset, scale = (torch.cat(parts) for parts in zip(*results, strict=True))
    return alpha + block.W(message), offset, scale


def _one_image(block: GuidedContextualAttention, guidance: Tensor, alpha: Tensor,
               unknown: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    feature = F.interpolate(block.guidance_conv(guidance), scale_factor=0.5, mode="nearest")
    h, w = feature.shape[2:]
    padded = F.pad(feature, (1, 1, 1, 1), mode="reflect")
    keys = torch.stack([padded[0, :, y:y + 3, x:x + 3] for y in range(h) for x in range(w)])
    padded_alpha = F.pad(alpha, (1, 1, 1, 1), mode="reflect")
    values = torch.stack([padded_alpha[0, :, 2 * y:2 * y + 4, 2 * x:2 * x + 4] for y in range(h) for x in range(w)])

    scale = torch.ones(2)
    key_unknown = torch.ones(h * w, dtype=torch.bool)
    if unknown is not None:
        mask = F.interpolate(unknown, scale_factor=0.5, mode="nearest")
        share = mask.mean()
        scale = torch.stack([torch.sqrt(share / (1 - share)), torch.sqrt((1 - share) / share)]).clamp(0.1, 10)
        key_unknown = F.avg_pool2d(F.pad(mask, (1, 1, 1, 1), mode="reflect"), 3, stride=1).flatten() > 0

    norms = keys.flatten(1).norm(dim=1).clamp_min(1e-4)
    scores = F.conv2d(padded, keys / norms.view(-1, 1, 1, 1))[0].flatten(1)  # keys x queries
    scores = scores * torch.where(key_unknown, scale[0], scale[1]).unsqueeze(1)
    scores = scores + torch.diag(-1e4 * key_unknown)
    attention = scores.softmax(dim=0).view(1, h * w, h, w)
    message = F.conv_transpose2d(attention, values, stride=2, padding=1) / 4
    strongest = scores.argmax(dim=0).view(1, h, w)
    offset = torch.stack([strongest // w - h // 2, strongest % w - w // 2], dim=1)
    return message, offset, scale[None]
