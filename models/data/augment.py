"""Distortions of whole batches on the device: geometry, blur, noise and light. Off unless a strength is above zero.

An image is moved by one random homography, so that rotation, scale, shear, shift and perspective cost one resampling.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

RATIO = 100 / 32  # width over height of the images that strengths are meant for


@dataclass(frozen=True)
class Augment:
    """The largest strength of each distortion; every image draws its own up to it, in both directions.

    On an image more than RATIO times as wide as high, what moves its ends moves them by as many pixels as on one of
    that ratio: 3 % of the width of a long line would be a character, 2 degrees would turn its ends out of the image.
    """

    rotate: float = 0.0  # degrees
    scale: float = 0.0  # share of the size: 0.1 is 0.9 to 1.1 times
    shear: float = 0.0  # horizontal px per vertical px
    shift: float = 0.0  # share of height and width
    perspective: float = 0.0  # how much larger one side becomes than the other, as a share
    blur: float = 0.0  # sigma in px
    noise: float = 0.0  # standard deviation, on the scale of black -1 to white 1
    brightness: float = 0.0  # added, on the same scale
    contrast: float = 0.0  # share: 0.3 is 0.7 to 1.3 times
    invert: float = 0.0  # probability of black for white

    @property
    def on(self) -> bool:
        return any(astuple(self))

    @property
    def moves(self) -> bool:
        return any((self.rotate, self.scale, self.shear, self.shift, self.perspective))


MODERATE = Augment(rotate=3, scale=0.05, shear=0.15, shift=0.03, perspective=0.1, blur=0.7, noise=0.06, brightness=0.2,
                   contrast=0.3, invert=0.1)  # fmt: skip


def augment(images: Tensor, strength: Augment) -> Tensor:
    """Distort a normalised batch (N, C, H, W), -1 black to 1 white; the result has its type and stays in that range.

    Each image draws its own distortions from torch's generator of the host, noise from the device's.
    """
    if not strength.on:
        return images
    kind, images = images.dtype, images.float()
    if strength.moves:
        maps = homographies(len(images), strength, images.shape[2] / images.shape[3])
        images = warp(images, to_device_of(images, maps))
    if strength.blur:
        images = blur(images, to_device_of(images, torch.rand(len(images)) * strength.blur))
    images = relight(images, strength)
    if strength.noise:
        images = images + torch.randn_like(images) * uniform(images, 0, strength.noise)
    return images.clamp(-1, 1).to(kind)


def homographies(n: int, strength: Augment, aspect: float) -> Tensor:
    """Random (n, 3, 3) maps from places in the result to places in the image, both in -1 to 1. aspect: H / W."""

    def draw(most: float) -> Tensor:
        return (torch.rand(n) * 2 - 1) * most

    along = min(1.0, RATIO * aspect)
    angle = draw(math.radians(strength.rotate)) * along
    cosine, sine = torch.cos(angle), torch.sin(angle)
    larger = draw(strength.scale)
    wide, high = 1 + larger * along, 1 + larger
    shear = draw(strength.shear) * aspect
    matrix = torch.zeros(n, 3, 3)
    matrix[:, 0, 0] = wide * cosine
    matrix[:, 0, 1] = -wide * sine * aspect + shear
    matrix[:, 1, 0] = high * sine / aspect
    matrix[:, 1, 1] = high * cosine
    matrix[:, 0, 2], matrix[:, 1, 2] = draw(2 * strength.shift) * along, draw(2 * strength.shift)
    # One side becomes (1 + p/2) / (1 - p/2) times the other, 1 + p for small p.
    matrix[:, 2, 0], matrix[:, 2, 1] = draw(strength.perspective / 2) * along, draw(strength.perspective / 2)
    matrix[:, 2, 2] = 1
    return matrix


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample every image through its homography; beyond its edge an image repeats its border."""
    n, _, height, width = images.shape
    x = (torch.arange(width, device=images.device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=images.device) * 2 + 1) / height - 1
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    places = torch.stack([grid_x, grid_y, torch.ones_like(grid_x)], -1).view(1, -1, 3) @ matrices.transpose(1, 2)
    grid = (places[..., :2] / places[..., 2:]).view(n, height, width, 2)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def blur(images: Tensor, sigmas: Tensor, radius: int = 2) -> Tensor:
    """Gaussian blur with one sigma an image, as two grouped convolutions."""
    n, channels, height, width = images.shape
    steps = torch.arange(-radius, radius + 1, device=images.device)
    weights = torch.exp(-(steps**2) / (2 * sigmas.clamp_min(1e-3)[:, None] ** 2))
    weights = (weights / weights.sum(1, keepdim=True)).repeat_interleave(channels, 0)[:, None]
    flat = images.reshape(1, n * channels, height, width)
    flat = F.conv2d(F.pad(flat, (radius, radius, 0, 0), "replicate"), weights[:, :, None, :], groups=n * channels)
    flat = F.conv2d(F.pad(flat, (0, 0, radius, radius), "replicate"), weights[:, :, :, None], groups=n * channels)
    return flat.view(n, channels, height, width)


def relight(images: Tensor, strength: Augment) -> Tensor:
    """Contrast around each image's mean, brightness, and black for white."""
    if strength.contrast or strength.brightness:
        mean = images.mean((1, 2, 3), keepdim=True)
        gain = 1 + uniform(images, -strength.contrast, strength.contrast)
        images = (images - mean) * gain + mean + uniform(images, -strength.brightness, strength.brightness)
    if strength.invert:
        images = torch.where(uniform(images, 0, 1) < strength.invert, -images, images)
    return images


def uniform(images: Tensor, low: float, high: float) -> Tensor:
    """One number for each image, (N, 1, 1, 1), on the device."""
    return to_device_of(images, torch.rand(len(images), 1, 1, 1) * (high - low) + low)


def to_device_of(images: Tensor, drawn: Tensor) -> Tensor:
    """Numbers drawn on the host, on the images' device; from pinned memory, so that the host does not wait."""
    if images.device.type == "cpu":
        return drawn
    return drawn.pin_memory().to(images.device, non_blocking=True)
