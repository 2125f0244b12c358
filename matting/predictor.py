"""The predictor: image and trimap to alpha. All inference with PyTorch uses it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import numpy as np
import torch

from matting.folded_network import compile_stages, folded
from matting.tile_sizes import CELL, working_memory
from matting.tiling import largest_tile, run_tiled
from matting.winograd import use_winograd
from networks import MattingNetwork, MattingOutput
from networks.attention_chunked import attend
from networks.attention_near import attend_near
from utils.boxes import Box
from utils.checkpoint import load_network
from utils.device import default_device, default_memory_limit, unless_out_of_memory
from utils.errors import InputError
from utils.precision import AUTOCAST, arithmetic
from utils.preprocessing import (
    BORDER,
    UNKNOWN,
    Matte,
    PaddedArray,
    Pair,
    Picture,
    as_pair,
    checked_labels,
    finished_alpha,
    padding,
)
from utils.progress_bar import Report
from utils.tensors import encode_trimap, normalise

ATTENTIONS = {"exact": attend, "near": attend_near}
NEAR_FROM = 8_000_000  # pixels from which exact attention takes longer than everything else on a CPU
COMPILES_COLOURS = "2.11"  # version of PyTorch
MEMORY_ATTEMPTS = 4  # per image, each with half the memory of the previous one


@contextmanager
def attending(network: MattingNetwork, function: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
              memory_budget: int) -> Iterator[None]:
    """Within the block, the network's attention is computed by a function, in so much memory."""
    blocks = [part.gca for part in (network.encoder, network.decoder) if part.gca is not None]
    before = [(block.attend, block.memory_budget) for block in blocks]
    for block in blocks:
        block.attend, block.memory_budget = function, memory_budget
    try:
        yield
    finally:
        for block, (attend_before, budget_before) in zip(blocks, before, strict=True):
            block.attend, block.memory_budget = attend_before, budget_before


