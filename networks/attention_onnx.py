"""Guided contextual attention as a scan over rows of queries, for ONNX export; exact.

The number of chunks in `networks.attention_chunked` depends on memory, which an exported graph cannot express. Here
each step of a scan processes one row of queries and all keys; memory grows with w x h x w instead of h x w x h x w. The
three rows of a patch are concatenated to vectors of 3 C values, so that one matrix product sums over rows; columns are
summed as in `attention_chunked`. Each pair of positions costs 3 C + 4 A multiplications.
"""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan

from networks.attention_tiles import to_blocks, to_pixels


def attend_by_row(feature: Tensor, alpha: Tensor, key_scale: Tensor, own_penalty: Tensor,
                  *_: object) -> tuple[Tensor, Tensor]:
    """`attention_chunked.attend` in exportable operations; the other arguments have no meaning."""
    h, w = key_scale.shape[1:]
    grid = F.pad(feature, (1, 1, 1, 1), mode="reflect").permute(0, 2, 3, 1)
    patch_rows = torch.cat([grid[:, :-2], grid[:, 1:-1], grid[:, 2:]], dim=3)  # (N, h, w + 2, 3 C)
    keys = patch_rows.flatten(1, 2).transpose(1, 2)
    blocks = to_blocks(alpha / 4).flatten(1, 2)  # up to four patches overlap
    columns, rows = torch.arange(w, device=feature.device), torch.arange(h, device=feature.device)
    same_column = (columns[:, None] == columns).to(feature.dtype)[:, None]  # (w, 1, w)

    def step(above: Tensor, row: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attention (N, w + 1, h, w + 1) of a row, columns summed; the row's output blocks and strongest keys."""
        queries, number = row
        products = (queries @ keys).view(-1, w + 2, h, w + 2)
        scores = products[:, :-2, :, :-2] + products[:, 1:-1, :, 1:-1] + products[:, 2:, :, 2:]
        own_row = own_penalty * (rows == number).to(own_penalty.dtype)[:, None]
        logits = (scores * key_scale[:, None] + same_column * own_row[:, None]).flatten(2)
        attention = logits.softmax(dim=2).view(scores.shape)
        columns_added = F.pad(attention, (0, 1, 0, 0, 0, 1)) + F.pad(attention, (1, 0, 0, 0, 1, 0))
        return columns_added, (_row_of_blocks(columns_added, above, blocks), logits.argmax(dim=2))

    none = torch.zeros_like(key_scale[:, :1, :1, None]).expand(-1, w + 1, h, w + 1).contiguous()
    last, (output, strongest) = scan(step, none, (patch_rows.transpose(0, 1), rows))
    output = torch.cat([output, _row_of_blocks(none, last, blocks)[None]]).transpose(0, 1)
    return to_pixels(output), strongest.transpose(0, 1).flatten(1)


def _row_of_blocks(attention: Tensor, above: Tensor, blocks: Tensor) -> Tensor:
    """A row (N, w + 1, 4 A) of output blocks: the contributions of a row of queries and the one above it.

    Args:
        attention, above: (N, w + 1, h, w + 1), of the two rows; 0 beyond the grid.
        blocks: (N, (h + 1) * (w + 1), 4 A).
    """
    weights = F.pad(attention, (0, 0, 0, 1)) + F.pad(above, (0, 0, 1, 0))
    return weights.flatten(2) @ blocks
