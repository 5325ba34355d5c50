"""Every layout of word images that is read, and how each is recognised: one row of FORMATS each, tried in order.

To add one, write a function from a DataPlace to a Found and a row. What it found is what is read.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from models.data import documents
from models.data.combined import Mix
from models.data.documents import Table, is_hidden, kind_of_json
from models.data.files import DataError, refuse_outside
from models.data.line_shapes import SHAPES, is_image
from models.data.listing import ROW, Listing, Recognised, recognise_list
from models.data.packed import Packed, is_packed
from models.data.source import Source
from models.data.store import Store, is_store
from models.data.synth90k import SPLITS, Synth90k, find_tree

LISTS = (".txt", ".tsv", ".csv", ".lst", ".json", ".jsonl")
CODES = (  # what integers index
    "charset.txt", "alphabet.txt", "alphabets.txt", "char_std_5990.txt", "alphabet_decode_5990.txt", "chars.txt",
)  # fmt: skip
DICTIONARIES = ("ppocr_keys_v1.txt", "ppocrv5_dict.txt", "ic15_dict.txt", "en_dict.txt", "chinese_dict.txt",
                "char_dict.json", "ord_map.json")  # fmt: skip
NOT_LISTS = (*CODES, *DICTIONARIES, "lexicon.txt", "imlist.txt", "readme.txt", "license.txt", "vocab.txt",
             "dataset.json")  # fmt: skip
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ALSO_CALLED = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing", "evaluation"),
}
NAMES_LOOKED_FOR = 8  # of a folder's images, in files above it: a list of these images has all of them


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
        image_root: the folder that the paths of a list start from and may not leave; found where it is None.
    """

    format: str = "auto"
    labels: str = "lexicon"
    encoding: str = "utf-8"
    codes: str | None = None
    ratio: tuple[float, float, float] | None = None
    seed: int = 0
    image_root: str | None = None

    def __post_init__(self) -> None:
        try:
            b" ".decode(self.encoding, "replace")  # codecs.lookup knows base64 and the like, too, which give no text
        except (LookupError, ValueError):
            raise DataError(f"no encoding {self.encoding!r}; there are utf-8, gb18030, latin-1 and more") from None
        if self.image_root and not Path(self.image_root).is_dir():
            raise DataError(f"--image-root {self.image_root}: no such folder")

    @property
    def root(self) -> Path | None:
        return Path(self.image_root) if self.image_root else None


@dataclass(frozen=True)
class Document:
    """A JSON file that lists images."""

    path: Path
    kind: str
    content: Any


