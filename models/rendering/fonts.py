"""Where typefaces come from: packages pinned in requirements, folders, or the system. No font file is in git.

The names, licences and origins of the bundled ones are listed in docs/fonts.md.
"""

from __future__ import annotations

import importlib.util
import itertools
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.errors import UserError

SUFFIXES = {".ttf", ".otf", ".ttc", ".otc", ".woff"}
SYSTEM_FOLDERS = (
    "~/.fonts",
    "~/.local/share/fonts",
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
)

# PyPI package -> (folder inside site-packages, the faces of it that we use)
BUNDLED = {
    "font-caladea": ("font_caladea/files", ("*.ttf",)),
    "font-fredoka-one": ("font_fredoka_one/files", ("*.ttf",)),
    "font-hanken-grotesk": ("font_hanken_grotesk/files", ("*.otf",)),
    "font-intuitive": ("font_intuitive/files", ("*.ttf",)),
    "font-lato": ("font_lato/files", ("*.ttf",)),
    "font-manrope": ("font_manrope/files", ("Manrope-*Light.ttf", "Manrope-*Bold.ttf", "Manrope-[RM]*.ttf")),
    "font-source-sans-pro": ("font_source_sans_pro/files", ("*.ttf",)),
    "font-source-serif-pro": ("font_source_serif_pro/files", ("*.ttf",)),
    "matplotlib": ("matplotlib/mpl-data/fonts/ttf", ("DejaVuS*.ttf", "STIXGeneral*.ttf")),
    "ttf-opensans": ("ttf_opensans/ttf", ("*.ttf",)),
}

# The upright text faces of the plain style: a short training needs no more weights and slopes.
PLAIN = (
    *(
        "Caladea-Regular",
        "Caladea-Bold",
        "DejaVuSans",
        "DejaVuSerif",
        "HankenGrotesk-Regular",
        "HankenGrotesk-Bold",
    ),
    *("Lato-Regular", "Lato-Bold", "Manrope-Medium", "OpenSans-Regular", "OpenSans-Bold", "STIXGeneral"),
    *("SourceSansPro-Regular", "SourceSansPro-Semibold", "SourceSerifPro-Regular", "SourceSerifPro-Bold"),
)


class FontError(UserError):
    """Fonts that are not there, cannot be read, or lack the characters asked for."""


@dataclass(frozen=True)
class Face:
    """One face of one font file. `index` counts inside a collection (.ttc); 0 for a plain file.

    `others` draw what this one lacks, the first that can: Latin and Chinese often come in files of their own.
    """

    path: str
    index: int = 0
    others: tuple[Face, ...] = ()

    @property
    def name(self) -> str:
        own = Path(self.path).stem + (f"#{self.index}" if self.index else "")
        return "+".join([own, *(other.name for other in self.others)])

    @property
    def files(self) -> list[str]:
        return [self.path, *(path for other in self.others for path in other.files)]

    def covers(self, characters: Iterable[str]) -> bool:
        return set(characters) <= coverage(self)

    def of(self, character: str) -> Face:
        """The face that draws this character."""
        return face_with(self, character) if self.others else self


@lru_cache(maxsize=4096)
def coverage(face: Face) -> frozenset[str]:
    """The characters that a face and its others have glyphs for."""
    return own_coverage(face).union(*map(coverage, face.others))


@lru_cache(maxsize=200_000)
def face_with(face: Face, character: str) -> Face:
    first = replace(face, others=())
    return next((one.of(character) for one in (first, *face.others) if character in coverage(one)), first)


