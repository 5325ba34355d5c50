"""Every layout of word images that is read, and how each is recognised: one row of FORMATS each, tried in order.

To add one, write a function from a path to a Source and a row. A row's `finds` gives the path to open, or None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from models.data import documents, listing
from models.data.charset import Charset
from models.data.combined import Mix, split_by_ratio
from models.data.files import DataError
from models.data.packed import Packed, is_packed
from models.data.source import Source
from models.data.store import Store, is_store
from models.data.synth90k import SPLITS, Synth90k, find_tree

ALSO_CALLED = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
LISTS = ("*.tsv", "*.txt", "*.csv")
CODES = ("charset.txt", "alphabet.txt", "alphabets.txt", "char_std_5990.txt", "chars.txt")  # what integers index
NOT_LISTS = (*CODES, "lexicon.txt", "imlist.txt", "readme.txt", "license.txt", "vocab.txt")


@dataclass(frozen=True)
class SourceOptions:
    """How to read a source, where its own layout leaves a choice. Raises DataError for an encoding that is none.

    Args:
        format: a name of FORMATS, or "auto".
        labels: for Synth90k, "lexicon" (lower case) or "name" (from the file name, case kept).
        encoding: of label lists.
        codes: the charset file that integer labels index; looked for beside the list.
        ratio: shares of train, val and test, for a source that has no splits of its own.
        seed: of that split.
    """

    format: str = "auto"
    labels: str = "lexicon"
    encoding: str = "utf-8"
    codes: str | None = None
    ratio: tuple[float, float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            b" ".decode(self.encoding, "replace")  # codecs.lookup knows base64 and the like, too, which give no text
        except (LookupError, ValueError):
            raise DataError(f"no encoding {self.encoding!r}; there are utf-8, gb18030, latin-1 and more") from None


@dataclass(frozen=True)
class Format:
    name: str
    finds: Callable[[Path, SourceOptions], Path | None]  # the path to open below a root, or None: not of this format
    opens: Callable[[Path, str, SourceOptions], Source]  # that path, the split, how to read
    has_splits: Callable[[Path], bool] = lambda _: False  # whether what is opened there depends on the split


def list_file(shape: Callable[[str], object]) -> Callable[[Path, SourceOptions], Path | None]:
    """Finds the text file all of whose first lines have a shape. Several are an error: which one is meant?"""

    def finds(root: Path, options: SourceOptions) -> Path | None:
        found = [path for path in candidates(root, LISTS) if first_lines_are(path, shape, options)]
        if len(found) > 1:
            raise DataError(
                f"{root}: several lists ({', '.join(path.name for path in found)}); name the one that is meant"
            )
        return found[0] if found else None

    return finds


def candidates(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    if root.is_file():
        return [root] if any(root.match(p) for p in patterns) else []
    found = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    return [path for path in found if path.is_file() and path.name.lower() not in NOT_LISTS]


def first_lines_are(path: Path, shape: Callable[[str], object], options: SourceOptions, looks: int = 50) -> bool:
    with path.open("rb") as file:
        lines = [line.decode(options.encoding, "replace") for line in islice(file, looks)]
    lines = [line.rstrip("\r\n").removeprefix("\ufeff") for line in lines]
    lines = [line for line in lines if line and not line.startswith("#")]
    return bool(lines) and all(shape(line) for line in lines)


def image_and(shape: listing.LineShape) -> Callable[[str], object]:
    """A line of that shape whose path is one of an image."""

    def is_so(line: str) -> bool:
        row = shape(line)
        return row is not None and listing.IMAGE.fullmatch(row[0]) is not None

    return is_so


def several_integers(line: str) -> bool:
    return re.fullmatch(r"\S+\.\w+( \d+)+", line.strip()) is not None


def integer_list(root: Path, options: SourceOptions) -> Path | None:
    """A list of integers with its charset beside it; without, the numbers are labels."""
    path = list_file(several_integers)(root, options)
    return path if path and codes_of(path, options) else None


def codes_of(path: Path, options: SourceOptions) -> Path | None:
    if options.codes:
        return Path(options.codes)
    beside = [folder / name for folder in (path.parent, path.parent.parent) for name in CODES]
    return next((place for place in beside if place.is_file()), None)


def open_synth90k(path: Path, split: str, options: SourceOptions) -> Source:
    return Synth90k(path, split, options.labels)


def open_integers(path: Path, _: str, options: SourceOptions) -> Source:
    codes = codes_of(path, options)
    if codes is None:
        raise DataError(f"{path}: its labels are numbers; name the charset file they index with --codes")
    return listing.Listing(path, listing.Integers(Charset.named(str(codes))), options.encoding)


def open_iam(path: Path, _: str, options: SourceOptions) -> Source:
    return listing.Listing(path, listing.iam, options.encoding, keep=lambda line: line.split(b" ")[1:2] == [b"ok"])


def open_space(path: Path, _: str, options: SourceOptions) -> Source:
    """`path label`, unless these are Synth90k's annotations without its lexicon: their numbers are no labels."""
    if first_lines_are(path, listing.SYNTH90K.fullmatch, options):
        raise DataError(
            f"{path}: these are Synth90k's annotations, whose numbers are lines of lexicon.txt, not labels; "
            "put lexicon.txt beside it"
        )
    return listing.Listing(path, listing.space, options.encoding)


def list_opener(shape: listing.LineShape) -> Callable[[Path, str, SourceOptions], Source]:
    return lambda path, _, options: listing.Listing(path, shape, options.encoding)


def json_with(marks: Callable[[object], bool]) -> Callable[[Path, SourceOptions], Path | None]:
    def finds(root: Path, _: SourceOptions) -> Path | None:
        return next((p for p in candidates(root, ("*.json",)) if marks(documents.read_json(p))), None)

    return finds


