"""Render a sample in Synth90k's own layout, so that everything runs with no download.

    python -m models.render --out data --count 12000 --seed 1 --style plain
    python -m models.render --out data --count 100000 --style hard --lexicon lexicon.txt --sheet sheet.png

    python -m models.render --out data --count 100000 --style lines --texts lines.txt --fonts latin.ttf+chinese.ttc#2

The same options give the same bytes on any number of workers. DIR/Synth90k appears only when it is complete, as does
DIR/lines, the LMDBs that --texts makes.
"""

from __future__ import annotations

if not __package__:  # `python models/render.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import functools
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tqdm import tqdm

from bench.errors import UserError, run_cli
from bench.options import Bounds, Choices, Command, Metavar, Shares
from models.rendering import files, fonts, lexicon, marker
from models.rendering.files import INSIDE, LINES, PER_FOLDER
from models.rendering.sample import Look, Sample, Task
from models.rendering.sheet import draw_sample_sheet
from models.rendering.styles import STYLES

T = TypeVar("T")


@dataclass
class RenderOptions:
    """Render words as images, in Synth90k's raw layout or on a contact sheet."""

    out: Path | None = None
    """Folder that gets Synth90k/ in it; without it only --sheet is made"""
    count: Annotated[int, Bounds(1, 10_000_000)] = 12_000
    """Images"""
    seed: Annotated[int, Bounds(0)] = 1
    """Decides every byte"""
    style: Annotated[str, Choices(tuple(STYLES))] = "plain"
    """plain (dark words on light ground), hard (the stages of Synth90k's own paper), street (what crops of photographs
    have besides), lines (printed, scanned or photographed lines, of Chinese above all), signs (lines on signs),
    vertical (lines downwards, turned as tall images are before they are read) or plates (number plates)"""
    texts: Path | None = None
    """File of texts to draw as they are written, one a line, instead of words; they come as LMDBs"""
    case: Annotated[str, Choices(("auto", *lexicon.CASES))] = "auto"
    """lower, title, upper, mixed (a third each, as Synth90k), or auto: lower for plain, mixed for others"""
    lexicon: Path | None = None
    """File of words, one a line; without it a bundled list of 39,561 English words"""
    numbers: Annotated[int, Bounds(0, 100_000)] = 0
    """Random numbers of 1 to 6 digits to add to the words"""
    punctuated: Annotated[float, Bounds(0, 1)] = 0.0
    """Share of the words that get punctuation, which their labels have too"""
    fonts: Annotated[str, Metavar("SOURCE,...")] = "bundled"
    """Sources of faces, with commas: bundled, system, folder, font file, pattern (a/*.woff), package; a.ttf+b.ttf draws
    with b what a lacks, a.ttc#2 is one face of a collection, SOURCE=0.5 comes half as often"""
    split: Annotated[tuple[float, float, float], Shares()] = (0.9, 0.05, 0.05)
    """Shares of train, val and test; no word is in two of them"""
    workers: Annotated[int, Bounds(0, 1024)] = 0
    """Processes; 0: one a core"""
    sheet: Path | None = None
    """File for a contact sheet (PNG) of the first images"""


COMMAND = Command("models.render", RenderOptions, "--out data --count 12000")


def main(argv: list[str] | None = None) -> None:
    """Raises UserError for what the user can mend; exits with 130 when interrupted, leaving no half a sample."""
    options = COMMAND.parse(argv)
    try:
        render_sample(options)
    except OSError as problem:
        raise UserError(f"{problem}{nothing_left(options)}") from problem
    except KeyboardInterrupt:
        print(f"models.render: interrupted{nothing_left(options)}", file=sys.stderr)
        sys.exit(130)


def nothing_left(options: RenderOptions) -> str:
    """Words to add where it is so: a sample that is there is whole, but a sheet may be half a file."""
    inside = LINES if options.texts else INSIDE
    places = [options.out and options.out / inside.parts[0], options.sheet]
    there = any(place and os.path.exists(place) for place in places)  # noqa: PTH110 (Path.exists may be refused)
    return "" if there else "; nothing was left behind"


def render_sample(options: RenderOptions) -> None:
    sample = plan(options)
    if options.out:
        make(sample, options.out, options.workers or os.cpu_count() or 1, LINES if options.texts else INSIDE)
    if options.sheet:
        draw_sample_sheet(sample).save(options.sheet, "PNG")
        print(f"contact sheet: {options.sheet}")


def plan(options: RenderOptions) -> Sample:
    """The sample that `options` ask for. Raises UserError."""
    check_options(options)
    if options.texts:
        return plan_lines(options, options.texts)
    words, style = lexicon.read_words(options.lexicon), STYLES[options.style]
    words += sorted(set(lexicon.random_numbers(options.numbers, options.seed)) - set(words))
    words = list(dict.fromkeys(lexicon.punctuate(words, options.punctuated, options.seed)))
    characters = {character for word in words for character in word + word.upper()}
    faces = style.faces(fonts.find_faces(options.fonts, characters | style.marks))
    weights = face_weights(options, faces)
    case = style.case if options.case == "auto" else options.case
    return Sample(words, options.count, options.split, Look(faces, options.seed, options.style, case, weights))