@lru_cache(maxsize=4096)
def own_coverage(face: Face) -> frozenset[str]:
    """The characters a face has glyphs for, by its Unicode cmap."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(face.path, fontNumber=face.index, lazy=True) as font:
            return frozenset(map(chr, font.getBestCmap() or ()))
    except (TTLibError, OSError) as problem:
        raise FontError(f"{face.path}: not a font that can be read ({problem})") from None


def find_faces(
    sources: str | Sequence[str] = "bundled", characters: Iterable[str] = string.ascii_letters
) -> tuple[Face, ...]:
    """The faces of `sources` that have all of `characters`, sorted by file name: the same order everywhere.

    A source is `bundled`, `system`, a font file, a folder, a pattern of files (fonts/**/*-latin-*.woff) or an
    installed package that carries fonts. Of a collection the first face counts, or the one that FILE.ttc#2 names.
    Sources joined by + are one: what the first lacks is drawn with the next.
    Raises FontError when a source is none of these or when no face has the characters.
    """
    faces, wanted = tuple(weighted_faces(sources)), frozenset(characters)
    found = tuple(face for face in faces if face.covers(wanted))
    if not found:
        raise FontError(no_face_message(source_names(sources), faces, wanted))
    return found


def source_names(sources: str | Sequence[str]) -> list[str]:
    return [name.strip() for name in (sources.split(",") if isinstance(sources, str) else sources)]


def weighted_faces(sources: str | Sequence[str]) -> dict[Face, float]:
    """The faces of `sources`, sorted by file name, and how often each is drawn: SOURCE=2 twice as often as others."""
    weights: dict[Face, float] = {}
    for name in source_names(sources):
        source, weight = parse_weight(name)
        weights |= dict.fromkeys(combine_faces(source), weight)
    return {face: weights[face] for face in sorted(weights, key=lambda face: (Path(face.path).name, face.files))}


def parse_weight(name: str) -> tuple[str, float]:
    source, sign, weight = name.rpartition("=")
    if not sign or Path(name).exists():
        return name, 1.0
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise FontError(f"{name!r}: the weight of a source is a number above 0, like {source}=0.5")
    return source, value


def combine_faces(source: str) -> list[Face]:
    """The faces of a source; of several joined by +, every face of the first with every choice of the others."""
    parts = [source] if Path(source).exists() else source.split("+")
    choices = []
    for part, index in map(parse_index, parts):
        choices.append([face_of(path, index) for path in sorted(font_files(part))])
    return [replace(first, others=tuple(others)) for first, *others in itertools.product(*choices)]


def parse_index(source: str) -> tuple[str, int]:
    """A source and the face of its collection that it names, `FILE.ttc#2`; 0 where it names none."""
    path, sign, index = source.rpartition("#")
    return (path, int(index)) if sign and index.isdecimal() and not Path(source).exists() else (source, 0)


def font_files(source: str) -> list[Path]:
    """The font files one source names."""
    if source == "bundled":
        return [path for folder, patterns in BUNDLED.values() for path in package_fonts(folder, patterns)]
    if source == "system":
        return [path for folder in SYSTEM_FOLDERS for path in fonts_under(Path(folder).expanduser())]
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if "*" in source:
        path = path.absolute()
        return list(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    folder = path if path.is_dir() else package_folder(source)
    if folder is None:
        raise FontError(
            f"{source!r} is no source of fonts: give 'bundled', 'system', a folder, file, pattern or package"
        )
    return fonts_under(folder)


def fonts_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]


def package_fonts(folder: str, patterns: Sequence[str]) -> list[Path]:
    package, _, inside = folder.partition("/")
    root = package_folder(package)
    return [path for pattern in patterns for path in (root / inside).glob(pattern)] if root else []


def package_faces(name: str, pattern: str) -> list[Face]:
    """Faces of some files of an installed package, whatever characters they have. Raises FontError: no such file."""
    files = package_fonts(name, [pattern])
    if not files:
        raise FontError(f"{name}: no {pattern} in that package, or it is not installed")
    return [Face(str(path)) for path in sorted(files)]


def package_folder(name: str) -> Path | None:
    """Where an installed package lies; the package is not imported, so nothing of it runs."""
    if not name.isidentifier():
        return None
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def face_of(path: Path, index: int) -> Face:
    if path.suffix.lower() not in {".ttc", ".otc"}:
        return Face(str(path))
    from fontTools.ttLib import TTCollection, TTLibError

    try:
        with TTCollection(str(path), lazy=True) as collection:
            count = len(collection.fonts)
    except (TTLibError, OSError) as problem:
        raise FontError(f"{path}: not a font that can be read ({problem})") from None
    if index >= count:
        raise FontError(f"{path}#{index}: the collection has the faces 0 to {count - 1}")
    return Face(str(path), index)


def plain_faces(faces: Sequence[Face]) -> tuple[Face, ...]:
    """The plain style's choice among `faces`; all where none of the usual ones is there (other scripts)."""
    return tuple(face for face in faces if face.name in PLAIN) or tuple(faces)


def choose_face(text: str, faces: Sequence[Face], weights: Sequence[float], rng: np.random.Generator) -> Face:
    """One of the faces that can draw the text, by their weights. Raises FontError when none can."""
    able = [place for place, face in enumerate(faces) if face.covers(text)]
    if not able:
        raise FontError(f"none of the {len(faces)} faces has every character of {text!r}; --fonts names others")
    ends = np.cumsum([weights[place] for place in able])
    return faces[able[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))]]


def no_face_message(names: Sequence[str], faces: Sequence[Face], wanted: frozenset[str]) -> str:
    where = ", ".join(names)
    if not faces:
        return f"no fonts in {where}: install those of docs/fonts.md, or give --fonts a folder that has some"
    best = max(faces, key=lambda face: len(wanted & coverage(face)))
    missing = "".join(sorted(wanted - coverage(best)))[:20]
    return (
        f"none of the {len(faces)} faces in {where} has every character ({best.name} has the most, and lacks "
        f"{missing!r}): give --fonts one that has, or install one and say --fonts system (docs/fonts.md)"
    )
