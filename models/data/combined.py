"""Sources made of sources: a part of one, several in a row, and a weighted mix."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from itertools import accumulate

import numpy as np

from models.data.files import DataError
from models.data.source import Source, refuse_packed
from models.data.synth90k import SPLITS


class Part(Source):
    """Some samples of a source, by number."""

    def __init__(self, source: Source, numbers: np.ndarray):
        refuse_packed([source])
        self.source, self.numbers = source, numbers
        self.name, self.is_sample, self.codes = source.name, source.is_sample, source.codes

    def __len__(self) -> int:
        return len(self.numbers)

    def encoded(self, index: int) -> bytes | memoryview:
        return self.source.encoded(int(self.numbers[index]))

    def label(self, index: int) -> str:
        return self.source.label(int(self.numbers[index]))

    def lexicon(self, index: int, column: str) -> list[str]:
        return self.source.lexicon(int(self.numbers[index]), column)

    def where(self, index: int) -> str:
        return self.source.where(int(self.numbers[index]))

    def manifest(self) -> str:
        return hashlib.sha256(str(self.source.manifest()).encode() + self.numbers.astype("<u4").tobytes()).hexdigest()


def split_by_ratio(source: Source, ratio: tuple[float, float, float], seed: int, split: int) -> Part:
    """Part number `split` (0 train, 1 val, 2 test) of a source cut at random; the same seed cuts the same."""
    if min(ratio) < 0 or abs(sum(ratio) - 1) > 1e-6:
        raise DataError(f"a split of {ratio}: three shares of train, val and test that add up to 1 are needed")
    cuts = [round(share * len(source)) for share in accumulate(ratio)]
    order = np.random.default_rng(seed).permutation(len(source)).astype(np.uint32)
    part = np.sort(order[cuts[split - 1] if split else 0 : cuts[split]])
    if not len(part):
        raise DataError(f"{source.name}: {ratio} of {len(source)} samples leaves {SPLITS[split]} empty")
    return Part(source, part)


class Mix(Source):
    """Several sources, each with a share of every epoch.

    The epoch is as long as it takes to see every sample at least once: the source with the most samples for its share
    is seen once, the others are repeated. Without shares: all in a row, each sample once.
    """

    def __init__(self, sources: list[Source], shares: list[float] | None = None):
        refuse_packed(sources)
        self.sources = sources
        sizes = [len(source) for source in sources]
        if shares is not None:
            if min(shares) <= 0:
                raise DataError(f"shares of a mix must be above 0, not {shares}")
            longest = max(size / share for size, share in zip(sizes, shares, strict=True))
            sizes = [max(size, round(longest * share)) for size, share in zip(sizes, shares, strict=True)]
        self.ends = list(accumulate(sizes))
        self.name = "+".join(source.name for source in sources)
        self.is_sample = any(source.is_sample for source in sources)

    def __len__(self) -> int:
        return self.ends[-1]

    def place(self, index: int) -> tuple[Source, int]:
        """The source and the number in it of a sample of the epoch."""
        which = bisect_right(self.ends, index)
        source = self.sources[which]
        return source, (index - (self.ends[which - 1] if which else 0)) % len(source)

    def encoded(self, index: int) -> bytes | memoryview:
        source, number = self.place(index)
        return source.encoded(number)

    def label(self, index: int) -> str:
        source, number = self.place(index)
        return source.label(number)

    def lexicon(self, index: int, column: str) -> list[str]:
        source, number = self.place(index)
        return source.lexicon(number, column)

    def where(self, index: int) -> str:
        source, number = self.place(index)
        return source.where(number)

    def manifest(self) -> str:
        parts = [f"{end} {source.manifest()}" for end, source in zip(self.ends, self.sources, strict=True)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
