"""Thin-plate-spline rectification: bent and slanted words are straightened before they are read.

A small network finds fiducial points along the upper and the lower edge of the text; the spline that
carries points on the border of a straight image to them says where each pixel of that image is to be
taken from (Shi et al. 2016, arXiv 1603.03915; Bookstein 1989). With matrix products and one grid sample it
exports to ONNX.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.masked import WIDTH, MaskedSequential, N, Widths, conv_norm, zero_padding


class Rectifier(nn.Module):
    """Images (N, channels, H, W) of any width -> straightened images (N, channels, height, width)."""

    spline: Tensor

    def __init__(self, channels: int, height: int, width: int, fiducials: int = 20):
        super().__init__()
        self.height, self.width, self.fiducials = height, width, fiducials
        self.localise = localiser(channels)
        self.gather = nn.Sequential(nn.Linear(512, 256), nn.ReLU(inplace=True))
        self.points = nn.Linear(256, 2 * fiducials)
        nn.init.zeros_(self.points.weight)
        self.points.bias.data = slanted_border(fiducials).flatten().float()
        # Sampling positions are linear in the points, so the whole spline is one matrix.
        self.register_buffer("spline", spline(height, width, fiducials).float(), persistent=False)

    def forward(self, images: Tensor, widths: Widths = None) -> Tensor:
        """widths (N,): pixels that are an image's own; fiducial points then stand within them."""
        points = self.find(images, widths)
        grid = (self.spline.to(points.dtype) @ points).view(-1, self.height, self.width, 2)
        if widths is not None:
            grid = to_batch_coordinates(grid, widths, images.shape[-1])
        return F.grid_sample(images, grid.to(images.dtype), padding_mode="border", align_corners=True)

    def find(self, images: Tensor, widths: Widths = None) -> Tensor:
        """Fiducial points (N, fiducials, 2) as x and y in -1..1 of each image."""
        features, columns = self.localise(images, widths)
        if columns is None:
            pooled = features.mean(dim=(2, 3))
        else:
            area = columns.view(-1, 1) * features.shape[2]
            pooled = zero_padding(features, columns).sum(dim=(2, 3)) / area
        points: Tensor = self.points(self.gather(pooled))
        return points.view(-1, self.fiducials, 2)

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        """What comes out is as large as the rectifier was made, whatever goes in."""
        made = self.width if axis == WIDTH else self.height
        return n * 0 + made  # of n's own type


def localiser(channels: int) -> MaskedSequential:
    """Four convolutions, 64 to 512 channels, halved between."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((channels, 64), (64, 128), (128, 256), (256, 512)):
        layers += [*conv_norm(inputs, outputs), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return MaskedSequential(*layers[:-1])


def to_batch_coordinates(grid: Tensor, widths: Tensor, width: int) -> Tensor:
    """Positions in each image's own columns -> positions in a batch `width` px wide."""
    x, y = grid.unbind(dim=-1)
    columns = (x.clamp(-1, 1) + 1) / 2 * (widths.view(-1, 1, 1) - 1)
    return torch.stack([columns * 2 / max(width - 1, 1) - 1, y], dim=-1)


def border(fiducials: int) -> Tensor:
    """(fiducials, 2): points along the upper edge from left to right, then along the lower edge."""
    upper = torch.full((fiducials // 2,), -1.0, dtype=torch.float64)
    return edge_points(upper, -upper)


def slanted_border(fiducials: int) -> Tensor:
    """Where training starts: both edges slanted inwards, figure 6 (a) of the paper."""
    upper = torch.linspace(0, -1, fiducials // 2, dtype=torch.float64)
    return edge_points(upper, upper + 1)


def edge_points(upper: Tensor, lower: Tensor) -> Tensor:
    """Heights of both edges -> their points, evenly spaced from left to right."""
    x = torch.linspace(-1, 1, len(upper), dtype=torch.float64)
    return torch.cat([torch.stack([x, upper], dim=1), torch.stack([x, lower], dim=1)])


def spline(height: int, width: int, fiducials: int) -> Tensor:
    """(height * width, fiducials) float64: the matrix from fiducial points to each pixel's sampling position."""
    anchors = border(fiducials)
    apart = torch.cdist(anchors, anchors).fill_diagonal_(1)
    ones, zeros = torch.ones(fiducials, 1).double(), torch.zeros(3, 3).double()
    affine = torch.cat([ones, anchors], dim=1)
    delta = torch.cat([torch.cat([affine, apart**2 * apart.log()], dim=1), torch.cat([zeros, affine.T], dim=1)])
    inverse: Tensor = torch.linalg.inv(delta)
    return basis(height, width, anchors) @ inverse[:, :fiducials]


def basis(height: int, width: int, anchors: Tensor) -> Tensor:
    """(height * width, 3 + fiducials): 1, x, y and r^2 log r to each anchor, for the middle of each pixel."""
    rows, columns = ((torch.arange(n).double() * 2 + 1 - n) / n for n in (height, width))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([x.flatten(), y.flatten()], dim=1)
    apart = torch.cdist(pixels, anchors)
    return torch.cat([torch.ones(len(pixels), 1).double(), pixels, apart**2 * (apart + 1e-6).log()], dim=1)
