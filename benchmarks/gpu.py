"""Everything a card is measured for, in four minutes: `python -m benchmarks.gpu --out card --words .card/words`.

First the card is checked (benchmarks/card/check.py): a check that is wrong names the cases it spoils, and they are left
out. Then cases run one after another, the most telling first, each a process that leaves a record of bench's schema; it
is forked from this one, so that torch is imported once. What no longer fits into --seconds is named and left out, as is
what fails, with its last words; everything that was finished by then is in --out. Images of noise stay on the card
(--input resident): a loader is no part of what the card can do, nor does what it computes depend on what it sees.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from tabulate import tabulate

from bench import report
from bench.errors import UserError, one_line, run_cli
from bench.files import say
from bench.machine import discovery
from bench.machine.processes import last_line
from bench.options import Bounds, Command
from bench.records.checks import validate_file
from bench.records.record import FAILURES, Record
from benchmarks import gpu_peers
from benchmarks.card import check
from models import test, train
from models.data.image import Shape
from models.data.packed import PackedWriter

ROOT = Path(__file__).resolve().parent.parent
SYNTH90K, EPOCHS = 7_224_612, 30  # images of its training set, and how often the field shows them
CHUNK = 1 << 15  # images made at a time
RESERVE_S = 8  # of the time given, for the tables and the archive
WARMUP, TRIAL_STEPS, FEWEST, MOST = 20, 30, 60, 20_000  # steps
PROGRAMS = {"Train": train, "Infer": test}
BUSY = 0.9  # of the best rate: a batch that reaches it keeps a card busy
SHORT = 2.0  # seconds of steps that make a row here; its record says so


@dataclass
class GpuOptions:
    """Measure a card in one sitting."""

    out: Path = Path("results/card")
    """Folder of tables, records and logs: four files, no folder in it"""
    work: Path = Path("/tmp/crnn-card")
    """Folder for everything else"""
    device: Literal["GPU", "MLU", "CPU"] = "GPU"
    """CPU: to try the cases themselves"""
    seconds: Annotated[float, Bounds(above=0)] = 240.0
    """For everything"""
    steps_s: Annotated[float, Bounds(above=0)] = 3.0
    """Seconds of steps that a case measures"""
    only: str = ""
    """A pattern of the names of cases to run"""
    batch: Annotated[int, Bounds(0)] = 0
    """Use this batch in every case"""
    images: Annotated[int, Bounds(64)] = 131_072
    """Made for training; a quarter of them for testing"""
    words: Path | None = None
    """Packed genuine words, a folder a set: Synth90k with its splits, and others; see benchmarks/card/README.md"""
    peers: Path | None = None
    """Folder that holds clones of the peers, see benchmarks/against_peers.py"""
    check: bool = True
    """Check the card first"""
    fork: bool = True
    """Import once; without, each case is a program of its own, 8 s longer"""
    case: str = ""
    """Do only this, in this process and without a table: the name of a case, or check"""


COMMAND = Command("benchmarks.gpu", GpuOptions, "--out card --words .card/words")


@dataclass(frozen=True)
class Case:
    """A run: `words` are options of models.train or models.test; expected_s decides whether it is still begun."""

    task: str
    precision: str
    batch: int
    words: tuple[str, ...] = ()
    expected_s: float = 10.0
    input: str = "resident"
    recipe: str = "crnn"
    data: str = "noise"  # or what of --words is read: Synth90k's test part, or all of another set

    @property
    def name(self) -> str:
        how = " ".join(word.removeprefix("--") for word in self.words if word != "--engine") or "plain"
        what = "" if self.recipe == "crnn" else f"{self.recipe} "
        where = "" if self.data == "noise" and self.input == "resident" else f", {self.data} {self.input}"
        return f"{what}{self.task} {self.precision} {self.batch} {how}{where}"


SYNTH, IIIT5K = "Synth90k", "iiit5k_train"
GRAPH, COMPILED = ("--graph",), ("--compile",)
PEERS = "peers"
read = partial(Case, "Infer", input="real")
# The most telling first: whatever the time allows, the question of the day is answered.
CASES = (
    *(read(precision, 64, data=SYNTH) for precision in ("FP32", "TF32", "AMP", "BF16")),
    Case("Train", "AMP", 2048),
    Case("Train", "AMP", 2048, GRAPH),
    Case("Train", "BF16", 2048, GRAPH),
    Case("Train", "FP32", 2048),
    Case("Infer", "AMP", 4096),
    Case("Infer", "FP32", 4096),
    *(read(precision, 256, data=IIIT5K) for precision in ("FP32", "AMP", "BF16")),
    Case("Train", "AMP", 32, GRAPH),
    Case("Train", "AMP", 32),
    Case("Train", "AMP", 128, GRAPH),
    Case("Train", "AMP", 512),
    Case("Train", "AMP", 512, GRAPH),
    Case("Train", "AMP", 8192, GRAPH),
    Case("Train", "AMP", 2048, ("--profile-steps", "20"), 14),
    Case("Train", "FP32", 2048, GRAPH),
    Case("Train", "TF32", 2048, GRAPH),
    Case("Train", "BF16", 2048),
    Case("Infer", "BF16", 4096),
    Case("Infer", "TF32", 4096),
    Case("Train", "AMP", 2048, GRAPH, recipe="crnn_small"),
    Case("Infer", "AMP", 4096, recipe="crnn_small"),
    Case("Train", "AMP", 2048, (*GRAPH, "--augment")),
    Case("Train", "FP32", 32),
    Case("Train", "FP32", 32, GRAPH),
    Case("Train", "AMP", 2048, (*GRAPH, "--workers", "8"), 20, "real"),
    Case("Train", "TF32", 2048),
    Case("Infer", "AMP", 4096, ("--engine", "compile"), 60),
    Case("Train", "BF16", 2048, COMPILED + GRAPH, 80),
)


@dataclass
class Sitting:
    """The cases of one sitting, and what came of each."""

    options: GpuOptions
    began: float = field(default_factory=time.monotonic)
    rows: list[list] = field(default_factory=list)
    measured: list[tuple[Case, Record]] = field(default_factory=list)
    spoilt: list[check.Verdict] = field(default_factory=list)  # checks that were wrong

    @property
    def left_s(self) -> float:
        return self.options.seconds - RESERVE_S - (time.monotonic() - self.began)

    @property
    def runs(self) -> Path:
        return self.options.work / "runs"

    def note(self, text: str) -> None:
        say(f"{time.monotonic() - self.began:6.1f} s  {text}")

    def run(self, case: Case) -> None:
        """One case, and what came of it."""
        self.note(f"{case.name}: {self.outcome(case)}")
        self.write_table()
        self.archive()  # as it is: nobody knows how long the machine is left to us

    def outcome(self, case: Case) -> str:
        if wrong := [one for one in self.spoilt if re.search(one.spoils, case.name)]:
            return f"left out: check {wrong[0].check} is wrong: {wrong[0].said}"
        if case.data != "noise" and not self.folder(case.data):
            return f"left out: no {case.data} in --words"
        if case.expected_s > self.left_s:
            return f"left out: {self.left_s:.0f} s are left and it takes about {case.expected_s:.0f} s"
        before, log = set(self.runs.glob("*.json")), self.log_of(case.name)
        slow = 10 if self.options.device == "CPU" else 4
        code = self.apart(case.name, partial(self.measure, case), log, min(self.left_s, slow * case.expected_s))
        new = sorted(set(self.runs.glob("*.json")) - before)
        if code or not new:
            ended = "no end in time" if code is None else f"exit code {code}"
            return f"{ended}: {one_line(last_line(log.read_text(errors='replace')))[:400]}"
        record = Record.load(new[-1])
        self.rows.append(row(case, record))
        self.measured.append((case, record))
        wrong_fields = validate_file(new[-1])
        return said_of(record) + "".join(f"; REFUSED: {error}" for error in wrong_fields[:2])

    def apart(self, name: str, work: Callable[[], object], log: Path, timeout_s: float) -> int | None:
        """The exit code of `work` in a process of its own, or None when it was stopped."""
        if not self.options.fork:
            argv = [*sys.argv[1:], "--case", name]
            work = partial(os.execv, sys.executable, [sys.executable, "-m", "benchmarks.gpu", *argv])
        return run_forked(work, log, timeout_s)

    def log_of(self, name: str) -> Path:
        return self.options.work / "logs" / f"{re.sub('[^A-Za-z0-9]+', '-', name).strip('-')}.log"

    def folder(self, data: str) -> Path | None:
        """Of --words: the set of that name, where it is there."""
        place = self.options.words and self.options.words.resolve() / data
        return place if place and place.is_dir() else None

    def measure(self, case: Case) -> None:
        """In a process of its own: a short trial says how many steps the seconds are, then they are measured."""
        words = [*self.words(case), "--results"]
        if case.task == "Train":
            trial = self.options.work / "trial"
            shutil.rmtree(trial, ignore_errors=True)
            short = ["--steps", str(TRIAL_STEPS), "--warmup-steps", "10", "--profile-steps", "0"]
            run_program(case.task, [*words, str(trial), *short])
            [record] = [Record.load(path) for path in trial.glob("*.json")]
            free_memory(self.options.device)
            rate = record.throughput["images_per_s"] or 1.0
            steps = WARMUP + min(
                MOST, max(FEWEST, round(self.options.steps_s * rate / (self.options.batch or case.batch)))
            )
            words += [str(self.runs), "--steps", str(steps), "--warmup-steps", str(WARMUP)]
        else:
            words += [str(self.runs)]
        run_program(case.task, words)

    def words(self, case: Case) -> list[str]:
        """The command line of the case, without its length."""
        batch = self.options.batch or case.batch
        words = ["--recipe", case.recipe, "--device", self.options.device, "--precision", case.precision]
        words += ["--batch-size", str(batch), "--input", case.input, *case.words, "--min-steps", "20"]
        words += self.data_words(case)
        if case.task == "Infer":
            return [*words, "--min-seconds", f"{self.options.steps_s:g}",
                    "--latency-runs", "100" if case.data == SYNTH else "0"]  # fmt: skip
        words += ["--min-seconds", f"{min(SHORT, self.options.steps_s):g}", "--without", "validation"]
        return [*words, "--checkpoints", str(self.options.work / "checkpoints")]

    def data_words(self, case: Case) -> list[str]:
        if case.data == "noise":
            return ["--dataset", str(self.options.work / "noise")]
        return ["--dataset", str(self.folder(case.data)), *(["--split", "train"] if case.data != SYNTH else [])]

    def check_card(self) -> None:
        """Look for what would spoil rows, before there are any."""
        log = self.log_of("check")
        self.apart("check", self.check, log, max(1.0, min(90.0, self.left_s)))
        said = log.read_text(errors="replace")
        if (
            said.count("cannot be used") > 5 and self.options.fork
        ):  # something here has touched the card before the fork
            print(said, "again, without a fork", sep="\n", flush=True)
            self.options.fork = False
            self.apart("check", self.check, log, max(1.0, min(90.0, self.left_s)))
            said = log.read_text(errors="replace")
        print(said, flush=True)
        found = [re.match(r"  (WRONG|ok) +(.+?) \([\d.]+ s\): (.*)", line) for line in said.splitlines()]
        spoils = {name: pattern for name, _, pattern in check.CHECKS}
        self.spoilt = [
            check.Verdict(one[2], True, one[3], 0, spoils[one[2]]) for one in found if one and one[1] == "WRONG"
        ]
        if not any(one for one in found):
            raise UserError(f"the card could not be checked: {one_line(last_line(said))}")

    def check(self) -> None:
        genuine = self.folder(SYNTH)
        check.main(["--device", self.options.device, *(["--words", str(genuine)] if genuine else []),
                    *(["--count", "4"] if self.options.device == "CPU" else [])])  # fmt: skip

    def write_table(self) -> None:
        text = tabulate(
            self.rows,
            HEADERS,
            "github",
            floatfmt=("", ",.0f", ".2f", ".2f", ".1%", ".1%", ".1f", ".1f", ".0f", ".2%", ""),
        )
        (self.options.out / "table.md").write_text(text + "\n")

    def save(self) -> None:
        """The tables, and everything else as one archive: what comes back from a lent machine is few files."""
        self.write_table()
        if any(self.runs.glob("*.json")):
            with suppress(UserError, SystemExit), (self.options.work / "logs" / "report.log").open("w") as log:
                saved, sys.stdout = sys.stdout, log
                try:
                    report.main([str(self.runs), "--markdown", str(self.options.out / "report.md")])
                finally:
                    sys.stdout = saved
        self.archive()

    def archive(self) -> None:
        with tarfile.open(self.options.out / "records.tar.gz", "w:gz", compresslevel=1) as tar:
            tar.add(self.runs, "runs")
            tar.add(self.options.work / "logs", "logs")


HEADERS = (
    "case",
    "images/s",
    "p50 ms",
    "p99 ms",
    "data wait",
    "MFU",
    "peak GB",
    "W",
    "30 epochs, min",
    "words read",
    "status",
)


def row(case: Case, record: Record) -> list:
    found, memory = record.throughput, record.memory.get("peak_bytes") or [None]
    rate = found.get("images_per_s")
    minutes = EPOCHS * SYNTH90K / rate / 60 if rate and case.task == "Train" else None
    return [case.name, rate, found.get("step_p50_ms"), found.get("step_p99_ms"), found.get("data_wait_share"),
            (record.efficiency or {}).get("mfu_share"), memory[0] and memory[0] / 1e9,
            (record.power or {}).get("mean_w"), minutes, (record.accuracy or {}).get("word_accuracy"),
            record.status]  # fmt: skip


def said_of(record: Record) -> str:
    """A line for the log."""
    words = [f"{record.throughput['images_per_s'] or 0:,.0f} images/s", record.status]
    words += [f"{record.accuracy['word_accuracy']:.2%} of {record.accuracy['n']:,} words"] if record.accuracy else []
    words += [f"batch {one['batch']}: p50 {one['p50_ms']:.2f} ms" for one in record.latency]
    if record.task == "Train":
        words += [f"{record.throughput['measured_steps']} steps"]
    if found := record.breakdown:
        shares = " ".join(f"{kind} {share:.1%}" for kind, share in found["shares"].items())
        words += [f"{found['source']} time: {shares}"]
    return ", ".join([*words, *record.status_reasons])


def run_program(task: str, words: list[str]) -> None:
    """As the command `python -m models.train ...` would, in this process."""
    program = PROGRAMS[task]
    sys.argv = [str(ROOT / "models" / f"{task.lower()}.py").replace("infer", "test"), *words]
    program.main(words)


def free_memory(device: str) -> None:
    """Between a trial and its run: what the first took must not count for the second."""
    gc.collect()
    kind = discovery.DEVICES[device]
    if kind.is_card:
        module = getattr(torch, kind.type)
        module.empty_cache()
        module.reset_peak_memory_stats()


def run_forked(work: Callable[[], object], log: Path, timeout_s: float) -> int | None:
    """The exit code of `work` done in a process forked from this one, its output in `log`; None: it was stopped.

    This process has imported everything and must not have used the card: a context does not survive a fork.
    """
    sys.stdout.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's library has threads, which it sees to itself
        process = os.fork()
    if not process:
        os._exit(do_forked(work, log))
    deadline = time.monotonic() + timeout_s
    try:
        while time.monotonic() < deadline:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)  # its loader processes, too
    os.waitpid(process, 0)
    return None


def do_forked(work: Callable[[], object], log: Path) -> int:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with log.open("wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    code = 1
    try:
        work()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except UserError as refusal:
        print(f"error: {one_line(refusal)}")
    except BaseException:  # noqa: BLE001  # its own process, which ends here
        traceback.print_exc(file=sys.stdout)
        error = sys.exc_info()[1]
        print(f"{type(error).__name__}: {one_line(error)[:400]}")
    sys.stdout.flush()
    return code


def made(folder: Path, images: int) -> Path:
    """Packed sets of noise with texts of 4 to 12 characters."""
    random = np.random.default_rng(0)
    characters = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", np.uint8)
    for split, count in (("train", images), ("val", 64), ("test", max(64, images // 4))):
        writer = PackedWriter(folder / split, f"noise {count}", Shape(), "noise", True)
        for begin in range(0, count, CHUNK):
            n = min(CHUNK, count - begin)
            pixels = np.frombuffer(random.bytes(n * 3200), np.uint8).reshape(n, 1, 32, 100)
            letters = characters[random.integers(0, 36, (n, 12))].tobytes().decode()
            texts = [letters[12 * i : 12 * i + length] for i, length in enumerate(random.integers(4, 13, n))]
            writer.add(n, pixels, np.full(n, 100, np.int32), texts, [])
        writer.finish()
        writer.close()
    return folder


def facts() -> str:
    """What is measured on."""
    asked = "name,driver_version,memory.total,power.limit,clocks.max.sm,compute_mode,mig.mode.current"
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True,
                              text=True, timeout=20)  # fmt: skip
        card = done.stdout.strip() or done.stderr.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        card = f"no nvidia-smi here ({type(error).__name__})"
    cores = len(os.sched_getaffinity(0))
    return (
        f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {sys.version.split()[0]}, {cores} cores; {card}"
    )


def beside(sitting: Sitting) -> None:
    """Ours beside the peers' own training code, in one process and in turns."""
    words = ["--peers", str(sitting.options.peers), "--device", sitting.options.device]
    words += ["--batch", str(sitting.options.batch or 1024)]
    extra(sitting, PEERS, partial(gpu_peers.main, words), 60)


