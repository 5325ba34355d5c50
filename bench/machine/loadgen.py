"""MLPerf's load generator (mlcommons-loadgen, an extra): its settings from plain numbers, and what its files say.

LoadGen decides when queries come and judges the answers' times by its own rules; nothing here second-guesses it.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError
from bench.records.sections import LoadGen

Scenario = Literal["Offline", "SingleStream", "MultiStream", "Server"]
MODES = {"performance": "PerformanceOnly", "accuracy": "AccuracyOnly"}
SUMMARY, ACCURACY = "mlperf_log_summary.txt", "mlperf_log_accuracy.json"


def import_loadgen() -> Any:
    """The module mlperf_loadgen. Raises UserError where it is not installed."""
    try:
        import mlperf_loadgen
    except ImportError:
        raise UserError("LoadGen is not installed: pip install mlcommons-loadgen") from None
    return mlperf_loadgen


@dataclass(frozen=True)
class Load:
    """What is asked of LoadGen."""

    scenario: Scenario
    mode: str  # performance | accuracy
    seconds: float  # least duration
    queries: int  # fewest
    queries_per_s: float  # expected (Offline) or Poisson rate (Server)
    latency_s: float  # bound (Server), expected (SingleStream, MultiStream)
    seed: int
    samples_per_query: int = 8  # MultiStream, as in MLPerf


def make_test_settings(lg: Any, load: Load) -> Any:
    """LoadGen's TestSettings."""
    made = lg.TestSettings()
    made.scenario = getattr(lg.TestScenario, load.scenario)
    made.mode = getattr(lg.TestMode, MODES[load.mode])
    made.min_duration_ms = int(load.seconds * 1e3)
    made.min_query_count = load.queries
    made.qsl_rng_seed = made.sample_index_rng_seed = made.schedule_rng_seed = load.seed
    made.offline_expected_qps = made.server_target_qps = load.queries_per_s
    latency_ns = int(load.latency_s * 1e9)
    made.server_target_latency_ns = latency_ns
    made.single_stream_expected_latency_ns = made.multi_stream_expected_latency_ns = latency_ns
    made.multi_stream_samples_per_query = load.samples_per_query
    return made


def log_settings(lg: Any, folder: Path) -> Any:
    """LoadGen's files go to `folder` and nothing to the terminal."""
    made = lg.LogSettings()
    made.enable_trace = False
    made.log_output.outdir = str(folder)
    made.log_output.copy_summary_to_stdout = False
    return made


def loadgen_section(folder: Path, load: Load) -> LoadGen:
    """The record's section about a test whose files lie in `folder`."""
    return {
        "scenario": load.scenario,
        "mode": MODES[load.mode],
        **read_summary((folder / SUMMARY).read_text(encoding="utf8")),
        "version": importlib.metadata.version("mlcommons-loadgen"),
        "logs": folder.name,
    }


def read_summary(text: str) -> LoadGen:
    """Verdict, reasons and numbers of mlperf_log_summary.txt. No verdict (an accuracy run): None."""
    pairs = dict(re.findall(r"^ *([^:\n]+?) *: *(\S.*?) *$", text, re.M))
    verdict = pairs.pop("Result is", None)
    advice = re.findall(r"^ \* (.+?) *$", text.partition("Additional Stats")[0], re.M)
    return {
        "verdict": verdict,
        "reasons": advice if verdict == "INVALID" else [],
        "metrics": {name: number_or_text(value) for name, value in pairs.items()},
    }


def number_or_text(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def logged_answers(folder: Path) -> dict[int, bytes]:
    """What was answered for each sample in accuracy mode: sample number -> bytes."""
    logged = json.loads((folder / ACCURACY).read_text(encoding="utf8"))
    return {entry["qsl_idx"]: bytes.fromhex(entry["data"]) for entry in logged}
