"""Images of words and their texts, in batches: the raw Synth90k tree or the field's LMDB, whichever a path holds.

data = open_dataset(Path("data"), "train", Shape(), Charset())
for batch in make_loader(data, EpochSampler(len(data), 32), workers=2, device_type="cuda"):
    batch.images                            # uint8 (N, C, H, W); (x / 255 - 0.5) / 0.5 is the device's work
"""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from bench.errors import one_line
from bench.machine.world import TIMEOUT
from models.data.charset import Charset, CharsetError
from models.data.digest import DataDigest, digest_data
from models.data.files import DataError
from models.data.formats import SourceOptions
from models.data.image import Shape
from models.data.label_filter import LabelIssues, find_label_issues
from models.data.opening import open_source
from models.data.rows import DecodedBatch, grey_placeholder, pad_batch, with_location
from models.data.sampler import BucketSampler, EpochSampler
from models.data.source import Source
from models.data.synthetic import Synthetic
from models.data.tolerance import WINDOW, SkipTolerance
from models.data.watchdog import watch_workers

# Twice a rank and iterator; the check before the run says it once, with the threads (bench/machine/preflight.py).
warnings.filterwarnings("ignore", "This DataLoader will create")

__all__ = [
    "Batch", "BucketSampler", "DataError", "EpochSampler", "LabelIssues", "Shape", "SourceOptions", "WordDataset",
    "make_loader", "normalise", "open_dataset", "pad_batch",
]  # fmt: skip

log = logging.getLogger(__name__)


class TooManyMissing(DataError):
    """More images cannot be used than the run tolerates."""

    status = "crash"


@dataclass
class Batch:
    """What one step reads. N images; `labels` are CTC targets, concatenated."""

    images: torch.Tensor  # uint8 (N, C, H, W)
    widths: torch.Tensor  # int32 (N,) px before padding
    labels: torch.Tensor  # int32 (sum of lengths,)
    lengths: torch.Tensor  # int32 (N,)
    texts: list[str]  # as the data set has them, before any case folding
    numbers: list[int]  # of the samples, in the source
    weight: float = 1.0  # 0 for a placeholder, see EpochSampler
    skipped: dict[int, str] = field(default_factory=dict)  # samples missing from it, and why

    def pin_memory(self) -> Batch:
        for name in ("images", "widths", "labels", "lengths"):
            setattr(self, name, getattr(self, name).pin_memory())
        return self


def normalise(images: torch.Tensor, device: torch.device) -> torch.Tensor:
    """uint8 (N, C, H, W) on the host -> float in -1..1 on the device: (x / 255 - 0.5) / 0.5."""
    images = images.to(device, non_blocking=True).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


