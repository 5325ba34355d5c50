"""3 x 3 convolutions in float32 on a CPU by Winograd's minimal filtering (Lavin and Gray 2015, arXiv 1509.09308).

F(m x m, 3 x 3) makes m x m outputs of a tile of m + 2 x m + 2 inputs with one product for each input of the tile: for
m = 4 that is 36 where the direct way needs 144. The products of all tiles and channels are one batch of matrix
products; the transforms around them are sums of neighbours. The gradients of input and weights go the same way.

The sums round otherwise than direct ones do, by some 1e-6 of the largest value: docs/performance.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

TILE = 4  # outputs of a tile, each way
PATCH = TILE + 2  # inputs of a tile
CHUNK = 1 << 22  # floats of transformed inputs or outputs at a time: 16 MiB, half of a third-level cache
# Measured with benchmarks/against_peers.py's network: with less, the transforms cost more than the products save.
LEAST_CHANNELS = 128  # in and out
LEAST_TILES = 128
LEAST_FILLED = 0.7  # of the tiles' outputs

INPUTS = ((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
          (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1))  # fmt: skip
FILTERS = ((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
           (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1))  # fmt: skip
OUTPUTS = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
GRADIENTS = tuple(zip(*OUTPUTS, strict=True))  # of the outputs: the transform's transpose


def combine(matrix: Sequence[Sequence[float]], parts: Sequence[Tensor], out: Sequence[Tensor]) -> None:
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


def patches(x: Tensor) -> Tensor:
    """(N, H, W, C), padded -> transformed tiles (PATCH, PATCH, N, H', W', C)."""
    n, height, width, channels = x.shape
    down, across = (height - 2) // TILE, (width - 2) // TILE
    rows = x.new_empty(PATCH, n, down, width, channels)
    combine(INPUTS, [x[:, i : i + TILE * (down - 1) + 1 : TILE] for i in range(PATCH)], rows)
    tiles = x.new_empty(PATCH, PATCH, n, down, across, channels)
    columns = [rows[..., j : j + TILE * (across - 1) + 1 : TILE, :] for j in range(PATCH)]
    combine(INPUTS, columns, [tiles[:, j] for j in range(PATCH)])
    return tiles


def assembled(products: Tensor, y: Tensor) -> None:
    """Products (PATCH, PATCH, N, H', W', K) -> outputs y (N, TILE * H', TILE * W', K)."""
    rows = products.new_empty(TILE, *products.shape[1:])
    combine(OUTPUTS, products.unbind(0), rows)
    for i in range(TILE):
        combine(OUTPUTS, rows[i].unbind(0), [y[:, i::TILE, j::TILE] for j in range(TILE)])


def spread(y: Tensor) -> Tensor:
    """The transpose of `assembled`: gradients (N, TILE * H', TILE * W', K) -> (PATCH, PATCH, N, H', W', K)."""
    n, height, width, channels = y.shape
    rows = y.new_empty(PATCH, n, height // TILE, width, channels)
    combine(GRADIENTS, [y[:, i::TILE] for i in range(TILE)], rows)
    tiles = y.new_empty(PATCH, PATCH, n, height // TILE, width // TILE, channels)
    combine(GRADIENTS, [rows[..., j::TILE, :] for j in range(TILE)], [tiles[:, j] for j in range(PATCH)])
    return tiles


def filters(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (PATCH * PATCH, C, K)."""
    k, c = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).contiguous()  # (3, 3, C, K)
    rows = weight.new_empty(PATCH, 3, c, k)
    combine(FILTERS, taps.unbind(0), rows)
    tiles = weight.new_empty(PATCH, PATCH, c, k)
    combine(FILTERS, rows.unbind(1), tiles.unbind(1))
    return tiles.view(PATCH * PATCH, c, k)


def taps(tiles: Tensor) -> Tensor:
    """The transpose of `filters`: (PATCH, PATCH, C, K) -> (K, C, 3, 3)."""
    back = tuple(zip(*FILTERS, strict=True))
    rows = tiles.new_empty(3, *tiles.shape[1:])
    combine(back, tiles.unbind(0), rows)
    whole = tiles.new_empty(3, 3, *tiles.shape[2:])
    combine(back, rows.unbind(1), whole.unbind(1))
    return whole.permute(3, 2, 0, 1)