def is_mmocr(content: object) -> bool:
    return isinstance(content, dict) and isinstance(content.get("data_list"), list)


def is_doctr(content: object) -> bool:
    return isinstance(content, dict) and bool(content) and all(listing.IMAGE.fullmatch(name) for name in content)


def nested_stores(root: Path, _: SourceOptions) -> Path | None:
    return root if root.is_dir() and any(root.rglob("data.mdb")) else None


def open_nested(root: Path, split: str, _: SourceOptions) -> Source:
    """All LMDBs below a folder; where some are called like MJ_train and MJ_valid, only those of the split.

    Beside such ones an LMDB that is called like no split, as ST is in clovaai's folders, is for training.
    """
    folders = [path.parent for path in sorted(root.rglob("data.mdb"))]
    if named_by_split(root):
        folders = [folder for folder in folders if split_called(folder) == split]
    if not folders:
        raise DataError(f"{root}: none of its LMDBs is called {' or '.join(ALSO_CALLED[split])}")
    return Mix([Store(folder) for folder in folders])


def named_by_split(root: Path) -> bool:
    """Whether any LMDB below a folder is called like MJ_train or MJ_valid."""
    return any(split_called(path.parent, other="") for path in root.rglob("data.mdb"))


def split_called(folder: Path, other: str = "train") -> str:
    ending = re.split("[_-]", folder.name.lower())[-1]
    return next((split for split, names in ALSO_CALLED.items() if ending in names), other)


def folder_of_named_images(root: Path, _: SourceOptions) -> Path | None:
    if not root.is_dir():
        return None
    names = list(islice((p.name for p in root.rglob("*") if listing.IMAGE.fullmatch(p.name)), 20))
    return root if names and all(re.fullmatch(r".+_\d+\.\w+", name) for name in names) else None


FORMATS = (
    Format("packed", lambda root, _: root if is_packed(root) else None, lambda path, *_: Packed(path)),
    Format("lmdb", lambda root, _: root if is_store(root) else None, lambda path, *_: Store(path)),
    Format("synth90k", lambda root, _: find_tree(root), open_synth90k, has_splits=lambda _: True),
    Format("mmocr", json_with(is_mmocr), lambda path, *_: documents.open_mmocr(path)),
    Format("doctr", json_with(is_doctr), lambda path, *_: documents.open_doctr(path)),
    Format("iam", list_file(listing.iam), open_iam),
    Format("icdar", list_file(image_and(listing.icdar)), list_opener(listing.icdar)),
    Format("tab", list_file(image_and(listing.tab)), list_opener(listing.tab)),
    Format("integers", integer_list, open_integers),
    Format("space", list_file(image_and(listing.space)), open_space),
    Format("lmdbs", nested_stores, open_nested, has_splits=named_by_split),
    Format("names", folder_of_named_images, lambda path, *_: documents.open_named(path)),
)  # fmt: skip


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
        return Mix(sources, list(shares.values()) if split == "train" else None)
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
    row, path, own_split = locate(root, split, options)
    source = row.opens(path, split, options)
    if options.ratio is None or own_split:
        return source
    return split_by_ratio(source, options.ratio, options.seed, SPLITS.index(split))


def locate(root: Path, split: str, options: SourceOptions) -> tuple[Format, Path, bool]:
    """The format of a split of `root`, what to open, and whether the split has that to itself."""
    if not root.exists():
        raise DataError(f"{root}: no such folder; PYTORCH_TRAIN_DATASET must name the folder that holds Synth90k/")
    for place in split_places(root, split):
        if found := detect(place, options):
            return *found, True
    found = detect(root, options)
    if found is None:
        kind = "" if options.format == "auto" else f" of the format {options.format}"
        raise DataError(
            f"{root}: no data set{kind} in it: neither Synth90k (90kDICT32px/annotation_{split}.txt), nor an "
            f"LMDB (data.mdb), nor {', '.join(f.name for f in FORMATS[3:])}"
        )
    return *found, found[0].has_splits(found[1])


def has_splits(root: Path | str, options: SourceOptions, split: str = "train") -> bool:
    """Whether a split of a source is something else than the whole of it. Unclear for what cannot be read: True."""
    if shares := parse_mix(str(root)):
        return all(has_splits(path, options, split) for path in shares)
    return not root or not Path(root).exists() or locate(Path(root), split, options)[2]


def describe_source(root: Path | str, split: str, options: SourceOptions) -> str:
    """How a split was recognised, for a person: the format and the path that gave it away."""
    if shares := parse_mix(str(root)):
        parts = (f"{describe_source(path, split, options)} ({share:g})" for path, share in shares.items())
        return f"mix of {', '.join(parts)}"
    row, path, _ = locate(Path(root), split, options)
    return f"{row.name} ({path})"


def split_places(root: Path, split: str) -> list[Path]:
    """What a split has to itself: folders and lists that are called as it is."""
    if not root.is_dir():
        return []
    endings = ("", ".txt", ".tsv", ".csv", ".json")
    places = [root / f"{name}{ending}" for ending in endings for name in ALSO_CALLED[split]]
    return [place for place in places if place.exists()]


def detect(root: Path, options: SourceOptions) -> tuple[Format, Path] | None:
    """The first row of FORMATS that finds something at `root`, and what; only the one named, if one is."""
    names = [row.name for row in FORMATS]
    if options.format not in ("auto", *names):
        raise DataError(f"no format {options.format!r}; there are auto, {', '.join(names)}")
    rows = [row for row in FORMATS if options.format in ("auto", row.name)]
    found = ((row, row.finds(root, options)) for row in rows)
    return next(((row, path) for row, path in found if path is not None), None)