class WordDataset(Dataset):
    """A source seen through a shape and a charset; whole batches at a time through `__getitems__`.

    A sample whose image cannot be read or whose label cannot be spelled is left out of its batch, named once in the
    log and counted in `skipped`. A batch with nothing left becomes one grey image of weight 0, so that on many cards
    every rank still makes the same number of steps.

    Args:
        out_of_charset: for a label with characters outside the charset, "skip" the sample, or "remove" those
            characters from the CTC targets (`texts` keeps them), so that a test set keeps its size.
    """

    def __init__(
        self,
        source: Source,
        shape: Shape,
        charset: Charset,
        kept: np.ndarray | None = None,
        out_of_charset: str = "skip",
    ):
        self.source, self.shape, self.charset, self.kept = source, shape, charset, kept
        self.out_of_charset = out_of_charset
        self.name, self.is_sample = source.name, source.is_sample
        self.is_whole = False  # whoever opened it for a split says whether that is all there is
        self.reasons: dict[int, str] = {}  # why samples were skipped, by number
        self.tolerance = SkipTolerance(window=min(WINDOW, len(self)))
        if source.shape not in (None, shape):
            raise DataError(f"{source.name}: packed as {source.shape}, asked for as {shape}; pack it again")

    def __len__(self) -> int:
        return len(self.source) if self.kept is None else len(self.kept)

    @property
    def manifest_hash(self) -> str | None:
        """sha256 over the sample list and its labels, all of which it reads; None for synthetic images."""
        return self.source.manifest()

    @cached_property
    def digest(self) -> DataDigest | None:
        """What the data is: a digest of all of the source, which is read for it once; None for synthetic images."""
        return None if isinstance(self.source, Synthetic) else digest_data(self.source)

    def label_issues(self, time_steps: int | np.ndarray, characters: bool = False) -> LabelIssues:
        """The samples that CTC cannot learn in so many time steps; look before training, then train `without` them.

        With kept ratio every image has its own: pass (N,) of them, made from `widths()`. With `characters` those that
        attention cannot write in so many.
        """
        return find_label_issues(self.source, self.charset, time_steps, characters)

    def without(self, issues: LabelIssues) -> WordDataset:
        fits = np.ones(len(self.source), bool)
        fits[issues.indices] = False
        kept = np.flatnonzero(fits).astype(np.uint32)
        if not len(kept):
            raise DataError(f"{self.name}: no sample is left to train on; {issues}")
        return self.part(kept)

    def part(self, kept: np.ndarray) -> WordDataset:
        """The samples of these numbers in the source."""
        fitting = WordDataset(self.source, self.shape, self.charset, kept, self.out_of_charset)
        fitting.tolerance.share, fitting.is_whole = self.tolerance.share, self.is_whole
        return fitting

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        """One batch. A placeholder is written ~index, see EpochSampler."""
        numbers, placeholder = self.numbers(indices)
        return self.batch(self.source.rows(numbers, self.shape), placeholder)

    def batch(self, rows: DecodedBatch, placeholder: bool) -> Batch:
        """Rows and their labels as a Batch; what cannot be spelled is left out of it."""
        labels, lengths = self._spell(rows)
        empty = not rows.texts
        if empty:
            rows = grey_placeholder(self.shape, rows.skipped)
            labels, lengths = np.ones(1, np.int32), np.ones(1, np.int32)
        return Batch(
            images=torch.as_tensor(rows.images),
            widths=torch.from_numpy(rows.widths),
            labels=torch.from_numpy(labels),
            lengths=torch.from_numpy(lengths),
            texts=rows.texts,
            numbers=rows.numbers,
            weight=0.0 if placeholder or empty else 1.0,
            skipped=rows.skipped,
        )

    def numbers(self, indices: Sequence[int]) -> tuple[np.ndarray, bool]:
        """Numbers in the source of these samples of the data set, and whether they are a placeholder."""
        places = np.asarray(indices)
        placeholder = bool(places[0] < 0)
        places = ~places if placeholder else places
        return (places if self.kept is None else self.kept[places].astype(np.int64)), placeholder

    def _spell(self, rows: DecodedBatch) -> tuple[np.ndarray, np.ndarray]:
        """CTC targets and their lengths, int32. Labels with other characters lose their row, or these characters."""
        try:
            return self.charset.encode_all(rows.texts)
        except CharsetError:
            if self.out_of_charset == "remove":
                return self.charset.encode_all([self.charset.remove_out_of_charset(text) for text in rows.texts])
            bad = {i: f"label {t!r} has {f!r}, outside the charset" for i, t in enumerate(rows.texts)
                   if (f := self.charset.out_of_charset(t))}  # fmt: skip
            rows.drop({i: with_location(reason, self.source.where(rows.numbers[i])) for i, reason in bad.items()})
            return self.charset.encode_all(rows.texts)

    def note(self, batch: Batch) -> None:
        """Count and log samples that a batch left out. Raises TooManyMissing above the share that is tolerated."""
        for number in batch.skipped.keys() - self.reasons.keys():
            log.warning("skipped: %s", one_line(batch.skipped[number]))
        self.reasons.update(batch.skipped)
        found = self.tolerance
        found.count(len(batch.skipped), len(batch.skipped) + len(batch.numbers))
        if found.exceeded:
            raise TooManyMissing(
                f"{self.name}: {found.missing:,} of the last {found.asked:,} images could not be used, more than"
                f" --tolerate {found.share:g} of {found.window:,}; the last: {list(self.reasons.values())[-1]}"
            )

    def widths(self) -> np.ndarray:
        """Width in px of every image before padding, from its header: (N,) uint16. For batches of like widths."""
        numbers, _ = self.numbers(range(len(self)))
        return self.source.widths(numbers, self.shape)