def face_weights(options: RenderOptions, faces: Sequence[fonts.Face]) -> tuple[float, ...] | None:
    """How often each face is drawn; None where all are alike."""
    every = fonts.weighted_faces(options.fonts)
    weights = tuple(every[face] for face in faces)
    return weights if len(set(weights)) > 1 else None


def plan_lines(options: RenderOptions, file: Path) -> Sample:
    """Texts as they are written, each drawn with one of the faces that have its characters. Raises UserError."""
    texts, style = lexicon.read_texts(file), STYLES[options.style]
    every = fonts.weighted_faces(options.fonts)
    faces = [face for face in style.faces(tuple(every)) if face.covers(style.marks)]
    served = dict.fromkeys(faces, 0)
    for number, text in enumerate(texts, 1):
        able = [face for face in faces if face.covers(text)]
        if not able:
            where = f"{file}, text {number}: "
            reason = fonts.no_face_message(fonts.source_names(options.fonts), faces, frozenset(text))
            raise fonts.FontError(where + reason)
        for face in able:
            served[face] += 1
    for face in faces:
        if served[face] < len(texts):
            print(f"{face.name} has the characters of {served[face]:,} of {len(texts):,} texts and is drawn for those")
    used = tuple(face for face in faces if served[face])
    look = Look(used, options.seed, options.style, "written", tuple(every[face] for face in used))
    return Sample(texts, options.count, options.split, look)


def check_options(options: RenderOptions) -> None:
    """Raises UserError for options that contradict each other."""
    if options.texts and (options.lexicon or options.numbers or options.punctuated or options.case != "auto"):
        raise UserError("--texts are drawn as written: --lexicon, --numbers, --punctuated and --case are for words")
    if options.case == "written":
        raise UserError("--case written is how --texts are drawn; words of a lexicon are in lower case already")
    if not (options.out or options.sheet):
        raise UserError("nothing to make: give --out DIR for a sample, --sheet FILE.png to look at one, or both")


def make(sample: Sample, out: Path, workers: int, inside: Path = INSIDE) -> None:
    """Write the sample below `out`, unless the very same one is there already, or is when this one is done."""
    target, about = out / inside.parts[0], marker.describe_sample(sample)
    if not target.exists():
        try:
            write_sample(sample, out, workers, about, inside)
            return
        except OSError:
            if not target.exists():  # or another run was faster
                raise
    marker.refuse_other_sample(out, about, inside)
    print(f"already there, complete: {sample.count:,} {sample.look.style} images in {target}")


def write_sample(sample: Sample, out: Path, workers: int, about: dict[str, Any], inside: Path) -> None:
    """Draw the sample below `out`, where it appears when it is complete. Raises OSError when one is there by then."""
    target = out / inside.parts[0]
    started = time.perf_counter()
    with files.atomic_folder(target) as part:
        folder = part / inside.relative_to(inside.parts[0])
        folder.mkdir(parents=True, exist_ok=True)
        if inside == LINES:
            files.write_lines(sample, draw_tasks(sample, files.draw_task, workers), folder, about)
        else:
            work = functools.partial(files.write_task, folder=folder)
            files.write_index(sample, draw_tasks(sample, work, workers), folder, about)
    seconds = time.perf_counter() - started
    print(
        f"rendered {sample.count:,} {sample.look.style} images into {out / inside}: {seconds:.1f} s, "
        f"{sample.count / seconds:,.0f} images/s on {workers} workers, {len(sample.look.faces)} faces"
    )


def draw_tasks(sample: Sample, work: Callable[..., list[T]], workers: int) -> Iterator[tuple[Task, list[T]]]:
    """Every task of the sample, in order, with what `work` made of it: an entry an image."""
    tasks = functools.partial(sample.tasks, PER_FOLDER)
    write = functools.partial(work, look=sample.look)
    bar = tqdm(total=sample.count, unit="img", desc="render", disable=None)
    with bar, mapping(min(workers, math.ceil(sample.count / PER_FOLDER))) as each:
        for task, made in zip(tasks(), each(write, tasks()), strict=True):
            bar.update(len(made))
            yield task, made


@contextmanager
def mapping(workers: int) -> Iterator[Callable[..., Iterable[Any]]]:
    """A lazy, ordered map over `workers` processes; the built-in one for a single worker."""
    if workers == 1:
        yield map
        return
    # Ctrl-C reaches every process of a terminal, but it is for the parent to stop its workers: they inherit deafness.
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    # spawn: forking a process that has threads (a training that renders) can deadlock
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        signal.signal(signal.SIGINT, heard)
        yield pool.imap


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped container cleans up as Ctrl-C does
    run_cli(main, "models.render")
