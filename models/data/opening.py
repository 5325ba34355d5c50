"""From a path to the source of one split: where its splits are, mixes, shares, and why nothing was found."""

from __future__ import annotations

import re
from pathlib import Path

from models.data.combined import Mix, split_by_ratio
from models.data.documents import is_hidden
from models.data.files import DataError
from models.data.formats import ALSO_CALLED, ARCHIVES, FORMATS, DataPlace, Found, SourceOptions, detect
from models.data.packed import is_packed
from models.data.source import Source
from models.data.store import is_store
from models.data.synth90k import SPLITS, find_tree

MOST_FOLDERS = 100  # that are looked through for a list, where a folder itself has none


def open_source(root: Path | str | None, split: str, options: SourceOptions | None = None) -> Source:
    """Open one split of what `root` holds: a folder, a label list, or a weighted mix `MJ:0.5,ST:0.5` of such.

    Raises DataError, one line, when there is nothing that is read, or not that split of it.
    """
    options = options or SourceOptions()
    if split not in SPLITS:
        raise DataError(f"{split!r} is no split; there are {', '.join(SPLITS)}")
    if not root or root == Path():
        raise DataError("no dataset path: set PYTORCH_TRAIN_DATASET to the folder that holds Synth90k/")
    if shares := parse_mix(str(root)):
        sources = [open_source(path, split, options) for path in shares]
        mix = Mix(sources, list(shares.values()) if split == "train" else None)
        parts = (f"{source.how} ({share:g})" for source, share in zip(sources, shares.values(), strict=True))
        mix.how = f"mix of {', '.join(parts)}"
        return mix
    return open_one(Path(root), split, options)


def parse_mix(root: str) -> dict[Path, float]:
    """`data/MJ:0.5,ST:0.5` as paths and shares; a later path may be a sibling of the first. Empty: not a mix."""
    found = [re.fullmatch(r"(.+):(\d*\.?\d+)", part.strip()) for part in root.split(",")]
    parts = [part for part in found if part]
    if len(parts) < len(found) or Path(root).exists():
        return {}
    first = Path(parts[0][1]).parent
    paths = [Path(part[1]) if Path(part[1]).exists() else first / part[1] for part in parts]
    return {path: float(part[2]) for path, part in zip(paths, parts, strict=True)}


def open_one(root: Path, split: str, options: SourceOptions) -> Source:
    found, own = locate(root, split, options)
    source = found.opens(split)
    source.how = str(found)
    if source.name.lower() in ALSO_CALLED[split] and root.is_dir():
        source.name = root.resolve().name  # and not as the split's folder
    if options.ratio is None or own:
        return source
    part = split_by_ratio(source, options.ratio, options.seed, SPLITS.index(split))
    part.how = source.how
    return part


def locate(root: Path, split: str, options: SourceOptions) -> tuple[Found, bool]:
    """The data set that holds a split of `root`, and whether the split has it to itself."""
    if not root.exists():
        raise DataError(f"{root}: no such folder; PYTORCH_TRAIN_DATASET must name the folder that holds Synth90k/")
    misses: list[str] = []
    if found := find_folder(root, split, options, misses):
        return found, True
    if not (is_store(root) or is_packed(root) or find_tree(root)):
        if found := find_file(root, split, options, misses):
            return found, True
        others = {name: other for name in SPLITS if name != split and (other := find_own(root, name, options))}
        if others:
            return find_beside(root, split, options, others), False
    whole = DataPlace(root, options)
    found = detect(whole)
    if found is None:
        raise DataError(nothing_found(root, options, [*misses, *whole.misses]))
    if found.splits is not None and split not in found.splits:
        there = " and ".join(found.splits)
        raise DataError(f"{found.path}: no {split} split in it: nothing is called {split}, there are {there}")
    return found, found.splits is not None


def find_own(root: Path, split: str, options: SourceOptions) -> Found | None:
    """What a split has to itself: a folder or a list that is called as it is."""
    return find_folder(root, split, options, []) or find_file(root, split, options, [])


def find_folder(root: Path, split: str, options: SourceOptions, misses: list[str]) -> Found | None:
    if not root.is_dir():
        return None
    folders = [path for path in root.iterdir() if path.name.lower() in ALSO_CALLED[split] and path.is_dir()]
    for folder in sorted(folders, key=lambda path: ALSO_CALLED[split].index(path.name.lower())):
        place = DataPlace(folder, options)
        if found := detect(place):
            return found
        misses += place.misses
    return None


