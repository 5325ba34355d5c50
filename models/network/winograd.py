"""3 x 3 convolutions in float32 on a CPU by Winograd's minimal filtering (Lavin and Gray 2015, arXiv 1509.09308).

F(m x m, 3 x 3) makes m x m outputs of a tile of m + 2 x m + 2 inputs with one product for each input of the tile: for
m = 4 that is 36 where the direct way needs 144. The products of all tiles and channels are one batch of matrix
products; the transforms around them are sums of neighbours. The gradients of input and weights go the same way.

The sums round otherwise than direct ones do, by some 1e-6 of the largest value: docs/performance.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

CHUNK = 1 << 22  # numbers of transformed inputs or outputs at a time: in float32 16 MiB, half of a third-level cache
# Measured with benchmarks/against_peers.py's network: with less, the transforms cost more than the products save.
LEAST_CHANNELS = 128  # in and out
LEAST_TILES = 128
LEAST_FILLED = 0.7  # of the tiles' outputs
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Tile:
    """F(size x size, 3 x 3): what is summed to make a tile's inputs, filters and outputs, a row for each sum."""

    inputs: Matrix
    filters: Matrix
    outputs: Matrix

    @property
    def size(self) -> int:
        """Outputs, each way."""
        return len(self.outputs)

    @property
    def patch(self) -> int:
        """Inputs, each way."""
        return len(self.inputs)

    @property
    def gradients(self) -> Matrix:
        """Of the outputs: the transform's transpose."""
        return tuple(zip(*self.outputs, strict=True))


