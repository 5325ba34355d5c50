"""A sample's files in Synth90k's raw layout, and a folder that appears whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

from models.data.store import DESCRIPTION
from models.data.writer import LMDBWriter
from models.rendering.sample import Look, Sample, Task

INSIDE = Path("Synth90k/mnt/ramdisk/max/90kDICT32px")  # where Synth90k's own archive unpacks to
LINES = Path("lines")  # drawn from a list of texts: an LMDB for each split
MARKER = "SAMPLE.json"  # beside the annotations: who finds it reads a sample, not Synth90k
PER_FOLDER, FOLDERS = 500, 6  # as Synth90k: up to 500 images in a folder, a handful of folders in a block


def write_task(task: Task, look: Look, folder: Path) -> list[str]:
    """Draw the images of one task into its folder; returns their paths as the annotation spells them."""
    number = task.first // PER_FOLDER
    inside = f"./{number // FOLDERS + 1}/{number % FOLDERS + 1}"
    (folder / inside).mkdir(parents=True, exist_ok=True)
    paths = []
    for place, (line, word) in enumerate(zip(task.lines, task.words, strict=True)):
        text, jpeg = look.jpeg(word, task.first + place)
        paths.append(f"{inside}/{place + 1}_{text}_{line}.jpg")
        (folder / paths[-1]).write_bytes(jpeg)
    return paths


def write_index(sample: Sample, done: Iterator[tuple[Task, list[str]]], folder: Path, about: dict[str, Any]) -> None:
    """The text files of the layout, written as the images of `done` come in, and at last the marker."""
    with open_text(folder / "annotation.txt") as annotation, open_text(folder / "imlist.txt") as imlist:
        for task, paths in done:
            annotation.writelines(f"{path} {line}\n" for path, line in zip(paths, task.lines, strict=True))
            imlist.writelines(f"{path}\n" for path in paths)
    with open_text(folder / "annotation.txt", "r") as annotation:
        for name, pictures in sample.splits().items():
            with open_text(folder / f"annotation_{name}.txt") as part:
                part.writelines(islice(annotation, len(pictures)))
    with open_text(folder / "lexicon.txt") as lexicon:
        lexicon.writelines(f"{word}\n" for word in sample.words)
    (folder / MARKER).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def draw_task(task: Task, look: Look) -> list[tuple[bytes, str]]:
    """The images of one task and their texts."""
    drawn = (look.jpeg(word, task.first + place) for place, word in enumerate(task.words))
    return [(jpeg, text) for text, jpeg in drawn]


def write_lines(
    sample: Sample, done: Iterator[tuple[Task, list[tuple[bytes, str]]]], folder: Path, about: dict[str, Any]
) -> None:
    """An LMDB for each split, whose labels may be any text, and at last the marker."""
    splits, pictures = sample.splits(), (picture for _, drawn in done for picture in drawn)
    for name, numbers in splits.items():
        if len(numbers):
            writer = LMDBWriter(folder / name, f"{about['lexicon']} {name}")
            left = len(numbers)
            while part := list(islice(pictures, min(PER_FOLDER, left))):
                writer.add(len(part), part, [])
                left -= len(part)
            writer.finish()
            writer.close()
    description = {"name": f"{LINES}-sample", "sample": True, "splits": {k: len(v) for k, v in splits.items()}}
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    (folder / MARKER).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def open_text(path: Path, mode: Literal["r", "w"] = "w") -> TextIO:
    return path.open(mode, encoding="utf-8", newline="\n")


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A folder to fill: it takes the name `target` when the block ends well, and is gone when it does not.

    What a killed run left behind is removed first: a run that lives holds the lock on its own.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.part-*"):
        remove_abandoned(left)
    part = target.parent / f".{target.name}.part-{os.getpid()}"
    with lock_folder(part):
        try:
            yield part
            part.rename(target)
            (target / ".lock").unlink()  # a kill before this line leaves it in the sample, where nobody reads it
        finally:
            shutil.rmtree(part, ignore_errors=True)


def lock_folder(part: Path) -> TextIO:
    """The lock on a new folder, as an open file. Who tidies up may take the folder before it is locked: then again."""
    while True:
        part.mkdir(exist_ok=True)
        with suppress(FileNotFoundError):  # taken before there was a file in it
            lock = (part / ".lock").open("w")
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock.fileno()).st_nlink:
                return lock
            lock.close()  # what is locked is a file that is gone


def remove_abandoned(part: Path) -> None:
    """Its lock goes with a folder that is given its name as a sample, so that none can be had on one that is done."""
    with suppress(FileNotFoundError, BlockingIOError), (part / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(part, ignore_errors=True)
