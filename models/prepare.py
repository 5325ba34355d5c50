"""Turn any data set into LMDB or packed rows, or audit it; a run that was killed continues where it was.

python -m models.prepare --source data --out data/lmdb
python -m models.prepare --source data/lmdb --out data/packed --packed
python -m models.prepare --source lists/labels.tsv --out data/own --ratio 0.8,0.1,0.1
python -m models.prepare --source data/own --audit --charset 94
"""

from __future__ import annotations

if not __package__:  # `python models/prepare.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from bench.errors import UserError, one_line, run_cli
from bench.files import write_file
from bench.options import Bounds, Choices, Command, Metavar, Shares
from models.data.audit import Terms, audit, audit_report, check_digest, hash_all, overlaps, refuse_overlap
from models.data.charset import Charset
from models.data.conversion import write_lmdb, write_packed
from models.data.digest import digest_data
from models.data.files import DataError
from models.data.formats import SourceOptions
from models.data.image import Shape
from models.data.known import KNOWN, compare_count
from models.data.opening import open_source, own_splits
from models.data.rows import with_location
from models.data.source import Source, refuse_packed
from models.data.store import DESCRIPTION
from models.data.synth90k import SPLITS


@dataclass
class PrepareOptions:
    """Turn any data set into LMDB or packed rows (train, val and test below --out), or audit it."""

    source: str = os.environ.get("PYTORCH_TRAIN_DATASET", "")
    """The folder that holds Synth90k/, or LMDBs, label lists, JSON, ...; default: $PYTORCH_TRAIN_DATASET"""
    out: Path = Path("data/lmdb")
    """Folder to write to; the same source is gone on with"""
    overwrite: bool = False
    """Write anew what is there of another source, or of another state of this one"""
    packed: bool = False
    """Write decoded uint8 rows instead of LMDB"""
    audit: bool = False
    """Write nothing: report what is in the source"""
    build: Path | None = None
    """Write nothing: collect the alphabet of all labels in this file"""
    format: str = "auto"
    """The source's format, where it is not to be detected"""
    labels: Literal["lexicon", "name"] = "lexicon"
    """Synth90k's: lexicon (lower case) or name (from the file name, case kept)"""
    encoding: str = "utf-8"
    """Of label lists"""
    codes: str | None = None
    """Charset file that integer labels index"""
    image_root: str | None = None
    """Folder that the paths of a list start from and may not leave, where they do not start beside the list"""
    ratio: Annotated[tuple[float, float, float] | None, Shares()] = None
    """Shares of train, val and test, for a source without splits of its own"""
    seed: Annotated[int, Bounds(0)] = 0
    """Of that split"""
    splits: Annotated[tuple[str, ...], Metavar("SPLIT")] = SPLITS
    """Which to write or audit"""
    workers: Annotated[int, Bounds(0, 1024)] = 0
    """Processes; 0 is all cores"""
    tolerate: Annotated[float, Bounds(0, 1)] = 0.001
    """Share of unreadable images above which the run fails"""
    allow_overlap: Annotated[tuple[str, ...], Metavar("SPLIT+SPLIT")] = ()
    """Splits that may share images, as train+test"""
    expect: Annotated[str | None, Choices(tuple(KNOWN))] = None
    """For --audit: fail unless every split has as many samples as this public data set (docs/datasets.md)"""
    charset: str = ""
    """For --audit: 36, 62, 94, chinese or a file; default: what integer labels index, else 36"""
    stride: Annotated[int, Bounds(1, 4096)] = 4
    """For --audit: px of width per time step"""
    height: Annotated[int, Bounds(1, 4096)] = 32
    width: Annotated[int, Bounds(1, 65536)] = 100
    channels: Annotated[int, Bounds(1, 3)] = 1
    keep_ratio: bool = False

    @property
    def shape(self) -> Shape:
        return Shape(self.height, self.width, self.channels, self.keep_ratio)

    @property
    def source_options(self) -> SourceOptions:
        return SourceOptions(
            self.format, self.labels, self.encoding, self.codes, self.ratio, self.seed, self.image_root
        )


COMMAND = Command("models.prepare", PrepareOptions, "--source data --out data/lmdb")


def splits_of(options: PrepareOptions) -> tuple[str, ...]:
    """The splits asked for that are there; only train of a source that is all one and is not to be split by ratio."""
    own = own_splits(options.source, options.source_options)
    if options.ratio and not own:
        return tuple(split for split in options.splits if options.ratio[SPLITS.index(split)] > 0)
    if not own:
        print(f"{options.source}: has no splits of its own and no --ratio is given: all of it is train")
        return ("train",)
    if missing := [split for split in options.splits if split not in own]:
        print(f"{options.source}: has {' and '.join(own)}, no {' and no '.join(missing)}")
    if not set(own) & set(options.splits):
        raise DataError(f"{options.source}: has {' and '.join(own)}, none of --splits {','.join(options.splits)}")
    return tuple(split for split in options.splits if split in own)


