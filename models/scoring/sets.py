"""Several test sets read in one go: opened as one data set, told apart again when they are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import UserError
from models.data.charset import Charset
from models.data.combined import Mix
from models.data.formats import SourceOptions
from models.data.opening import has_splits, open_source
from models.data.source import Source
from models.dataset import Shape, WordDataset, refuse_rubbish


def open_sets(
    paths: Sequence[str], split: str, shape: Shape, charset: Charset, reading: SourceOptions | None = None
) -> WordDataset:
    """All sets in a row. Each is a path, or NAME=PATH; without a name a set is called as its file or folder.

    Raises UserError: two sets of one name, or a path that holds no data set.
    """
    named = [parse_set(path) for path in paths]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"several sets are called {twice[0]!r}: give them names, --sets NAME=PATH NAME=PATH")
    sources = [open_set(name, path, split, reading) for name, path in named]
    source = sources[0] if len(sources) == 1 else Mix(sources)
    data = WordDataset(source, shape, charset, out_of_charset="remove")
    data.is_whole = not all(has_splits(path, reading or SourceOptions(), split) for _, path in named)
    return data


def parse_set(option: str) -> tuple[str, str]:
    """'IIIT5k=data/iiit' -> its two halves; 'data/iiit/' is called iiit. A path that exists may hold a '='."""
    name, equals, path = option.partition("=")
    return (name, path) if equals and not Path(option).exists() else (Path(option).name, option)


def open_set(name: str, path: str, split: str, reading: SourceOptions | None) -> Source:
    source = open_source(path, split, reading)
    source.name = name
    refuse_rubbish(source)
    return source


def set_names(source: Source) -> list[str]:
    """The sets that a source is made of: one, unless it is a mix or a folder of several LMDBs."""
    return [part.name for part in source.sources] if isinstance(source, Mix) else [source.name]


def set_indices(source: Source, numbers: Sequence[int]) -> np.ndarray:
    """Index in `set_names` of the set that each sample (N,) belongs to."""
    ends = source.ends if isinstance(source, Mix) else [len(source)]
    return np.searchsorted(ends, numbers, side="right")
