"""Everything a card is measured for, in ten minutes: `python -m benchmarks.gpu --out card --peers DIR`.

Cases run one after another, each a process that leaves a record; the most telling come first, and what no longer fits
into --minutes is named and left out, as is what fails, with its last words. Pictures are made up and stay on the card
(--input resident) but for the cases that say otherwise: a loader is no part of what the card can do.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from tabulate import tabulate

from bench import sweep
from bench.errors import UserError, run_cli
from bench.machine import discovery
from bench.options import Bounds, Command
from bench.records.record import Record
from models.data.image import Shape
from models.data.packed import PackedWriter

ROOT = Path(__file__).resolve().parent.parent
CHARACTERS = np.frombuffer(b"0123456789abcdefghijklmnopqrstuvwxyz", "S1").astype("U1")
SYNTH90K, EPOCHS = 7_224_612, 30  # pictures of its training set, and how often the field shows them
CHUNK = 1 << 15  # pictures made at a time
RESERVE_S = 20  # of the time given, for the tables and what is written at the end


@dataclass
class GpuOptions:
    """Measure a card in one sitting."""

    out: Path = Path("results/card")
    """Folder of the records and tables"""
    device: Literal["GPU", "MLU", "CPU"] = "GPU"
    """CPU: to try the cases themselves"""
    minutes: Annotated[float, Bounds(above=0)] = 9.0
    only: str = ""
    """A pattern of the names of cases to run"""
    steps: Annotated[int, Bounds(1)] = 120
    batch: Annotated[int, Bounds(0)] = 0
    """Use this batch in every case"""
    pictures: Annotated[int, Bounds(1)] = 131_072
    """Made for training; a quarter of them for testing"""
    peers: Path | None = None
    """Folder that holds clones of the peers, see benchmarks/against_peers.py"""


COMMAND = Command("benchmarks.gpu", GpuOptions, "--out card --peers ../peers")


@dataclass(frozen=True)
class Case:
    """A run: `words` are options of models.train or models.test; expected_s decides whether it is still begun."""

    task: str
    precision: str
    batch: int
    words: tuple[str, ...] = ()
    expected_s: float = 25.0
    input: str = "resident"

    @property
    def name(self) -> str:
        how = " ".join(word.removeprefix("--") for word in self.words if word != "--engine") or "eager"
        where = "" if self.input == "resident" else f", {self.input} input"
        return f"{self.task} {self.precision} {self.batch} {how}{where}"


GRAPH, COMPILED = ("--graph",), ("--compile",)
# The most telling first: whatever the time allows, the question of the day is answered.
CASES = (
    Case("Train", "AMP", 2048),
    Case("Train", "BF16", 2048, GRAPH),
    Case("Train", "AMP", 2048, GRAPH),
    Case("Train", "BF16", 2048, COMPILED + GRAPH, 80),
    Case("Train", "AMP", 2048, COMPILED + GRAPH, 80),
    Case("Infer", "AMP", 4096),
    Case("Infer", "AMP", 4096, ("--engine", "compile"), 60),
    Case("Train", "TF32", 2048, GRAPH),
    Case("Train", "FP32", 2048, GRAPH),
    Case("Train", "BF16", 512, GRAPH),
    Case("Train", "BF16", 8192, GRAPH),
    Case("Train", "BF16", 64, GRAPH),
    Case("Train", "BF16", 64),
    Case("Infer", "BF16", 8192),
    Case("Infer", "FP32", 4096),
    Case("Train", "BF16", 2048, (*GRAPH, "--augment")),
    Case("Train", "BF16", 2048, (*GRAPH, "--workers", "8"), 40, "real"),
    Case("Train", "BF16", 2048, COMPILED, 80),
)


@dataclass
class Sitting:
    """The cases of one sitting, and what came of each."""

    options: GpuOptions
    began: float = field(default_factory=time.monotonic)
    rows: list[list] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        return self.options.minutes * 60 - RESERVE_S - (time.monotonic() - self.began)

    def run(self, case: Case, data: Path) -> None:
        """One case, and what came of it."""
        print(f"  {case.name}: {self.outcome(case, data)}", flush=True)

    def outcome(self, case: Case, data: Path) -> str:
        if case.expected_s > self.left_s:
            return f"left out: {self.left_s:.0f} s are left and it takes about {case.expected_s:.0f} s"
        records = self.options.out / "runs"
        ended = sweep.start_run(
            self.run_name(case), self.words(case, data), records, min(self.left_s, 4 * case.expected_s)
        )
        if ended.status not in ("ok", "too_short", "not_steady") or not ended.record:
            return f"{ended.status}: {ended.reason}"
        self.rows.append(row(case, Record.load(Path(ended.record))))
        return f"{self.rows[-1][1]:,.0f} images/s"

    def run_name(self, case: Case) -> str:
        length = f"_{self.options.steps}S" if case.task == "Train" else ""
        return f"CRNN_{case.precision}{length}_1{self.options.device}_{case.task}"

    def words(self, case: Case, data: Path) -> list[str]:
        batch = self.options.batch or case.batch
        common = ["--dataset", str(data), "--batch-size", str(batch), "--input", case.input, *case.words]
        common += ["--min-steps", "20", "--min-seconds", "2" if case.task == "Infer" else "0"]
        if case.task == "Infer":
            return [*common, "--latency-runs", "20"]
        return [*common, "--without", "validation", "--warmup-steps", str(min(20, self.options.steps // 3)),
                "--checkpoints", str(self.options.out / "checkpoints")]  # fmt: skip


HEADERS = ("case", "images/s", "p50 ms", "data wait", "MFU", "peak GB", "30 epochs, min", "status")


def row(case: Case, record: Record) -> list:
    found, memory = record.throughput, record.memory.get("peak_bytes") or [None]
    share = (record.efficiency or {}).get("mfu_share")
    rate = found.get("images_per_s")
    minutes = EPOCHS * SYNTH90K / rate / 60 if rate and case.task == "Train" else None
    return [case.name, rate, found.get("step_p50_ms"), found.get("data_wait_share"), share,
            memory[0] and memory[0] / 1e9, minutes, record.status]  # fmt: skip


def made(folder: Path, pictures: int) -> Path:
    """Packed sets of noise with texts of 4 to 12 characters: what a card computes does not depend on what it sees."""
    random = np.random.default_rng(0)
    for split, count in (("train", pictures), ("val", 64), ("test", max(64, pictures // 4))):
        writer = PackedWriter(folder / split, f"noise {count}", Shape(), "noise", True)
        for begin in range(0, count, CHUNK):
            n = min(CHUNK, count - begin)
            images = random.integers(0, 256, (n, 1, 32, 100), np.uint8)
            texts = ["".join(random.choice(CHARACTERS, length)) for length in random.integers(4, 13, n)]
            writer.add(n, images, np.full(n, 100, np.int32), texts, [])
        writer.finish()
        writer.close()
    return folder


def facts() -> Iterator[str]:
    """What was measured on."""
    yield f"torch {torch.__version__}, CUDA {torch.version.cuda}, Python {sys.version.split()[0]}"
    try:
        asked = "name,driver_version,memory.total,power.limit,clocks.max.sm"
        yield subprocess.run(["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True,
                             text=True).stdout.strip()  # fmt: skip
    except OSError:
        yield "no nvidia-smi here"


def beside(sitting: Sitting) -> None:
    """Ours beside the peers' own training code, in one process and in turns."""
    command = [sys.executable, "-m", "benchmarks.gpu_peers", *(["--peers", str(sitting.options.peers)] * bool(
        sitting.options.peers)), "--device", sitting.options.device]  # fmt: skip
    command += ["--batch", str(sitting.options.batch or 1024)]
    try:
        subprocess.run(command, cwd=ROOT, timeout=max(10, sitting.left_s))
    except subprocess.TimeoutExpired:
        print("  the peers: no time left", flush=True)


