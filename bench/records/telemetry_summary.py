"""What the samples of a card's sensors say about the measured window. Pure arithmetic, done again by bench.verify.

Samples are taken from the start of a run to its end; only those inside the windows in which steps were measured count,
with values at the edges interpolated. Where coverage or gaps do not allow a number, it is null and the reason is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.records.sections import CardTelemetry, Samples

Floats = NDArray[np.float64]
Window = tuple[float, float]
Statistic = Callable[[Floats], Any]

SLOWEST_S = 1.0  # samples at 1 Hz or faster
COVERAGE = 0.95  # share of the windows that must lie within reach of a sample
GAPS = 3.0  # intervals; a longer gap between two samples is not bridged


def card_telemetry(sampled: Samples) -> CardTelemetry:
    """What the samples of one card say; numbers are null where they do not cover the measured windows."""
    time = np.asarray(sampled["time_s"], float)
    windows = [(begin, end) for begin, end in sampled["windows"] if end > begin]
    inside = np.zeros(len(time), bool)
    for begin, end in windows:
        inside |= (time >= begin) & (time <= end)
    summary = without_numbers(sampled, int(inside.sum()))
    if reasons := sampled["reasons"] or no_window(time, windows):
        return {**summary, "reasons": reasons}
    reach = GAPS * max(sampled["interval_s"], 0.0)
    gap, coverage = longest_gap(time, windows), covered_share(time, windows, reach)
    reasons = gaps_and_rates(gap, coverage, reach, sampled["interval_s"])
    summary |= {"coverage_share": coverage, "longest_gap_s": gap, "valid": not reasons, "reasons": reasons}
    return summary if reasons else with_quantities(summary, sampled, time, windows, inside)


def without_numbers(sampled: Samples, inside: int) -> CardTelemetry:
    """The summary of a card of which nothing can be said."""
    return {
        "rank": sampled["rank"], "sensor": sampled["sensor"], "samples": inside, "coverage_share": None,
        "longest_gap_s": None, "power_mean_w": None, "power_max_w": None, "energy_j": None, "energy_source": None,
        "temperature_mean_c": None, "temperature_max_c": None, "clock_mean_mhz": None, "clock_min_mhz": None,
        "utilisation_mean_percent": None, "memory_max_bytes": None, "throttled_share": None,
        "power_capped_share": None, "ecc_errors": None, "valid": False, "reasons": [],
    }  # fmt: skip


def no_window(time: Floats, windows: list[Window]) -> list[str]:
    if not windows:
        return ["nothing was measured"]
    return [] if len(time) >= 2 else [f"{len(time)} samples are no series"]


def gaps_and_rates(gap: float, coverage: float, reach: float, interval_s: float) -> list[str]:
    rules = (
        (interval_s <= SLOWEST_S, f"one sample in {interval_s:g} s is slower than 1 Hz"),
        (coverage >= COVERAGE, f"samples cover {coverage:.0%} of the measured time, not {COVERAGE:.0%}"),
        (gap <= reach, f"a gap of {gap:.1f} s between samples {interval_s:g} s apart"),
    )
    return [reason for holds, reason in rules if not holds]


def longest_gap(time: Floats, windows: list[Window]) -> float:
    """Seconds between two samples, of which one at least lies next to a window; the windows' edges count."""
    gaps = [0.0]
    for begin, end in windows:
        points = np.concatenate(([begin], time[(time > begin) & (time < end)], [end]))
        edges = neighbours(time, begin, end)
        gaps.append(float(np.diff(np.concatenate((edges[0], points[1:-1], edges[1]))).max(initial=0.0)))
    return max(gaps)


def neighbours(time: Floats, begin: float, end: float) -> tuple[Floats, Floats]:
    """The last sample before a window and the first after it, or its edges where there is none."""
    before, after = time[time <= begin], time[time >= end]
    return (before[-1:] if before.size else np.array([begin])), (after[:1] if after.size else np.array([end]))


def covered_share(time: Floats, windows: list[Window], reach: float) -> float:
    """Share of the windows that lies within `reach` seconds after or before a sample."""
    whole = sum(end - begin for begin, end in windows)
    held = 0.0
    for begin, end in windows:
        near = time[(time > begin - reach) & (time < end + reach)]
        points = np.clip(np.concatenate(([begin], near, [end])), begin, end)
        held += float(np.minimum(np.diff(np.sort(points)), reach).sum()) if near.size else 0.0
    return held / whole


def with_quantities(
    summary: CardTelemetry, sampled: Samples, time: Floats, windows: list[Window], inside: NDArray[np.bool_]
) -> CardTelemetry:
    """Every number a card's samples allow; those of sensors it does not have are left None."""

    def over(name: str, how: Statistic) -> float | None:
        """Of the samples inside the windows; a window shorter than an interval has none, and takes them all."""
        values = series_of(sampled, name)
        within = values[inside] if values.size else values
        values = within if np.isfinite(within).any() else values
        return float(how(values)) if np.isfinite(values).any() else None

    energy, source = window_energy_j(sampled, time, windows)
    length = sum(end - begin for begin, end in windows)
    errors = series_of(sampled, "ecc_errors")
    return {
        **summary,
        "power_mean_w": None if energy is None else energy / length,
        "power_max_w": over("power_w", np.nanmax),
        "energy_j": energy,
        "energy_source": source,
        "temperature_mean_c": over("temperature_c", np.nanmean),
        "temperature_max_c": over("temperature_c", np.nanmax),
        "clock_mean_mhz": over("clock_mhz", np.nanmean),
        "clock_min_mhz": over("clock_mhz", np.nanmin),
        "utilisation_mean_percent": over("utilisation_percent", np.nanmean),
        "memory_max_bytes": over("memory_bytes", np.nanmax),
        "throttled_share": over("throttled", np.nanmean),
        "power_capped_share": over("power_capped", np.nanmean),
        "ecc_errors": float(np.nanmax(errors) - np.nanmin(errors)) if np.isfinite(errors).any() else None,
    }


def series_of(sampled: Samples, name: str) -> Floats:
    """A quantity of every sample, NaN where the sensor did not tell; empty for a sensor that the card does not have."""
    return np.asarray(sampled.get(name) or [], float)


def window_energy_j(sampled: Samples, time: Floats, windows: list[Window]) -> tuple[float | None, str | None]:
    """Energy of the windows: the card's own counter where it has one, else the trapezoid under its power."""
    for name, source in (("energy_j", "counter"), ("power_w", "trapezoid")):
        values = series_of(sampled, name)
        known = np.isfinite(values)
        if known.sum() < 2:
            continue
        if source == "counter":
            begins_ends = np.interp(np.ravel(windows), time[known], values[known])
            return float(np.diff(begins_ends.reshape(-1, 2)).sum()), source
        return sum(trapezoid(time[known], values[known], *window) for window in windows), source
    return None, None


def trapezoid(time: Floats, values: Floats, begin: float, end: float) -> float:
    """Area under `values` from `begin` to `end`, straight between samples."""
    inner = time[(time > begin) & (time < end)]
    points = np.concatenate(([begin], inner, [end]))
    heights = np.interp(points, time, values)
    return float((np.diff(points) * (heights[1:] + heights[:-1]) / 2).sum())
