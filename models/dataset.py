"""Word pictures and their texts, in batches: the raw Synth90k tree or the field's LMDB, whichever a path holds.

data = open_dataset(Path("data"), "train", Shape(), Charset())
for batch in loader(data, EpochSampler(len(data), 32), workers=2, device_type="cuda"):
    batch.images                            # uint8 (N, C, H, W); (x / 255 - 0.5) / 0.5 is the device's work
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from models.charset import Charset, CharsetError
from models.data.image import PADDING, Shape, decode, resize
from models.data.sampler import EpochSampler
from models.data.source import DataError, Source, UnreadableError
from models.data.store import Store, is_store
from models.data.synth90k import SPLITS, Synth90k, find_tree
from models.data.unfit import Unfit, find_unfit

__all__ = ["Batch", "DataError", "EpochSampler", "Shape", "Unfit", "WordDataset", "loader", "open_dataset"]

log = logging.getLogger(__name__)


@dataclass
class Batch:
    """What one step reads. N pictures; `labels` are CTC targets, concatenated."""

    images: torch.Tensor  # uint8 (N, C, H, W)
    widths: torch.Tensor  # int32 (N,) px before padding
    labels: torch.Tensor  # int32 (sum of lengths,)
    lengths: torch.Tensor  # int32 (N,)
    texts: list[str]  # as the data set has them, before any case folding
    weight: float = 1.0  # 0 for a placeholder, see EpochSampler
    skipped: dict[int, str] = field(default_factory=dict)  # samples missing from it, and why

    def pin_memory(self) -> Batch:
        for name in ("images", "widths", "labels", "lengths"):
            setattr(self, name, getattr(self, name).pin_memory())
        return self


class WordDataset(Dataset):
    """A source seen through a shape and a charset; whole batches at a time through `__getitems__`.

    A sample whose picture cannot be read or whose label cannot be spelled is left out of its batch, named once in the
    log and counted in `skipped`. A batch with nothing left becomes one grey picture of weight 0, so that on many cards
    every rank still makes the same number of steps.
    """

    def __init__(self, source: Source, shape: Shape, charset: Charset, kept: np.ndarray | None = None):
        self.source, self.shape, self.charset, self.kept = source, shape, charset, kept
        self.targets = True  # False: texts only, so that a label the alphabet cannot spell is still scored
        self.name = source.name
        self.is_sample = getattr(source, "is_sample", False)
        self.reasons: dict[int, str] = {}  # why samples were skipped, by number

    def __len__(self) -> int:
        return len(self.source) if self.kept is None else len(self.kept)

    @property
    def skipped(self) -> int:
        """Samples left out so far, whichever of a loader's workers met them."""
        return len(self.reasons)

    @property
    def manifest_hash(self) -> str:
        """sha256 over the sample list and its labels; reads all labels."""
        return self.source.manifest()

    def unfit(self, time_steps: int) -> Unfit:
        """The samples that CTC cannot learn in so many time steps; look before training, then train `without` them."""
        return find_unfit(self.source, self.charset, time_steps)

    def without(self, unfit: Unfit) -> WordDataset:
        kept = np.setdiff1d(np.arange(len(self.source), dtype=np.uint32), unfit.indices)
        if not len(kept):
            raise DataError(f"{self.name}: no sample is left to train on; {unfit}")
        return WordDataset(self.source, self.shape, self.charset, kept)

    def __getitem__(self, index: int) -> Batch:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> Batch:
        numbers = [~i if i < 0 else i for i in indices]
        if self.kept is not None:
            numbers = self.kept[numbers].tolist()
        images, widths, samples, skipped = self._read(numbers)
        classes = [classes for _, classes in samples]
        return Batch(
            images=torch.from_numpy(images),
            widths=torch.tensor(widths, dtype=torch.int32),
            labels=torch.tensor([c for one in classes for c in one], dtype=torch.int32),
            lengths=torch.tensor([len(one) for one in classes], dtype=torch.int32),
            texts=[text for text, _ in samples],
            weight=0.0 if indices[0] < 0 or len(skipped) == len(numbers) else 1.0,
            skipped=skipped,
        )

    def _read(self, numbers: list[int]) -> tuple[np.ndarray, list[int], list[tuple[str, list[int]]], dict[int, str]]:
        """Decode straight into the batch: images (N, C, H, W), widths, (text, classes), reasons for what is missing."""
        shape, widths, samples, skipped = self.shape, [], [], {}
        images = np.full((len(numbers), shape.height, shape.width, shape.channels), PADDING, np.uint8)
        for number in numbers:
            try:
                text = self.source.label(number)
                classes = self.charset.encode(text) if self.targets else []
                picture = decode(self.source.encoded(number), shape.channels)
            except (DataError, CharsetError) as error:
                skipped[number] = located(str(error), self.source.where(number))
                continue
            width = shape.fitted(*picture.shape[:2])
            images[len(widths), :, :width] = resize(picture, shape.height, width)
            widths.append(width)
            samples.append((text, classes))
        if not samples:
            widths, samples = [shape.width], [("", [1])]
        widest = min(shape.width, -(-max(widths) // 4) * 4)
        return np.ascontiguousarray(images[: len(widths), :, :widest].transpose(0, 3, 1, 2)), widths, samples, skipped

    def note(self, skipped: dict[int, str]) -> None:
        """Count and log samples that a batch left out."""
        for number in skipped.keys() - self.reasons.keys():
            log.warning("skipped: %s", skipped[number])
        self.reasons.update(skipped)


def located(reason: str, where: str) -> str:
    return reason if where in reason else f"{where}: {reason}"


def open_dataset(
    root: Path | str | None, split: str, shape: Shape, charset: Charset, labels: str = "lexicon"
) -> WordDataset:
    """Open the data set that `root` holds.

    Args:
        root: the folder above Synth90k/ (PYTORCH_TRAIN_DATASET), Synth90k, 90kDICT32px, a folder of LMDBs named by
            split, or one LMDB, which then serves every split.
        labels: for the raw tree, "lexicon" (lower case) or "name" (from the file name, case kept).
    """
    source = open_source(root, split, labels)
    refuse_rubbish(source)
    return WordDataset(source, shape, charset)


def refuse_rubbish(source: Source, looks: int = 8) -> None:
    """A data set whose first pictures are all unreadable is a wrong path or a broken copy: say so before training."""
    for index in range(min(looks, len(source))):
        try:
            decode(source.encoded(index))
        except UnreadableError as error:
            reason = located(str(error), source.where(index))
        else:
            return
    raise DataError(
        f"{source.name}: none of its first {min(looks, len(source))} pictures can be read; the last: {reason}"
    )


def open_source(root: Path | str | None, split: str, labels: str = "lexicon") -> Source:
    if not root or root == Path():
        raise DataError("no dataset path: set PYTORCH_TRAIN_DATASET to the folder that holds Synth90k/")
    root = Path(root)
    if split not in SPLITS:
        raise DataError(f"{split!r} is no split; there are {', '.join(SPLITS)}")
    if not root.exists():
        raise DataError(f"{root}: no such folder; PYTORCH_TRAIN_DATASET must name the folder that holds Synth90k/")
    for folder in (root / split, root):
        if is_store(folder):
            return Store(folder)
    tree = find_tree(root)
    if tree is None:
        raise DataError(f"{root}: neither Synth90k (90kDICT32px/annotation_{split}.txt) nor an LMDB (data.mdb) in it")
    return Synth90k(tree, split, labels)


class Loader(DataLoader):
    """A DataLoader that tells the data set which samples its workers had to skip."""

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            self.dataset.note(batch.skipped)
            yield batch


def loader(dataset: WordDataset, sampler: EpochSampler, workers: int, device_type: str) -> Loader:
    """A loader of Batches. Pixels come from workers through shared memory, into pinned memory for a device.

    One loader serves all epochs: `sampler.set_epoch(...)` between them, and the workers stay.
    """
    return Loader(
        dataset,
        batch_sampler=sampler,
        collate_fn=already_a_batch,
        num_workers=workers,
        pin_memory=device_type != "cpu",  # torch_mlu pins for the MLU under the same switch
        persistent_workers=workers > 0,
        worker_init_fn=one_thread,
    )


def already_a_batch(batch: Batch) -> Batch:
    return batch


def one_thread(_: int) -> None:
    """OpenCV would start its own threads in each worker and they would fight for the cores."""
    cv2.setNumThreads(0)
