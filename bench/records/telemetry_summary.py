"""What the samples of a card's sensors say about the measured window. Pure arithmetic, done again by bench.verify.

Samples are taken from the start of a run to its end; only those inside the windows in which steps were measured count,
with values at the edges interpolated. Where coverage or gaps do not allow a number, it is null and the reason is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SLOWEST_S = 1.0  # samples at 1 Hz or faster
COVERAGE = 0.95  # share of the windows that must lie within reach of a sample
GAPS = 3.0  # intervals; a longer gap between two samples is not bridged


@dataclass(frozen=True)
class CardTelemetry:
    """One card (or, for a CPU, one host) over the measured windows."""

    rank: int
    sensor: str | None
    samples: int = 0
    coverage_share: float | None = None
    longest_gap_s: float | None = None
    power_mean_w: float | None = None
    power_max_w: float | None = None
    energy_j: float | None = None
    energy_source: str | None = None  # counter | trapezoid
    temperature_mean_c: float | None = None
    temperature_max_c: float | None = None
    clock_mean_mhz: float | None = None
    clock_min_mhz: float | None = None
    utilisation_mean_percent: float | None = None
    memory_max_bytes: float | None = None
    throttled_share: float | None = None
    power_capped_share: float | None = None
    ecc_errors: float | None = None  # that appeared inside the windows
    valid: bool = False
    reasons: list[str] = field(default_factory=list)


def card_telemetry(sampled: dict) -> CardTelemetry:
    """`sampled` is an item of a record's `samples`."""
    time = np.asarray(sampled["time_s"], float)
    windows = [(begin, end) for begin, end in sampled["windows"] if end > begin]
    inside = np.zeros(len(time), bool)
    for begin, end in windows:
        inside |= (time >= begin) & (time <= end)
    about = {"rank": sampled["rank"], "sensor": sampled["sensor"], "samples": int(inside.sum())}
    if reasons := sampled["reasons"] or no_window(time, windows):
        return CardTelemetry(**about, reasons=reasons)
    reach = GAPS * max(sampled["interval_s"], 0.0)
    gap, coverage = longest_gap(time, windows), covered(time, windows, reach)
    reasons = objections(gap, coverage, reach, sampled["interval_s"])
    about |= {"coverage_share": coverage, "longest_gap_s": gap, "valid": not reasons, "reasons": reasons}
    return CardTelemetry(**about, **({} if reasons else quantities(sampled, time, windows, inside)))


def no_window(time: np.ndarray, windows: list) -> list[str]:
    if not windows:
        return ["nothing was measured"]
    return [] if len(time) >= 2 else [f"{len(time)} samples are no series"]


def objections(gap: float, coverage: float, reach: float, interval_s: float) -> list[str]:
    rules = (
        (interval_s <= SLOWEST_S, f"one sample in {interval_s:g} s is slower than 1 Hz"),
        (coverage >= COVERAGE, f"samples cover {coverage:.0%} of the measured time, not {COVERAGE:.0%}"),
        (gap <= reach, f"a gap of {gap:.1f} s between samples {interval_s:g} s apart"),
    )
    return [said for holds, said in rules if not holds]


def longest_gap(time: np.ndarray, windows: list) -> float:
    """Seconds between two samples, of which one at least lies next to a window; the windows' edges count."""
    gaps = [0.0]
    for begin, end in windows:
        points = np.concatenate(([begin], time[(time > begin) & (time < end)], [end]))
        edges = outside(time, begin, end)
        gaps.append(float(np.diff(np.concatenate((edges[0], points[1:-1], edges[1]))).max(initial=0.0)))
    return max(gaps)


def outside(time: np.ndarray, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The last sample before a window and the first after it, or its edges where there is none."""
    before, after = time[time <= begin], time[time >= end]
    return (before[-1:] if before.size else np.array([begin])), (after[:1] if after.size else np.array([end]))


def covered(time: np.ndarray, windows: list, reach: float) -> float:
    """Share of the windows that lies within `reach` seconds after or before a sample."""
    whole = sum(end - begin for begin, end in windows)
    held = 0.0
    for begin, end in windows:
        near = time[(time > begin - reach) & (time < end + reach)]
        points = np.clip(np.concatenate(([begin], near, [end])), begin, end)
        held += float(np.minimum(np.diff(np.sort(points)), reach).sum()) if near.size else 0.0
    return held / whole


def quantities(sampled: dict, time: np.ndarray, windows: list, inside: np.ndarray) -> dict:
    """Every number a card's samples allow; those of sensors it does not have are left None."""

    def over(name: str, how) -> float | None:
        values = np.asarray(sampled.get(name) or [], float)
        return None if not values.size or not np.isfinite(values).any() else how(values)

    def cut(how):
        return lambda values: statistic(how, values[inside], values)

    energy, source = energy_j(sampled, time, windows)
    length = sum(end - begin for begin, end in windows)
    return {
        "power_mean_w": None if energy is None else energy / length,
        "power_max_w": over("power_w", cut(np.nanmax)),
        "energy_j": energy,
        "energy_source": source,
        "temperature_mean_c": over("temperature_c", cut(np.nanmean)),
        "temperature_max_c": over("temperature_c", cut(np.nanmax)),
        "clock_mean_mhz": over("clock_mhz", cut(np.nanmean)),
        "clock_min_mhz": over("clock_mhz", cut(np.nanmin)),
        "utilisation_mean_percent": over("utilisation_percent", cut(np.nanmean)),
        "memory_max_bytes": over("memory_bytes", cut(np.nanmax)),
        "throttled_share": over("throttled", cut(np.nanmean)),
        "power_capped_share": over("power_capped", cut(np.nanmean)),
        "ecc_errors": over("ecc_errors", lambda values: float(np.nanmax(values) - np.nanmin(values))),
    }


def statistic(how, inside: np.ndarray, everything: np.ndarray) -> float | None:
    """Over the samples inside the windows; a window shorter than an interval has none, and takes them all."""
    values = inside if np.isfinite(inside).any() else everything
    return float(how(values)) if np.isfinite(values).any() else None


def energy_j(sampled: dict, time: np.ndarray, windows: list) -> tuple[float | None, str | None]:
    """Energy of the windows: the card's own counter where it has one, else the trapezoid under its power."""
    for name, source in (("energy_j", "counter"), ("power_w", "trapezoid")):
        values = np.asarray(sampled.get(name) or [], float)
        known = np.isfinite(values)
        if known.sum() < 2:
            continue
        if source == "counter":
            begins_ends = np.interp(np.ravel(windows), time[known], values[known])
            return float(np.diff(begins_ends.reshape(-1, 2)).sum()), source
        return sum(trapezoid(time[known], values[known], *window) for window in windows), source
    return None, None


def trapezoid(time: np.ndarray, values: np.ndarray, begin: float, end: float) -> float:
    """Area under `values` from `begin` to `end`, straight between samples."""
    inner = time[(time > begin) & (time < end)]
    points = np.concatenate(([begin], inner, [end]))
    heights = np.interp(points, time, values)
    return float((np.diff(points) * (heights[1:] + heights[:-1]) / 2).sum())
