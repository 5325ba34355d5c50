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
    sharded: the device holds its rank's share alone, every world-th sample, and batches must be made of it: of a
    ShardSampler's order, or of one that is not shuffled.
    """

    def __init__(self, dataset: WordDataset, sampler: EpochSampler, device: torch.device | str, sharded: bool = False):
        if not isinstance(dataset.source, Packed):  # whose rows can be copied as they are
            raise DataError(f"{dataset.name}: not packed; `python -m models.prepare --packed` first")
        self.dataset, self.source, self.sampler = dataset, dataset.source, sampler
        self.device = torch.device(device)
        self.sharded, rows = sharded, None
        if sharded:
            own = range(sampler.rank, len(dataset), sampler.world)
            if not len(own):
                raise DataError(
                    f"{dataset.name}: {len(dataset)} samples are no share for each of {sampler.world} cards"
                )
            rows = dataset.numbers(own)[0]
        self.images = copy_to_device(dataset.source.images, self.device, rows)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        for indices in self.sampler:
            numbers, placeholder = self.dataset.numbers(indices)
            widths, texts = self.source.words(numbers)
            places = self.places(indices) if self.sharded else numbers
            images = self.images.index_select(0, self.to_device(torch.as_tensor(places).long()))
            batch = self.dataset.batch(DecodedBatch(images, widths, texts, numbers.tolist()), placeholder)
            self.dataset.note(batch)
            yield batch

    def places(self, indices: list[int]) -> np.ndarray:
        """Where this rank's share holds these samples; for a placeholder, which is another rank's, any image."""
        if indices[0] < 0:
            return np.zeros(1, int)
        places, ranks = np.divmod(np.asarray(indices), self.sampler.world)
        if (ranks != self.sampler.rank).any():
            raise ValueError("samples of another rank's share: this sampler's batches are not made of shares")
        return places

    def to_device(self, places: torch.Tensor) -> torch.Tensor:
        """Places on the device; from memory that is not pinned the host would wait until the device is idle."""
        if self.device.type == "cpu":
            return places
        return places.pin_memory().to(self.device, non_blocking=True)


def copy_to_device(images: np.ndarray, device: torch.device, rows: np.ndarray | None = None) -> torch.Tensor:
    """Memory-mapped rows, all or those of these numbers, as one tensor on a device.

    They are copied piece by piece, so that the host never holds them all. Raises DataError when they do not fit.
    """
    count, row_bytes = len(images) if rows is None else len(rows), images[0].nbytes
    try:
        whole = torch.empty((count, *images.shape[1:]), dtype=torch.uint8, device=device)
    except RuntimeError as error:
        raise DataError(f"{count * row_bytes / 1e9:,.1f} GB of images do not fit on {device}: {error}") from None
    step = max(1, AT_ONCE // row_bytes)
    for begin in range(0, count, step):
        piece = slice(begin, begin + step) if rows is None else rows[begin : begin + step]
        whole[begin : begin + step] = torch.from_numpy(np.array(images[piece]))
    return whole
