"""torch.hub entry point of the predictor.

    matting = torch.hub.load("path/to/this/folder", "gca_matting", source="local", checkpoint="weights.pth")
    alpha = matting(Image.open("photo.jpg"), Image.open("trimap.png"))
"""

import sys
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent


def check_modules() -> None:
    """Raises ImportError if modules of other programs are loaded under names that are imported below."""
    for name in ("utils", "networks", "matting"):
        loaded = sys.modules.get(name)
        location = next(iter(getattr(loaded, "__path__", [])), getattr(loaded, "__file__", None))
        if loaded and (location is None or not Path(location).resolve().is_relative_to(HERE)):
            raise ImportError(f"another module named {name} is already loaded (from {location}); "
                              "load gca_matting in a separate process")


check_modules()

from matting.coarse_to_fine import CoarseToFine  # noqa: E402
from matting.options import DEFAULT_CHECKPOINT, for_large_images  # noqa: E402
from matting.predictor import Matting  # noqa: E402

dependencies = ["torch", "numpy", "cv2", "PIL"]


def gca_matting(checkpoint: str | Path | None = None, device: str | torch.device | None = None,
                coarse_to_fine: bool | None = None, **options: str | float | bool | None) -> Matting | CoarseToFine:
    """A predictor of alpha mattes from photos and trimaps.

    Args:
        checkpoint: weights file; default: the demo's, which is part of this folder.
        device: compute device; default: CUDA if available.
        coarse_to_fine: whether large images are computed as by `matting.coarse_to_fine`; default: with the demo's
            weights.
        options: of `matting.predictor.Matting.from_checkpoint`, such as precision="bf16" or encoder="...".

    Raises:
        utils.checkpoint.CheckpointError: if the file is missing, unreadable or of another network.
    """
    checkpoint = checkpoint or HERE / DEFAULT_CHECKPOINT
    return for_large_images(Matting.from_checkpoint(checkpoint, device, **options), checkpoint, coarse_to_fine)
