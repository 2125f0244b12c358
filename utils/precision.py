"""Network precision: single precision, TF32, or half precision under autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

AUTOCAST = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Computes in a precision of `AUTOCAST`, overriding the TF32 flags: by default cuDNN's convolutions use TF32."""
    # Not torch.backends.cudnn.flags(allow_tf32=...), which disables cuDNN by default.
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device.type, AUTOCAST[precision], enabled=AUTOCAST[precision] is not None):
            yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