F4 = Tile(
    inputs=((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
            (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
    filters=((1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
             (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1)),
    outputs=((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
)  # fmt: skip
F2 = Tile(
    inputs=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    filters=((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    outputs=((1, 1, 1, 0), (0, 1, -1, -1)),
)
# In bfloat16, for reading: which tile from how many channels in and out. Its rounding errors are 3 (F2) and 20 (F4)
# times those of direct sums, which the whole network hardly notices in its last layers: docs/performance.md.
READING = ((512, 512, F4), (256, 512, F2))


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


def patches(x: Tensor, tile: Tile = F4) -> Tensor:
    """(N, H, W, C), padded -> transformed tiles (patch, patch, N, H', W', C)."""
    n, height, width, channels = x.shape
    size, patch = tile.size, tile.patch
    down, across = (height - 2) // size, (width - 2) // size
    rows = x.new_empty(patch, n, down, width, channels)
    combine(tile.inputs, [x[:, i : i + size * (down - 1) + 1 : size] for i in range(patch)], rows)
    tiles = x.new_empty(patch, patch, n, down, across, channels)
    columns = [rows[..., j : j + size * (across - 1) + 1 : size, :] for j in range(patch)]
    combine(tile.inputs, columns, [tiles[:, j] for j in range(patch)])
    return tiles


def assembled(products: Tensor, y: Tensor, tile: Tile = F4) -> None:
    """Products (patch, patch, N, H', W', K) -> outputs y (N, size * H', size * W', K)."""
    size = tile.size
    rows = products.new_empty(size, *products.shape[1:])
    combine(tile.outputs, products.unbind(0), rows)
    for i in range(size):
        combine(tile.outputs, rows[i].unbind(0), [y[:, i::size, j::size] for j in range(size)])


def spread(y: Tensor) -> Tensor:
    """The transpose of `assembled`: gradients (N, size * H', size * W', K) -> (patch, patch, N, H', W', K)."""
    n, height, width, channels = y.shape
    size, patch = F4.size, F4.patch
    rows = y.new_empty(patch, n, height // size, width, channels)
    combine(F4.gradients, [y[:, i::size] for i in range(size)], rows)
    tiles = y.new_empty(patch, patch, n, height // size, width // size, channels)
    combine(F4.gradients, [rows[..., j::size, :] for j in range(size)], [tiles[:, j] for j in range(patch)])
    return tiles


def filters(weight: Tensor, tile: Tile = F4) -> Tensor:
    """(K, C, 3, 3) -> (patch * patch, C, K)."""
    k, c = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).contiguous()  # (3, 3, C, K)
    rows = weight.new_empty(tile.patch, 3, c, k)
    combine(tile.filters, taps.unbind(0), rows)
    tiles = weight.new_empty(tile.patch, tile.patch, c, k)
    combine(tile.filters, rows.unbind(1), tiles.unbind(1))
    return tiles.view(tile.patch**2, c, k)


def taps(tiles: Tensor) -> Tensor:
    """The transpose of `filters`: (patch, patch, C, K) -> (K, C, 3, 3)."""
    back = tuple(zip(*F4.filters, strict=True))
    rows = tiles.new_empty(3, *tiles.shape[1:])
    combine(back, tiles.unbind(0), rows)
    whole = tiles.new_empty(3, 3, *tiles.shape[2:])
    combine(back, rows.unbind(1), whole.unbind(1))
    return whole.permute(3, 2, 0, 1)


def padded(x: Tensor, before: int = 1, tile: Tile = F4) -> Tensor:
    """(N, C, H, W) -> (N, H' + 2, W' + 2, C) with whole tiles; `before`: zeros above and on the left."""
    n, channels, height, width = x.shape
    tall, wide = (-(-size // tile.size) * tile.size + 2 * before for size in (height, width))
    whole = x.new_zeros(n, tall, wide, channels)
    whole[:, before : before + height, before : before + width] = x.permute(0, 2, 3, 1)
    return whole


def chunks(x: Tensor, channels: int, tile: Tile = F4) -> list[slice]:
    """Slices of pictures whose tiles stay in the cache. x (N, H, W, C), padded."""
    tiles = (x.shape[1] // tile.size) * (x.shape[2] // tile.size)
    one = tiles * tile.patch**2 * max(channels, x.shape[-1])
    step = max(1, CHUNK // one)
    return [slice(i, i + step) for i in range(0, len(x), step)]


def correlate(x: Tensor, weight: Tensor) -> Tensor:
    """As F.conv2d(x, weight, padding=1); x (N, C, H, W) in float32, the result laid out as channels_last."""
    return through(x, filters(weight), F4)


def through(x: Tensor, transformed: Tensor, tile: Tile) -> Tensor:
    """The convolution of x (N, C, H, W) with filters that `filters` transformed, (patch * patch, C, K), in x's type."""
    n, channels, height, width = x.shape
    whole, outputs = padded(x, tile=tile), transformed.shape[-1]
    y = x.new_empty(n, whole.shape[1] - 2, whole.shape[2] - 2, outputs)
    for part in chunks(whole, outputs, tile):
        tiles = patches(whole[part], tile)
        products = torch.bmm(tiles.view(tile.patch**2, -1, channels), transformed)
        assembled(products.view(*tiles.shape[:-1], outputs), y[part], tile)
    return y[:, :height, :width].permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (K, C, 3, 3) for inputs (N, C, H, W) and the outputs' gradient (N, K, H, W)."""
    whole, far = padded(x), padded(gradient, before=0)
    total = x.new_zeros(F4.patch**2, x.shape[1], gradient.shape[1])
    for part in chunks(whole, gradient.shape[1]):
        tiles = patches(whole[part]).view(F4.patch**2, -1, x.shape[1])
        total.baddbmm_(tiles.transpose(1, 2), spread(far[part]).view(F4.patch**2, -1, gradient.shape[1]))
    return taps(total.view(F4.patch, F4.patch, *total.shape[1:]))


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
    """torch's, which on a CPU takes Winograd's way where that is shorter: in float32, and to read in bfloat16."""

    kept: tuple | None = None  # what the transformed filters were made of, and they

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.kept = None  # a fused optimiser changes weights without counting it in their `_version`
        if self.goes_short(x):
            return Winograd.apply(x, self.weight, self.bias)
        if tile := self.reading_tile(x):
            return self.read(x, tile)
        return super().forward(x)

    def goes_short(self, x: Tensor) -> bool:
        wide = min(self.in_channels, self.out_channels) >= LEAST_CHANNELS
        return wide and self.fits() and eager_on_cpu(x) and worth_it(x)

    def fits(self) -> bool:
        plain = self.kernel_size == (3, 3) and self.stride == self.padding == self.dilation == (1, 1)
        return plain and self.groups == 1

    def reading_tile(self, x: Tensor) -> Tile | None:
        """The tile to read x through in bfloat16; None: torch's own way is as short, or gradients are wanted."""
        wide = (tile for least, most, tile in READING if self.in_channels >= least and self.out_channels >= most)
        tile = next(wide, None)
        if tile is None or torch.is_grad_enabled() or not (self.fits() and low_on_cpu(x, self.weight)):
            return None
        return tile if worth_it(x, tile) else None  # asked last: an exporter would be bound by the answer

    def read(self, x: Tensor, tile: Tile) -> Tensor:
        y = through(x.to(torch.bfloat16), self.transformed(tile), tile)
        return y if self.bias is None else y.add_(self.bias.to(y.dtype).view(-1, 1, 1))

    def transformed(self, tile: Tile) -> Tensor:
        """The filters in bfloat16, made anew only when the weights have changed."""
        weight = self.weight.detach()
        made_of = (weight.data_ptr(), tile.size, None if weight.is_inference() else weight._version)
        if self.kept is None or self.kept[0] != made_of:
            rounded = weight.to(torch.bfloat16).float()  # a copy whose weights are bfloat16 reads the same bits
            self.kept = made_of, filters(rounded, tile).to(torch.bfloat16)
        return self.kept[1]


def worth_it(x: Tensor, tile: Tile = F4) -> bool:
    """Enough tiles to share the transform of the filters, and not too much of them beyond the border."""
    n, _, height, width = x.shape
    down, across = -(-height // tile.size), -(-width // tile.size)
    return n * down * across >= LEAST_TILES and height * width >= LEAST_FILLED * down * across * tile.size**2


def eager_on_cpu(x: Tensor) -> bool:
    """Float32 on a CPU, without autocast, and no other program is made of the network."""
    return x.device.type == "cpu" and x.dtype == torch.float32 and not autocasting() and alone()


def low_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Bfloat16 on a CPU, by autocast or by the weights' own type. Where AMX makes products cheap, nothing is saved."""
    if x.device.type != "cpu" or has_amx():
        return False
    low = autocast_type() == torch.bfloat16 if autocasting() else weight.dtype == x.dtype == torch.bfloat16
    return low and alone()


def alone() -> bool:
    """No other program is made of the network."""
    return not (torch.onnx.is_in_onnx_export() or torch.jit.is_tracing() or compiling())


def compiling() -> bool:
    return hasattr(torch.compiler, "is_compiling") and torch.compiler.is_compiling()  # torch 2.3


@cache
def has_amx() -> bool:
    """Also where torch is too old to tell (before 2.5): then convolutions stay torch's."""
    return getattr(torch.cpu, "_is_amx_tile_supported", lambda: True)()


def autocasting() -> bool:
    if hasattr(torch, "get_autocast_dtype"):  # torch 2.4
        return torch.is_autocast_enabled("cpu")
    return torch.is_autocast_cpu_enabled()


def autocast_type() -> torch.dtype:
    if hasattr(torch, "get_autocast_dtype"):
        return torch.get_autocast_dtype("cpu")
    return torch.get_autocast_cpu_dtype()
