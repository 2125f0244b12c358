"""Guided contextual attention (Li and Lu, AAAI 2020, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.attention_chunked import attend
from networks.attention_tiles import unreported

SELF_PENALTY = -1e4  # added to the logit of an unknown position with itself
MIN_NORM = 1e-4
MIN_SCALE, MAX_SCALE = 0.1, 10.0


class GuidedContextualAttention(nn.Module):
    r"""Propagates alpha features from similar regions to unknown pixels.

    The guidance g (image features) and the alpha feature a are maps of 2h x 2w positions; attention
    acts on the N = h w positions of half that resolution:

    1. f = conv1x1(g), subsampled by 2; p_i is the flattened 3x3 patch of f around position i, with
       reflection padding. u_i likewise from the unknown mask.
    2. r = mean(u), the unknown share of the image, weights unknown keys against known ones:
       s_unknown = clamp(sqrt(r / (1 - r)), 0.1, 10), s_known = clamp(sqrt((1 - r) / r), 0.1, 10).
    3. Key k counts as unknown if its 3x3 patch of u contains an unknown position. With s_k the scale
       of unknown or known keys,

           logit(q, k) = s_k <p_q, p_k> / max(|p_k|, 1e-4)  - 1e4 [q = k and k unknown]
           A(q, .)     = softmax over k

       (the penalty keeps unknown positions from attending to themselves).
    4. v_k is the 4x4 patch of a around position k (stride 2, reflection padding). Each query adds
       sum_k A(q, k) v_k at its own position on the grid of a; the sum over overlapping patches is
       divided by 4, which makes it a mean. Then conv1x1, BN, and a residual connection from a.

    `networks.attention_chunked` computes steps 3 and 4 in memory linear in N, `networks.attention_near` approximately,
    in time linear in N, too. Which of them does, and the memory for it, can be set at any time.

    Args:
        guidance_channels, alpha_channels: channels of g and a.
        memory_budget: bytes for the attention itself, which is computed in chunks that fit; exceeded
            if even one row of positions needs more. None: on CUDA a share of the free memory, on
            CPUs a size that suits their caches.
    """

    def __init__(self, guidance_channels: int = 128, alpha_channels: int = 128, memory_budget: int | None = None):
        super().__init__()
        self.memory_budget = memory_budget
        self.attend = attend  # or `attention_near.attend_near`, or for ONNX export `attention_onnx.attend_by_row`
        self.report = unreported  # called with the number of tiles of queries done, and of all
        self.guidance_conv = nn.Conv2d(guidance_channels, guidance_channels // 2, 1)
        self.W = nn.Sequential(nn.Conv2d(alpha_channels, alpha_channels, 1, bias=False),
                               nn.BatchNorm2d(alpha_channels))
        nn.init.xavier_uniform_(self.guidance_conv.weight)
        nn.init.zeros_(self.guidance_conv.bias)
        nn.init.xavier_uniform_(self.W[0].weight)
        nn.init.constant_(self.W[1].weight, 1e-3)

    def forward(self, guidance: Tensor, alpha: Tensor, unknown: Tensor | None = None,
                needed: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor]:
        """Single precision even under autocast: scores of long vectors do not fit into half precision.

        Args:
            guidance: (N, guidance_channels, 2h, 2w).
            alpha: (N, alpha_channels, 2h, 2w), the alpha feature.
            unknown: (N, 1, 2h, 2w), 1 where the trimap is unknown and 0 elsewhere. None: every
                position counts as unknown and both scales are 1.
            needed: (h, w) bool, without gradients: refine only where these queries' patches reach and no
                other's, and find no offsets. None: everything.

        Returns:
            The refined alpha feature, of alpha's shape; the offsets (N, 2, h, w), int64: for each
            query the (row, column) of its strongest key minus (h // 2, w // 2), None if `needed` is given;
            the scales (N, 2) of unknown and known keys.
        """
        with torch.autocast(alpha.device.type, enabled=False):
            return self._attend(guidance.float(), alpha.float(), unknown, needed)

    def _attend(self, guidance: Tensor, alpha: Tensor, unknown: Tensor | None,
                needed: Tensor | None) -> tuple[Tensor, Tensor | None, Tensor]:
        feature = self.guidance_conv(guidance)[..., ::2, ::2]
        scales, unknown_keys = _key_scales(unknown, feature)
        key_scale = torch.where(unknown_keys, scales[:, :1, None], scales[:, 1:, None]) / _patch_norms(feature)
        own_penalty = SELF_PENALTY * unknown_keys
        message, strongest = self.attend(feature, alpha, key_scale, own_penalty, self.memory_budget, self.report,
                                         needed)
        offsets = None if strongest is None else _offsets(strongest, *feature.shape[2:])
        return alpha + self.W(message), offsets, scales


def _patch_norms(feature: Tensor) -> Tensor:
    """The norms (N, h, w) of the 3x3 patches of a feature, at least `MIN_NORM`."""
    # The gradient of sqrt is infinite at 0: clamp before it, not after.
    return _patch_sums(feature.square().sum(dim=1)).clamp_min(MIN_NORM**2).sqrt()


def _patch_sums(values: Tensor) -> Tensor:
    """Sums over 3x3 patches with reflection padding, (N, h, w)."""
    padded = F.pad(values[:, None], (1, 1, 1, 1), mode="reflect")
    return 9 * F.avg_pool2d(padded, 3, stride=1)[:, 0]  # ONNX has no divisor_override


def _key_scales(unknown: Tensor | None, feature: Tensor) -> tuple[Tensor, Tensor]:
    """The scales (N, 2) of unknown and known keys, and the mask (N, h, w) of unknown keys."""
    n, _, h, w = feature.shape
    if unknown is None:
        return feature.new_ones(n, 2), torch.ones(n, h, w, dtype=torch.bool, device=feature.device)
    unknown = unknown[:, 0, ::2, ::2].to(feature.dtype)
    share = unknown.mean(dim=(1, 2))
    scales = torch.stack([share / (1 - share), (1 - share) / share], dim=1).sqrt().clamp(MIN_SCALE, MAX_SCALE)
    return scales, _patch_sums(unknown) > 0


def _offsets(strongest: Tensor, h: int, w: int) -> Tensor:
    """Flat key indices (N, h * w) as (row, column) relative to the centre, (N, 2, h, w)."""
    strongest = strongest.view(-1, h, w)
    return torch.stack([strongest // w - h // 2, strongest % w - w // 2], dim=1)