class DataPlace:
    """A path that may hold a data set, and what was read there to find out."""

    def __init__(self, path: Path, options: SourceOptions, without: frozenset[Path] = frozenset()):
        self.path, self.options, self.without = path, options, without
        self.misses: list[str] = []  # why files are not understood, the nearest first

    @cached_property
    def files(self) -> list[Path]:
        """Files that may be lists, directly in it or itself."""
        if self.path.is_file():
            return [self.path] if self.path.suffix.lower() in LISTS else []
        if not self.path.is_dir():
            return []
        names = [path for path in self.path.iterdir() if path.suffix.lower() in LISTS and not is_hidden(path.name)]
        lists = [path for path in names if path.name.lower() not in NOT_LISTS and path not in self.without]
        return sorted(path for path in lists if path.is_file() and self.is_inside(path))

    def is_inside(self, path: Path) -> bool:
        try:
            return bool(refuse_outside(self.path, path))
        except DataError as error:
            self.misses.append(str(error))
            return False

    @cached_property
    def documents(self) -> list[Document]:
        """JSON that lists images."""
        found = []
        for path in self.files:
            if path.suffix.lower() == ".json" and not documents.is_json_lines(path):
                try:
                    content = documents.read_json(path)
                except DataError as error:
                    self.misses.append(str(error))
                    continue
                if kind := kind_of_json(content):
                    found.append(Document(path, kind, content))
                else:
                    self.misses.append(f"{path}: JSON without a list of images and their texts that is known")
        return found

    @cached_property
    def lists(self) -> list[Recognised]:
        """Text files that are lists."""
        only = self.options.format if self.options.format in (*SHAPES, "integers") else None
        found = []
        for path in self.files:
            if path.suffix.lower() == ".json" and not documents.is_json_lines(path):
                continue
            try:
                found.append(recognise_list(path, self.options.encoding, codes_of(path, self.options), only))
            except DataError as error:
                self.misses.append(str(error))
        far = sorted((one for one in found if not one.fits), key=lambda one: -len(one.rows) / max(1, one.looked_at))
        self.misses[:0] = [one.nearest for one in far]
        return [one for one in found if one.fits]

    @cached_property
    def only(self) -> Recognised | Document | None:
        """The one list that is there, in whatever format. Several are an error: which one is meant?"""
        wanted = self.options.format
        everything: list[Recognised | Document] = [*self.lists, *self.documents]
        found = [one for one in everything if wanted in ("auto", name_of(one))]
        if len(found) > 1:
            names = ", ".join(sorted(path_of(one).name for one in found))
            raise DataError(f"{self.path}: several lists ({names}); name the one that is meant")
        return found[0] if found else None

    @cached_property
    def images(self) -> list[str]:
        """Images below a folder."""
        return [path for path in documents.files_below(self.path) if is_image(path)] if self.path.is_dir() else []

    def list_near(self) -> Path | None:
        """A file beside or above these images that may say what they are: names do not outrun it."""
        below = [self.path / name for name in documents.files_below(self.path) if Path(name).suffix.lower() in LISTS]
        beside = [path for path in below if path.name.lower() not in NOT_LISTS]
        above = [file for folder in self.path.resolve().parents[:2] for file in DataPlace(folder, self.options).files]
        stems = [Path(name).stem for name in self.images[:: len(self.images) // NAMES_LOOKED_FOR + 1]]
        return next(iter([*beside, *(path for path in above if mentions(path, stems))]), None)


def name_of(found: Recognised | Document) -> str:
    return found.kind if isinstance(found, Document) else found.name


def path_of(found: Recognised | Document) -> Path:
    return found.path if isinstance(found, Document) else found.file.path


def mentions(path: Path, names: list[str]) -> bool:
    """Whether one of the names stands in a file; one that cannot be read may hold them."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return any(content.find(name.encode(code)) >= 0 for name in names for code in ("utf-8", "utf-16-le"))
    except ValueError:  # an empty file, or a name that is no text
        return False
    except OSError:
        return True


def codes_of(path: Path, options: SourceOptions) -> Path | None:
    """The charset file that the integers of a list index: the one named, or one beside it or above."""
    if options.codes:
        return Path(options.codes)
    beside = [folder / name for folder in (path.parent, path.parent.parent) for name in CODES]
    found = next((place for place in beside if place.is_file()), None)
    return found and refuse_outside(path.parent.parent, found)


@dataclass(frozen=True)
class Found:
    """A data set: of which format, what gave it away, and how its splits are opened."""

    format: str
    path: Path
    opens: Callable[[str], Source]
    splits: tuple[str, ...] | None = None  # that it has itself; None: it is one whole

    def __str__(self) -> str:
        return f"{self.format} ({self.path})"


@dataclass(frozen=True)
class Format:
    name: str
    finds: Callable[[DataPlace], Found | None]


def find_packed(place: DataPlace) -> Found | None:
    return Found("packed", place.path, lambda _: Packed(place.path)) if is_packed(place.path) else None


def find_store(place: DataPlace) -> Found | None:
    return Found("lmdb", place.path, lambda _: Store(place.path)) if is_store(place.path) else None


def find_synth90k(place: DataPlace) -> Found | None:
    folder = find_tree(place.path)
    if folder is None:
        return None
    splits = tuple(split for split in SPLITS if (folder / f"annotation_{split}.txt").is_file())
    return Found("synth90k", folder, lambda split: Synth90k(folder, split, place.options.labels), splits or SPLITS)


def find_list(name: str, place: DataPlace) -> Found | None:
    """The one list of a place, where it is of this format."""
    found = place.only
    if found is None or name_of(found) != name:
        return None
    root = place.options.root
    if isinstance(found, Document):
        rows = documents.rows_of_json(found.path, found.content)
        return Found(name, found.path, lambda _: Table(found.path, rows, root))
    return Found(name, found.file.path, lambda _: Listing(found, root))


def find_stores(place: DataPlace) -> Found | None:
    """All LMDBs below a folder; where some are called like MJ_train and MJ_valid, only those of the split.

    Beside such ones an LMDB that is called like no split, as ST is in clovaai's folders, is for training.
    """
    if not place.path.is_dir():
        return None
    below = sorted(path.parent for path in place.path.rglob("data.mdb"))
    folders = [folder for folder in below if not any(map(is_hidden, folder.relative_to(place.path).parts))]
    if not folders:
        return None
    if not any(map(split_called, folders)):
        return Found("lmdbs", place.path, lambda _: Mix([Store(folder) for folder in folders]))
    by_split = {split: [one for one in folders if (split_called(one) or "train") == split] for split in SPLITS}
    there = tuple(split for split in SPLITS if by_split[split])
    return Found("lmdbs", place.path, lambda split: Mix([Store(one) for one in by_split[split]]), there)


def split_called(folder: Path) -> str | None:
    """The split that the last part of a folder's name says."""
    ending = re.split("[_-]", folder.name.lower())[-1]
    return next((split for split, names in ALSO_CALLED.items() if ending in names), None)


def find_names(place: DataPlace) -> Found | None:
    """Images called by their labels, where nothing near says what they are."""
    if not place.images:
        return None
    asked = place.options.format == "names"
    try:
        if not asked and (near := place.list_near()):
            raise DataError(
                f"{near} is near and not understood; to read labels from file names, models.prepare --format names"
            )
        rows = documents.named_rows(place.images, asked)
    except DataError as error:
        place.misses.append(f"{place.path}: {len(place.images):,} images and no list of their labels: {error}; {ROW}")
        return None
    return Found("names", place.path, lambda _: Table(place.path, rows, place.path))


FORMATS = (
    Format("packed", find_packed),
    Format("lmdb", find_store),
    Format("synth90k", find_synth90k),
    *(Format(name, partial(find_list, name)) for name in ("mmocr", "doctr", "json", *SHAPES, "integers")),
    Format("lmdbs", find_stores),
    Format("names", find_names),
)


def detect(place: DataPlace) -> Found | None:
    """What the first row of FORMATS finds in a place; only the one named, if one is."""
    names = [row.name for row in FORMATS]
    wanted = place.options.format
    if wanted not in ("auto", *names):
        raise DataError(f"no format {wanted!r}; there are auto, {', '.join(names)}")
    rows = (row for row in FORMATS if wanted in ("auto", row.name))
    return next((found for row in rows if (found := row.finds(place))), None)
