"""Synth90k (MJSynth) as it is downloaded: 90kDICT32px/ with annotation_{train,val,test}.txt and lexicon.txt.

An annotation line is `./2697/6/466_MONIKER_49537.jpg 49537`. Its second token is the 0-based line of lexicon.txt, not
the label: the label is that word (lower case), or the middle field of the file name (case kept).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.data.files import DataError, Lines, read_beginning, read_inside, refuse_outside
from models.data.line_shapes import SYNTH90K
from models.data.source import Source
from models.data.text import clean_label

INNER = Path("mnt/ramdisk/max/90kDICT32px")
SPLITS = ("train", "val", "test")


def find_tree(root: Path) -> Path | None:
    """The 90kDICT32px folder, whether `root` is it, Synth90k, or the folder that holds that."""
    for folder in (root, root / INNER, root / "Synth90k" / INNER, root / "Synth90k", root / INNER.name):
        annotations = [path for split in SPLITS if (path := folder / f"annotation_{split}.txt").is_file()]
        if any(map(is_annotation, annotations)):
            return folder
    return None


def is_annotation(path: Path) -> bool:
    """Whether a list is Synth90k's, by its first lines, and not one's own that is called as its lists are."""
    lines = [line.decode("utf-8", "replace").strip() for line in read_beginning(path, 1 << 14).splitlines()[:20]]
    return any(map(SYNTH90K.fullmatch, lines))


class Synth90k(Source):
    """One split of the raw tree. `labels`: from the "lexicon" (lower case) or from the file "name" (case kept)."""

    def __init__(self, folder: Path, split: str, labels: str = "lexicon"):
        self.folder, self.split, self.labels = Path(folder), split, labels
        self.is_sample = any((place / "SAMPLE.json").is_file() for place in [self.folder, *self.folder.parents[:4]])
        self.name = "Synth90k-sample" if self.is_sample else "Synth90k"
        self.lines = Lines(require_file(self.folder, f"annotation_{split}.txt", "annotation file"))
        self.words = Lines(require_file(self.folder, "lexicon.txt", "lexicon")) if labels == "lexicon" else None
        self._words: list[str] | None = None  # all of them, once many labels are asked for
        if not len(self.lines):
            raise DataError(f"{self.lines.path}: no lines in it")

    def __len__(self) -> int:
        return len(self.lines)

    def encoded(self, index: int) -> bytes:
        return read_inside(self.folder, self.image_path(index))

    def label(self, index: int) -> str:
        path, _, number = self.lines[index].decode("utf-8", "replace").strip().rpartition(" ")
        if self.words is None:
            return clean_label(path.rpartition("/")[2].partition("_")[2].rpartition("_")[0])
        if not number.isdecimal() or len(number) > 9 or int(number) >= len(self.words):
            raise DataError(
                f"{self.lines.path}: line {index + 1}: {number[:20]!r} is not a line of lexicon.txt (0 to "
                f"{len(self.words) - 1})"
            )
        return clean_label(self.words[int(number)].decode("utf-8", "replace"))

    def texts(self, begin: int, end: int) -> list[str]:
        """Labels of samples begin to end."""
        if self.words is None or end - begin < 1000:
            return [self.label(index) for index in range(begin, end)]
        if self._words is None:
            self._words = [clean_label(word.decode("utf-8", "replace")) for word in self.words]
        try:
            return [self._words[int(self.lines[index].rpartition(b" ")[2])] for index in range(begin, end)]
        except (ValueError, IndexError) as error:
            raise DataError(f"{self.lines.path}: {error}") from None

    def where(self, index: int) -> str:
        return f"{self.lines.path}: line {self.lines.number(index)}"

    def image_path(self, index: int) -> str:
        """Path of an image below the folder, as its line has it."""
        return self.lines[index].decode("utf-8", "replace").strip().rpartition(" ")[0].removeprefix("./")

    def manifest(self) -> str:
        """sha256 over the list of samples and the words it points into."""
        digest = hashlib.sha256(self.labels.encode())
        for lines in filter(None, (self.lines, self.words)):
            for block in lines.blocks():
                digest.update(block)
        return digest.hexdigest()


def require_file(folder: Path, name: str, what: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise DataError(f"{path}: the {what} is missing; Synth90k comes with annotation_*.txt and lexicon.txt")
    return refuse_outside(folder, path)
