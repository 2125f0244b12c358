"""3 x 3 convolutions with a quarter of the multiplications, for inference in single precision on CPUs.

Winograd's minimal filtering computes 4 x 4 outputs of a channel from 6 x 6 inputs with 36 multiplications instead of
144 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016):

    Y = A^T [(G g G^T) * (B^T d B)] A,     d: 6 x 6 inputs, g: 3 x 3 weights, *: by element

Over all channels and squares the products by element are 36 matrix products, and both transformations of a strip of
squares are one matrix product each, by the Kronecker products of B^T and of A^T with themselves. The matrices follow
from five points at which polynomials are evaluated, and infinity. The usual points 0, 1, -1, 2, -2 make errors more
than four times a direct convolution's, those here twice (root mean square).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from networks.attention_tiles import on_cores, unreported
from networks.matting_network import MattingNetwork

OUTPUT, TAPS = 4, 3  # a square's outputs and a filter's weights, along a side
INPUT = OUTPUT + TAPS - 1
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
LEAST_CHANNELS = 128  # with fewer, transforming takes more time than is saved
LEAST_PIXELS = 2048  # with fewer, transforming the weights does
STRIP_VALUES, LEAST_STRIP = 2**14, 64  # inputs of a strip, in squares times channels, and squares: to fit into caches


def _at_points(coefficients: int) -> Tensor:
    """(6, coefficients) float64, the matrix that evaluates polynomials at `POINTS` and infinity."""
    at_infinity = torch.eye(coefficients, dtype=torch.float64)[-1:]
    points = torch.tensor(POINTS, dtype=torch.float64)
    return torch.cat([points[:, None] ** torch.arange(coefficients), at_infinity])


def _on_squares(matrix: Tensor) -> Tensor:
    """The matrix that applies another to the rows and the columns of flattened squares, float32."""
    return torch.kron(matrix, matrix).float()


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 that keeps the size; weights and bias are those of an nn.Conv2d.

    Small inputs, other devices, other precisions, autocast and inputs with gradients get the direct convolution.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.register_buffer("weight", conv.weight.detach().contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", conv.bias.detach())
        matrices = {"of_input": torch.linalg.inv(_at_points(INPUT)).T, "of_weight": _at_points(TAPS),
                    "of_product": _at_points(OUTPUT).T}
        for name, matrix in matrices.items():
            self.register_buffer(name, _on_squares(matrix), persistent=False)

    @staticmethod
    def suits(conv: nn.Module) -> bool:
        """Whether a module can and should be replaced."""
        return (isinstance(conv, nn.Conv2d) and conv.bias is not None and conv.groups == 1
                and conv.kernel_size == (TAPS, TAPS) and conv.stride == conv.dilation == conv.padding == (1, 1)
                and conv.padding_mode == "zeros" and min(conv.in_channels, conv.out_channels) >= LEAST_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, K, H, W), channels-last in memory."""
        direct = (x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")
                  or (torch.is_grad_enabled() and x.requires_grad))
        if direct or x.shape[2] * x.shape[3] < LEAST_PIXELS:
            return F.conv2d(x, self.weight, self.bias, padding=1)
        taps = self.weight.permute(2, 3, 1, 0).flatten(2).flatten(0, 1)
        weights = (self.of_weight @ taps).view(INPUT**2, x.shape[1], -1)  # not a transposed view: products take longer
        n, height, width = x.shape[0], *(-(-side // OUTPUT) * OUTPUT for side in x.shape[2:])
        output = x.new_empty(n, height, width, len(self.bias))
        for image, into in zip(x.permute(0, 2, 3, 1), output, strict=True):
            self._convolve(image, weights, into)
        output = output[:, :x.shape[2], :x.shape[3]].permute(0, 3, 1, 2)
        return output.contiguous(memory_format=torch.channels_last)

    def _convolve(self, image: Tensor, weights: Tensor, output: Tensor) -> None:
        """An image (H, W, C) and the transformed weights (36, C, K) to (H', W', K), H' and W' multiples of 4."""
        height, width, channels = image.shape
        across = output.shape[1] // OUTPUT
        threads, down = torch.get_num_threads(), len(output) // OUTPUT
        rows = OUTPUT * max(1, min(max(LEAST_STRIP, STRIP_VALUES // channels) // across, down // threads))

        @torch.inference_mode()  # here, since inference mode is per thread
        def compute(top: int) -> None:
            into = output[top:top + rows].unflatten(0, (-1, OUTPUT)).unflatten(2, (-1, OUTPUT))
            first, last = top - 1, top + OUTPUT * len(into) + 1
            strip = F.pad(image[max(0, first):last], (0, 0, 1, OUTPUT * across + 1 - width,
                                                      max(0, -first), max(0, last - height)))
            into.copy_(self._strip(strip, weights, len(into), across).permute(2, 0, 3, 1, 4))

        for _ in on_cores(compute, range(0, len(output), rows), threads, unreported):
            pass

    def _strip(self, strip: Tensor, weights: Tensor, down: int, across: int) -> Tensor:
        """The outputs (4, 4, down, across, K) of down x across squares, given their inputs and one pixel around."""
        channels, row = strip.shape[2], strip.stride(0)
        squares = strip.as_strided((INPUT, INPUT, down, across, channels),
                                   (row, channels, OUTPUT * row, OUTPUT * channels, 1))
        inputs = self.of_input @ squares.reshape(INPUT**2, -1)
        products = torch.bmm(inputs.view(INPUT**2, down * across, channels), weights)
        outputs = (self.of_product @ products.flatten(1)).view(OUTPUT, OUTPUT, down, across, -1)
        return outputs.add_(self.bias)


def use_winograd(network: MattingNetwork) -> None:
    """Replaces the convolutions of a folded network that `WinogradConv2d` suits, in place."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if WinogradConv2d.suits(child):
                setattr(module, name, WinogradConv2d(child))
