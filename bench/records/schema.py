"""The fields of a record, each with its meaning: `python -m bench.schema` prints them as results/README.md.

A star stands for names that are data: options, packages, switches. `[]` is a list, one item a rank unless it says more.
A field that a program writes and this table lacks is a fault that bench.verify names.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from bench.records.record import FAILURES, SCHEMA_VERSION, STATUSES

# section -> field -> meaning. The section "" holds what is no section. (derived): follows from raw series.
FIELDS: dict[str, dict[str, str]] = {
    "": {
        "schema_version": f"{SCHEMA_VERSION}; records of another version are refused",
        "record_id": "random, 32 hex digits",
        "run": "name of what really ran, in the grammar of bench/records/run_name.py",
        "task": "Train or Infer",
        "status": " \\| ".join(STATUSES) + " (derived, but for " + ", ".join(FAILURES) + ")",
        "status_reasons[]": "why the status is not ok, in words",
        "started_utc": "ISO 8601",
        "warmup_steps": "steps at the start of each series that no derived number uses",
        "fallbacks[]": "operators the device has no kernel for: the host ran them, and part of the throughput is its",
    },
    "cell": {
        "model": "recipe",
        "device": "MLU, GPU or CPU",
        "card": "the card's name, as its driver tells it",
        "cards": "ranks in all",
        "hosts": "hosts in all",
        "precision": "FP32, TF32, AMP, BF16 or INT8",
        "kernels": "of convolutions: vendor (torch's own libraries) or winograd",
        "batch_per_card": "pictures a step and card",
        "global_batch": "cards x batch_per_card",
        "height_px": "of a picture as the network sees it",
        "width_px": "the same",
        "keep_ratio": "pictures are padded on the right, not squeezed",
        "classes": "characters and the blank",
        "workers_per_card": "loader processes",
        "threads_per_card": "torch's intra-operation threads",
        "engine": "eager, or what compiled the network",
        "input": "real, memory (the same few batches again and again) or synthetic (random pictures)",
        "without": "null, or what a twin leaves out: validation, compute (it only loads), sync (of gradients)",
        "scenario": "of LoadGen; null where it did not drive the run",
        "simulated": "true when the device's library calls itself a stand-in; such a row measures no card",
    },
    "recipe": {"name": "file of models/recipes, without .yaml", "sha256": "of that file"},
    "options": {"*": "every option of the program, as it was used"},
    "dataset": {
        "name": "name",
        "split": "train, val or test",
        "is_sample": "true: pictures that models.render drew, not the real data set",
        "is_whole": "true: the data set, or one of --sets, has no such split: all of it was read",
        "n": "pictures of the split",
        "skipped": "pictures that could not be read",
        "manifest_sha256": "over the sample list and its labels; null for synthetic input",
    },
    "provenance": {
        "commit": "of the checkout, or of the image (HARNESS_COMMIT)",
        "dirty": "the checkout differs from the commit",
        "diff_sha256": "of `git diff HEAD`, when dirty",
        "argv[]": "the command line; one item a word",
        "image_digest": "IMAGE_DIGEST, which docker/run_docker.sh sets",
        "image_name": "IMAGE_NAME",
        "in_container": "true or false",
        "python": "version",
        "os": "kernel and system",
        "host": "name",
        "cpu": "name of the processor",
        "cpu_cores": "that this process may use",
        "memory_bytes": "of the host",
        "versions.*": "of packages; null when absent",
        "environment.*": "settings that change numbers",
        "device_versions.*": "of the device's libraries",
        "cards[]": "name, driver, uuid and the like of each rank's card, as far as its driver tells",
        "hosts[]": "the above of every host's first rank, where there are several hosts",
    },
    "seeds": {"seed": "--seed; rank r draws from seed + r", "hash": "PYTHONHASHSEED"},
    "minimum": {"steps": "fewest measured steps for an ok", "seconds": "shortest measured time for an ok"},
    "series[]": {
        "step_s": "wall time of each step, to 0.1 us, warm-up included",
        "wait_s": "the part of it spent waiting for the batch",
        "images": "pictures of each step",
        "device_s": "time of each step's work by the device's own events; empty where it has none",
    },
    "samples[]": {
        "rank": "whose card",
        "sensor": "nvml, cndev, cnmon, host; null where there is none",
        "interval_s": "asked for between two samples",
        "windows": "[begin, end] in seconds of the spans in which steps were measured, on the clock of time_s",
        "time_s": "of each sample",
        "power_w": "null where the sensor did not tell, here and below",
        "energy_j": "counter",
        "temperature_c": "of the chip",
        "clock_mhz": "of the cores",
        "utilisation_percent": "by the driver; on a host, of its processors",
        "memory_bytes": "used on the card; on a host, in all",
        "throttled": "1 while the driver slows the card for heat or a failing supply, else 0",
        "power_capped": "1 while the driver holds the card to its power limit, else 0: usual under full load",
        "ecc_errors": "uncorrected, counted since the driver started",
        "reasons": "why there is no sample",
    },
    "limits[]": {
        "forward_flops_per_image": "of the network, a multiply-add is two; recurrent layers included",
        "dtype": "of the two measurements",
        "gemm_flops_per_s": "the best square matrix product in this process, before or after the run",
        "copy_bytes_per_s": "the best copy inside the device's memory; bytes read and written",
    },
    "memory": {"peak_bytes[]": "of the allocator on a card; of the process on a CPU"},
    "throughput": {
        "images_per_s": "(derived) pictures of all ranks / measured wall time of the slowest",
        "images_per_s_per_card": "(derived) the same / cards",
        "images_per_s_core": "(derived) without waiting for data: by device events where there are any",
        "images_per_s_end_to_end": "(derived) all pictures / phases_s.total_s",
        "step_mean_ms": "(derived) of the slowest rank, here and below",
        "step_sd_ms": "(derived)",
        "step_p50_ms": "(derived)",
        "step_p90_ms": "(derived)",
        "step_p99_ms": "(derived)",
        "step_max_ms": "(derived)",
        "device_step_mean_ms": "(derived) by the device's own events",
        "data_wait_share": "(derived) of its measured wall time",
        "measured_steps": "(derived)",
        "slowest_rank": "(derived) the rank with the longest measured wall time",
        "slowest_share": "(derived) of the steps, those in which it was the slowest; 1 is a straggler",
        "skew_share": "(derived) (slowest - fastest wall time) / slowest",
    },
    "ranks[]": {
        "rank": "number",
        "wall_s": "(derived) measured",
        "step_p50_ms": "(derived)",
        "step_p99_ms": "(derived)",
        "data_wait_share": "(derived)",
        "images": "(derived) measured",
    },
    "steady": {
        "verdict": "(derived) steady, not_steady or too_short: bench/records/steady.py",
        "blocks": "(derived) of consecutive steps that were compared",
        "split_half_share": "(derived) (second half - first half) / mean, of time per image",
        "split_half_bound_share": "(derived) how far from 0 it may be, at 95 %",
        "drift_share": "(derived) climb of a straight line over the whole span / mean, of time per image",
        "drift_bound_share": "(derived) how far from 0 it may be, at 95 %",
        "slope_share_per_min": "(derived) the same climb a minute",
    },
    "efficiency": {
        "flops_per_image": "(derived) forward FLOPs, times 3 for training",
        "gemm_flops_per_s_per_card": "(derived) mean over ranks",
        "copy_bytes_per_s_per_card": "(derived) mean over ranks",
        "roofline_images_per_s": "(derived) no run can be faster: all cards' GEMM / flops_per_image",
        "mfu_share": "(derived) of the measured GEMM ceiling",
    },
    "telemetry[]": {
        "rank": "whose card",
        "sensor": "as in samples",
        "samples": "(derived) inside the measured windows",
        "coverage_share": "(derived) of the windows",
        "longest_gap_s": "(derived)",
        "power_mean_w": "(derived) energy / time",
        "power_max_w": "(derived)",
        "energy_j": "(derived) of the measured windows",
        "energy_source": "(derived) counter or trapezoid",
        "temperature_mean_c": "(derived)",
        "temperature_max_c": "(derived)",
        "clock_mean_mhz": "(derived)",
        "clock_min_mhz": "(derived)",
        "utilisation_mean_percent": "(derived)",
        "memory_max_bytes": "(derived)",
        "throttled_share": "(derived) of the samples",
        "power_capped_share": "(derived) of the samples",
        "ecc_errors": "(derived) new ones",
        "valid": "(derived) coverage and gaps allow these numbers; else they are null",
        "reasons": "(derived) why not",
    },
    "power": {
        "mean_w": "(derived) all cards; null unless each has valid telemetry",
        "energy_j": "(derived) of the measured windows",
        "energy_source": "(derived) counter or trapezoid",
        "j_per_1k_images": "(derived)",
    },
    "phases_s": {
        "init_s": "from the opening of the run, after the imports, to the first batch asked for",
        "first_batch_s": "(derived) wait for the first batch",
        "first_step_s": "(derived) the first step without that wait: kernels are chosen, memory is found",
        "compile_s": "making the engine of a test and checking it against torch; a part of init_s",
        "warmup_s": "(derived) the warm-up steps",
        "measured_s": "(derived) the steps after them, slowest rank",
        "evaluation_s": "validation, when training",
        "checkpoint_s": "writing checkpoints",
        "latency_s": "the latency measurement",
        "total_s": "from the opening of the run to the record",
    },
    "latency[]": {
        "batch": "one item a batch size; pictures of a batch",
        "n": "(derived) batches timed",
        "mean_ms": "(derived) wall time of a batch from host picture to text, drained around each",
        "p50_ms": "(derived)",
        "p90_ms": "(derived)",
        "p99_ms": "(derived)",
        "seconds": "of each batch",
    },
    "accuracy": {
        "split": "train, val or test",
        "method": "how logits became texts: greedy, beam, lexicon, attention",
        "sets[]": "name and the fields of this section for each set that was read",
        "by_length[]": "the same, shorter, by the length of the truth",
        "confusions[]": "written, read, count: the commonest mistakes",
        "n": "words read: the exact denominator",
        "mode": "of correct, word_accuracy, one_minus_ned, cer: how texts are folded before they are compared",
        "correct": "words read without a mistake",
        "word_accuracy": "(derived) correct / n",
        "word_accuracy_low": "Wilson's 95 % interval",
        "word_accuracy_high": "the same",
        "exact_accuracy": "case and punctuation count",
        "ignore_case_accuracy": "punctuation counts",
        "one_minus_ned": "mean of 1 - edits / length of the longer text",
        "cer": "edits / characters of the truths",
        "character_precision": "mean share of characters found at their place",
        "sequence_distance": "mean of edits / length of the truth",
    },
    "training": {
        "epochs": "finished",
        "steps": "made",
        "total_steps": "asked for",
        "loss": "of each step, mean over ranks",
        "skipped_steps": "whose gradient was not finite",
        "noticed[]": "what was wrong without ending the run: skipped steps, a climbing loss, nothing but blanks",
        "resumed_from_step": "null when from the start",
        "restarts": "times that torchrun started the ranks again",
        "checkpoint": "file of the weights that were tested; null: random weights",
    },
    "breakdown": {
        "shares.*": "of the profiled work, by kind of operation",
        "source": "device or host: whose time",
        "steps": "profiled, outside the measured span",
    },
    "loadgen": {
        "scenario": "Offline, SingleStream, MultiStream or Server",
        "mode": "PerformanceOnly or AccuracyOnly",
        "verdict": "VALID or INVALID, as LoadGen says",
        "metrics.*": "what LoadGen's summary says, in its own words",
        "reasons[]": "LoadGen's own, when INVALID",
        "version": "of mlcommons-loadgen",
        "logs": "folder of LoadGen's files, beside the record",
    },
    "precision_evidence": {"*": "switches as read back after they were set"},
    "preflight[]": {
        "check": "one item a check",
        "level": "ok, warning, or unknown when this machine does not tell",
        "said": "what was found",
    },
    "seal": {
        "sha256": "of the whole record but the seal",
        "cells.*": "a short one for each cell, to name what was edited",
    },
}


def unknown(body: dict) -> set[str]:
    """Names in a record's body that FIELDS does not describe: `section.field`."""
    return {name for name in names(body) if not any(fnmatch.fnmatchcase(name, known) for known in KNOWN)}


def names(body: dict) -> Iterator[str]:
    """`field`, `section.field`, `section[].field`, `section.field.*` for what is nested deeper."""
    for section, value in body.items():
        if isinstance(value, dict):
            yield from (f"{section}.{field}" for field in value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield from {f"{section}[].{field}" for item in value for field in item}
        elif section not in SECTIONS:
            yield section


SECTIONS = {section.removesuffix("[]") for section in FIELDS}
KNOWN = {  # patterns of fnmatch, for which a bracket is a set
    (section.replace("[]", "[[]]") + "." if section else "") + field.removesuffix("[]").removesuffix(".*")
    for section, fields in FIELDS.items()
    for field in fields
}
