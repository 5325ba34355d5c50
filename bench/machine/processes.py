"""A run in a process of its own, and how it ended: ok, oom, nan, timeout or crash. No torch here."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.files import ROOT
from bench.records.record import FAILURES, Record

# What the allocators of torch on CPU, CUDA and MLU, of Python and of the kernel say; and oneDNN, whose other faults are
# "could not create a primitive descriptor for ...".
OUT_OF_MEMORY = re.compile(
    r"out of memory|can(?:'|no)t allocate memory|memoryerror|no_mem|bad_alloc|could not create a primitive\s*$",
    re.IGNORECASE | re.MULTILINE,
)
NOT_A_NUMBER = ("not finite", "is nan", "diverged", "loss is inf")
RUN_SCRIPT = ROOT / "run_scripts" / "run.sh"  # runs any run name
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # by the kernel's out-of-memory killer: nothing else here sends it


def this_python() -> dict[str, str]:
    """An environment in which run scripts use the Python that runs now, and set up nothing."""
    return {**os.environ, "CRNN_PYTHON": sys.executable}


@dataclass(frozen=True)
class Ended:
    """How one run ended: ok, or why not."""

    status: str
    reason: str = ""
    record: str | None = None  # file


def run_process(
    command: Sequence[str], cwd: Path, timeout_s: float, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """(exit code, output). In a process group of its own, which is ended whole. Raises TimeoutExpired."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(timeout_s)
        finally:
            kill_group(process)
        log.seek(0)
        return code, log.read()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Workers must not outlive their run: they would slow the next one."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def last_line(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def classify_end(code: int, output: str, new: list[Path]) -> Ended:
    """How a run ended, from its exit code, its output and the records it left."""
    last, lower = last_line(output), output.lower()
    if new:
        record = Record.load(new[-1])
        if record.status in FAILURES:
            status = {"diverged": "nan"}.get(record.status, record.status)
            return Ended(status, "; ".join(record.status_reasons), str(new[-1]))
        if code == 0:  # done; that its numbers are not steady or too short is said beside it
            why = "" if record.status == "ok" else f"{record.status}: {'; '.join(record.status_reasons)}"
            return Ended("ok", why, record=str(new[-1]))
    if code in KILLED or OUT_OF_MEMORY.search(output):
        telling = [line for line in output.splitlines() if OUT_OF_MEMORY.search(line)]
        return Ended("oom", telling[-1].strip() if telling else "killed")
    if any(words in lower for words in NOT_A_NUMBER):
        return Ended("nan", last)
    return Ended("crash", f"exit code {code}: {last}")
