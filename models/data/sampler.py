"""Which samples make the batches of an epoch, on which rank: each sample exactly once, for any number of ranks.

1. `order()` permutes the epoch's samples by (seed, epoch) alone, so every rank computes the same order by itself.
2. A global batch is the next world * batch_size samples of that order. A run that stopped after k samples resumes with
   start = k, also on another number of ranks: the order is the same, only the slices change.
3. Rank r takes every world-th sample of a global batch, from the r-th. In a last, short global batch some ranks may be
   left without a sample; collectives still need them, so they get a placeholder of weight 0, written as ~index.
4. BucketSampler changes step 1 alone: it sorts windows of the order by width, cuts them into runs, and permutes the
   runs, again by (seed, epoch). What 2 and 3 promise does not depend on the order.
5. ShardSampler changes step 1 so that what a rank takes in step 3 is always of the same share of the samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


class EpochSampler:
    """Batches of one epoch for one rank.

    Every rank gets the same number of batches. A placeholder, written as ~index, becomes a batch of weight 0 in the
    data set: collectives match and nothing is counted twice.

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
        """Begin an epoch, at its first sample or, on resuming, after the `start` samples already consumed."""
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


class BucketSampler(EpochSampler):
    """Shuffled batches of images of similar widths, so that little of a padded batch is padding.

    Args:
        widths: of every image, in px.
        window: samples sorted together: more means less padding and a less random epoch.
        run: samples of similar width that stay together; a larger global batch mixes runs.
    """

    def __init__(self, widths: np.ndarray, *args: Any, window: int = 1 << 15, run: int = 512, **options: Any):
        super().__init__(len(widths), *args, **options)
        self.widths, self.window, self.run = widths, window, run

    def order(self) -> np.ndarray:
        order = super().order()
        for begin in range(0, self.n, self.window):
            window = order[begin : begin + self.window]
            window[:] = window[np.argsort(self.widths[window], kind="stable")]
        whole = self.n // self.run * self.run  # the samples beyond stay last, so that batches stay within runs
        runs = np.random.default_rng([self.seed, self.epoch, 1]).permutation(order[:whole].reshape(-1, self.run))
        return np.concatenate([runs.ravel(), order[whole:]])


class ShardSampler(EpochSampler):
    """Each rank's batches from its own share, every world-th sample of the data set, shuffled anew each epoch.

    Each sample is still seen once an epoch. But no rank ever sees another's, batches mix within a share only, and the
    order depends on the number of ranks: within an epoch a run goes on with as many ranks only (`start` in steps of
    world).
    """

    def order(self) -> np.ndarray:
        """In places rank, rank + world, ... this rank's share; the rest is not shuffled, as others take it."""
        order = np.arange(self.n, dtype=np.uint32)
        if self.start < self.n and self.start % self.world:
            raise ValueError(f"start {self.start} is within a step of {self.world} ranks")
        if self.shuffle:
            np.random.default_rng([self.seed, self.epoch, 2, self.rank]).shuffle(order[self.rank :: self.world])
        return order
