"""A matrix of runs: `python -m bench.sweep 'CRNN_{FP32,AMP}_{1,2}CPU_Train' [-- OPTIONS OF THE RUNS]`.

Each run is a fresh process. One that fails becomes a row of the report with its reason (oom, nan, timeout, crash), and
the rest runs; started again, a sweep resumes where it stopped. `--auto-batch` finds the largest batch that fits, with
`--gain 0.05` the one from which on twice the batch is not 5 % faster.
No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/sweep.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from bench.errors import UserError, one_line, run_cli
from bench.files import ROOT
from bench.machine import processes
from bench.machine.processes import RUN_SCRIPT, Ended, classify_end, this_python
from bench.options import Bounds, Command, Metavar, Positional
from bench.records.record import RUNS, Record
from bench.records.run_name import RunName
from bench.reporting.rows import Failure


def expand_braces(pattern: str) -> list[str]:
    """The names of a pattern, as bash expands braces: {a,b} and {1..4}; no nesting. UserError for a broken one."""
    pieces = re.split(r"\{([^{}]*)\}", pattern)
    if any(mark in piece for piece in pieces[::2] for mark in "{}"):
        raise UserError(f"'{pattern}': a brace is not closed, or braces are nested")
    choices = [alternatives(piece) if i % 2 else [piece] for i, piece in enumerate(pieces)]
    return ["".join(words) for words in product(*choices)]


def alternatives(text: str) -> list[str]:
    if span := re.fullmatch(r"(\d+)\.\.(\d+)", text):
        return [str(number) for number in range(int(span[1]), int(span[2]) + 1)]
    return text.split(",")


def expand_runs(patterns: list[str]) -> list[str]:
    """Every run once, in order, spelled as the house spells it (2CPU is 2CPUs)."""
    return list(dict.fromkeys(str(RunName.parse(name)) for pattern in patterns for name in expand_braces(pattern)))


def start_run(run: str, options: list[str], results: Path, timeout_s: float) -> Ended:
    """One run, and how it ended."""
    before = set(results.glob("*.json"))
    command = ["bash", str(RUN_SCRIPT), run, *options, "--results", str(results)]
    try:
        code, output = processes.run_process(command, ROOT, timeout_s, this_python())
    except subprocess.TimeoutExpired:
        return Ended("timeout", f"no end after {timeout_s:g} s")
    return classify_end(code, output, sorted(set(results.glob("*.json")) - before))


def largest_batch(fits: Callable[[int], bool], most: int) -> int:
    """The largest batch up to `most` that fits, doubling from 1 and then halving the gap to within an eighth.

    Allocators keep pieces and kernels change with the shape, so the very edge is not worth finding. 0: not even 1 fits.
    """
    low, high = 0, 1
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def saturating_batch(rate: Callable[[int], float | None], most: int, gain: float, first: int = 8) -> int:
    """The batch from which on twice the batch is faster by less than `gain`; 0 when not even `first` fits.

    `rate` gives images/s at a batch, None where it does not fit. One that disappoints may be chance: the next is tried,
    too, before the search ends.
    """
    best, best_rate, batch, disappointed = 0, 0.0, first, False
    while batch <= most and (found := rate(batch)) is not None:
        if found > best_rate * (1 + gain):
            best, best_rate, disappointed = batch, found, False
        elif disappointed:
            break
        else:
            disappointed = True
        batch *= 2
    return best


def rate_at(run: str, options: list[str], timeout_s: float) -> Callable[[int], float | None]:
    """images/s of a short run at a batch; None where it does not fit. Raises UserError when it fails otherwise."""

    def rate(batch: int) -> float | None:
        is_training = run.endswith("_Train")
        few = ["--steps", "40"] if is_training else ["--latency-runs", "0", "--min-seconds", "1"]
        with tempfile.TemporaryDirectory() as folder:
            places = ["--checkpoints", folder, "--without", "validation"] if is_training else []
            words = [
                *options,
                *places,
                "--batch-size",
                str(batch),
                *few,
                "--warmup-steps",
                "10" if is_training else "1",
            ]
            ended = start_run(run, words, Path(folder), timeout_s)
            found = Record.load(Path(ended.record)).throughput["images_per_s"] if ended.record else None
        print(f"  batch {batch}: {ended.status}" + (f", {found:,.1f} images/s" if found else ""), flush=True)
        if ended.status not in ("ok", "oom"):
            raise UserError(f"{run} at batch {batch}: {ended.status}: {one_line(ended.reason)}")
        return found if ended.status == "ok" else None

    return rate


def find_batch(run: str, options: SweepOptions, passed_on: list[str]) -> int:
    """As --auto-batch and --gain ask."""
    most = options.auto_batch or 0
    if options.gain:
        return saturating_batch(rate_at(run, passed_on, options.timeout), most, options.gain)
    return largest_batch(fits_in_memory(run, passed_on, options.timeout), most)


def fits_in_memory(run: str, options: list[str], timeout_s: float) -> Callable[[int], bool]:
    """Whether three steps of `run` at a batch fit in memory. Raises UserError when a run fails for another reason."""

    def fits(batch: int) -> bool:
        few = ["--steps", "3"] if run.endswith("_Train") else ["--latency-runs", "0"]
        with tempfile.TemporaryDirectory() as folder:
            places = ["--checkpoints", folder] if run.endswith("_Train") else []
            words = [*options, *places, "--batch-size", str(batch), *few, "--warmup-steps", "1"]
            ended = start_run(run, words, Path(folder), timeout_s)
        print(f"  batch {batch}: {ended.status}", flush=True)
        if ended.status not in ("ok", "oom"):
            raise UserError(f"{run} at batch {batch}: {ended.status}: {one_line(ended.reason)}")
        return ended.status == "ok"

    return fits


def sweep(runs: list[str], options: SweepOptions, passed_on: list[str]) -> list[tuple[str, Ended]]:
    """Every run that is not done yet; what happened is kept after each, so that a stop loses one run at most."""
    options.results.mkdir(parents=True, exist_ok=True)
    state = options.results / "sweep.jsonl"
    asked = json.dumps([passed_on, options.auto_batch, *([options.gain] if options.gain else [])])
    lines = [line for line in finished_runs(state) if line["asked"] == asked]
    done = {(line["run"], line.get("repeat", 1)): Ended(**line["ended"]) for line in lines}
    turns = [(run, repeat) for repeat in range(1, options.repeats + 1) for run in runs]  # what drifts hits all alike
    for i, (run, repeat) in enumerate(turns, 1):
        title = f"[{i}/{len(turns)}] {run}" + (f", repeat {repeat}" if options.repeats > 1 else "")
        before = done.get((run, repeat))
        if before and not (options.retry and before.status != "ok"):
            print(f"{title}: {before.status}, done in an earlier sweep into this folder", flush=True)
            continue
        print(title, flush=True)
        began = time.monotonic()
        done[run, repeat] = ended = run_one(run, options, passed_on, repeat)
        with state.open("a", encoding="utf8") as file:
            file.write(json.dumps({"run": run, "repeat": repeat, "asked": asked, "ended": asdict(ended)}) + "\n")
        print(f"  {ended.status} after {time.monotonic() - began:.0f} s {one_line(ended.reason)}", flush=True)
    return [(run, done[run, repeat]) for run, repeat in turns]


def finished_runs(state: Path) -> list[dict[str, Any]]:
    """What earlier sweeps into this folder did; a line cut short by a stop is left out."""
    lines = state.read_text(encoding="utf8").splitlines() if state.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            print(f"{state}: a line is cut short; that run is made again", file=sys.stderr)
    return found


def run_one(run: str, options: SweepOptions, passed_on: list[str], repeat: int = 1) -> Ended:
    """One run of the matrix; its failure is written where bench.report finds it."""
    words = [*own_checkpoints(run, options.results, passed_on), *passed_on]
    try:
        if options.auto_batch:
            batch = find_batch(run, options, passed_on)
            if not batch:
                return note_failure(run, Ended("oom", "not even the smallest batch fits"), options.results, repeat)
            words += ["--batch-size", str(batch)]
        return note_failure(run, start_run(run, words, options.results, options.timeout), options.results, repeat)
    except UserError as refusal:
        return note_failure(run, Ended("crash", str(refusal)), options.results, repeat)


def own_checkpoints(run: str, results: Path, passed_on: list[str]) -> list[str]:
    """A training leaves its checkpoints beside the records, where the next sweep replaces them, not among the user's.

    Unless the options of the runs say where.
    """
    said = {word.partition("=")[0] for word in passed_on} & {"--checkpoints", "--overwrite", "--resume"}
    return ["--checkpoints", str(results / "checkpoints"), "--overwrite"] if run.endswith("_Train") and not said else []


def note_failure(run: str, ended: Ended, results: Path, repeat: int = 1) -> Ended:
    """Next to the records, the note of a run that left none; a success takes an older note away."""
    path = results / (f"{run}.failure" if repeat == 1 else f"{run}.{repeat}.failure")
    path.unlink(missing_ok=True)
    if ended.status != "ok" and not ended.record:
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        path.write_text(json.dumps(asdict(Failure(run, ended.status, ended.reason, when))) + "\n", encoding="utf8")
    return ended


@dataclass
class SweepOptions:
    """Run a matrix of runs; exit code 1 when any failed.

    Options after `--` go to every run.
    """

    patterns: Annotated[list[str], Positional("PATTERN")]
    """Run names with {a,b} or {1..4}, quoted"""
    results: Annotated[Path, Metavar("FOLDER")] = RUNS
    timeout: Annotated[float, Bounds(above=0, most=30 * 86400)] = 6 * 3600
    """Seconds for one run"""
    repeats: Annotated[int, Bounds(1)] = 1
    """Run the whole matrix this often, in turn; three and more have an interval"""
    retry: bool = False
    """Run again what failed in an earlier sweep"""
    auto_batch: Annotated[int | None, Bounds(1, 1 << 20), Metavar("MOST")] = None
    """First find the largest batch, up to MOST, that fits"""
    gain: Annotated[float, Bounds(0, 10)] = 0.0
    """With --auto-batch: not the largest, but the batch from which on twice as many images add less than this share"""
    dry_run: bool = False
    """Print the runs only"""


COMMAND = Command("bench.sweep", SweepOptions, "'CRNN_{FP32,AMP}_{1,2}CPU_Train' -- --steps 50", rest="--")


def main(argv: list[str] | None = None) -> None:
    options, passed_on = COMMAND.parse_known(argv)
    options.results = options.results.resolve()
    runs = expand_runs(options.patterns)
    if options.dry_run:
        print(*runs, sep="\n")
        return
    ends = sweep(runs, options, passed_on)
    failed = [f"{run}: {ended.status}" for run, ended in ends if ended.status != "ok"]
    print(f"{len(ends) - len(failed)} of {len(ends)} runs are done" + "".join(f"\n  {line}" for line in failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_cli(main, "bench.sweep")
