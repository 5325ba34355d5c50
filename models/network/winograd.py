"""3 x 3 convolutions in float32 on a CPU by Winograd's minimal filtering: `--kernels winograd`.

Lavin and Gray 2015, arXiv 1509.09308: F(4 x 4, 3 x 3) computes a tile of 4 x 4 outputs from 6 x 6 inputs.

1. Cut the padded input into 6 x 6 tiles, 4 apart, and transform each: B^T d B (`transform_input`).
2. Transform each 3 x 3 filter g to 6 x 6 as well: G g G^T (`transform_filters`).
3. In that basis a convolution is one product per position: 36 for a tile, where the direct sum needs 144. Summed over
   the input channels of all tiles, each of the 36 positions is one matrix product, and torch.bmm computes all 36.
4. Transform the 6 x 6 products of a tile back to its 4 x 4 outputs: A^T m A (`transform_output`).

All three transforms are linear, so gradients go through their transposes: the input's is a convolution with mirrored
filters, the weights' sums products of transformed inputs and transformed output gradients (`weight_gradient`).
Rounding differs from the direct sum's by about 1e-6 of the largest value; docs/performance.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

TILE, PATCH = 4, 6  # outputs of a tile, and inputs they depend on, each way
CHUNK = 1 << 22  # numbers of transformed inputs or outputs at a time: in float32 16 MiB, half of a third-level cache
# Below these the transforms cost more than the products save (measured on the layers of VGG).
MIN_CHANNELS = 128  # in and out
MIN_TILES = 128
MIN_FILLED = 0.7  # share of the tiles' outputs that lie inside the image
Matrix = tuple[tuple[float, ...], ...]

# The paper's B^T, G and A^T: one row for each sum.
INPUTS: Matrix = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
FILTERS: Matrix = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
OUTPUTS: Matrix = (
    (1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1),
)  # fmt: skip


def transpose(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def combine(matrix: Matrix, parts: Sequence[Tensor], out: Iterable[Tensor]) -> None:
    """out[i] = sum over j of matrix[i][j] * parts[j]; the matrices are small and half empty."""
    for row, target in zip(matrix, out, strict=True):
        first, *others = [(factor, part) for factor, part in zip(row, parts, strict=True) if factor]
        if not others:
            torch.mul(first[1], first[0], out=target)
            continue
        (factor, part), *rest = others
        if first[0] == 1:
            torch.add(first[1], part, alpha=factor, out=target)
        else:
            torch.mul(first[1], first[0], out=target).add_(part, alpha=factor)
        for factor, part in rest:
            target.add_(part, alpha=factor)


def transform_input(x: Tensor) -> Tensor:
    """Padded (N, H, W, C) -> transformed tiles (PATCH, PATCH, N, H', W', C)."""
    n, height, width, channels = x.shape
    down, across = (height - 2) // TILE, (width - 2) // TILE
    rows = x.new_empty(PATCH, n, down, width, channels)
    combine(INPUTS, [x[:, i : i + TILE * (down - 1) + 1 : TILE] for i in range(PATCH)], rows)
    tiles = x.new_empty(PATCH, PATCH, n, down, across, channels)
    columns = [rows[..., j : j + TILE * (across - 1) + 1 : TILE, :] for j in range(PATCH)]
    combine(INPUTS, columns, [tiles[:, j] for j in range(PATCH)])
    return tiles


def transform_output(products: Tensor, y: Tensor) -> None:
    """Write products (PATCH, PATCH, N, H', W', K) as outputs into y (N, TILE * H', TILE * W', K)."""
    rows = products.new_empty(TILE, *products.shape[1:])
    combine(OUTPUTS, products.unbind(0), rows)
    for i in range(TILE):
        combine(OUTPUTS, rows[i].unbind(0), [y[:, i::TILE, j::TILE] for j in range(TILE)])


def transform_output_gradient(y: Tensor) -> Tensor:
    """The transpose of `transform_output`: (N, TILE * H', TILE * W', K) -> (PATCH, PATCH, N, H', W', K)."""
    n, height, width, channels = y.shape
    rows = y.new_empty(PATCH, n, height // TILE, width, channels)
    combine(transpose(OUTPUTS), [y[:, i::TILE] for i in range(TILE)], rows)
    tiles = y.new_empty(PATCH, PATCH, n, height // TILE, width // TILE, channels)
    columns = [rows[..., j::TILE, :] for j in range(TILE)]
    combine(transpose(OUTPUTS), columns, [tiles[:, j] for j in range(PATCH)])
    return tiles


def transform_filters(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (PATCH * PATCH, C, K)."""
    k, c = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).contiguous()  # (3, 3, C, K)
    rows = weight.new_empty(PATCH, 3, c, k)
    combine(FILTERS, taps.unbind(0), rows)
    tiles = weight.new_empty(PATCH, PATCH, c, k)
    combine(FILTERS, rows.unbind(1), tiles.unbind(1))
    return tiles.view(PATCH**2, c, k)