def find_file(root: Path, split: str, options: SourceOptions, misses: list[str]) -> Found | None:
    """A list for a split; one that is called exactly so before others."""
    if not root.is_dir():
        return None
    lists = []
    for path in DataPlace(root, options).files:
        if split_in_name(path.stem) == split:
            place = DataPlace(path, options)
            lists += [found] if (found := detect(place)) else []
            misses += place.misses
    lists = [found for found in lists if found.path.stem.lower() in ALSO_CALLED[split]] or lists
    if len(lists) > 1:
        names = ", ".join(found.path.name for found in lists)
        raise DataError(f"{root}: several lists for {split} ({names}); name the one that is meant")
    return next(iter(lists), None)


def find_beside(root: Path, split: str, options: SourceOptions, others: dict[str, Found]) -> Found:
    """What stands for a split that is not there: a list that is no split's, or for val and test what train has."""
    rest = DataPlace(root, options, without=frozenset(found.path for found in others.values()))
    found = detect(rest) if rest.only else None
    if found is None and split != "train" and set(others) == {"train"}:
        found = others["train"]
    if found is None:
        raise DataError(f"{root}: no {split} split in it; there are {listed(others)}{remedy(split, others)}")
    return found


def split_in_name(stem: str) -> str | None:
    """The split that a list's name says, as rec_gt_train, train_list and textrecog_train do; None: none, or several."""
    words = re.split("[^a-z]+", stem.lower())
    found = {split for split, names in ALSO_CALLED.items() if set(words) & set(names)}
    return found.pop() if len(found) == 1 else None


def remedy(split: str, others: dict[str, Found]) -> str:
    """What to do where validation has no split of its own beside train and test, as the Chinese sets are laid out."""
    if split != "val" or set(others) != {"train", "test"}:
        return ""
    return (
        f". To train: `--val-dataset {others['test'].path}` chooses the best weights by the test split, as the systems "
        f"that lay sets out so do (its result is then no test any more); `python -m models.prepare --source "
        f"{others['train'].path} --out data/mine --ratio 0.9,0.1,0` cuts a val from train"
    )


def listed(found: dict[str, Found]) -> str:
    return " and ".join(f"{split} ({one.path.name})" for split, one in found.items())


def nothing_found(root: Path, options: SourceOptions, misses: list[str]) -> str:
    """What came nearest to a data set, and what to do."""
    files = [root] if root.is_file() else sorted(path for path in root.iterdir() if not is_hidden(path.name))
    archives = [path for path in files if path.suffix.lower() in ARCHIVES]
    kind = "" if options.format == "auto" else f" of the format {options.format}"
    if root.is_dir() and (deeper := folder_of_lists(root, options)):
        return f"{root}: no data set{kind} in it itself; a list lies in {deeper}: name that folder or the list"
    if misses:
        return f"{root}: no data set{kind} in it; nearest: {misses[0]}"
    if archives:
        return f"{root}: no data set{kind} in it; {archives[0].name} is an archive: unpack it"
    return (
        f"{root}: no data set{kind} in it: neither Synth90k (90kDICT32px/annotation_train.txt), nor an "
        f"LMDB (data.mdb), nor {', '.join(row.name for row in FORMATS[3:])}"
    )


def folder_of_lists(root: Path, options: SourceOptions) -> Path | None:
    """A folder up to two levels below `root` with a list that is read, as PaddleOCR's train_data/rec."""
    below = [path for pattern in ("*/", "*/*/") for path in sorted(root.glob(pattern))[:MOST_FOLDERS]]
    folders = (path for path in below if path.is_dir() and not any(map(is_hidden, path.relative_to(root).parts)))
    return next((path for path in folders if any(one.rows for one in DataPlace(path, options).lists)), None)


def has_splits(root: Path | str, options: SourceOptions, split: str = "train") -> bool:
    """Whether a split of a source is something else than the whole of it. Unclear for what cannot be read: True."""
    if shares := parse_mix(str(root)):
        return all(has_splits(path, options, split) for path in shares)
    return not root or not Path(root).exists() or locate(Path(root), split, options)[1]


def own_splits(root: Path | str, options: SourceOptions) -> tuple[str, ...]:
    """The splits that a source has to themselves; none: it is one whole. Raises DataError where there is nothing."""
    if shares := parse_mix(str(root)):
        there = [set(own_splits(path, options)) for path in shares]
        return tuple(split for split in SPLITS if all(split in some for some in there))
    if not root or not Path(root).is_dir():
        return ()
    own = tuple(split for split in SPLITS if find_own(Path(root), split, options))
    return own or locate(Path(root), "train", options)[0].splits or ()
