"""Clocks that jump, crowds, and machines that are set up oddly: `python -m tests.faults.surroundings`.

The cases with a script in their name run run_scripts/ as a user would; the others fork small runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from bench.records.record import Record
from models import train
from tests.faults.disk import small_disk, undisturbed
from tests.faults.runs import Place, ended, fingerprint, last_line, narrow, place, run_cases, start, train_in
from tests.support import ROOT
from tests.support.records import make_record

CROWD = 100
QUICK = ["--batch-size", "4", "--steps", "3", "--warmup-steps", "1", "--model.hidden", "8", "--data.width", "48"]
ONCE = ["--min-seconds", "0", "--min-steps", "0", "--latency-runs", "2", "--model.hidden", "8", "--data.width", "48"]


def jumping_clock() -> tuple[bool, str]:
    """The wall clock leaps by up to a day, forwards and backwards, whenever it is read."""

    def work() -> None:
        draw, now = random.Random(1), time.time
        time.time = lambda: now() + draw.uniform(-86_400, 86_400)
        train.main(where.words())

    with place() as where:
        code = ended(start(work, where.log))
        if code:
            return False, f"exit code {code}: {last_line(where.said())}"
        [path] = (where.folder / "runs").glob("*.json")
        steps = json.loads(path.read_text())["series"][0]["step_s"]
        sound = all(0 < seconds < 60 for seconds in steps)
        return sound and fingerprint(where.newest()) == undisturbed(), f"{len(steps)} steps of 0 to 60 s, same bits"


def same_second() -> tuple[bool, str]:
    """Two runs of one name, started together, want one folder: one trains, the other is told."""
    with place() as where:
        other = Place(where.folder / "other")
        other.folder.mkdir()
        first = train_in(where)
        second = start(lambda: train.main(where.words()), other.log)
        codes = sorted([ended(first), ended(second)])
        said = next(last_line(log.said()) for log in (where, other) if "another process trains" in log.said())
        return codes == [0, 2] and fingerprint(where.newest()) == undisturbed(), f"exit codes {codes}; {said}"


def same_second_apart() -> tuple[bool, str]:
    """Two runs of one name with checkpoints of their own and one results folder."""
    with place() as where:
        runs = [train_in(where), train_in(where, checkpoints=where.folder / "ck2")]
        codes = [ended(run) for run in runs]
        records = [Record.load(path) for path in (where.folder / "runs").glob("*.json")]
        return codes == [0, 0] and len(records) == 2, f"{len(records)} records"


def crowd() -> tuple[bool, str]:
    """A hundred processes write a record of the same run and second into one folder."""
    with place() as where:
        folder = where.folder / "runs"
        same = make_record()
        writers = [start(lambda i=i: one_of_crowd(same, i).save(folder), where.log) for i in range(CROWD)]
        codes = {ended(writer) for writer in writers}
        found = [Record.load(path) for path in folder.iterdir()]
        whole = {one.options.get("writer") for one in found} == set(range(CROWD)) and not any(r.altered for r in found)
        return codes == {0} and whole, f"{len(found)} files, {len({one.record_id for one in found})} valid records"


def one_of_crowd(same: Record, number: int) -> Record:
    return dataclasses.replace(same, record_id=uuid.uuid4().hex, options={**same.options, "writer": number})


def script(name: str, words: list[str], where: Path, environment: dict) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", str(ROOT / "run_scripts" / f"{name}.sh"), *words],
        env=environment, cwd=where, capture_output=True, text=True, errors="replace", timeout=400,
    )  # fmt: skip


def through_scripts(change: Callable[[dict], dict], folder: str = "plain") -> Callable[[], tuple[bool, str]]:
    """Train and test by the scripts in some environment: two records, and the test finds the trained weights."""

    def case() -> tuple[bool, str]:
        with place() as made:
            home = made.folder / folder
            home.mkdir()
            shutil.move(made.data, home / "data")
            environment = change({
                "PATH": os.environ["PATH"], "HOME": str(made.folder), "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
                "CRNN_PYTHON": sys.executable, "PYTORCH_TRAIN_DATASET": str(home / "data"),
                "PYTORCH_TRAIN_CHECKPOINT": str(home / "ck"),
            })  # fmt: skip
            results = ["--results", str(home / "runs")]
            done = [
                script("CRNN_FP32_30E_1CPU_Train", [*QUICK, *results], home, environment),
                script("CRNN_FP32_1CPU_Infer", [*ONCE, *results], home, environment),
            ]
            failed = [one for one in done if one.returncode]
            if failed:
                return False, f"exit code {failed[0].returncode}: {last_line(failed[0].stderr)}"
            found = sorted((Record.load(path) for path in (home / "runs").glob("*.json")), key=lambda one: one.task)
            trained = found[0].training["checkpoint"]
            return len(found) == 2 and bool(trained), f"two records, tested {Path(trained).name}"

    return case


def without(*names: str) -> Callable[[dict], dict]:
    return lambda environment: {name: value for name, value in environment.items() if name not in names}


def with_(**values: str) -> Callable[[dict], dict]:
    return lambda environment: environment | values


def results_read_only() -> tuple[bool, str]:
    with place() as where, small_disk(where.folder / "runs", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        environment = {**os.environ, "CRNN_PYTHON": sys.executable, "PYTORCH_TRAIN_DATASET": str(where.data)}
        environment["PYTORCH_TRAIN_CHECKPOINT"] = str(where.folder / "ck")
        done = script("CRNN_FP32_30E_1CPU_Train", [*QUICK, "--results", str(disk)], where.folder, environment)
        said = last_line(done.stderr)
        return done.returncode == 2 and "cannot be written to; choose another --results" in said, said


ASCII = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
CASES = {
    "wall clock jumps by a day": jumping_clock,
    "two runs in one second, one folder": same_second,
    "two runs in one second, folders of their own": same_second_apart,
    f"{CROWD} writers of one results folder": crowd,
    "scripts, results folder read-only": results_read_only,
    "scripts, no HOME": through_scripts(without("HOME")),
    "scripts, LC_ALL=C PYTHONUTF8=0": through_scripts(with_(**ASCII)),
    "scripts, a path with spaces and Chinese": through_scripts(with_(), "a b 数据 集"),
    "scripts, both at once": through_scripts(with_(**ASCII), "a b 数据 集"),
}

if __name__ == "__main__":
    narrow()
    run_cases(CASES, __doc__)