def open_dataset(
    root: Path | str | None,
    split: str,
    shape: Shape,
    charset: Charset,
    reading: SourceOptions | None = None,
    out_of_charset: str | None = None,
) -> WordDataset:
    """Open one split of the data set that `root` holds, in any of the formats of models/data/formats.py.

    `root` may be the folder above Synth90k/ (PYTORCH_TRAIN_DATASET), Synth90k, 90kDICT32px, a folder of LMDBs named by
    split, one LMDB (which then serves every split), a packed folder, a label list, or a mix `MJ:0.5,ST:0.5`.
    `out_of_charset` as in WordDataset: by default training skips and testing removes.
    """
    source = open_source(root, split, reading)
    refuse_rubbish(source)
    out_of_charset = out_of_charset or ("skip" if split == "train" else "remove")
    return WordDataset(source, shape, charset, out_of_charset=out_of_charset)


def refuse_rubbish(source: Source, looks: int = 8) -> None:
    """A data set whose first images are all unreadable is a wrong path or a broken copy: say so before training."""
    reasons = []
    for index in range(min(looks, len(source))):
        try:
            source.size(index)
        except DataError as error:
            reasons.append(with_location(str(error), source.where(index)))
        else:
            return
    if reasons:
        remedy = "; --image-root DIR says where images lie" if reasons[-1].endswith("No such file or directory") else ""
        raise DataError(
            f"{source.name}: none of its first {len(reasons)} images can be read; the last: {reasons[-1]}{remedy}"
        )


class Loader(DataLoader):
    """A DataLoader that tells the data set which samples its workers had to skip, and does not wait for ever."""

    dataset: WordDataset

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # torch names a private class
        batches = super().__iter__()
        with watch_workers(getattr(batches, "_workers", ()), TIMEOUT.total_seconds()) as waiting:
            while (batch := waiting.next(batches)) is not None:
                self.dataset.note(batch)
                yield batch


def make_loader(dataset: WordDataset, sampler: EpochSampler, workers: int, device_type: str) -> Loader:
    """A loader of Batches. Pixels come from workers through shared memory, into pinned memory for a device.

    One loader serves all epochs: `sampler.set_epoch(...)` between them, and the workers stay.
    """
    return Loader(
        dataset,
        batch_sampler=sampler,
        collate_fn=keep_batch,
        num_workers=workers,
        pin_memory=device_type != "cpu",  # torch_mlu pins for the MLU under the same switch
        persistent_workers=workers > 0,
        # Its own generator: from the global one every iterator would draw, and a resumed epoch makes one more of them.
        generator=torch.Generator(),
        timeout=2 * TIMEOUT.total_seconds() if workers else 0,  # the watchdog is faster, where it can
        worker_init_fn=begin_worker,
    )


def keep_batch(batch: Any) -> Batch:
    return batch


def begin_worker(_: int) -> None:
    """In each worker, before its first batch."""
    cv2.setNumThreads(0)  # OpenCV's own threads in every worker would fight for the cores
    # `timeout`, Slurm and CI signal a run's whole process group: the run ends in order, with the batches that takes,
    # and its workers after it. A second SIGTERM, such as the one at the end of the program, is obeyed.
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
