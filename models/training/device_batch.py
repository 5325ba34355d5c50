"""A batch where the network is: what a training step reads, sent without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from bench.machine.device import Device
from models.data.augment import MODERATE, augment
from models.dataset import Batch, normalise
from models.network.ctc_loss import pad_labels_to
from models.network.heads import pad_labels
from models.network.network import Network


@dataclass
class DeviceBatch:
    """N images and their texts. `labels` are concatenated, or one text a row where the loss must not ask the host."""

    images: Tensor  # (N, C, H, W), normalised
    widths: Tensor | None  # (N,) px before padding, on the host; None: none is padded
    time_steps: Tensor  # (N,) of the network for each image, on the host
    labels: Tensor
    lengths: Tensor  # (N,), of the texts; on the host with labels that are concatenated
    targets: Tensor | None  # (N, S) for an attention head, which is told what it should have written
    count: int  # images that count
    weight: float  # 0 for a placeholder

    @property
    def tensors(self) -> dict[str, Any]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def clone(self) -> DeviceBatch:
        return replace(self, **{name: tensor.clone() for name, tensor in self.tensors.items()})

    def copy_(self, other: DeviceBatch) -> None:
        """Copy another batch with the same shapes into this one's memory."""
        for name, tensor in self.tensors.items():
            tensor.copy_(getattr(other, name), non_blocking=True)

    def same_shapes(self, other: DeviceBatch) -> bool:
        """Whether one CUDA graph serves both: they differ only in what their tensors contain."""

        def shapes(batch: DeviceBatch) -> tuple:
            return batch.count, batch.weight, {name: tensor.shape for name, tensor in batch.tensors.items()}

        return shapes(self) == shapes(other)


def to_device(batch: Batch | DeviceBatch, device: Device, network: Network, augmented: bool = False) -> DeviceBatch:
    """The batch on the device, its images normalised and, with `augmented`, distorted; as it is when it is there."""
    if isinstance(batch, DeviceBatch):
        return batch
    images = normalise(batch.images, device.torch)
    if augmented:
        images = augment(images, MODERATE)
    n, width = len(images), images.shape[-1]
    widths = None if bool((batch.widths == width).all()) else batch.widths
    time_steps = network.time_steps(torch.full((n,), width) if widths is None else widths)
    targets = None
    if network.model.head == "attention":
        targets = send(pad_labels(batch.labels, batch.lengths), device.torch)
    if targets is not None:
        labels, lengths = targets, send(batch.lengths.long(), device.torch)
    elif uses_own_ctc_loss(device) and widths is None:
        labels = send(pad_labels_to(batch.labels, batch.lengths, int(network.time_steps(width))), device.torch)
        lengths = send(batch.lengths.long(), device.torch)
    else:  # lengths stay on the host: devices would copy them back, and wait for it
        labels, lengths = batch.labels.to(device.torch, non_blocking=True), batch.lengths
    return DeviceBatch(images, widths, time_steps, labels, lengths, targets, len(batch.texts), batch.weight)


def uses_own_ctc_loss(device: Device) -> bool:
    """Whether CTC is computed by network/ctc_loss.py. On a CPU torch's own is faster, and an MLU has its vendor's."""
    return device.kind.own_ctc


def send(values: Tensor, device: torch.device) -> Tensor:
    """Small values to a device. Out of memory that is not pinned they would go only when the device is idle."""
    if device.type == "cpu":
        return values
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)