def attributed(sitting: Sitting, data: Path) -> None:
    """Where the time of the plain AMP run goes."""
    run = f"CRNN_AMP_30E_1{sitting.options.device}_Train"
    words = ["--dataset", str(data), "--input", "resident", "--batch-size", str(sitting.options.batch or 2048)]
    command = [sys.executable, "-m", "bench.attribute", run, "--twin-steps", str(sitting.options.steps), *words]
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=max(10, sitting.left_s), capture_output=True, text=True)
        print(done.stdout or done.stderr[-500:], flush=True)
    except subprocess.TimeoutExpired:
        print("  attribution: no time left", flush=True)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    if options.device != "CPU" and not discovery.present(options.device):
        raise UserError(f"no {options.device} here: torch {torch.__version__} sees {discovery.inventory()}")
    options.out = options.out.resolve()
    sitting = Sitting(options)
    (options.out / "runs").mkdir(parents=True, exist_ok=True)
    print("\n".join(facts()), flush=True)
    data = made(options.out / "noise", options.pictures)
    print(f"{time.monotonic() - sitting.began:.0f} s to make {options.pictures:,} pictures", flush=True)
    chosen = [case for case in CASES if re.search(options.only, case.name)]
    for number, case in enumerate(chosen):
        sitting.run(case, data)
        if number == 6:  # the cases that the bars are about are done
            beside(sitting)
            attributed(sitting, data)
    text = tabulate(sitting.rows, HEADERS, "github", floatfmt=("", ",.0f", ".2f", ".1%", ".1%", ".1f", ".0f", ""))
    (options.out / "table.md").write_text(text + "\n")
    with tarfile.open(options.out / "records.tar.gz", "w:gz") as tar:
        tar.add(options.out / "runs", "runs")
    print(f"\n{text}\n\nrecords: {options.out / 'records.tar.gz'}")


if __name__ == "__main__":
    run_cli(main, "benchmarks.gpu")