def open_split(options: PrepareOptions, split: str) -> Source:
    """Open one split and show how it was understood: wrong labels are seen here or after a week."""
    source = open_source(options.source, split, options.source_options)
    print(one_line(f"{split}: {len(source):,} samples of {source.name}, format {source.how}"))
    for index in range(min(3, len(source))):
        print(one_line(f"  {source.where(index)}  {describe_image(source, index)}"))
    return source


def describe_image(source: Source, index: int) -> str:
    """A sample's size and text, or what is wrong with it."""
    try:
        height, width = source.size(index)
        return f"{width}x{height}  {source.label(index)!r}"
    except DataError as error:
        return str(error)


def prepare(options: PrepareOptions) -> dict[str, dict[str, int]]:
    """Write every split asked for and the description beside them; gives the counts by split."""
    counts = {}
    for split in splits_of(options):
        source = open_split(options, split)
        refuse_packed([source])
        counts[split] = write_split(options, source, options.out / split)
        print(f"  {counts[split]['samples']:,} written to {options.out / split}, {counts[split]['skipped']:,} skipped")
    about = {"name": source.name, "sample": source.is_sample, "source": str(options.source_options), "splits": counts}
    write_file(options.out / DESCRIPTION, json.dumps(about, indent=2) + "\n")
    return counts


def write_split(options: PrepareOptions, source: Source, folder: Path) -> dict[str, int]:
    """Write one split, or go on with it: a source is what its labels and images are, wherever it lies."""
    digest = digest_data(source)
    identity = f"sha256 {digest.hex} of {digest.images} images"
    if options.packed:
        identity = f"{identity} as {options.shape}"
        return write_packed(source, folder, identity, options.workers, options.shape, options.overwrite)
    return write_lmdb(source, folder, identity, options.workers, options.overwrite)


def check_written(options: PrepareOptions, counts: dict[str, dict[str, int]]) -> None:
    """Fail a run, whose files stay, when too much was unreadable or when train and test overlap."""
    skipped, written = (sum(count[key] for count in counts.values()) for key in ("skipped", "samples"))
    if skipped > options.tolerate * (skipped + written):
        enough = math.ceil(1000 * skipped / (skipped + written)) / 1000
        raise DataError(f"{skipped:,} of {skipped + written:,} images were unreadable, more than --tolerate "
                        f"{options.tolerate}; the others are written; `--audit` on the source names them: mend them, "
                        f"or do without them: the same command with --tolerate {enough:g}")  # fmt: skip
    if not written:
        raise DataError(f"{options.source}: no image could be used")
    hashes = {split: hash_all(open_source(options.out, split), options.workers) for split in counts}
    refuse_overlap(hashes, options.allow_overlap)


def audit_all(options: PrepareOptions) -> None:
    hashes, differ = {}, []
    own = own_splits(options.source, options.source_options)
    for split in splits_of(options):
        source = open_split(options, split)
        charset = Charset.named(options.charset) if options.charset else source.codes or Charset()
        terms = Terms(options.shape, charset, options.stride)
        found = audit(source, terms, options.workers)
        print("\n".join(map(one_line, audit_report(split, found, terms))))
        hashes[split] = np.concatenate(found.hashes)
        if options.expect:
            same, said = compare_count(options.expect, split if own else "", found.samples)
            print(f"  {said}")
            differ += [] if same else [split]
        if found.unreadable == found.samples:
            raise DataError(f"{split}: nothing can be read: {found.examples['unreadable'][0]}")
        if said := check_digest(source, found):
            print(said)
    for pair, count in overlaps(hashes).items():
        print(f"{count:,} images are in {pair[0]} and in {pair[1]}")
    refuse_overlap(hashes, options.allow_overlap)
    if differ:
        raise DataError(f"{options.source}: not {options.expect} as it is published, in {' and '.join(differ)}")


def build_charset(options: PrepareOptions, file: Path) -> None:
    """The alphabet of all labels, in code point order."""
    sources = [open_split(options, split) for split in splits_of(options)]
    skipped: list[str] = []
    characters = {c for source in sources for text in readable_labels(source, skipped) for c in text}
    if skipped:
        raise DataError(f"{len(skipped):,} labels cannot be read, the first: {skipped[0]}")
    charset = Charset.of(characters)
    charset.save(file)
    print(f"{len(charset.characters)} characters in {file}: {charset.characters[:100]!r}")


def readable_labels(source: Source, skipped: list[str]) -> Iterator[str]:
    """The labels of a source; those that cannot be read go to `skipped`, with the reason."""
    for index in range(len(source)):
        try:
            yield source.label(index)
        except DataError as error:
            skipped.append(with_location(str(error), source.where(index)))


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    if options.expect and not options.audit:
        raise UserError("--expect compares what --audit counts: pass both")
    if options.audit:
        audit_all(options)
    elif options.build:
        build_charset(options, options.build)
    else:
        check_written(options, prepare(options))


if __name__ == "__main__":
    run_cli(main, "models.prepare")
