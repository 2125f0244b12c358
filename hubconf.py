"""The predictor by way of torch.hub.

    matting = torch.hub.load("path/to/this/folder", "gca_matting", source="local", checkpoint="weights.pth")
    alpha = matting(Image.open("photo.jpg"), Image.open("trimap.png"))
"""

from pathlib import Path

import torch

from inference import Matting
from utils.defaults import DEFAULT_CHECKPOINT

dependencies = ["torch", "numpy", "cv2", "PIL"]


def gca_matting(checkpoint: str | Path | None = None, device: str | torch.device | None = None,
                **options: str | float | bool | None) -> Matting:
    """A predictor of alpha mattes from photos and trimaps.

    Args:
        checkpoint: file with the weights; by default the one the demo takes, which comes with this folder.
        device: where to compute; by default CUDA where there is one.
        options: of `inference.Matting.from_checkpoint`, such as precision="bf16" or encoder="...".

    Raises:
        utils.checkpoint.CheckpointError: if the file is missing, unreadable or of another network.
    """
    return Matting.from_checkpoint(checkpoint or Path(__file__).parent / DEFAULT_CHECKPOINT, device, **options)
