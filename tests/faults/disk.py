"""Disks that are full or cannot be written: `python -m tests.faults.disk`. Mounts small tmpfs file systems: needs root.

What was there before must survive, the error must say how much is needed where, and when there is room again the same
command must go on to what an undisturbed run leaves.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.records.record import Record
from models import prepare, train
from models.data import conversion, parallel
from tests.faults.kill import stored
from tests.faults.runs import Place, ended, fingerprint, last_line, narrow, place, run_cases, start, train_in

NEEDED = r"[\d.,]+ (?:[MG]B|bytes) are needed in \S+, [\d.,]+ (?:[MG]B|bytes) are free"


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A tmpfs of this size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)


def undisturbed(**options) -> str:
    with place() as where:
        assert ended(train_in(where, **options)) == 0, where.said()
        return fingerprint(where.newest())


def checkpoints_full() -> tuple[bool, str]:
    """Room for two checkpoints of 0.4 MB and not for a third."""
    with place() as where, small_disk(where.folder / "ck", "1000k"):
        code = ended(train_in(where))
        said, kept = last_line(where.said()), fingerprint(where.newest())
        clean = not list((where.folder / "ck").glob("*/*.partial*"))
        enlarge(where.folder / "ck")
        again = ended(train_in(where, resume=True))
        whole = again == 0 and fingerprint(where.newest()) == undisturbed() and bool(kept)
        return code == 2 and bool(re.search(NEEDED, said)) and clean and whole, f"exit code {code}; {said}"


def checkpoints_over_quota() -> tuple[bool, str]:
    """RLIMIT_FSIZE: no file may be larger than 100 kB."""

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        train.main(where.words())

    with place() as where:
        code = ended(start(limited, where.log))
        said = last_line(where.said())
        return code == 2 and "File too large: 0.4 MB are needed in" in said, f"exit code {code}; {said}"


def record_full() -> tuple[bool, str]:
    """No room for the record of a run that is over: it is rescued to the temporary folder."""
    with place() as where, small_disk(where.folder / "runs", "4k") as disk:
        (disk / "filler").write_bytes(bytes(4096))
        code = ended(train_in(where))
        said = last_line(where.said())
        found = re.search(NEEDED + r"; it is (\S+): move it there", said)
        if not found:
            return False, f"exit code {code}; {said}"
        rescued = Path(found.group(1))
        whole = Record.load(rescued).training["steps"] > 0 and [p.name for p in disk.iterdir()] == ["filler"]
        rescued.unlink()
        return code == 2 and whole, f"exit code {code}; {said}"


def results_read_only() -> tuple[bool, str]:
    """Noticed before hours of training, not after them."""
    with place() as where, small_disk(where.folder / "runs", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        code = ended(train_in(where))
        said = last_line(where.said())
        return code == 2 and "cannot be written to; choose another --results" in said, f"exit code {code}; {said}"


def log_full() -> tuple[bool, str]:
    """stdout and stderr lead to a full disk, and TensorBoard's file, too: training continues."""

    def to_full_disk() -> None:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        train.main(where.words())

    with place() as where:
        code = ended(start(to_full_disk, where.log))
        records = list((where.folder / "runs").glob("*.json"))
        same = code == 0 and fingerprint(where.newest()) == undisturbed()
        return same and len(records) == 1, f"exit code {code}; {last_line(where.said())}"


def tensorboard_full() -> tuple[bool, str]:
    """Its folder alone is on a full disk."""
    with place() as where:
        folder = where.folder / "ck" / "CRNN_FP32_3E_1CPU_Train" / "tensorboard"
        with small_disk(folder, "4k") as disk:
            (disk / "filler").write_bytes(bytes(4096))
            code = ended(train_in(where))
            said = next((line for line in where.said().splitlines() if "TensorBoard" in line), "")
            same = code == 0 and fingerprint(where.newest()) == undisturbed()
            return same and bool(said), f"exit code {code}; {said}"


def prepare_in(where: Place, between: Callable[[], object] | None = None) -> int:
    """Write the LMDB; `between` happens after its second commit."""
    words = ["--source", str(where.data), "--out", str(where.folder / "lmdb"), "--workers", "1", "--splits", "train"]

    def work() -> None:
        add, commits = conversion.LMDBWriter.add, []

        def added(self, *content, **options) -> None:
            add(self, *content, **options)
            commits.append(1)
            if len(commits) == 2 and between:
                between()

        conversion.LMDBWriter.add = added
        prepare.main(words)

    return ended(start(work, where.log))


def lmdb_full_at_start() -> tuple[bool, str]:
    """prepare sees beforehand that a disk is too small."""
    with place() as where, small_disk(where.folder / "lmdb", "40k"):
        code = prepare_in(where)
        said = last_line(where.said())
        return code == 2 and "are needed and" in said, f"exit code {code}; {said}"


def lmdb_full_midway() -> tuple[bool, str]:
    """The disk fills while prepare writes: what is committed stays, and the same command resumes."""
    parallel.CHUNK = 50
    with place(400) as where:
        assert prepare_in(where) == 0, where.said()
        wanted = stored(where)
        shutil.rmtree(where.folder / "lmdb")
        with small_disk(where.folder / "lmdb", "8m") as disk:
            code = prepare_in(where, between=lambda: fill(disk))
            said = last_line(where.said())
            enlarge(disk)
            again = prepare_in(where)
            same = again == 0 and stored(where) == wanted
            return code == 2 and "are needed" in said and same, f"exit code {code}; {said}; then the same bytes: {same}"


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            continue


CASES = {
    "checkpoint, tmpfs full": checkpoints_full,
    "checkpoint, file size limit": checkpoints_over_quota,
    "record, tmpfs full": record_full,
    "results folder read-only": results_read_only,
    "log on /dev/full": log_full,
    "TensorBoard, tmpfs full": tensorboard_full,
    "LMDB, tmpfs too small": lmdb_full_at_start,
    "LMDB, tmpfs full midway": lmdb_full_midway,
}

if __name__ == "__main__":
    narrow()
    run_cases(CASES, __doc__)
