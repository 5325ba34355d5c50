"""Data that cannot be read, is damaged or goes away under the run: `python -m tests.faults.reading`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from models import prepare, train
from models.train import Training
from tests.faults.runs import Place, ended, last_line, narrow, place, quiet, run_cases, start

IMAGES = 1200  # of which three fifths are to train on
MANY = {"batch_size": 16, "epochs": 2, "save_every": 1000, "data.width": 100}


def images_of(where: Place, split: str = "train") -> list[Path]:
    folder = next(where.data.glob("**/90kDICT32px"))
    return [folder / line.split()[0] for line in (folder / f"annotation_{split}.txt").read_text().splitlines()]


def run(where: Place, meanwhile: Callable[[], object] | None = None, **options) -> tuple[int, str]:
    """Train; `meanwhile` happens before the third step. Gives the exit code and the last line."""

    def work() -> None:
        step, done = Training.train_step, []

        def stepped(self, batch):
            if self.optimizer.step >= 3 and meanwhile and not done:
                done.append(meanwhile())
            return step(self, batch)

        Training.train_step = stepped
        train.main(where.words(**{**MANY, **options}))

    code = ended(start(work, where.log), 600)  # a busy machine is no fault
    return code, last_line(where.said())


def skipped(where: Place) -> int:
    path = max((where.folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(path.read_text())["dataset"]["skipped"]


def unreadable(share: float, **options) -> Callable[[], tuple[bool, str]]:
    """A share of the images to train on is no image at all."""

    def case() -> tuple[bool, str]:
        with place(IMAGES) as where:
            every = images_of(where)
            bad = random.Random(1).sample(every, max(1, round(share * len(every))))
            for path in bad:
                path.write_bytes(b"\xff\xd8 no image")
            code, said = run(where, **options)
            if options or share < 0.01:
                return code == 0 and skipped(where) == len(
                    bad
                ), f"exit code {code}, {skipped(where)} counted as skipped"
            return code == 2 and (
                "could not be used, more than --tolerate" in said or "none of its first" in said
            ), said

    return case


def stored_in(where: Place) -> Path:
    """The data as LMDBs; gives the data.mdb of the training set."""
    with quiet():
        prepare.main(["--source", str(where.data), "--out", str(where.folder / "lmdb"), "--workers", "1"])
    return where.folder / "lmdb" / "train" / "data.mdb"


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def altered(seed: int) -> Callable[[Path], None]:
    """Some fifty pages are overwritten with noise."""

    def alter(path: Path) -> None:
        draw = random.Random(seed)
        with path.open("r+b") as file:
            for _ in range(50):
                file.seek(draw.randrange(2, path.stat().st_size // 4096) * 4096)
                file.write(draw.randbytes(4096))

    return alter


def store_spoiled(spoil: Callable[[Path], object], codes: tuple[int, ...], telling: str, **options):
    """Something happens to data.mdb under the run, which must end by itself and say why."""

    def case() -> tuple[bool, str]:
        with place(IMAGES) as where:
            path = stored_in(where)
            code, said = run(where, lambda: spoil(path), dataset=where.folder / "lmdb", **options)
            told = next((line.strip() for line in reversed(where.said().splitlines()) if telling in line), None)
            return code in codes and told is not None, f"exit code {code}: {told or said}"

    return case


def tree_gone() -> tuple[bool, str]:
    with place(IMAGES) as where:
        code, said = run(where, lambda: shutil.rmtree(where.data))
        return code == 2 and "could not be used" in said, f"exit code {code}: {said}"


# Noise in a page of an image is a skipped image; in a page of the tree LMDB may say so, or touch what is not there.
ENDS = (0, 2, -signal.SIGBUS, -signal.SIGSEGV)

CASES = {
    "0.1 % of images unreadable": unreadable(0.001),
    "10 % of images unreadable": unreadable(0.1),
    "10 % unreadable, --tolerate 0.2": unreadable(0.1, tolerate=0.2),
    "all images unreadable": unreadable(1.0),
    "LMDB cut short under the run": store_spoiled(cut, (2,), "cut short"),
    "LMDB cut short, read by 2 workers": store_spoiled(cut, (2,), "cut short", workers=2),
    "LMDB removed under the run (it continues)": store_spoiled(
        lambda path: shutil.rmtree(path.parent), (0,), "record:"
    ),
    **{f"LMDB altered under the run, noise {i}": store_spoiled(altered(i), ENDS, ":") for i in range(5)},
    "raw tree removed under the run": tree_gone,
}

if __name__ == "__main__":
    narrow()
    run_cases(CASES, __doc__)
