"""Which samples make the batches of an epoch, on which rank: each sample exactly once, whatever the number of ranks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class EpochSampler:
    """Batches of one epoch for one rank.

    The order of an epoch depends on `seed` and `epoch` alone. The global batch s is the next world * batch_size
    samples of that order, and a rank takes every world-th of them, so that a run continues on another number of ranks
    with exactly the samples it has not seen. Every rank gets the same number of batches; where the last global batch
    is too short for all, a rank without a sample gets one of it again as a placeholder, written as ~index, which the
    data set turns into a batch of weight 0: collectives match and nothing is counted twice.

    Args:
        n: samples in the data set.
        batch_size: per rank.
        start: samples of this epoch already consumed, over all ranks.
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int = 0,
        epoch: int = 0,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
        shuffle: bool = True,
    ):
        if not 0 <= rank < world or batch_size < 1 or not 0 <= start <= n:
            raise ValueError(f"rank {rank} of {world}, batch size {batch_size}, start {start} of {n}: out of range")
        self.n, self.batch_size, self.seed, self.epoch = n, batch_size, seed, epoch
        self.rank, self.world, self.start, self.shuffle = rank, world, start, shuffle

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Turn to another epoch, from its first sample or, on resuming, from the first one not yet consumed."""
        self.epoch, self.start = epoch, start

    @property
    def global_batch(self) -> int:
        return self.batch_size * self.world

    def __len__(self) -> int:
        return -(-(self.n - self.start) // self.global_batch)

    def order(self) -> np.ndarray:
        """The epoch's permutation: (n,) uint32, 36 MB for nine million samples."""
        order = np.arange(self.n, dtype=np.uint32)
        if self.shuffle:
            np.random.default_rng([self.seed, self.epoch]).shuffle(order)
        return order

    def __iter__(self) -> Iterator[list[int]]:
        order = self.order()
        for begin in range(self.start, self.n, self.global_batch):
            batch = order[begin : min(begin + self.global_batch, self.n)]
            yield batch[self.rank :: self.world].tolist() or [~int(batch[0])]

    def consumed(self, steps: int) -> int:
        """The `start` that continues after `steps` batches: samples of the epoch that all ranks have consumed."""
        return min(self.start + steps * self.global_batch, self.n)


class BucketSampler(EpochSampler):
    """Batches of pictures of like widths, so that little of a padded batch is padding.

    The shuffled epoch is sorted by width within windows, and the runs of like widths are shuffled again. That is one
    more order that depends on seed and epoch alone, so all that EpochSampler promises still holds.

    Args:
        widths: of every picture, in px.
        window: samples sorted together: the more, the less padding, and the less random an epoch.
        run: samples that stay together; the largest global batch that gains.
    """

    def __init__(self, widths: np.ndarray, *args, window: int = 1 << 15, run: int = 512, **options):
        super().__init__(len(widths), *args, **options)
        self.widths, self.window, self.run = widths, window, run

    def order(self) -> np.ndarray:
        order = super().order()
        for begin in range(0, self.n, self.window):
            window = order[begin : begin + self.window]
            window[:] = window[np.argsort(self.widths[window], kind="stable")]
        if not self.shuffle:
            return order
        whole = self.n // self.run * self.run  # the samples beyond stay last, so that batches stay within runs
        runs = np.random.default_rng([self.seed, self.epoch, 1]).permutation(order[:whole].reshape(-1, self.run))
        return np.concatenate([runs.ravel(), order[whole:]])
