"""Everything in a record that follows from its raw series, in one place: for a run to write and for verify to redo."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import asdict

import numpy as np

from bench.machine.meter import Series
from bench.records.rates import Latency, rank_share, ratio, throughput
from bench.records.record import FAILURES, Record
from bench.records.steady import Steady, steady
from bench.records.telemetry_summary import card_telemetry

# Work of a step in forward passes: the backward pass computes a gradient for each input and each weight.
PASSES = {"Train": 3, "Infer": 1}


def completed(record: Record) -> Record:
    """The record with every derived number filled in."""
    return dataclasses.replace(record, **derived(record))


def derived(record: Record) -> dict:
    """The derived sections, by field name of Record; of mixed sections, everything."""
    ranks = [Series(**rank) for rank in record.series]
    rates = throughput(ranks, record.warmup_steps, record.phases_s.get("total_s"))
    telemetry = [asdict(card_telemetry(one)) for one in record.samples]
    proof = proof_of(ranks, rates.slowest_rank, record.warmup_steps)
    status, reasons = judged(record, rates, proof)
    return {
        "throughput": asdict(rates),
        "ranks": [asdict(rank_share(i, rank, record.warmup_steps)) for i, rank in enumerate(ranks)],
        "steady": asdict(proof),
        "phases_s": record.phases_s | step_phases(ranks, rates.slowest_rank, record.warmup_steps),
        "latency": [row | asdict(Latency.of(row["batch"], row["seconds"])) for row in record.latency],
        "telemetry": telemetry,
        "power": power(record, telemetry, rates.images_per_s),
        "efficiency": efficiency(record, rates.images_per_s),
        "accuracy": record.accuracy and record.accuracy | shares(record.accuracy),
        "status": status,
        "status_reasons": reasons,
    }


def proof_of(ranks: list[Series], slowest: int | None, warmup_steps: int) -> Steady:
    if not ranks:
        return Steady("too_short")
    one = ranks[slowest or 0]
    return steady(np.asarray(one.step_s)[warmup_steps:], np.asarray(one.images)[warmup_steps:])


def step_phases(ranks: list[Series], slowest: int | None, warmup_steps: int) -> dict:
    """The parts of a run that are made of steps, on the slowest rank."""
    if not ranks or not len(ranks[0].step_s):
        return {"first_batch_s": None, "first_step_s": None, "warmup_s": None, "measured_s": None}
    one = ranks[slowest or 0]
    return {
        "first_batch_s": one.wait_s[0],
        "first_step_s": one.step_s[0] - one.wait_s[0],
        "warmup_s": float(np.sum(one.step_s[:warmup_steps])),
        "measured_s": float(np.sum(one.step_s[warmup_steps:])),
    }


def judged(record: Record, rates, proof: Steady) -> tuple[str, list[str]]:
    """Status and reasons. What ended a run early is no matter of arithmetic and stands as it was written."""
    if record.status in FAILURES:
        return record.status, record.status_reasons
    measured_s = rates.measured_steps * (rates.step_mean_ms or 0) / 1e3
    short = [
        f"{got:.3g} {unit} were measured, {least:g} are the minimum"
        for unit, got, least in (
            ("steps", rates.measured_steps, record.minimum["steps"]),
            ("seconds", measured_s, record.minimum["seconds"]),
        )
        if got < least
    ]
    if rates.images_per_s is None:
        short = ["no step is left after the warm-up"]
    if short or proof.verdict == "too_short":
        return "too_short", [*short, *proof.reasons]
    return ("ok", []) if proof.verdict == "steady" else ("not_steady", proof.reasons)


def power(record: Record, telemetry: list[dict], images_per_s: float | None) -> dict | None:
    """Of all cards together; None unless every card (on a CPU: every host) has a valid reading."""
    wanted = record.cell["hosts" if record.cell["device"] == "CPU" else "cards"]
    known = [card for card in telemetry if card["valid"] and card["energy_j"] is not None]
    if len(known) < wanted or images_per_s is None:
        return None
    watts = sum(card["power_mean_w"] for card in known)
    return {
        "mean_w": watts,
        "energy_j": sum(card["energy_j"] for card in known),
        "energy_source": "/".join(sorted({card["energy_source"] for card in known})),
        "j_per_1k_images": watts / images_per_s * 1e3,
    }


def efficiency(record: Record, images_per_s: float | None) -> dict | None:
    """How near the run came to what its own cards were measured to do. None where that was not measured."""
    if not record.limits:
        return None
    idle = record.cell.get("without") == "compute"
    work = None if idle else record.limits[0]["forward_flops_per_image"] * PASSES[record.task]
    ceiling = math.fsum(card["gemm_flops_per_s"] for card in record.limits)
    return {
        "flops_per_image": work,
        "gemm_flops_per_s_per_card": ceiling / len(record.limits),
        "copy_bytes_per_s_per_card": math.fsum(card["copy_bytes_per_s"] for card in record.limits) / len(record.limits),
        "roofline_images_per_s": ratio(ceiling, work),
        "mfu_share": images_per_s * work / ceiling if images_per_s and work else None,
    }


def shares(accuracy: dict) -> dict:
    return {"word_accuracy": ratio(accuracy["correct"], accuracy["n"])} if "correct" in accuracy else {}
