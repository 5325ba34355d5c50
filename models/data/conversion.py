"""Writing a source out as LMDB or packed, chunk by chunk, continuing what was begun."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from tqdm import tqdm

from bench.files import format_bytes
from models.data.files import DataError
from models.data.image import PADDING, Shape, decode
from models.data.packed import PackedWriter
from models.data.parallel import in_chunks
from models.data.rows import DecodedBatch, with_location
from models.data.source import Source
from models.data.writer import LMDBWriter, check_space, stored_bytes


@dataclass(frozen=True)
class Chunk:
    """What one task read: how much of the source, what it gave, and why the rest is missing."""

    consumed: int
    content: tuple[Any, ...]  # what the writer's `add` takes
    skipped: list[str]


def encoded_chunk(source: Source, numbers: range) -> Chunk:
    """Images as they are, once it is known that they can be decoded, and their labels."""
    samples, skipped = [], []
    for number in numbers:
        try:
            encoded, text = source.encoded(number), source.label(number)
            decode(encoded)
        except DataError as error:
            skipped.append(with_location(str(error), source.where(number)))
            continue
        samples.append((bytes(encoded), text))
    return Chunk(len(numbers), (samples,), skipped)


def packed_chunk(shape: Shape, source: Source, numbers: range) -> Chunk:
    rows = source.rows(np.array(numbers), shape)
    content = (pad_to_width(rows, shape.width), rows.widths, rows.texts)
    return Chunk(len(numbers), content, list(rows.skipped.values()))


def pad_to_width(rows: DecodedBatch, width: int) -> np.ndarray:
    images = np.asarray(rows.images)
    missing = width - images.shape[3]
    return np.pad(images, [(0, 0)] * 3 + [(0, missing)], constant_values=PADDING) if missing else images


def write_lmdb(source: Source, folder: Path, identity: str, workers: int, overwrite: bool = False) -> dict[str, int]:
    """Write what is not yet written of a source as LMDB; gives its counts. `overwrite` what is there of another."""
    writer = LMDBWriter(folder, identity, overwrite)
    return convert_source(source, writer, encoded_chunk, lambda size: stored_bytes(size) + 80, workers)


def write_packed(
    source: Source, folder: Path, identity: str, workers: int, shape: Shape, overwrite: bool = False
) -> dict[str, int]:
    """Write what is not yet written of a source as packed rows; gives its counts. `overwrite` as above."""
    writer = PackedWriter(folder, identity, shape, source.name, source.is_sample, overwrite)
    row = shape.channels * shape.height * shape.width + 2 + 8 + 16
    return convert_source(source, writer, partial(packed_chunk, shape), lambda _: row, workers)


def convert_source(
    source: Source,
    writer: LMDBWriter | PackedWriter,
    work: Callable[[Source, range], Chunk],
    cost: Callable[[int], int],
    workers: int,
) -> dict[str, int]:
    progress = writer.progress
    add: Callable[..., None] = writer.add  # the two writers take different contents
    if not progress.finished:
        check_space(writer.folder, space_needed(source, progress.consumed, cost))
        done: dict[str, Any] = {"total": len(source), "initial": progress.consumed}
        try:
            with tqdm(**done, desc=writer.folder.name, unit=" images", unit_scale=True, disable=None) as bar:
                for chunk in in_chunks(work, source, workers, progress.consumed):
                    add(chunk.consumed, *chunk.content, skipped=chunk.skipped)
                    bar.update(chunk.consumed)
            writer.finish()
        except (OSError, lmdb.Error) as error:
            left, free = space_needed(source, writer.progress.consumed, cost), shutil.disk_usage(writer.folder).free
            raise DataError(
                f"cannot write {writer.folder}: {error}: about {format_bytes(left)} more are needed,"
                f" {format_bytes(free)} are free;"
                f" the {writer.progress.written:,} samples written stay: make room, and the same command goes on"
            ) from None
    writer.close()
    return {"samples": writer.progress.written, "skipped": writer.progress.skipped}


def space_needed(source: Source, done: int, cost: Callable[[int], int], looks: int = 200) -> int:
    """Bytes that the rest of a source will take, from an even choice of its images."""
    costs = []
    for index in range(done, len(source), max(1, (len(source) - done) // looks)):
        try:
            costs.append(cost(len(source.encoded(index))))
        except DataError:
            continue
    return sum(costs) * (len(source) - done) // max(1, len(costs))
