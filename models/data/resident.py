"""A packed data set whole in an accelerator's memory: training without an input pipeline."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from models.data.packed import Packed
from models.data.rows import DecodedBatch
from models.data.sampler import EpochSampler
from models.dataset import Batch, DataError, WordDataset

AT_ONCE = 1 << 28  # bytes copied to the device in one piece


class ResidentLoader:
    """Batches as models.dataset.loader gives them, their images gathered on the device.

    All of Synth90k's training set at 32x100 grey takes 23 GB there. Padded widths are not cut to a batch's widest.
    """

    def __init__(self, dataset: WordDataset, sampler: EpochSampler, device: torch.device | str):
        if not isinstance(dataset.source, Packed):  # whose rows can be copied as they are
            raise DataError(f"{dataset.name}: not packed; `python -m models.prepare --packed` first")
        self.dataset, self.source, self.sampler = dataset, dataset.source, sampler
        self.device = torch.device(device)
        self.images = copy_to_device(dataset.source.images, self.device)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.sampler:
            numbers, placeholder = self.dataset.numbers(indices)
            widths, texts = self.source.words(numbers)
            images = self.images.index_select(0, self.to_device(torch.as_tensor(numbers).long()))
            batch = self.dataset.batch(DecodedBatch(images, widths, texts, numbers.tolist()), placeholder)
            self.dataset.note(batch)
            yield batch

    def to_device(self, places: torch.Tensor) -> torch.Tensor:
        """Places on the device; from memory that is not pinned the host would wait until the device is idle."""
        if self.device.type == "cpu":
            return places
        return places.pin_memory().to(self.device, non_blocking=True)


def copy_to_device(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Memory-mapped rows as one tensor on a device, copied piece by piece so that the host never holds them all."""
    try:
        whole = torch.empty(images.shape, dtype=torch.uint8, device=device)
    except RuntimeError as error:
        raise DataError(f"{images.nbytes / 1e9:,.1f} GB of images do not fit on {device}: {error}") from None
    step = max(1, AT_ONCE // images[0].nbytes)
    for begin in range(0, len(images), step):
        whole[begin : begin + step] = torch.from_numpy(np.array(images[begin : begin + step]))
    return whole