def padded(x: Tensor, before: int = 1) -> Tensor:
    """(N, C, H, W) -> (N, H' + 2, W' + 2, C) with whole tiles; `before`: zeros above and on the left."""
    n, channels, height, width = x.shape
    tall, wide = (-(-size // TILE) * TILE + 2 * before for size in (height, width))
    whole = x.new_zeros(n, tall, wide, channels)
    whole[:, before : before + height, before : before + width] = x.permute(0, 2, 3, 1)
    return whole


def chunks(x: Tensor, channels: int):
    """Slices of pictures whose tiles stay in the cache. x (N, H, W, C), padded."""
    one = (x.shape[1] // TILE) * (x.shape[2] // TILE) * PATCH**2 * max(channels, x.shape[-1])
    step = max(1, CHUNK // one)
    return [slice(i, i + step) for i in range(0, len(x), step)]


def correlate(x: Tensor, weight: Tensor) -> Tensor:
    """As F.conv2d(x, weight, padding=1); x (N, C, H, W) in float32, the result laid out as channels_last."""
    n, _, height, width = x.shape
    whole, u, outputs = padded(x), filters(weight), weight.shape[0]
    y = x.new_empty(n, whole.shape[1] - 2, whole.shape[2] - 2, outputs)
    for part in chunks(whole, outputs):
        tiles = patches(whole[part])
        products = torch.bmm(tiles.view(PATCH * PATCH, -1, x.shape[1]), u)
        assembled(products.view(*tiles.shape[:-1], outputs), y[part])
    return y[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (K, C, 3, 3) for inputs (N, C, H, W) and the outputs' gradient (N, K, H, W)."""
    whole, far = padded(x), padded(gradient, before=0)
    total = x.new_zeros(PATCH * PATCH, x.shape[1], gradient.shape[1])
    for part in chunks(whole, gradient.shape[1]):
        tiles = patches(whole[part]).view(PATCH * PATCH, -1, x.shape[1])
        total.baddbmm_(tiles.transpose(1, 2), spread(far[part]).view(PATCH * PATCH, -1, gradient.shape[1]))
    return taps(total.view(PATCH, PATCH, *total.shape[1:]))


class Winograd(torch.autograd.Function):
    """F.conv2d(x, weight, bias, padding=1), once differentiable."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        y = correlate(x, weight)
        return y if bias is None else y.add_(bias.view(-1, 1, 1))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor):
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        mirrored = weight.transpose(0, 1).flip(2, 3)
        return (
            correlate(gradient, mirrored) if needs_x else None,
            weight_gradient(x, gradient) if needs_weight else None,
            gradient.sum(dim=(0, 2, 3)) if needs_bias else None,
        )


class Conv2d(nn.Conv2d):
    """torch's, which in float32 on a CPU takes Winograd's way where that is the shorter one."""

    def forward(self, x: Tensor) -> Tensor:
        if self.goes_short(x):
            return Winograd.apply(x, self.weight, self.bias)
        return super().forward(x)

    def goes_short(self, x: Tensor) -> bool:
        return self.fits() and worth_it(x) and eager_on_cpu(x)

    def fits(self) -> bool:
        plain = self.kernel_size == (3, 3) and self.stride == self.padding == self.dilation == (1, 1)
        return plain and self.groups == 1 and min(self.in_channels, self.out_channels) >= LEAST_CHANNELS


def worth_it(x: Tensor) -> bool:
    """Enough tiles to share the transform of the filters, and not too much of them beyond the border."""
    n, _, height, width = x.shape
    down, across = -(-height // TILE), -(-width // TILE)
    return n * down * across >= LEAST_TILES and height * width >= LEAST_FILLED * down * across * TILE**2


def eager_on_cpu(x: Tensor) -> bool:
    """Float32 on a CPU, without autocast, and no other program is made of the network."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or autocasting():
        return False
    return not (torch.onnx.is_in_onnx_export() or torch.jit.is_tracing() or compiling())


def compiling() -> bool:
    return hasattr(torch.compiler, "is_compiling") and torch.compiler.is_compiling()  # torch 2.3


def autocasting() -> bool:
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4
        return torch.is_autocast_enabled("cpu")
    return torch.is_autocast_cpu_enabled()
