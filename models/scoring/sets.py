"""Several test sets read in one go: opened as one data set, told apart again when they are scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import UserError
from models.data.combined import Mix
from models.data.formats import SourceOptions, has_splits, open_source
from models.data.source import Source
from models.dataset import WordDataset, refuse_rubbish
from models.run.context import Session


def open_sets(session: Session, places: Sequence[str], split: str) -> WordDataset:
    """All sets in a row. A place is a path, or NAME=PATH; without a name a set is called as its file or folder.

    Raises UserError: two sets of one name, or a path that holds no data set.
    """
    named = [called(place) for place in places]
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"several sets are called {twice[0]!r}: give them names, --sets NAME=PATH NAME=PATH")
    sources = [open_set(name, path, split) for name, path in named]
    source = sources[0] if len(sources) == 1 else Mix(sources)
    data = WordDataset(source, session.shape, session.charset, out_of_charset="remove")
    data.is_whole = not all(has_splits(path, SourceOptions(), split) for _, path in named)
    return data


def called(place: str) -> tuple[str, str]:
    """'IIIT5k=data/iiit' -> its two halves; 'data/iiit/' is called iiit. A path that exists may hold a '='."""
    name, equals, path = place.partition("=")
    return (name, path) if equals and not Path(place).exists() else (Path(place).name, place)


def open_set(name: str, path: str, split: str) -> Source:
    source = open_source(path, split)
    source.name = name
    refuse_rubbish(source)
    return source


def names_of(source: Source) -> list[str]:
    """The sets that a source is made of: one, unless it is a mix or a folder of several LMDBs."""
    return [part.name for part in source.sources] if isinstance(source, Mix) else [source.name]


def sets_of(source: Source, numbers: Sequence[int]) -> np.ndarray:
    """Place in `names_of` of the set that each sample (N,) belongs to."""
    ends = source.ends if isinstance(source, Mix) else [len(source)]
    return np.searchsorted(ends, numbers, side="right")
