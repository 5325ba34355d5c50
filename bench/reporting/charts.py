"""The charts of the page, each from rows or records alone. A chart for which nothing was measured is left out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import numpy as np
from markupsafe import Markup

from bench.judging import baselines
from bench.judging.changes import find_changes
from bench.judging.statistics import median_interval
from bench.records import cells
from bench.records.record import Record
from bench.reporting.rows import Row
from bench.reporting.svg import Plot, padded_range, thin_out


def series_name(row: Row) -> str:
    """What a line over cards is a line of."""
    cell = row.first.cell
    return f"{row.first.task} {cell['model']} {cell['precision']} batch {cell['batch_per_card']}, {cell['card']}"


def by_cards(rows: list[Row]) -> Markup | None:
    """Throughput over cards, each line with its ideal: cards x its 1-card row."""
    lines: dict[str, list[Row]] = {}
    for row in sorted((r for r in rows if r.rate), key=lambda r: r.first.cell["cards"]):
        lines.setdefault(series_name(row), []).append(row)
    lines = {name: some for name, some in lines.items() if len({r.first.cell["cards"] for r in some}) > 1}
    if not lines:
        return None
    most = max(row.first.cell["cards"] for some in lines.values() for row in some)
    ideal = [some[0].rate / some[0].first.cell["cards"] * most for some in lines.values()]
    counts = sorted({row.first.cell["cards"] for some in lines.values() for row in some})
    plot = Plot("Throughput by cards", "cards (dashed: ideal)", "images/s", (0.5, most + 0.5), padded_range(ideal, 0),
                x_ticks=[(count, str(count)) for count in counts])  # fmt: skip
    for colour, (name, some) in enumerate(lines.items()):
        each = some[0].rate / some[0].first.cell["cards"]
        plot.line([(counts[0], each * counts[0]), (most, each * most)], colour, "ideal")
        plot.line([(row.first.cell["cards"], row.rate) for row in some], colour)
        for row in some:
            share = row.rate / (each * row.first.cell["cards"])
            draw_interval(plot, row.first.cell["cards"], row, colour)
            plot.point(
                row.first.cell["cards"], row.rate, colour, f"{name}\n{row.rate:.1f} images/s, {share:.0%} of ideal"
            )
        plot.name(colour, name)
    return plot.svg()


def draw_interval(plot: Plot, x: float, row: Row, colour: int) -> None:
    """The row's 95 % interval, as far as the plot reaches."""
    if bounds := median_interval(row.rates):
        low, high = np.clip(bounds, *plot.y)
        plot.whisker(x, low, high, colour)


def latency_distribution(rows: list[Row]) -> Markup | None:
    """Share of batches done by a latency: of all repeats' raw times, or of percentiles where those are not kept."""
    curves = [(row, batch, curve) for row in rows for batch, curve in latency_curves(row).items()]
    if not curves:
        return None
    every = [ms for *_, curve in curves for ms, _ in curve]
    plot = Plot("Latency distribution", "latency of a batch, ms", "done, %", (min(every) * 0.9, max(every) * 1.1),
                (0, 100), log_x=True)  # fmt: skip
    for colour, (row, batch, curve) in enumerate(curves):
        plot.line(thin_out(curve), colour)
        at = min(curve, key=lambda point: abs(point[1] - 50))
        plot.point(*at, colour, f"{row.label}\nbatch of {batch}: half are done in {at[0]:.2f} ms")
        plot.name(colour, f"{row.first.run}, batch of {batch}")
    return plot.svg()


def latency_curves(row: Row) -> dict[int, list[tuple[float, float]]]:
    """Batch -> points (ms, percent)."""
    seconds: dict[int, list[float]] = {}
    curves = {}
    for found in (one for record in row.records for one in record.latency):
        seconds.setdefault(found["batch"], []).extend(found.get("seconds") or [])
        curves[found["batch"]] = [(found["p50_ms"], 50.0), (found["p90_ms"], 90.0), (found["p99_ms"], 99.0)]
    for batch, times in seconds.items():
        if times:
            ordered = np.sort(times) * 1e3
            curves[batch] = [(ms, 100 * (i + 1) / len(ordered)) for i, ms in enumerate(ordered.tolist())]
    return curves


def accuracy_by_throughput(rows: list[Row]) -> Markup | None:
    """Up and to the right is better. The whisker is the interval, given the number of words; hollow is not FP32."""
    known = [(row, interval) for row in rows if row.rate and (interval := accuracy_and_interval(row))]
    if not known:
        return None
    rates = [row.rate for row, _ in known]
    low, high = padded_range([point for _, interval in known for point in interval])
    plot = Plot("Accuracy against throughput", "images/s", "words read, %", (min(rates) / 1.3, max(rates) * 1.3),
                (max(low, 0), min(high, 100)), log_x=True)  # fmt: skip
    cards = list(dict.fromkeys(row.first.cell["card"] for row, _ in known))
    for row, (share, low, high) in known:
        colour = cards.index(row.first.cell["card"])
        plot.whisker(row.rate, low, high, colour)
        hollow = "" if row.first.cell["precision"] == "FP32" else "hollow"
        plot.point(row.rate, share, colour, f"{row.label}\n{share:.2f} % at {row.rate:.1f} images/s", hollow)
        plot.name(colour, row.first.cell["card"])
    return plot.svg()


