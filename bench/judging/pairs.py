"""Running two builds in turn, each run in a fresh process, and collecting what they measured. No torch here.

A build is a git revision, checked out in a worktree of its own (`.` is this checkout as it stands), or an image.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import ROOT
from bench.machine import processes
from bench.records import provenance
from bench.records.record import Record

# What `bash run_scripts/run.sh` does, in words that builds older than run.sh understand, too: the run name becomes $0,
# as when a script of that name is run.
RUN = ("bash", "-c", "source run_scripts/common.sh")


class RunFailed(Exception):
    """A run of one build ended without a record. The message is its last words."""


@dataclass(frozen=True)
class Build:
    """One side of a comparison."""

    name: str  # as the user gave it
    commit: str  # what it is: a commit, or an image's digest
    folder: Path  # where its code lies
    image: str | None = None
    changes: str | None = None  # sha256 of what the tree has more than its commit

    @property
    def title(self) -> str:
        """The name it was given and what that was; a bare commit once."""
        commit = self.commit.removeprefix("sha256:")[:9] + "+" * bool(self.changes)
        return commit if self.name.startswith(commit) else f"{self.name} ({commit})"

    def shell(self, *words: str) -> list[str]:
        """A command line run in this build: in its container, or in its folder."""
        return ["bash", str(ROOT / "docker" / "run_docker.sh"), *words] if self.image else list(words)

    def command(self, run: str, results: Path, seed: int, options: Sequence[str]) -> list[str]:
        """The command line of one run. The same seed on both sides of a pair, another one for the next pair."""
        own = ["--seed", str(seed)] if self.image else ["--seed", str(seed), "--results", str(results)]
        return self.shell(*RUN, run, *options, *own)

    def environment(self, run: str, results: Path) -> dict[str, str]:
        """Where a run of this build finds and leaves things; training never touches the user's own checkpoints.

        The size of an environment moves the stack, and with it the speed of the very same code by percents (Mytkowicz
        et al., ASPLOS 2009), so each run has another size: what would favour one side becomes noise of both.
        """
        own = {"CRNN_FILLER": "." * secrets.randbelow(4096)}
        if run.endswith("_Train"):
            own["PYTORCH_TRAIN_CHECKPOINT"] = str(results / "checkpoints")
        if self.image:
            return {**os.environ, **own, "IMAGE_NAME": self.image, "RESULTS": str(results)}
        return {**os.environ, **own, "PYTHONPATH": str(self.folder), "CRNN_PYTHON": sys.executable}

    def measure(self, run: str, results: Path, seed: int, options: Sequence[str], timeout_s: float) -> Record:
        """One run in a fresh process. Raises RunFailed when it leaves no record."""
        results.mkdir(parents=True, exist_ok=True)
        try:
            command = self.command(run, results, seed, options)
            code, output = processes.run_process(command, self.folder, timeout_s, self.environment(run, results))
        except subprocess.TimeoutExpired:
            raise RunFailed(f"no end after {timeout_s:g} s") from None
        shutil.rmtree(results / "checkpoints", ignore_errors=True)
        files = sorted(results.glob("*.json"))
        if code or len(files) != 1:
            raise RunFailed(f"exit code {code}: {processes.last_line(output)}")
        return Record.load(files[0])


def git(*arguments: str) -> str:
    """Output of git in this checkout. Raises UserError with git's own words."""
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git {arguments[0]}: {processes.last_line(done.stderr)}")
    return done.stdout.strip()


@contextmanager
def check_out(name: str) -> Iterator[Build]:
    """A revision checked out in a folder of its own, for as long as the block lasts; `.` is this checkout."""
    if name == ".":
        yield Build(name, git("rev-parse", "HEAD"), ROOT, changes=provenance.diff_sha256())
        return
    try:
        commit = git("rev-parse", "--verify", "--end-of-options", f"{name}^{{commit}}")
    except UserError:
        raise UserError(f"'{name}' is no revision of this checkout; `.` is the checkout as it stands") from None
    place = Path(tempfile.mkdtemp(prefix="crnn-compare-"))
    git("worktree", "add", "--detach", str(place / "tree"), commit)
    try:
        yield Build(name, commit, place / "tree")
    finally:
        git("worktree", "remove", "--force", str(place / "tree"))
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def container_image(name: str) -> Iterator[Build]:
    """A container image, as docker/run_docker.sh starts it."""
    try:
        done = subprocess.run(["docker", "image", "inspect", "-f", "{{.Id}}", name], capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("no docker on this machine; compare revisions, or run where the images are") from None
    if done.returncode:
        raise UserError(f"no image {name}: docker build -t {name} .")
    yield Build(name, done.stdout.strip(), ROOT, image=name)
