"""Attacks on the instrument, each run for real: `python -m tests.faults.instrument`. Exit code 1 when one passes.

By two hands: one that edits files, and one that may import the package and seal again. What the second can do unseen is
named with what helps: a signature by a key that it does not have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import gate, report, sign, verify
from bench.errors import UserError
from bench.records.cells import group_repeats, key
from bench.records.checks import validation_errors
from bench.records.record import Record
from tests.support.records import make_record, make_samples
from tests.support.varied_records import varied

ROOT = Path(__file__).resolve().parents[2]
ATTACKS: dict[str, Callable[[Path], str]] = {}


class Passed(Exception):
    """The attack was not seen."""


class Harmless(Exception):
    """On this machine it changes nothing."""


def attack(name: str):
    def keep(function):
        ATTACKS[name] = function
        return function

    return keep


def said_by(main, *words) -> tuple[int, str]:
    """Exit code and output of a program run in this process."""
    out, code = io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        except UserError as refusal:
            code = 2
            print(refusal)
    return code, out.getvalue()


def save(folder: Path, count: int = 6, day: int = 1, **changes) -> None:
    for i in range(count):
        make_record(**{"started_utc": f"2026-02-{day:02}T10:{i:02}:00+00:00", **changes}).save(folder)


def promoted(place: Path, **changes) -> Path:
    for day in (1, 2, 3):
        save(place / "old", day=day, **changes)
    said_by(gate.main, place / "old", "--promote", "--baselines", place / "base")
    return place / "base"


def wants_no_pass(code: int, said: str, word: str) -> str:
    if code == 0 or word not in said:
        raise Passed(f"exit code {code}")
    return f"exit code {code}: {next(line for line in said.splitlines() if word in line).strip()[-150:]}"


@attack("gate: one of six records without accuracy, 90 -> 10 words of 98")
def _(place: Path) -> str:
    def words(correct: int) -> dict:
        return {"accuracy": {"split": "val", "n": 98, "correct": correct}}

    base = promoted(place, **words(90))
    save(place / "new", 5, **words(10))
    save(place / "new", 1, accuracy=None)
    return wants_no_pass(*said_by(gate.main, place / "new", "--baselines", base), "accuracy")


@attack("gate: three cells promoted, one measured")
def _(place: Path) -> str:
    promoted(place)
    for cards in (2, 4):
        cell = make_record(cards=cards).cell
        base = promoted(place, cards=cards, cell=cell, run=f"CRNN_FP32_30E_{cards}CPUs_Train")
    save(place / "new")
    return wants_no_pass(*said_by(gate.main, place / "new", "--baselines", base), "was not measured")


@attack("gate: the candidate crashed and left what it had")
def _(place: Path) -> str:
    base = promoted(place)
    save(place / "new", status="crash", status_reasons=["no"])
    return wants_no_pass(*said_by(gate.main, place / "new", "--baselines", base), "ended in crash")


USELESS = {
    "a crash": {"status": "crash", "status_reasons": ["no"]},
    "what is too short": {"minimum": {"steps": 500, "seconds": 0.0}},
    "--without compute": {"cell": make_record().cell | {"without": "compute"}},
    "a dirty tree": {"provenance": {"commit": "c" * 40, "dirty": True}},
}
for what, changes in USELESS.items():

    @attack(f"--promote of {what}")
    def _(place: Path, changes: dict = changes) -> str:
        save(place / "new", **changes)
        found = wants_no_pass(
            *said_by(gate.main, place / "new", "--promote", "--baselines", place / "b"), "not promoted"
        )
        if (place / "b").exists():
            raise Passed("a baseline was stored")
        return found


def parted(one: Record, other: Record) -> str:
    if len(group_repeats([one, other])) != 2 or key(one) == key(other):
        raise Passed("one row")
    return "two rows"


def of(**provenance) -> Record:
    return make_record(provenance={"commit": "c" * 40, "dirty": False, **provenance})


PARTED = {
    "two checkpoints": ({"contents": {"weights_sha256": "a"}}, {"contents": {"weights_sha256": "b"}}),
    "two alphabets of one name": ({"contents": {"charset_sha256": "a"}}, {"contents": {"charset_sha256": "b"}}),
    "two versions of torch": ({"versions": {"torch": "2.1"}}, {"versions": {"torch": "2.2"}}),
    "two machine classes": ({"cpu": "A"}, {"cpu": "B"}),
    "two drivers": ({"cards": [{"driver": "1"}]}, {"cards": [{"driver": "2"}]}),
    "two power caps": ({"cards": [{"power_limit_w": 300}]}, {"cards": [{"power_limit_w": 700}]}),
    "two images": ({"image_digest": "a"}, {"image_digest": "b"}),
    "a variable of arithmetic": ({"environment": {}}, {"environment": {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}}),
}
for what, (mine, theirs) in PARTED.items():

    @attack(f"one row of {what}")
    def _(place: Path, mine: dict = mine, theirs: dict = theirs) -> str:
        return parted(of(**mine), of(**theirs))


@attack("one row of two dirty trees")
def _(place: Path) -> str:
    trees = [make_record(provenance={"commit": "c", "dirty": True, "diff_sha256": diff}) for diff in "ab"]
    if len(group_repeats(trees)) != 2:
        raise Passed("one row")
    return "two rows"


@attack("a crashed run in the median: 1600 where ok runs have 320 images/s")
def _(place: Path) -> str:
    save(place / "r", 2)
    save(place / "r", 1, step_s=0.02, status="crash", status_reasons=["no"])
    said_by(report.main, place / "r", "--json", place / "t")
    rows = json.loads((place / "t").read_text())["rows"]
    if sorted(round(row["images/s"]) for row in rows) != [320, 1600]:
        raise Passed(str(rows))
    return "a row of its own, with its reason"


def invalid(record: Record, word: str) -> str:
    found = [error for error in validation_errors(record) if word in error]
    if not found:
        raise Passed("it holds")
    return found[0]


CONTRADICTIONS = {
    "allow_tf32 under FP32": ({"precision_evidence": {"backends.cuda.matmul.allow_tf32": True}}, "allow_tf32"),
    "bfloat16 under FP32": ({"precision_evidence": {"autocast_dtype": "bfloat16"}}, "autocast_dtype"),
    "AMP_8GPUs as the name of 1 CPU, FP32": ({"run": "CRNN_AMP_30E_8GPUs_Train"}, "cell.cards"),
    "telemetry of 500 s for a second of steps": ({"samples": [make_samples(0, 500.0)]}, "windows of 500"),
    "started in 2099": ({"started_utc": "2099-01-01T00:00:00+00:00"}, "yet to come"),
    "invented Wilson bounds": (
        {"accuracy": {"split": "test", "n": 98, "correct": 49, "word_accuracy_low": 0.49, "word_accuracy_high": 0.51}},
        "word_accuracy_low",
    ),
    "sets that contradict the whole": (
        {"accuracy": {"split": "test", "n": 98, "correct": 49, "sets": [{"name": "a", "n": 98, "correct": 97}]}},
        "sets does not add up",
    ),
    "FP32 that errs like bfloat16": ({"audit": {"product_error": 2.4e-3}}, "a product in FP32 is wrong"),
    "answers kept from the first pass": ({"audit": {"repeated_ms": 20.0, "new_ms": 80.0}}, "answers are kept"),
    "other answers while timed": ({"audit": {"timed_n": 100, "timed_same": 50}}, "those that were scored"),
}
for what, (fields, word) in CONTRADICTIONS.items():

    @attack(f"evidence: {what}")
    def _(place: Path, fields: dict = fields, word: str = word) -> str:
        return invalid(make_record(**fields), word)


@attack("evidence: throttled all the time")
def _(place: Path) -> str:
    samples = make_samples(0, 1.2) | {"throttled": [1.0] * len(make_samples(0, 1.2)["time_s"])}
    make_record(samples=[samples]).save(place / "r")
    _, said = said_by(report.main, place / "r")
    return wants_no_pass(1, said, "throttled in 100%")


@attack("ONEDNN_DEFAULT_FPMATH_MODE=BF16 behind an FP32 row (a real product and convolution)")
def _(place: Path) -> str:
    code = (
        "import json; from bench.machine.arithmetic import arithmetic_errors; from bench.machine.device import Device;"
        "print(json.dumps(arithmetic_errors(Device.open('CPU'))))"
    )
    environment = {**os.environ, "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True)
    audit = json.loads(done.stdout.strip().splitlines()[-1])
    if max(audit.values()) < 1e-5:
        raise Harmless(f"float32 all the same: errors {audit['product_error']:.1e}, {audit['convolution_error']:.1e}")
    return invalid(make_record(audit=audit), "in FP32 is wrong")


@attack("test images exchanged for others of the same names (real files)")
def _(place: Path) -> str:
    words = ["--out", "data", "--count", "200", "--seed", "1"]
    subprocess.run([sys.executable, "-m", "models.render", *words], cwd=place, check=True, capture_output=True,
                   env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    code = (
        "from models.data.formats import *; from models.dataset import *; from models.data.charset import Charset;"
        "d = open_dataset('data', 'test', Shape(32, 100), Charset.named('36'));"
        "print(d.manifest_hash, d.digest.hex)"
    )

    def digests() -> list[str]:
        done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
        return done.stdout.split() or [done.stderr]

    before = digests()
    images = sorted((place / "data").rglob("*.jpg"))
    for image, other in zip(images, images[1:] + images[:1], strict=True):
        shutil.copy(image, place / "kept")
        image.write_bytes(other.read_bytes())
    manifest, content = digests()
    if manifest != before[0] or content == before[1]:
        raise Passed(f"{before} -> {manifest}, {content}")
    return "the same manifest, another digest_sha256: another row"


@attack("program: a duplicate with a fresh id")
def _(place: Path) -> str:
    first = varied("CPU", 1, "FP32", "Train", 1, 1)
    first.save(place / "r")
    dataclasses.replace(first, record_id="f" * 32).save(place / "r")
    return wants_no_pass(1, said_by(report.main, place / "r")[1], "no two runs share a clock")


def unsigned(place: Path, forge: Callable[[Record], Record]) -> str:
    """Sealed again by a program: arithmetic closes, and whoever trusts signatures alone refuses it."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place / "key"], check=True)
    (place / "trusted").write_text(f"ci {(place / 'key.pub').read_text()}")
    honest = varied("CPU", 1, "FP32", "Train", 1, 1)
    path = honest.save(place / "r")
    said_by(sign.main, path, "--key", place / "key")
    forged = forge(honest).save(place / "forged")
    path.write_text(forged.read_text())
    if validation_errors(Record.load(path)):
        raise Passed("its arithmetic does not close: no test of signatures")
    found = wants_no_pass(*said_by(verify.main, path, "--trusted", place / "trusted"), "does not hold")
    return f"by its signature alone (bench.verify --trusted): {found}"


