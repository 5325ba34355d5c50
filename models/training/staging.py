"""A batch where the network is: what a step reads, on the device, sent without waiting for it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from bench.machine.device import Device
from models.dataset import Batch
from models.network.ctc_loss import pad_labels
from models.network.heads import pad
from models.network.network import Recogniser


@dataclass
class Staged:
    """N pictures and their texts. `labels` are one after another, or one a row where the loss must not ask the host."""

    images: Tensor  # (N, C, H, W), normalised
    widths: Tensor | None  # (N,) px before padding, on the host; None: none is padded
    labels: Tensor
    lengths: Tensor  # (N,), of the texts; on the host beside labels that are one after another
    targets: Tensor | None  # (N, S) for an attention head, which is told what it should have written
    count: int  # pictures that count
    weight: float  # 0 for a placeholder

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), Tensor)}

    def copy(self) -> Staged:
        return replace(self, **{name: tensor.clone() for name, tensor in self.tensors.items()})

    def take(self, other: Staged) -> None:
        """Another batch of this one's shape into this one's addresses."""
        for name, tensor in self.tensors.items():
            tensor.copy_(getattr(other, name), non_blocking=True)

    def is_like(self, other: Staged) -> bool:
        """Whether one recording serves both: all that is no tensor's content is the same."""

        def shape(batch: Staged) -> tuple:
            return batch.count, batch.weight, {name: tensor.shape for name, tensor in batch.tensors.items()}

        return shape(self) == shape(other)


def stage(batch: Batch, images: Tensor, device: Device, network: Recogniser) -> Staged:
    """The batch beside its pictures, which are on the device already."""
    widths = None if bool((batch.widths == images.shape[-1]).all()) else batch.widths
    attends, targets = network.model.head == "attention", None
    if attends:
        targets = sent(pad(batch.labels, batch.lengths), device.torch)
    if asks_nobody(device) and not attends and widths is None:
        labels = sent(pad_labels(batch.labels, batch.lengths, int(network.time_steps(images.shape[-1]))), device.torch)
        lengths = sent(batch.lengths.long(), device.torch)
    else:  # lengths stay on the host: devices would copy them back, and wait for it
        labels, lengths = batch.labels.to(device.torch, non_blocking=True), batch.lengths
    return Staged(images, widths, labels, lengths, targets, len(batch.texts), batch.weight)


def asks_nobody(device: Device) -> bool:
    """Whether CTC is computed by network/ctc_loss.py. On a CPU torch's own is faster, and an MLU has its vendor's."""
    return device.kind.type == "cuda"


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Small values to a device. Out of memory that is not pinned they would go only when the device is idle."""
    if device.type == "cpu":
        return values
    return (values if values.is_pinned() else values.pin_memory()).to(device, non_blocking=True)
