"""Everything in a record that follows from its raw series, in one place: for a run to write and for verify to redo."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from bench.records.rates import after_warmup, latency_percentiles, rank_share, ratio, step_durations, throughput
from bench.records.record import FAILURES, Record
from bench.records.sections import Accuracy, CardTelemetry, Efficiency, Phases, Power, Steady, Throughput
from bench.records.series import Series
from bench.records.steady import steady, steady_reasons, too_short
from bench.records.telemetry_summary import card_telemetry

# Work of a step in forward passes: the backward pass computes a gradient for each input and each weight.
PASSES = {"Train": 3, "Infer": 1}


def with_derived(record: Record) -> Record:
    """The record with every derived number filled in."""
    return dataclasses.replace(record, **derived_sections(record))


def derived_sections(record: Record) -> dict[str, Any]:
    """The derived sections, by field name of Record; of mixed sections, everything."""
    ranks, warmup_steps = [Series(**rank) for rank in record.series], record.warmup_steps
    rates = throughput(ranks, warmup_steps, record.phases_s.get("total_s"))
    telemetry = [card_telemetry(one) for one in record.samples]
    pace = ranks[rates["slowest_rank"] or 0] if ranks else None  # the rank that decides
    proof = too_short(version=record.schema_version)
    if pace:
        measured = after_warmup(pace, warmup_steps)
        proof = steady(step_durations(measured), measured["images"], record.schema_version)
    status, reasons = decide_status(record, rates, proof)
    return {
        "throughput": rates,
        "ranks": [rank_share(i, rank, warmup_steps) for i, rank in enumerate(ranks)],
        "steady": proof,
        "phases_s": {**record.phases_s, **step_phases(pace, warmup_steps)},
        "latency": [{**row, **latency_percentiles(row["batch"], row["seconds"])} for row in record.latency],
        "telemetry": telemetry,
        "power": total_power(record, telemetry, rates["images_per_s"]),
        "efficiency": share_of_ceiling(record, rates["images_per_s"]),
        "accuracy": record.accuracy and {**record.accuracy, **word_accuracy(record.accuracy)},
        "status": status,
        "status_reasons": reasons,
    }


def step_phases(pace: Series | None, warmup_steps: int) -> Phases:
    """The parts of a run that are made of steps, on the slowest rank."""
    if not pace or not len(pace.step_s):
        return {"first_batch_s": None, "first_step_s": None, "warmup_s": None, "measured_s": None}
    return {
        "first_batch_s": pace.wait_s[0],
        "first_step_s": pace.step_s[0] - pace.wait_s[0],
        "warmup_s": float(np.sum(pace.step_s[:warmup_steps])),
        "measured_s": float(np.sum(pace.step_s[warmup_steps:])),
    }


def decide_status(record: Record, rates: Throughput, proof: Steady) -> tuple[str, list[str]]:
    """Status and reasons. What ended a run early does not follow from arithmetic and stands as it was written."""
    if record.status in FAILURES:
        return record.status, record.status_reasons
    measured_s = rates["measured_steps"] * (rates["step_mean_ms"] or 0) / 1e3
    short = [
        f"{got:.3g} {unit} were measured, {least:g} are the minimum"
        for unit, got, least in (
            ("steps", rates["measured_steps"], record.minimum["steps"]),
            ("seconds", measured_s, record.minimum["seconds"]),
        )
        if got < least
    ]
    if rates["images_per_s"] is None:
        short = ["no step is left after the warm-up"]
    if short or proof["verdict"] == "too_short":
        return "too_short", [*short, *steady_reasons(proof)]
    return ("ok", []) if proof["verdict"] == "steady" else ("not_steady", steady_reasons(proof))


def total_power(record: Record, telemetry: list[CardTelemetry], images_per_s: float | None) -> Power | None:
    """Of all cards together; None unless every card (on a CPU: every host) has a valid reading."""
    wanted = record.cell["hosts"] if record.cell["device"] == "CPU" else record.cell["cards"]
    known = [
        (card, energy_j, mean_w)
        for card in telemetry
        if card["valid"] and (energy_j := card["energy_j"]) is not None and (mean_w := card["power_mean_w"]) is not None
    ]
    if len(known) < wanted or images_per_s is None:
        return None
    watts = sum(mean_w for _, _, mean_w in known)
    return {
        "mean_w": watts,
        "energy_j": sum(energy_j for _, energy_j, _ in known),
        "energy_source": "/".join(sorted({card["energy_source"] or "" for card, _, _ in known})),
        "j_per_1k_images": watts / images_per_s * 1e3,
    }


def share_of_ceiling(record: Record, images_per_s: float | None) -> Efficiency | None:
    """How near the run came to what its own cards were measured to do. None where that was not measured.

    A network that is partly frozen computes less than three forward passes, and nobody has counted how much.
    """
    if not record.limits:
        return None
    uncounted = record.cell.get("without") == "compute" or "frozen" in record.cell
    work = None if uncounted else record.limits[0]["forward_flops_per_image"] * PASSES[record.task]
    ceiling = math.fsum(card["gemm_flops_per_s"] for card in record.limits)
    return {
        "flops_per_image": work,
        "gemm_flops_per_s_per_card": ceiling / len(record.limits),
        "copy_bytes_per_s_per_card": math.fsum(card["copy_bytes_per_s"] for card in record.limits) / len(record.limits),
        "roofline_images_per_s": ratio(ceiling, work),
        "mfu_share": images_per_s * work / ceiling if images_per_s and work else None,
    }


def word_accuracy(accuracy: Accuracy) -> Accuracy:
    return {"word_accuracy": ratio(accuracy["correct"], accuracy["n"])} if "correct" in accuracy else {}