def without_slow_steps(record: Record) -> Record:
    [rank] = record.series
    kept = [i for i, s in enumerate(rank["step_s"]) if i < 20 or s < sorted(rank["step_s"])[-30]]
    series = {name: [values[i] for i in kept] if values else [] for name, values in rank.items()}
    return make_record(**{**record_fields(record), "series": [series]})


def record_fields(record: Record) -> dict:
    raw = ("run", "task", "cell", "dataset", "provenance", "warmup_steps", "series", "accuracy", "latency", "limits",
           "memory", "started_utc")  # fmt: skip
    return {name: getattr(record, name) for name in raw}


@attack("program: the slowest steps deleted, sealed again")
def _(place: Path) -> str:
    return unsigned(place, without_slow_steps)


@attack("program: an old record under a new commit, sealed again")
def _(place: Path) -> str:
    new = {"commit": "e" * 40, "dirty": False, "device_versions": {}}
    return unsigned(place, lambda record: make_record(**{**record_fields(record), "provenance": new}))


def results() -> Iterator[tuple[str, str, str]]:
    """(attack, caught, PASSED or no effect here, how)."""
    for name, function in ATTACKS.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                yield name, "caught", function(Path(folder))
            except Harmless as nothing:
                yield name, "no effect here", str(nothing)
            except Passed as passed:
                yield name, "PASSED", str(passed)


def main() -> int:
    ends = []
    for name, end, how in results():
        print(f"{end:7} {name}\n        {how}", flush=True)
        ends.append(end)
    print(
        f"{ends.count('caught')} of {len(ends)} attacks are caught, {ends.count('no effect here')} have no effect here"
    )
    return int("PASSED" in ends)


if __name__ == "__main__":
    sys.exit(main())