class Matting:
    """Alpha mattes from photos and trimaps with a given network. Threads that share a predictor take turns.

    >>> matting = Matting.from_checkpoint("checkpoints/gca-dist-all-data/gca-dist-all-data.pth")
    >>> alpha = matting(image, trimap)

    Args:
        network: from `networks.build_network`, with its weights loaded.
        device: compute device, such as "cpu" or "cuda:1"; default: CUDA if available.
        border: pixels of reflection padding around the image, before it is padded at the bottom and
            right to a multiple of 32. The published demo uses 32, its evaluation 0.
        precision: "fp32"; "tf32", on GPUs that support it; "bf16" or "fp16", under autocast.
        memory_limit: approximate bytes per call, besides the network. Determines the tile size; the features of the
            image at 1/8 and `tile_sizes.LEAST_WORKING` are taken in any case. Default: most of the free GPU memory;
            on the CPU 4 GiB, or half of the available memory if that is less.
        fold: use a folded copy of the network (`matting.folded_network`), which leaves the network unchanged
            and does not follow its training; in single precision on CPUs with `matting.winograd`. False puts the
            network itself in evaluation mode.
        compile: compile the folded copy with torch.compile. The first images take minutes.
        attention: "exact"; "near", whose cost grows with the image, not with its square (`networks.attention_near`);
            default: near for images of at least `NEAR_FROM` pixels on the CPU, else exact.
        offsets: whether mattes have attention offsets. Without them the queries of the decoder's attention on which no
            alpha depends are left out: faster, the same alpha. Calls, which return alpha alone, do without them, unless
            the network is compiled: it would be so once more.

    Raises:
        ValueError: for an unknown precision or attention, compile without fold, or with a PyTorch that cannot compile
            the network.
    """

    def __init__(self, network: MattingNetwork, device: str | torch.device | None = None, border: int = BORDER,
                 precision: str = "fp32", memory_limit: int | None = None, fold: bool = True, compile: bool = False,
                 attention: str | None = None, offsets: bool = True):
        if attention not in (None, *ATTENTIONS):
            raise ValueError(f"attention is {attention!r}; expected one of {', '.join(ATTENTIONS)}")
        if precision not in AUTOCAST:
            raise ValueError(f"precision is {precision!r}; expected one of {', '.join(AUTOCAST)}")
        if compile and not fold:
            raise ValueError("compile needs fold: it would change the network that was passed")
        self.device = torch.device(device or default_device())
        self.border = border
        self.precision = precision
        self.memory_limit = memory_limit
        self.attention = attention
        self.offsets = offsets
        self.compiled = compile
        self._in_use = Lock()  # how attention is computed, and its progress, are set on the network
        if compile and network.colour_channels is not None and torch.__version__ < COMPILES_COLOURS:
            raise InputError(f"PyTorch {torch.__version__} cannot compile a network with colour samples; install "
                             f"{COMPILES_COLOURS} or later, or do not compile")
        self.network = (folded(network) if fold else network.eval()).to(self.device)
        if compile:
            compile_stages(self.network)
        elif fold and self.device.type == "cpu" and precision == "fp32":
            use_winograd(self.network)

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str | torch.device | None = None, border: int = BORDER,
                        precision: str = "fp32", memory_limit: int | None = None, compile: bool = False,
                        attention: str | None = None, offsets: bool = True,
                        **architecture: str | float) -> "Matting":
        """A predictor with the weights of a checkpoint file.

        Args:
            architecture: arguments of `networks.build_network`; default: the published network.

        Raises:
            utils.checkpoint.CheckpointError: if the file is missing, unreadable or of another network.
        """
        return cls(load_network(path, **architecture), device, border, precision, memory_limit, compile=compile,
                   attention=attention, offsets=offsets)

    def attention_for(self, height: int, width: int) -> str:
        """The attention, "exact" or "near", that an image of this size gets; exact if the network has none."""
        if self.network.encoder.gca is None:
            return "exact"
        large = self.device.type == "cpu" and height * width >= NEAR_FROM
        return self.attention or ("near" if large else "exact")

    def __call__(self, image: Picture, trimap: Picture) -> np.ndarray:
        """Alpha (H, W), float32 in 0..1; arguments and errors as in `predict`.

        >>> from PIL import Image
        >>> from utils.preprocessing import alpha_to_uint8
        >>> alpha = matting(Image.open("photo.jpg"), Image.open("trimap.png"))
        >>> cut_out = Image.open("photo.jpg").convert("RGB")
        >>> cut_out.putalpha(Image.fromarray(alpha_to_uint8(alpha)))
        >>> cut_out.mode
        'RGBA'
        """
        offsets = self.compiled and self.offsets
        return self._mattes([as_pair(image, trimap)], lambda done, total: None, offsets)[0].alpha

    def predict(self, image: Picture, trimap: Picture,
                report: Report = lambda done, total: None) -> Matte:
        """Alpha, and the attention offsets if the predictor is to find them.

        Args:
            image: (H, W, 3) uint8 RGB, of any size from 1 x 1 up; or a Pillow image: grey, RGB, palette,
                CMYK, with or without alpha, which is ignored. EXIF orientation is applied.
            trimap: (H, W) uint8: background below 85, foreground from 170, unknown between; or a Pillow image.
            report: called as the work goes on with the number of tiles done and of all tiles (`matting.work`).

        Raises:
            ValueError: for arrays of another shape or type, and Pillow images of more than 8 bits.
        """
        return self.predict_batch([(image, trimap)], report)[0]

    def predict_batch(self, pairs: Sequence[Pair], report: Report = lambda done, total: None) -> list[Matte]:
        """`predict` for several (image, trimap) of one size at once.

        Raises:
            ValueError: also if their sizes differ.
        """
        return self._mattes([as_pair(*pair) for pair in pairs], report, self.offsets) if pairs else []

    @torch.inference_mode()
    def _mattes(self, pairs: list[tuple[np.ndarray, np.ndarray]], report: Report, offsets: bool) -> list[Matte]:
        labels = checked_labels(pairs)
        output = self._run_within_memory([image for image, _ in pairs], labels, report, offsets)
        return [self._matte(output, i, label) for i, label in enumerate(labels)]

    def _run_within_memory(self, images: list[np.ndarray], labels: list[np.ndarray], report: Report,
                           offsets: bool) -> MattingOutput:
        """`_run`, repeated with half the memory limit if memory runs out."""
        limit = self.memory_limit or default_memory_limit(self.device)
        for _ in range(MEMORY_ATTEMPTS - 1):
            output = unless_out_of_memory(self._run, images, labels, report, offsets, limit)
            if output is not None:
                return output
            limit //= 2
        return self._run(images, labels, report, offsets, limit)

    def _run(self, images: list[np.ndarray], labels: list[np.ndarray], report: Report, offsets: bool,
             memory_limit: int) -> MattingOutput:
        """The network's output for padded images; alpha is of no use in cells of 8 x 8 pixels without unknown ones."""
        attention = ATTENTIONS[self.attention_for(*labels[0].shape)]
        pad = padding(*labels[0].shape, self.border)
        padded = [(PaddedArray(image, pad), PaddedArray(label, pad))
                  for image, label in zip(images, labels, strict=True)]
        wanted = _cells_inside(labels, pad)
        height, width = wanted.shape

        def read(box: Box) -> torch.Tensor:
            channels = self.network.trimap_channel
            return torch.stack([torch.cat([normalise(image.part(box)), encode_trimap(label.part(box), channels)])
                                for image, label in padded]).to(self.device)

        unknown = np.stack([label.every(CELL)[None] == UNKNOWN for _, label in padded])
        has_colours = self.network.colour_channels is not None
        working = working_memory(memory_limit, len(images), height, width, has_colours)
        with self._in_use, arithmetic(self.device, self.precision), attending(self.network, attention, working):
            return run_tiled(self.network, read, torch.from_numpy(unknown).float().to(self.device), wanted,
                             largest_tile(working, len(images), self.device, has_colours), report, offsets)

    def _matte(self, output: MattingOutput, i: int, labels: np.ndarray) -> Matte:
        """The i-th matte of a batch, without padding, with known pixels set."""
        alpha = finished_alpha(output.alpha[i, 0].float().cpu().numpy(), labels, self.border)
        return Matte(alpha, tuple(offset[i].cpu().numpy() for offset in output.offsets),
                     tuple(scale[i].float().cpu().numpy() for scale in output.scales))


def _cells_inside(labels: list[np.ndarray], pad: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """Which cells (H/8, W/8) of the padded images have unknown pixels that are not of the padding, in any image."""
    inside = np.pad(np.any([label == UNKNOWN for label in labels], axis=0), pad)
    height, width = (side // CELL for side in inside.shape)
    return inside.reshape(height, CELL, width, CELL).any(axis=(1, 3))