def transform_filters_gradient(tiles: Tensor) -> Tensor:
    """The transpose of `transform_filters`: (PATCH, PATCH, C, K) -> (K, C, 3, 3)."""
    rows = tiles.new_empty(3, *tiles.shape[1:])
    combine(transpose(FILTERS), tiles.unbind(0), rows)
    whole = tiles.new_empty(3, 3, *tiles.shape[2:])
    combine(transpose(FILTERS), rows.unbind(1), whole.unbind(1))
    return whole.permute(3, 2, 0, 1)


def pad_to_tiles(x: Tensor, before: int = 1) -> Tensor:
    """(N, C, H, W) -> (N, H' + 2, W' + 2, C) of whole tiles; `before`: rows of zeros above, columns on the left."""
    n, channels, height, width = x.shape
    tall, wide = (-(-size // TILE) * TILE + 2 * before for size in (height, width))
    whole = x.new_zeros(n, tall, wide, channels)
    whole[:, before : before + height, before : before + width] = x.permute(0, 2, 3, 1)
    return whole


def chunks(x: Tensor, channels: int) -> list[slice]:
    """Slices of the batch whose transformed tiles fit in the cache. x (N, H, W, C), padded."""
    tiles = (x.shape[1] // TILE) * (x.shape[2] // TILE)
    one = tiles * PATCH**2 * max(channels, x.shape[-1])
    step = max(1, CHUNK // one)
    return [slice(i, i + step) for i in range(0, len(x), step)]


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """As F.conv2d(x, weight, padding=1); x (N, C, H, W), the result in channels_last."""
    n, channels, height, width = x.shape
    filters, whole, outputs = transform_filters(weight), pad_to_tiles(x), len(weight)
    y = x.new_empty(n, whole.shape[1] - 2, whole.shape[2] - 2, outputs)
    for part in chunks(whole, outputs):
        tiles = transform_input(whole[part])
        products = torch.bmm(tiles.view(PATCH**2, -1, channels), filters)
        transform_output(products.view(*tiles.shape[:-1], outputs), y[part])
    return y[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (K, C, 3, 3) for inputs (N, C, H, W) and the outputs' gradient (N, K, H, W)."""
    whole, outer = pad_to_tiles(x), pad_to_tiles(gradient, before=0)
    total = x.new_zeros(PATCH**2, x.shape[1], gradient.shape[1])
    for part in chunks(whole, gradient.shape[1]):
        tiles = transform_input(whole[part]).view(PATCH**2, -1, x.shape[1])
        outer_tiles = transform_output_gradient(outer[part]).view(PATCH**2, -1, gradient.shape[1])
        total.baddbmm_(tiles.transpose(1, 2), outer_tiles)
    return transform_filters_gradient(total.view(PATCH, PATCH, *total.shape[1:]))


class WinogradFunction(torch.autograd.Function):
    """F.conv2d(x, weight, bias, padding=1), once differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = convolve(x, weight)
        return y if bias is None else y.add_(bias.view(-1, 1, 1))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        mirrored = weight.transpose(0, 1).flip(2, 3)
        return (
            convolve(gradient, mirrored) if needs_x else None,
            weight_gradient(x, gradient) if needs_weight else None,
            gradient.sum(dim=(0, 2, 3)) if needs_bias else None,
        )


class WinogradConv2d(nn.Conv2d):
    """torch's Conv2d, which takes Winograd's way for large float32 batches on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype == torch.float32 and pays(x):
            # torch leaves Function.apply without annotations
            y: Tensor = WinogradFunction.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return y
        return super().forward(x)


def pays(x: Tensor) -> bool:
    """Whether there are enough tiles to share the transformed filters, and few of their outputs beyond the border."""
    n, _, height, width = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    return n * down * across >= MIN_TILES and height * width >= MIN_FILLED * down * across * TILE**2


def is_eligible(layer: nn.Conv2d) -> bool:
    """Whether a convolution is a plain 3 x 3 one with channels enough."""
    plain = layer.kernel_size == (3, 3) and layer.stride == layer.padding == layer.dilation == (1, 1)
    return plain and layer.groups == 1 and min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS


def use_winograd(network: nn.Module) -> None:
    """Replace eligible convolutions in place; parameters are shared and keep their names, no random number is drawn."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Conv2d and is_eligible(layer):
                channels, bias = (layer.in_channels, layer.out_channels), layer.bias is not None
                replaced = WinogradConv2d(*channels, 3, padding=1, bias=bias, device="meta").train(layer.training)
                replaced.weight, replaced.bias = layer.weight, layer.bias
                setattr(parent, name, replaced)