def extra(sitting: Sitting, name: str, work: Callable[[], object], expected_s: float) -> None:
    """What leaves a text and no record."""
    if not re.search(sitting.options.only, name):
        return
    if expected_s > sitting.left_s:
        sitting.note(f"{name}: left out: {sitting.left_s:.0f} s are left")
        return
    log = sitting.log_of(name)
    code = run_forked(work, log, sitting.left_s)
    sitting.note(f"{name}: exit code {code}\n{log.read_text(errors='replace')[-3000:]}")


def batch_lines(measured: list[tuple[Case, Record]]) -> list[str]:
    """Lines for models/recipes/batches.tsv: of two batches or more of a plain training, the smallest whose rate is
    within BUSY of the best one's.
    """
    rates: dict[tuple[str, str, str], dict[int, tuple[float, str]]] = {}
    for case, record in measured:
        rate = record.throughput["images_per_s"]
        if (
            case.task == "Train"
            and not case.words
            and case.input == "resident"
            and record.status not in FAILURES
            and rate
        ):
            key = (case.recipe, case.precision, record.cell["card"])
            rates.setdefault(key, {})[record.cell["batch_per_card"]] = (rate, record.record_id)
    lines = []
    for key, found in rates.items():
        if len(found) > 1:
            enough = BUSY * max(rate for rate, _ in found.values())
            batch = min(batch for batch, (rate, _) in found.items() if rate >= enough)
            lines.append("\t".join((*key, str(batch), found[batch][1])))
    return lines


def stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    options.out, options.work = options.out.resolve(), options.work.resolve()
    sitting = Sitting(options)
    if options.case:
        alone = {case.name: partial(sitting.measure, case) for case in CASES} | {"check": sitting.check}
        alone[options.case]()
        return
    shutil.rmtree(options.work, ignore_errors=True)
    for folder in (options.out, sitting.runs, options.work / "logs"):
        folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, stop)
    print(facts(), flush=True)
    try:
        if options.check:
            sitting.check_card()
        made(options.work / "noise", options.images)
        sitting.note(f"{options.images:,} images are made")
        for case in CASES:
            if re.search(options.only, case.name):
                sitting.run(case)
        if options.peers:
            beside(sitting)
    finally:
        sitting.save()
        sitting.note(f"{len(sitting.rows)} rows, {options.out}")
        print((options.out / "table.md").read_text(), flush=True)
        if lines := batch_lines(sitting.measured):
            print("lines for models/recipes/batches.tsv:", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    run_cli(main, "benchmarks.gpu")