def accuracy_and_interval(row: Row) -> tuple[float, float, float] | None:
    """Percent of words read and its interval; an interval that is not known is the share itself."""
    share = row.middle(lambda r: (r.accuracy or {}).get("word_accuracy"))
    if share is None:
        return None
    accuracy = row.first.accuracy or {}
    sides = (accuracy.get("word_accuracy_low"), accuracy.get("word_accuracy_high"))
    low, high = (share if side is None else side for side in sides)
    return share * 100, low * 100, high * 100


def step_times(record: Record) -> Markup | None:
    """Every step of every rank, the warm-up shaded. The raw series, not a summary."""
    ranks = [[s * 1e3 for s in rank["step_s"]] for rank in record.series]
    if not any(ranks):
        return None
    measured = [ms for rank in ranks for ms in rank[record.warmup_steps :]] or [ms for rank in ranks for ms in rank]
    # A first step may take a hundred times as long and is cut off: what was measured must stay legible.
    top = padded_range([0, min(max(map(max, ranks)), 1.5 * max(measured))], 0)[1]
    plot = Plot("Step times", "step (warm-up shaded)", "ms", (0, max(map(len, ranks))), (0, top))
    plot.band((0, record.warmup_steps), f"warm-up: {record.warmup_steps} steps that no number uses", "band warmup")
    for colour, rank in enumerate(ranks):
        plot.line(thin_out([(i + 0.5, min(ms, top)) for i, ms in enumerate(rank)]), colour)
        plot.name(colour, f"rank {colour}")
    return plot.svg()


def power_over_time(record: Record) -> Markup | None:
    """What each card drew, with the measured windows shaded."""
    cards = [one for one in record.samples or [] if any(one.get("power_w") or [])]
    if not cards:
        return None
    watts = [w for card in cards for w in card["power_w"] if w is not None]
    times = [t for card in cards for t in card["time_s"]]
    start = min(times)
    plot = Plot("Power", "s", "W", (0, max(times) - start or 1), padded_range(watts, 0))
    for window in cards[0].get("windows") or []:
        plot.band((max(0, window[0] - start), min(window[1], max(times)) - start), "measured", "band measured")
    for colour, card in enumerate(cards):
        pairs = zip(card["time_s"], card["power_w"], strict=True)
        plot.line(thin_out([(t - start, w) for t, w in pairs if w is not None]), colour)
        plot.name(colour, f"rank {card['rank']}, {card.get('sensor') or 'sensor not named'}")
    return plot.svg()


def over_time(group: list[Record], folder: Path) -> Markup | None:
    """One cell's throughput run by run, its baseline, and where the level changed."""
    rated = [(r, rate) for r in group if (rate := r.throughput.get("images_per_s"))]
    if len(rated) < 2:
        return None
    group, rates = [record for record, _ in rated], [rate for _, rate in rated]
    base = baselines.load_baseline(group[-1], folder)
    accepted = [value for sitting in base.values("throughput") for value in sitting] if base else []
    plot = Plot("History", "run", "images/s", (0.5, len(group) + 0.5), padded_range([*rates, *accepted]))
    if accepted:
        plot.level(float(np.median(accepted)), f"baseline {np.median(accepted):.1f} images/s, n = {len(accepted)}")
    for change in find_changes(rates):
        plot.mark(
            change.index + 0.5,
            f"the level changed by {change.share:+.1%} here (p {'< 1e-6' if change.p < 1e-6 else f'= {change.p:.1g}'})",
        )
    plot.line([(i, rate) for i, rate in enumerate(rates, 1)], 0)
    for i, (record, rate) in enumerate(zip(group, rates, strict=True), 1):
        commit = (record.provenance.get("commit") or "no commit")[:9]
        when = datetime.fromisoformat(record.started_utc).strftime("%Y-%m-%d %H:%M")
        plot.point(i, rate, 0, f"{rate:.1f} images/s\n{when}, {commit}, record {record.record_id[:8]}")
    return plot.svg()


def drop_empty(named: Iterable[tuple[str, Markup | None]]) -> list[tuple[str, Markup]]:
    """Those of many figures, shown one at a time, for which there was something to draw."""
    return [(name, figure) for name, figure in named if figure]


def all_charts(rows: list[Row], everything: list[Record], folder: Path) -> dict[str, list[tuple[str, Markup]]]:
    """Charts by heading; a heading has one figure, or one for each record or cell."""
    records = [(f"{r.run}, {r.started_utc[:16]}, {r.record_id[:8]}", r) for row in rows for r in row.records]
    groups = sorted(cells.group_repeats(everything, by_code=False), key=len, reverse=True)
    return {
        "Throughput by cards": drop_empty([("", by_cards(rows))]),
        "Accuracy against throughput": drop_empty([("", accuracy_by_throughput(rows))]),
        "Latency distribution": drop_empty([("", latency_distribution(rows))]),
        "Step times": drop_empty((name, step_times(r)) for name, r in records),
        "Power over time": drop_empty((name, power_over_time(r)) for name, r in records),
        "History": drop_empty((f"{g[0].run}, {g[0].cell['card']}", over_time(g, folder)) for g in groups),
    }
