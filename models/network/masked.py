"""Layers that know how wide each image of a padded batch really is.

A batch of images of unequal width is padded on the right. An image must be read the same with and without padding, so
nothing beyond its own last column may reach its own columns. Layer by layer:

1. Batch norm (in evaluation), activations and 1 x 1 convolutions compute each column from that column alone, so padding
   stays where it is: they need no care.
2. A convolution or pooling whose kernel is wider than its stride, or that pads, mixes columns (`mixes_columns`). On an
   unpadded image it sees its own zero padding beyond the border. Setting the columns beyond each image's width to zero
   before such a layer (`zero_padding`) therefore gives the image's own columns exactly the values of the unpadded case.
3. Max pooling pads with minus infinity, not zero. With a ReLU right before or after it, as in every backbone here, the
   two are equal: max(x, 0) does not change when values of zero or less are added.
4. `output_size` applies each layer's arithmetic to the widths, so that the next layer knows the border again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Widths = Tensor | None  # (N,) own columns of each image; None when all are as wide as the batch

N = TypeVar("N", int, Tensor, np.ndarray)  # columns of one image, or of each
SPATIAL = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)
Size: TypeAlias = "int | tuple[int, int]"
HEIGHT, WIDTH = 0, 1  # axes of a layer's kernel_size, stride and padding


def along(value: int | tuple[int, ...] | str, axis: int) -> int:
    return value if isinstance(value, int) else int(value[axis])


def zero_padding(x: Tensor, widths: Widths) -> Tensor:
    """Set the columns beyond each image's width to zero. x (N, C, H, W)."""
    if widths is None:
        return x
    columns = torch.arange(x.shape[-1], device=x.device)
    return x.masked_fill(columns >= widths.view(-1, 1, 1, 1), 0)


def mixes_columns(layer: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> bool:
    """Whether an output column inside an image may depend on input columns beyond it."""
    return along(layer.kernel_size, WIDTH) > along(layer.stride, WIDTH) or along(layer.padding, WIDTH) > 0


def output_size(layer: nn.Module, n: N, axis: int = WIDTH) -> N:
    """Columns (or rows) that come out of `layer` when `n` (an int or an integer tensor) go in."""
    if hasattr(layer, "output_size"):
        sized: Callable[[N, int], N] = layer.output_size  # type: ignore[assignment]  # to torch a parameter or a module
        return sized(n, axis)
    if not isinstance(layer, SPATIAL):
        return n
    if isinstance(n, int) and n < 1:
        return 0  # padding makes no columns out of none
    kernel, stride, padding = (along(v, axis) for v in (layer.kernel_size, layer.stride, layer.padding))
    return (n + 2 * padding - kernel) // stride + 1


class MaskedSequential(nn.Sequential):
    """nn.Sequential that zeroes padding where needed. Layers with `output_size` take the widths themselves."""

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        """(N, C, H, W) and widths -> (N, C', H', W') and the widths in columns of the output."""
        for layer in self:
            if hasattr(layer, "output_size"):
                x, widths = layer(x, widths)
            elif isinstance(layer, SPATIAL):
                x = layer(zero_padding(x, widths) if mixes_columns(layer) else x)
                widths = None if widths is None else output_size(layer, widths)
            else:
                x = layer(x)
        return x, widths

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        for layer in self:
            n = output_size(layer, n, axis)
        return n


class Residual(nn.Module):
    """relu(main(x) + shortcut(x)), the shortcut being x when none is given (He et al. 2015, 1512.03385)."""

    def __init__(self, main: MaskedSequential, shortcut: MaskedSequential | None = None):
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        added = x if self.shortcut is None else self.shortcut(x, widths)[0]
        x, widths = self.main(x, widths)
        return torch.relu(x + added), widths

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        return self.main.output_size(n, axis)


def conv_norm(
    inputs: int, outputs: int, kernel: int = 3, stride: Size = 1, padding: Size | None = None, groups: int = 1
) -> list[nn.Module]:
    """A convolution without bias and its batch norm; padded to keep its size unless told otherwise."""
    padding = kernel // 2 if padding is None else padding
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(outputs)]
