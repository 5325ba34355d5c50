"""The inputs of run_scripts/weights_gpu.sh in one small folder: chosen faces, cut to the characters that are drawn, and
texts, compressed. `benchmarks.card.gather` calls it.

    words.txt.xz, lines.txt.xz      what is drawn, one text a line
    latin/                          faces for words
    chinese/, chinese/faces.txt     faces for lines, and how often each is drawn
    RECIPE.safetensors              weights to begin with, where they are not the shipped ones
"""

from __future__ import annotations

import logging
import lzma
import shutil
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from fontTools import subset

from bench.errors import UserError
from bench.options import Bounds, FileList, Metavar
from models.data.charset import Charset
from models.rendering import lexicon
from models.rendering.fonts import Face, FontError, find_faces, parse_weight, weighted_faces
from models.rendering.styles import STYLES
from models.weights import checkpoint

ROOT = Path(__file__).resolve().parents[2]
LINE_FACES = ROOT / "run_scripts" / "chinese" / "faces.txt"
LATIN = frozenset(string.printable) - frozenset("\t\n\r\v\f") | frozenset().union(*(s.marks for s in STYLES.values()))


@dataclass
class TrainingInputs:
    """What weights_gpu.sh draws from; both kinds of texts or none."""

    words: Path | None = None
    """File of words, one a line"""
    latin: Annotated[str, Metavar("SOURCE,...")] = "bundled"
    """Faces for words, as models.render's --fonts; chosen at random until --training.latin-mb is full"""
    latin_mb: Annotated[float, Bounds(above=0)] = 4.0
    """Most that they may take"""
    lines: Path | None = None
    """File of lines of Chinese, one a line"""
    faces: Path | None = None
    """Folder that run_scripts/chinese/faces.sh has made; those of faces.txt beside it, in its order, until full"""
    lines_mb: Annotated[float, Bounds(above=0)] = 8.0
    """Most that they may take"""
    texts: Annotated[int, Bounds(1)] = 400_000
    """Most texts of either kind; of more, as many at random"""
    start_from: Annotated[list[str], FileList()] = field(default_factory=list)
    """Weights to begin with in place of the shipped ones; each knows its recipe"""
    seed: Annotated[int, Bounds(0)] = 1
    """Of what is chosen"""


def gather_training(inputs: TrainingInputs, out: Path) -> None:
    """Make the folder anew. Raises UserError for what is not there."""
    if not (inputs.words and inputs.lines and inputs.faces):
        raise UserError("a training wants --training.words, --training.lines and --training.faces, all three")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for source, name in ((inputs.words, "words"), (inputs.lines, "lines")):
        pack_texts(source, out / f"{name}.txt.xz", inputs.texts, inputs.seed)
    pack_latin(inputs, out / "latin")
    pack_lines(inputs, out / "chinese")
    for file in map(Path, inputs.start_from):
        recipe = checkpoint.read_trained(file)["recipe"]
        if not recipe:
            raise UserError(f"{file}: does not say which recipe's weights it holds")
        shutil.copy(file, out / f"{recipe}.safetensors")
        print(f"{out.name}/{recipe}.safetensors: {file}")


def pack_texts(source: Path, target: Path, most: int, seed: int) -> None:
    texts = [text for text in lexicon.read_lines(source) if text]
    if not texts:
        raise UserError(f"{source}: no texts in it; give one a line")
    chosen = texts
    if len(texts) > most:
        rows = np.random.Generator(np.random.Philox(key=[seed, 0x7E87])).choice(len(texts), most, replace=False)
        chosen = [texts[row] for row in sorted(rows.tolist())]
    target.write_bytes(lzma.compress("\n".join([*chosen, ""]).encode(), preset=9))
    print(f"{target.name}: {len(chosen):,} of {len(texts):,} texts, {target.stat().st_size / 1e6:.2f} MB")


def pack_latin(inputs: TrainingInputs, out: Path) -> None:
    """Faces at random until the limit: a spread of what there is, whatever its order."""
    faces = [face for face in find_faces(inputs.latin) if not face.others]
    order = np.random.Generator(np.random.Philox(key=[inputs.seed, 0xFACE])).permutation(len(faces))
    out.mkdir()
    room, taken = inputs.latin_mb * 1e6, 0
    for place in order.tolist():
        target = out / f"{Path(faces[place].path).stem}-{place}.woff"
        size = cut_face(faces[place], LATIN, target)
        if size > room:
            target.unlink()
            break
        room, taken = room - size, taken + 1
    print(f"latin: {taken} of {len(faces)} faces, {inputs.latin_mb - room / 1e6:.2f} MB of {inputs.latin_mb:g}")


def pack_lines(inputs: TrainingInputs, out: Path) -> None:
    """Faces in the order of faces.txt, as long as all files of one fit; faces.txt there names them with weights."""
    assert inputs.faces
    alphabet = frozenset(Charset.named("chinese").characters) | LATIN
    out.mkdir()
    room, kept, left_out = inputs.lines_mb * 1e6, [], []
    lines = read_line_faces()
    for number, line in enumerate(lines):
        source, weight = parse_weight(line)
        try:
            [face] = weighted_faces("+".join(f"{inputs.faces}/{part}" for part in source.split("+")))
        except FontError:
            left_out.append(f"{source} (not there)")
            continue
        files = [(one, out / f"{Path(one.path).stem}.woff") for one in (face, *face.others)]
        new = {target: cut_face(one, LATIN if face.others and one is face else alphabet, target)
               for one, target in files if not target.exists()}  # fmt: skip
        if sum(new.values()) > room:
            for target in new:
                target.unlink()
            left_out.append(f"{source} and what follows it ({len(lines) - number - 1}), as they do not fit")
            break
        room -= sum(new.values())
        kept.append("+".join(target.name for _, target in files) + f"={weight:g}")
    if not kept:
        raise UserError(f"{inputs.faces}: no face of {LINE_FACES.name} is there and fits into {inputs.lines_mb:g} MB")
    (out / LINE_FACES.name).write_text("".join(f"{name}\n" for name in kept))
    taken = inputs.lines_mb - room / 1e6
    print(f"chinese: {len(kept)} faces, {taken:.2f} MB of {inputs.lines_mb:g}: {', '.join(kept)}")
    if left_out:
        print(f"chinese: left out: {', '.join(left_out)}")


def read_line_faces() -> list[str]:
    lines = (line.strip() for line in LINE_FACES.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def cut_face(face: Face, characters: frozenset[str], target: Path) -> int:
    """Write the face with these characters alone, without hints and features, as WOFF; returns its size in bytes."""
    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it warns of tables that it drops
    options = subset.Options(
        flavor="woff", hinting=False, layout_features=[], font_number=face.index, recalc_timestamp=False,
        ignore_missing_unicodes=True, notdef_outline=True, name_IDs=[], drop_tables=["BASE", "VORG", "vhea", "vmtx"],
    )  # fmt: skip
    font = subset.load_font(face.path, options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[ord(character) for character in characters])
    cutter.subset(font)
    subset.save_font(font, str(target), options)
    return target.stat().st_size
