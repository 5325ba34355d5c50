"""Turn a data set into LMDB, in parallel; a run that was killed continues where it was.

python -m models.prepare --source data --out data/lmdb
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from bench.refusal import answer
from models.data.image import decode
from models.data.source import DataError, Source, UnreadableError
from models.data.store import DESCRIPTION
from models.data.synth90k import SPLITS
from models.data.writer import Writer, check_space, stored_bytes
from models.dataset import located, open_source
from models.options import parse

CHUNK = 2048  # samples per task and per commit: 4 MB of MJSynth, so memory stays bounded


@dataclass
class Options:
    """Turn a data set into LMDB (train, val and test below --out).

    Args:
        source: the folder that holds Synth90k/, or any data set that models.dataset opens.
        out: folder to write to.
        labels: "lexicon" (lower case) or "name" (from the file name, case kept).
        splits: which to write.
        workers: processes that read and check pictures; 0 means all cores.
        tolerate: share of unreadable pictures above which the exit status is 1.
    """

    source: str = os.environ.get("PYTORCH_TRAIN_DATASET", "")
    out: Path = Path("data/lmdb")
    labels: str = "lexicon"
    splits: tuple[str, ...] = SPLITS
    workers: int = 0
    tolerate: float = 0.001


def read_chunk(source: Source, begin: int, end: int) -> tuple[int, list[tuple[bytes, str]], list[str]]:
    """Samples begin to end: how many, the readable ones as (encoded, text), and why the others are not."""
    samples, skipped = [], []
    for index in range(begin, end):
        try:
            encoded, text = bytes(source.encoded(index)), source.label(index)
            decode(encoded)
        except UnreadableError as error:
            skipped.append(located(str(error), source.where(index)))
            continue
        samples.append((encoded, text))
    return end - begin, samples, skipped


_source: Source  # of this worker


def start_worker(source: Source) -> None:
    global _source
    _source = source


def work(begin: int, end: int):
    return read_chunk(_source, begin, end)


def chunks(source: Source, start: int, workers: int) -> Iterator[tuple[int, list[tuple[bytes, str]], list[str]]]:
    """Chunks of the source in order, read by processes that are never more than two tasks ahead each."""
    bounds = [(begin, min(begin + CHUNK, len(source))) for begin in range(start, len(source), CHUNK)]
    with ProcessPoolExecutor(workers, initializer=start_worker, initargs=(source,)) as pool:
        ahead: deque[Future] = deque()
        for begin, end in bounds:
            ahead.append(pool.submit(work, begin, end))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def write_split(source: Source, folder: Path, identity: str, workers: int) -> dict:
    """Write one split, or what is left of it; gives its counts."""
    writer = Writer(folder, identity)
    if not writer.progress.finished:
        done = writer.progress.consumed
        check_space(folder, space_needed(source, done))
        with tqdm(total=len(source), initial=done, desc=folder.name, unit=" images", unit_scale=True) as bar:
            for consumed, samples, skipped in chunks(source, done, workers):
                writer.add(consumed, samples, skipped)
                bar.update(consumed)
        writer.finish()
    counts = {"samples": writer.progress.written, "skipped": writer.progress.skipped}
    writer.close()
    return counts


def space_needed(source: Source, done: int, looks: int = 200) -> int:
    """Bytes that the rest of the source will take, from an even choice of its pictures."""
    sizes = []
    for index in range(done, len(source), max(1, (len(source) - done) // looks)):
        try:
            sizes.append(stored_bytes(len(source.encoded(index))))
        except UnreadableError:
            continue
    return sum(sizes) * (len(source) - done) // max(1, len(sizes))


def prepare(options: Options) -> dict[str, dict]:
    """Write every split asked for and the description beside them; gives the counts by split."""
    counts = {}
    for split in options.splits:
        source = open_source(options.source, split, options.labels)
        identity = f"{source.name} {split} ({len(source)} samples, labels: {options.labels})"
        counts[split] = write_split(source, options.out / split, identity, options.workers or os.cpu_count() or 1)
        done = counts[split]
        print(f"{split}: {done['samples']:,} samples, {done['skipped']:,} skipped, in {options.out / split}")
    about = {
        "name": source.name,
        "sample": getattr(source, "is_sample", False),
        "labels": options.labels,
        "splits": counts,
    }
    (options.out / DESCRIPTION).write_text(json.dumps(about, indent=2) + "\n")
    return counts


def main(argv: list[str] | None = None) -> None:
    options = parse(Options, argv, "python -m models.prepare", example="--source data --out data/lmdb")
    counts = prepare(options)
    skipped, written = (sum(c[key] for c in counts.values()) for key in ("skipped", "samples"))
    if skipped > options.tolerate * (skipped + written):
        raise DataError(
            f"{skipped:,} of {skipped + written:,} pictures were unreadable, more than --tolerate {options.tolerate}; "
            "the others are written, and the LMDBs name these under skipped-000000001 and so on"
        )


if __name__ == "__main__":
    answer(main, "python -m models.prepare")
