"""Whether a step would fit in memory, tried after one has not."""

from __future__ import annotations

from bench.machine.device import Device
from models.data.synthetic import Synthetic
from models.dataset import WordDataset
from models.network.network import Network
from models.training.device_batch import to_device


def try_batch(network: Network, device: Device, dataset: WordDataset, images: int) -> None:
    """Forward and backward of this many images of the dataset's full width, without an update or the other ranks."""
    widest = WordDataset(Synthetic(dataset.shape, dataset.charset), dataset.shape, dataset.charset)
    batch = to_device(widest.__getitems__(list(range(images))), device, network)
    with device.autocast():
        logits = network(batch.images, batch.widths, batch.targets)
    network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths).backward()
