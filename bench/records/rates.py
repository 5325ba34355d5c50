"""What the raw series of the ranks say: rates, percentiles, who was slow. Arithmetic that bench.verify does again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.records.sections import Latency, RankShare, Throughput
from bench.records.series import Series

Measured = dict[str, NDArray[Any]]  # the series of a rank by name, without its warm-up


def throughput(ranks: list[Series], warmup_steps: int, total_s: float | None = None) -> Throughput:
    """Images of all ranks / wall time of the slowest rank, over the steps after the warm-up."""
    measured = [after_warmup(rank, warmup_steps) for rank in ranks]
    walls = [float(np.sum(rank["step_s"])) for rank in measured]
    slowest = int(np.argmax(walls)) if ranks else 0
    if not ranks or not measured[slowest]["step_s"].size or not walls[slowest]:
        return nothing_measured()
    one, images = measured[slowest], sum(int(np.sum(rank["images"])) for rank in measured)
    steps, rate = step_durations(one) * 1e3, images / walls[slowest]
    p50, p90, p99 = np.percentile(steps, (50, 90, 99))
    everything = sum(int(np.sum(rank.images)) for rank in ranks)
    return {
        "images_per_s": rate,
        "images_per_s_per_card": rate / len(ranks),
        "images_per_s_core": ratio(images, max(core_s(rank) for rank in measured)),
        "images_per_s_end_to_end": ratio(everything, total_s),
        "step_mean_ms": float(one["step_s"].mean() * 1e3),
        "step_sd_ms": float(steps.std()),
        "step_p50_ms": float(p50),
        "step_p90_ms": float(p90),
        "step_p99_ms": float(p99),
        "step_max_ms": float(steps.max()),
        "device_step_mean_ms": float(one["device_s"].mean() * 1e3) if one["device_s"].size else None,
        "data_wait_share": float(one["wait_s"].sum()) / walls[slowest],
        "measured_steps": int(steps.size),
        "slowest_rank": slowest,
        "slowest_share": slowest_share(measured, slowest),
        "skew_share": (walls[slowest] - min(walls)) / walls[slowest],
    }


def nothing_measured() -> Throughput:
    """Of a run without a step after the warm-up: no number, which is not 0."""
    names = Throughput.__annotations__
    return Throughput(**{**dict.fromkeys(names), "measured_steps": 0})  # type: ignore[typeddict-item]  # names are its own


def after_warmup(rank: Series, warmup_steps: int) -> Measured:
    """The series of a rank without its warm-up."""
    return {name: np.asarray(values)[warmup_steps:] for name, values in vars(rank).items()}


def steps_by_events(measured: Measured) -> bool:
    """Whether the device timed each of these steps itself."""
    return 0 < measured["step_s"].size == measured["device_step_s"].size


def step_durations(measured: Measured) -> NDArray[Any]:
    """Seconds of each step: the device's own, where it has them.

    Between two drains the host of a card only enqueues: its intervals are short until a full queue makes it wait, so
    they say how fast it enqueues. The wall time of the whole span, drained at both ends, is right all the same.
    """
    return measured["device_step_s" if steps_by_events(measured) else "step_s"]


def core_s(measured: Measured) -> float:
    """Time spent on the work itself: by the device's events where it has them, else what is not waiting for data.

    The host's wait says little about a device that still has work queued, hence the events.
    """
    if measured["device_s"].size:
        return float(measured["device_s"].sum())
    return float(measured["step_s"].sum() - measured["wait_s"].sum())


def ratio(above: float, below: float | None) -> float | None:
    return above / below if below else None


def slowest_share(measured: list[Measured], slowest: int) -> float:
    """The share of steps in which rank `slowest` took the longest. Even luck gives 1 / ranks; near 1 is a straggler."""
    length = min(rank["step_s"].size for rank in measured)
    times = np.stack([step_durations(rank)[:length] for rank in measured])
    return float((times.argmax(axis=0) == slowest).mean()) if length else 0.0


def rank_share(number: int, rank: Series, warmup_steps: int) -> RankShare:
    measured = after_warmup(rank, warmup_steps)
    wall = float(measured["step_s"].sum())
    p50, p99 = np.percentile(step_durations(measured), (50, 99)) * 1e3 if measured["step_s"].size else (None, None)
    return {
        "rank": number,
        "wall_s": wall,
        "step_p50_ms": None if p50 is None else float(p50),
        "step_p99_ms": None if p99 is None else float(p99),
        "data_wait_share": ratio(float(measured["wait_s"].sum()), wall),
        "images": int(measured["images"].sum()),
    }


def latency_percentiles(batch: int, seconds: Sequence[float]) -> Latency:
    """Of batches from host image to text, drained before and after each."""
    p50, p90, p99 = np.percentile(seconds, (50, 90, 99)) * 1e3
    return {
        "batch": batch,
        "n": len(seconds),
        "mean_ms": float(np.mean(seconds) * 1e3),
        "p50_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
    }
