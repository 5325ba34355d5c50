"""The charts of the page, each from rows or records alone. A chart for which nothing was measured is left out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from markupsafe import Markup

from bench.errors import UserError
from bench.judging import baselines
from bench.judging.changes import find_changes
from bench.judging.sittings import history_points
from bench.judging.statistics import median_interval
from bench.records.record import Record
from bench.reporting.rows import Row, by_time
from bench.reporting.svg import MOST_POINTS, Plot, padded_range, thin_out


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
    """Of tests alone: up and to the right is better. The whisker is the interval, given the number of words."""
    tests = [row for row in rows if row.rate and row.first.task == "Infer"]
    known = [(row, interval) for row in tests if (interval := accuracy_and_interval(row))]
    if not known:
        return None
    rates = [row.rate for row, _ in known]
    low, high = padded_range([point for _, interval in known for point in interval])
    plot = Plot("Accuracy against throughput", "images/s", "words read, %", (min(rates) / 1.3, max(rates) * 1.3),
                (max(low, 0), min(high, 100)), log_x=True)  # fmt: skip
    names = list(dict.fromkeys(f"{row.first.cell['model']}, {row.first.cell['card']}" for row, _ in known))
    for row, (share, low, high) in known:
        name = f"{row.first.cell['model']}, {row.first.cell['card']}"
        is_hollow = row.first.cell["precision"] != "FP32"
        plot.whisker(row.rate, low, high, names.index(name))
        tip = f"{row.label}\n{share:.2f} % at {row.rate:.1f} images/s"
        plot.point(row.rate, share, names.index(name), tip, "hollow" * is_hollow)
        plot.name(names.index(name), name)
    if any(row.first.cell["precision"] != "FP32" for row, _ in known):
        plot.name(7, "hollow: not FP32")
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
    ranks = [[s * 1e3 for s in rank.get("device_step_s") or rank["step_s"]] for rank in record.series]
    if not any(ranks):
        return None
    measured = [ms for rank in ranks for ms in rank[record.warmup_steps :]] or [ms for rank in ranks for ms in rank]
    # A first step may take a hundred times as long and is cut off: what was measured must stay legible.
    top = padded_range([0, min(max(map(max, ranks)), 1.5 * max(measured))], 0)[1]
    is_cut = max(map(max, ranks)) > top
    plot = Plot("Step times", "step (warm-up shaded)", f"ms{', cut at the top' * is_cut}", (0, max(map(len, ranks))),
                (0, top))  # fmt: skip
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


def over_time(row: Row, folder: Path) -> Markup | None:
    """One cell's throughput run by run, its baseline, and where the level changed."""
    group = [entry for entry in by_time(row.history) if "throughput" in entry.values]
    if len(group) < 2:
        return None
    rates = [entry.values["throughput"] for entry in group]
    base = load_if_whole(row.first, folder)
    accepted = [value for sitting in base.values("throughput") for value in sitting] if base else []
    span = " to ".join(dict.fromkeys(entry.started_utc[:10] for entry in (group[0], group[-1])))
    plot = Plot("History", f"runs, {span}", "images/s", (0.5, len(group) + 0.5), padded_range([*rates, *accepted]),
                x_ticks=date_ticks([entry.started_utc for entry in group]))  # fmt: skip
    if accepted:
        plot.level(float(np.median(accepted)), f"baseline {np.median(accepted):.1f} images/s, n = {len(accepted)}")
    points = history_points(group, lambda entry: entry.values["throughput"])  # as bench.history has it
    for change in find_changes([value for _, value in points]):
        p = "< 1e-6" if change.p < 1e-6 else f"= {change.p:.1g}"
        at = group.index(points[change.index][0][0])
        plot.mark(at + 0.5, f"the level changed by {change.share:+.1%} here (p {p})")
    plot.line(thin_out([(i, rate) for i, rate in enumerate(rates, 1)]), 0)
    for i, (entry, rate) in enumerate(zip(group, rates, strict=True), 1):
        if len(group) <= MOST_POINTS:
            when = entry.started_utc[:16].replace("T", " ")
            tip = f"{rate:.1f} images/s\n{when}, {(entry.commit or 'no commit')[:9]}, record {entry.record_id[:8]}"
            plot.point(i, rate, 0, tip)
    return plot.svg()


