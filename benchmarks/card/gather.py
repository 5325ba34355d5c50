"""What a bare machine with a card needs, in one folder: `python -m benchmarks.card.gather --words data --real DIR ...`.

The folder holds wheels for that machine's Python (requirements.txt beside this file), packed genuine words, the inputs
of a training (--training.*, for run_scripts/weights_gpu.sh), and the commit, which a copy without .git does not tell.
More than --most-mb with the checkout, which travels, too, is refused, with what takes how much.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.errors import UserError, run_cli
from bench.options import Bounds, Command, FileList
from bench.records.provenance import checkout_state
from benchmarks.card.training import TrainingInputs, gather_training
from models import prepare

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = Path(__file__).resolve().parent / "requirements.txt"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64",
             "manylinux1_x86_64", "linux_x86_64")  # fmt: skip


@dataclass
class GatherOptions:
    """Gather what a bare machine needs."""

    out: Path = ROOT / ".card"
    """Folder to write to, ignored by git; made anew"""
    python: str = "3.12"
    """That machine's"""
    words: Path | None = None
    """The folder that holds genuine Synth90k/"""
    real: Annotated[list[str], FileList()] = field(default_factory=list)
    """Folders of other genuine words, each a set of its own, as IIIT5K's"""
    training: TrainingInputs = field(default_factory=TrainingInputs)
    """What run_scripts/weights_gpu.sh draws from; none without"""
    most_mb: Annotated[float, Bounds(above=0)] = 64.0
    """Largest size with the checkout's files, in MB"""
    requirements: Path = REQUIREMENTS
    """What that machine lacks; by default what one with torch, OpenCV, Pillow, pandas and fontTools does"""
    wheels: bool = True
    """Fetch wheels; without, those that are there are kept"""


COMMAND = Command("benchmarks.card.gather", GatherOptions, "--words data --most-mb 64")


def fetch_wheels(folder: Path, python: str, requirements: Path) -> None:
    """Each at the version that is pinned. Raises UserError with pip's last words."""
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--python-version", python, "--implementation", "cp", *platforms,
               "-d", str(folder), "-r", str(requirements)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"no wheels: {done.stderr.strip().splitlines()[-1]}")


def pack(source: Path, out: Path, splits: str | None = None) -> None:
    words = ["--source", str(source), "--out", str(out), "--packed", "--workers", "1"]
    prepare.main([*words, *(["--splits", splits] if splits else [])])


def size_mb(path: Path) -> float:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / 1e6


def checkout_mb() -> float:
    """Of the files that git knows. Raises UserError where there is no git."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{ROOT}: gather in a checkout of git ({done.stderr.strip()})")
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    out = options.out.resolve()
    if options.wheels:
        shutil.rmtree(out / "wheels", ignore_errors=True)
        fetch_wheels(out / "wheels", options.python, options.requirements)
    shutil.rmtree(out / "words", ignore_errors=True)
    if options.words:
        pack(options.words, out / "words" / "Synth90k", "val,test")
    for place in map(Path, options.real):
        pack(place, out / "words" / place.name)
    shutil.rmtree(out / "training", ignore_errors=True)
    if options.training != TrainingInputs():
        gather_training(options.training, out / "training")
    out.mkdir(parents=True, exist_ok=True)
    state = checkout_state()
    (out / "commit").write_text(f"{state['commit'] or ''}{'-dirty' * bool(state['dirty'])}\n")
    sizes = {"checkout": checkout_mb(), **{path.name: size_mb(path) for path in sorted(out.iterdir()) if path.is_dir()}}
    said = ", ".join(f"{name} {size:.1f} MB" for name, size in sizes.items())
    said += f"; in all {sum(sizes.values()):.1f} MB"
    if sum(sizes.values()) > options.most_mb:
        raise UserError(f"{said}: more than --most-mb {options.most_mb:g}")
    print(f"{out}: {said}")


if __name__ == "__main__":
    run_cli(main, "benchmarks.card.gather")
