"""Render a sample in Synth90k's own layout, so that everything runs with no download.

    python -m models.render --out data --count 12000 --seed 1 --style plain
    python -m models.render --out data --count 100000 --style hard --lexicon lexicon.txt --sheet sheet.png

The same options give the same bytes on any number of workers. DIR/Synth90k appears only when it is complete.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from models.data.rendering import files, fonts, lexicon
from models.data.rendering.files import INSIDE, MARKER, PER_FOLDER
from models.data.rendering.sample import Look, Sample, SampleError, Task
from models.data.rendering.sheet import contact_sheet
from models.data.rendering.styles import STYLES
from models.options import parse

VERSION = 1  # of the drawing: goes up when the same options would give other bytes
CASE = {"plain": "lower"}  # a style's own case; mixed where not listed
LIBRARIES = ("numpy", "pillow", "simplejpeg")


@dataclass
class Options:
    """Render words as pictures, in Synth90k's raw layout or on a contact sheet.

    Args:
        out: folder that gets Synth90k/ in it; without it only --sheet is made
        count: how many pictures
        seed: decides every byte
        style: plain (dark words on light ground) or hard (the stages of Synth90k's own paper)
        case: lower, title, upper, mixed (a third each, as Synth90k), or auto: lower for plain, mixed for hard
        lexicon: file of words, one a line; without it a bundled list of 39,561 English words
        numbers: how many random numbers of 1 to 6 digits to add to the words
        fonts: where faces come from, with commas: bundled, system, a folder, a font file or an installed package
        split: shares of train, val and test; no word is in two of them
        workers: processes; 0 for one a core
        sheet: file for a contact sheet (PNG) of the first pictures
    """

    out: Path | None = None
    count: int = 12_000
    seed: int = 1
    style: str = "plain"
    case: str = "auto"
    lexicon: Path | None = None
    numbers: int = 0
    fonts: str = "bundled"
    split: str = "0.9/0.05/0.05"
    workers: int = 0
    sheet: Path | None = None


def main(argv: list[str] | None = None) -> int:
    options = parse(Options, argv, "models.render", example="python -m models.render --out data --count 12000")
    try:
        run(options)
    except (SampleError, fonts.FontError, lexicon.LexiconError, OSError) as problem:
        print(f"models.render: error: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("models.render: interrupted; nothing was left behind", file=sys.stderr)
        return 130
    return 0


def run(options: Options) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped container cleans up as Ctrl-C does
    wanted = plan(options)
    if options.out:
        make(wanted, options.out, options.workers or os.cpu_count() or 1)
    if options.sheet:
        contact_sheet(wanted).save(options.sheet)
        print(f"contact sheet: {options.sheet}")


def plan(options: Options) -> Sample:
    """The sample that `options` ask for. Raises SampleError, FontError or LexiconError, one clear line each."""
    check(options)
    words = lexicon.read_lexicon(options.lexicon)
    words += sorted(set(lexicon.numbers(options.numbers, options.seed)) - set(words))
    case = CASE.get(options.style, "mixed") if options.case == "auto" else options.case
    characters = {c for word in words for spelling in (word, word.upper()) for c in spelling}
    faces = fonts.find_faces(options.fonts, characters)
    look = Look(faces, options.seed, options.style, case)
    return Sample(words, options.count, shares(options.split), look)


def check(options: Options) -> None:
    bounds = {"count": (1, 10_000_000), "seed": (0, 2**63), "numbers": (0, 100_000), "workers": (0, 1024)}
    for name, (low, high) in bounds.items():
        if not low <= getattr(options, name) <= high:
            raise SampleError(f"--{name} {getattr(options, name)}: give {low} to {high:,}")
    choices = {"style": tuple(STYLES), "case": ("auto", *lexicon.CASES)}
    for name, known in choices.items():
        if getattr(options, name) not in known:
            raise SampleError(f"--{name} {getattr(options, name)!r}: give one of {', '.join(known)}")
    if not (options.out or options.sheet):
        raise SampleError("nothing to make: give --out DIR for a sample, --sheet FILE.png for a contact sheet, or both")


def shares(text: str) -> tuple[float, float, float]:
    try:
        train, val, test = (float(part) for part in text.split("/"))
    except ValueError:
        raise SampleError(f"--split {text!r}: give three shares of train, val and test, like 0.9/0.05/0.05") from None
    if min(train, val, test) < 0 or train + val + test <= 0:
        raise SampleError(f"--split {text!r}: shares are not negative and not all zero")
    return train, val, test


def make(wanted: Sample, out: Path, workers: int) -> None:
    """Write the sample below `out`, unless the very same one is there already."""
    target = out / INSIDE.parts[0]
    about = describe(wanted)
    if target.exists():
        keep(target, about)
        return
    started = time.perf_counter()
    with files.appearing_whole(target) as part:
        folder = part / INSIDE.relative_to(INSIDE.parts[0])
        folder.mkdir(parents=True)
        files.write_index(wanted, drawn(wanted, folder, workers), folder, about)
    seconds = time.perf_counter() - started
    rate = wanted.count / seconds
    print(
        f"rendered {wanted.count:,} {wanted.look.style} pictures into {out / INSIDE}: "
        f"{seconds:.1f} s, {rate:,.0f} images/s on {workers} workers ({rate / workers:,.0f} each)"
    )


def keep(target: Path, about: dict) -> None:
    """Leave a sample that is already what was asked for; refuse to touch anything else."""
    marker = target.parent / INSIDE / MARKER
    if not marker.is_file():
        raise SampleError(f"{target} holds a dataset that was not rendered; give another --out")
    there = json.loads(marker.read_text(encoding="utf-8"))
    differs = [key for key in about if there.get(key) != about[key]]
    if differs:
        raise SampleError(f"{target} holds another sample (its {differs[0]} differs); remove it or give another --out")
    print(
        f"already there: {about['count']:,} {about['style']} pictures of seed {about['seed']} in {target.parent / INSIDE}"
    )


def describe(wanted: Sample) -> dict:
    """What the marker says: all that decides the bytes."""
    return {
        "sample": True,
        "renderer": VERSION,
        "count": wanted.count,
        "seed": wanted.look.seed,
        "style": wanted.look.style,
        "case": wanted.look.case,
        "splits": {name: len(pictures) for name, pictures in wanted.splits().items()},
        "words": len(wanted.words),
        "lexicon": hashlib.sha256("\n".join(wanted.words).encode()).hexdigest()[:16],
        "fonts": [face.name for face in wanted.look.faces],
        "fonts_digest": digest(sorted({face.path for face in wanted.look.faces})),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def digest(paths: list[str]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        whole.update(Path(path).read_bytes())
    return whole.hexdigest()[:16]


def drawn(wanted: Sample, folder: Path, workers: int) -> Iterator[tuple[Task, list[str]]]:
    """Every task of the sample, in order, with the paths of the pictures it left in `folder`."""
    tasks = list(wanted.tasks(PER_FOLDER))
    write = functools.partial(files.write_task, look=wanted.look, folder=folder)
    with tqdm(total=wanted.count, unit="img", desc="render", disable=None) as bar, mapping(workers) as each:
        for task, paths in zip(tasks, each(write, tasks), strict=True):
            bar.update(len(paths))
            yield task, paths


@contextmanager
def mapping(workers: int):
    """A lazy, ordered map over `workers` processes; the built-in one for a single worker."""
    if workers == 1:
        yield map
        return
    # spawn: forking a process that has threads (a training that renders) can deadlock
    with multiprocessing.get_context("spawn").Pool(workers, ignore_interrupts) as pool:
        yield pool.imap


def ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers; they need not each print a traceback


if __name__ == "__main__":
    sys.exit(main())