def load_if_whole(record: Record, folder: Path) -> baselines.Baseline | None:
    """A broken baseline is said in the row's notes, and draws nothing."""
    try:
        return baselines.load_baseline(record, folder)
    except UserError:
        return None


def date_ticks(dates: list[str]) -> list[tuple[float, str]]:
    """About five places of a series with their day; with their time where all are of one day."""
    part = slice(5, 10) if len({date[:10] for date in dates}) > 1 else slice(11, 16)
    places = sorted({round(place) for place in np.linspace(0, len(dates) - 1, min(5, len(dates)))})
    return [(place + 1, dates[place][part]) for place in places]


def training_loss(record: Record) -> Markup | None:
    """The loss of each step of a training run."""
    losses = (record.training or {}).get("loss") or []
    known = [(i, loss) for i, loss in enumerate(losses, 1) if loss is not None]
    if len(known) < 2:
        return None
    top = float(np.percentile([loss for _, loss in known], 99)) * 1.2
    plot = Plot("Training loss", "step", "loss, mean over ranks", (0, len(losses)), (0, top or 1))
    plot.line(thin_out([(i, min(loss, top)) for i, loss in known]), 0)
    plot.name(0, f"loss; values above {top:.3g} are cut" if max(loss for _, loss in known) > top else "loss")
    return plot.svg()


def clocks_and_heat(record: Record, field: Literal["clock_mhz", "temperature_c"], unit: str) -> Markup | None:
    """A quantity of every card over the run; where the driver slowed it, the time is shaded."""
    cards = [one for one in record.samples or [] if any(one.get(field) or [])]
    if not cards:
        return None
    start = min(time for card in cards for time in card["time_s"])
    last = max(time for card in cards for time in card["time_s"]) - start
    values = [value for card in cards for value in card[field] if value is not None]
    plot = Plot(unit, "s", unit, (0, last or 1), padded_range(values))
    for colour, card in enumerate(cards):
        times = [time - start for time in card["time_s"]]
        for time, after, slowed in zip(times, times[1:], card.get("throttled") or [], strict=False):
            if slowed:
                plot.band((time, after), f"rank {card['rank']}: throttled", "band throttled")
        plot.line(thin_out([(t, v) for t, v in zip(times, card[field], strict=True) if v is not None]), colour)
        plot.name(colour, f"rank {card['rank']}")
    return plot.svg()


def drop_empty(named: Iterable[tuple[str, Markup | None]]) -> list[tuple[str, Markup]]:
    """Those of many figures, shown one at a time, for which there was something to draw."""
    return [(name, figure) for name, figure in named if figure]


def all_charts(rows: list[Row], folder: Path) -> dict[str, list[tuple[str, Markup]]]:
    """Charts by heading, each of one meaning; a heading has one figure, or one for each record or cell."""
    records = [(f"{r.run}, {r.started_utc[:16]}, {r.record_id[:8]}", r) for row in rows for r in row.records]
    newest = {row.history[0].speed_key: row for row in rows if row.history}  # a cell once
    groups = sorted(newest.values(), key=lambda row: len(row.history), reverse=True)
    return {
        "History": drop_empty((f"{row.first.run}, {row.first.cell['card']}", over_time(row, folder)) for row in groups),
        "Throughput by cards": drop_empty([("", by_cards(rows))]),
        "Accuracy against throughput, tests": drop_empty([("", accuracy_by_throughput(rows))]),
        "Latency distribution": drop_empty([("", latency_distribution(rows))]),
        "Step times": drop_empty((name, step_times(r)) for name, r in records),
        "Training loss": drop_empty((name, training_loss(r)) for name, r in records),
        "Power over time": drop_empty((name, power_over_time(r)) for name, r in records),
        "Clock": drop_empty((name, clocks_and_heat(r, "clock_mhz", "MHz")) for name, r in records),
        "Temperature": drop_empty((name, clocks_and_heat(r, "temperature_c", "°C")) for name, r in records),
    }
