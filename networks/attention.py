"""Guided contextual attention (Li and Lu, AAAI 2020, section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.attention_chunked import attend

SELF_PENALTY = -1e4  # added to the logit of an unknown position with itself
MIN_NORM = 1e-4
MIN_SCALE, MAX_SCALE = 0.1, 10.0


class GuidedContextualAttention(nn.Module):
    r"""Spreads the alpha feature of similar-looking places over the uncertain ones.

    The guidance g (what the image looks like) and the alpha feature a live on a grid of 2h x 2w;
    attention acts on the N = h w positions of the grid of half that size:

    1. f = conv1x1(g) at half size (every second pixel); p_i is the 3x3 patch of f around
       position i, as one vector, with reflected borders. u_i likewise from the unknown mask.
    2. r = mean(u), the unknown share of the image, weighs unknown keys against known ones:
       s_unknown = clamp(sqrt(r / (1 - r)), 0.1, 10), s_known = clamp(sqrt((1 - r) / r), 0.1, 10).
    3. Key k counts as unknown where its 3x3 patch of u holds any unknown position. With s_k the
       scale of key k's kind,

           logit(q, k) = s_k <p_q, p_k> / max(|p_k|, 1e-4)  - 1e4 [q = k and k unknown]
           A(q, .)     = softmax over k

       (an unknown position must not just look at itself).
    4. v_k is the 4x4 patch of a around position k (stride 2, reflected borders). Each query writes
       sum_k A(q, k) v_k back to its place on the grid of a; where patches overlap they add up, and
       the division by 4 makes that a mean. The result passes conv1x1 and BN, and a is added.

    How steps 3 and 4 are computed, in memory that grows linearly with N: `attention_sums`.

    Args:
        guidance_channels, alpha_channels: channels of g and a.
        memory_budget: bytes for the attention itself, which is computed in chunks that fit. It is
            not kept to where even one row of positions needs more. None: on CUDA a share of the
            free memory, on CPUs what suits their caches. Can be set at any time.
    """

    def __init__(self, guidance_channels: int = 128, alpha_channels: int = 128, memory_budget: int | None = None):
        super().__init__()
        self.memory_budget = memory_budget
        self.by_row = False  # whether to compute as a graph can that is exported, see `attention_scan`
        self.guidance_conv = nn.Conv2d(guidance_channels, guidance_channels // 2, 1)
        self.W = nn.Sequential(nn.Conv2d(alpha_channels, alpha_channels, 1, bias=False),
                               nn.BatchNorm2d(alpha_channels))
        nn.init.xavier_uniform_(self.guidance_conv.weight)
        nn.init.zeros_(self.guidance_conv.bias)
        nn.init.xavier_uniform_(self.W[0].weight)
        nn.init.constant_(self.W[1].weight, 1e-3)

    def forward(self, guidance: Tensor, alpha: Tensor, unknown: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """In single precision also under autocast: scores of long vectors do not fit into half precision.

        Args:
            guidance: (N, guidance_channels, 2h, 2w).
            alpha: (N, alpha_channels, 2h, 2w), the alpha feature.
            unknown: (N, 1, 2h, 2w), 1 where the trimap is unknown and 0 elsewhere. None: every
                position counts as unknown and both scales are 1.

        Returns:
            The refined alpha feature, of alpha's shape; the offsets (N, 2, h, w), int64: for each
            query the (row, column) of its strongest key minus (h // 2, w // 2); the scales (N, 2) of
            unknown and known keys.
        """
        with torch.autocast(alpha.device.type, enabled=False):
            return self._attend(guidance.float(), alpha.float(), unknown)

    def _attend(self, guidance: Tensor, alpha: Tensor, unknown: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        feature = self.guidance_conv(guidance)[..., ::2, ::2]
        scales, unknown_keys = _key_scales(unknown, feature)
        key_scale = torch.where(unknown_keys, scales[:, :1, None], scales[:, 1:, None]) / _patch_norms(feature)
        own_penalty = SELF_PENALTY * unknown_keys
        if self.by_row:
            from networks.attention_onnx import attend_by_row  # not every version of torch has what it needs

            message, strongest = attend_by_row(feature, alpha, key_scale, own_penalty)
        else:
            message, strongest = attend(feature, alpha, key_scale, own_penalty, self.memory_budget)
        return alpha + self.W(message), _offsets(strongest, *feature.shape[2:]), scales


def _patch_norms(feature: Tensor) -> Tensor:
    """The norms (N, h, w) of the 3x3 patches of a feature, at least `MIN_NORM`."""
    # The root's slope is infinite at 0: patches of nothing must be raised before it, not after.
    return _patch_sums(feature.square().sum(dim=1)).clamp_min(MIN_NORM**2).sqrt()


def _patch_sums(values: Tensor) -> Tensor:
    """Sums over 3x3 patches with a reflected border, (N, h, w)."""
    padded = F.pad(values[:, None], (1, 1, 1, 1), mode="reflect")
    return 9 * F.avg_pool2d(padded, 3, stride=1)[:, 0]  # ONNX cannot do without the division


def _key_scales(unknown: Tensor | None, feature: Tensor) -> tuple[Tensor, Tensor]:
    """The scales (N, 2) of unknown and known keys, and which keys are unknown (N, h, w)."""
    n, _, h, w = feature.shape
    if unknown is None:
        return feature.new_ones(n, 2), torch.ones(n, h, w, dtype=torch.bool, device=feature.device)
    unknown = unknown[:, 0, ::2, ::2].to(feature.dtype)
    share = unknown.mean(dim=(1, 2))
    scales = torch.stack([share / (1 - share), (1 - share) / share], dim=1).sqrt().clamp(MIN_SCALE, MAX_SCALE)
    return scales, _patch_sums(unknown) > 0


def _offsets(strongest: Tensor, h: int, w: int) -> Tensor:
    """Flat key positions (N, h * w) as (row, column) from the centre, (N, 2, h, w)."""
    strongest = strongest.view(-1, h, w)
    return torch.stack([strongest // w - h // 2, strongest % w - w // 2], dim=1)
