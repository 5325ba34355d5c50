"""The sections of a record: every field once, with its kind, its meaning and, where the report shows it, its column.

A section is a TypedDict: what is in memory is what the JSON file holds, order and absent fields included, so that a
record keeps its seal and its benchmark key however often it is read. From the declarations here and in record.py come
the schema (bench/records/schema.py), `results/README.md`, the checks of kinds and names of bench.verify, and the
report's columns. A field's unit is the end of its name (UNITS). Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypedDict


@dataclass(frozen=True)
class Column:
    """How the report shows a field: heading, format, and a factor (100 for a share that is shown in percent)."""

    heading: str
    form: str = ""
    factor: float = 1


@dataclass(frozen=True)
class Field:
    """What a field means. `derived`: it follows from raw series, and bench.verify computes it again."""

    meaning: str = ""
    column: Column | None = None
    derived: bool = False
    unit: str | None = None  # where the name does not end in one


def derived(meaning: str = "", column: Column | None = None) -> Field:
    return Field(meaning, column, derived=True)


# End of a name -> unit; the first that matches counts.
UNITS = {
    "flops_per_s": "FLOP/s", "flops_per_s_per_card": "FLOP/s", "bytes_per_s": "bytes/s",
    "bytes_per_s_per_card": "bytes/s", "images_per_s": "images/s", "images_per_s_per_card": "images/s",
    "images_per_s_core": "images/s", "images_per_s_end_to_end": "images/s", "_share_per_min": "share/min",
    "j_per_1k_images": "J/1000 images", "_ms": "ms", "_s": "s", "_j": "J", "_w": "W", "_c": "°C", "_mhz": "MHz",
    "_percent": "%", "_bytes": "bytes", "_px": "px", "_share": "share, 0..1", "flops_per_image": "FLOP",
    "_utc": "UTC",
}  # fmt: skip


class Cell(TypedDict, total=False):
    """The configuration: what must agree before two numbers may be compared."""

    model: Annotated[str, Field("recipe")]
    device: Annotated[str, Field("MLU, GPU or CPU")]
    card: Annotated[str, Field("the card's name, as its driver tells it", Column("card"))]
    cards: Annotated[int, Field("ranks in all", Column("cards", "d"))]
    hosts: Annotated[int, Field("hosts in all")]
    precision: Annotated[str, Field("FP32, TF32, AMP, BF16 or INT8", Column("precision"))]
    batch_per_card: Annotated[int, Field("images per step and card", Column("batch", "d"))]
    global_batch: Annotated[int, Field("cards x batch_per_card")]
    accumulated: Annotated[
        int, Field("--accumulate: batches that a step of batch_per_card images is computed in; absent: 1")
    ]
    frozen: Annotated[str, Field("--freeze: the part that was not trained; absent: none")]
    height_px: Annotated[int, Field("of an image as the network sees it")]
    width_px: Annotated[int, Field("the same")]
    keep_ratio: Annotated[bool, Field("images are padded on the right, not squeezed")]
    classes: Annotated[int, Field("characters and the blank")]
    workers_per_card: Annotated[int, Field("loader processes")]
    threads_per_card: Annotated[int, Field("torch's intra-operation threads")]
    engine: Annotated[str, Field("eager, or what compiled the network")]
    kernels: Annotated[str, Field("vendor, or winograd (--kernels): whose convolutions; since schema 4")]
    input: Annotated[
        str, Field("real, resident or sharded (on the cards), memory (the same few batches), synthetic (random images)")
    ]
    without: Annotated[
        str | None, Field("null, or what an ablation leaves out: validation, compute (it only loads), sync (gradients)")
    ]
    scenario: Annotated[str | None, Field("of LoadGen; null where it did not drive the run")]
    simulated: Annotated[bool, Field("true when the device's library calls itself a stand-in: no card was measured")]


class Recipe(TypedDict):
    name: Annotated[str, Field("file of models/recipes, without .yaml")]
    sha256: Annotated[str, Field("of that file")]


class Dataset(TypedDict, total=False):
    name: Annotated[str, Field("name")]
    split: Annotated[str, Field("train, val or test")]
    is_sample: Annotated[bool, Field("true: images that models.render drew, not the real data set")]
    is_whole: Annotated[bool, Field("true: the data set, or one of --sets, has no such split: all of it was read")]
    n: Annotated[int, Field("images of the split")]
    skipped: Annotated[int, Field("images that could not be read")]
    manifest_sha256: Annotated[str | None, Field("over the sample list and its labels; null for synthetic input")]
    digest_sha256: Annotated[
        str | None,
        Field("over all labels and the bytes of images, wherever they lie; null for synthetic input; since schema 5"),
    ]
    digest_images: Annotated[int | None, Field("images in it: all of the split up to 100,000, else a fixed sample")]


class Provenance(TypedDict, total=False):
    commit: Annotated[str | None, Field("of the checkout, or of the image (HARNESS_COMMIT)")]
    dirty: Annotated[bool | None, Field("the checkout differs from the commit")]
    diff_sha256: Annotated[str | None, Field("of `git diff HEAD`, when dirty")]
    argv: Annotated[list[str], Field("the command line; one item a word")]
    image_digest: Annotated[str | None, Field("IMAGE_DIGEST, which docker/run_docker.sh sets")]
    image_name: Annotated[str | None, Field("IMAGE_NAME")]
    base_image: Annotated[str | None, Field("what the image was built on, with its digest if build.sh knew it")]
    in_container: Annotated[bool, Field("true or false")]
    python: Annotated[str, Field("version")]
    os: Annotated[str, Field("kernel and system")]
    host: Annotated[str, Field("name")]
    cpu: Annotated[str, Field("name of the processor")]
    cpu_cores: Annotated[int | None, Field("that this process may use")]
    memory_bytes: Annotated[int, Field("of the host")]
    versions: Annotated[dict[str, str | None], Field("of packages; null when absent")]
    environment: Annotated[
        dict[str, str],
        Field("variables that can change arithmetic, libraries or pace, by the beginnings of their names"),
    ]
    contents: Annotated[
        dict[str, str | None],
        Field("sha256 of what options name by a file: charset, lexicon, weights (as loaded); since schema 5"),
    ]
    device_versions: Annotated[dict[str, str | None] | None, Field("of the device's libraries")]
    cards: Annotated[
        list[dict[str, Any]], Field("name, driver, uuid and the like of each rank's card, as far as its driver tells")
    ]
    hosts: Annotated[list[dict[str, Any]], Field("the above of every host's first rank, where there are several hosts")]


class Seeds(TypedDict, total=False):
    seed: Annotated[int, Field("--seed; rank r draws from seed + r")]
    hash: Annotated[str | None, Field("PYTHONHASHSEED")]


class Minimum(TypedDict):
    steps: Annotated[int, Field("fewest measured steps for an ok")]
    seconds: Annotated[float, Field("shortest measured time for an ok", unit="s")]


class RankSeries(TypedDict):
    """What one rank measured, a value per step; bench.records.series.Series in memory."""

    step_s: Annotated[list[float], Field("wall time of each step, to 0.1 us, warm-up included")]
    wait_s: Annotated[list[float], Field("the part of it spent waiting for the batch")]
    device_s: Annotated[
        list[float], Field("time of each step's work by the device's own events; empty where it has none")
    ]
    device_step_s: Annotated[
        list[float],
        Field("from the end of the step before to the end of this one, by the same events: the device's step times"),
    ]
    images: Annotated[list[int], Field("images of each step")]


class Samples(TypedDict, total=False):
    rank: Annotated[int, Field("whose card")]
    sensor: Annotated[str | None, Field("nvml, cndev, cnmon, host; null where there is none")]
    interval_s: Annotated[float, Field("asked for between two samples")]
    windows: Annotated[
        list[list[float]],
        Field("[begin, end] of the spans in which steps were measured, on the clock of time_s", unit="s"),
    ]
    time_s: Annotated[list[float], Field("of each sample")]
    power_w: Annotated[list[float | None], Field("null where the sensor did not tell, here and below")]
    energy_j: Annotated[list[float | None], Field("counter")]
    temperature_c: Annotated[list[float | None], Field("of the chip")]
    clock_mhz: Annotated[list[float | None], Field("of the cores")]
    utilisation_percent: Annotated[list[float | None], Field("by the driver; on a host, of its processors")]
    memory_bytes: Annotated[list[float | None], Field("used on the card; on a host, in all")]
    throttled: Annotated[
        list[float | None], Field("1 while the driver slows the card for heat or a failing supply, else 0")
    ]
    power_capped: Annotated[
        list[float | None],
        Field("1 while the driver holds the card to its power limit, else 0: usual under full load"),
    ]
    ecc_errors: Annotated[list[float | None], Field("uncorrected, counted since the driver started")]
    reasons: Annotated[list[str], Field("why there is no sample")]


class Ceilings(TypedDict, total=False):
    forward_flops_per_image: Annotated[float, Field("of the network, a multiply-add is two; recurrent layers included")]
    parameters: Annotated[int, Field("of the network, whose gradients ranks exchange; since schema 5")]
    dtype: Annotated[str, Field("of the two measurements")]
    gemm_flops_per_s: Annotated[
        float,
        Field(
            "the best square matrix product in this process, before or after the run; "
            "on a CPU the faster of that and a 3 x 3 convolution"
        ),
    ]
    gemm_spread_share: Annotated[
        float,
        Field("(median - best) / best time of its repeats: by so much a run may pass the ceiling; since schema 4"),
    ]
    copy_bytes_per_s: Annotated[float, Field("the best copy inside the device's memory; bytes read and written")]
    copy_spread_share: Annotated[float, Field("the same of the copy")]


class Memory(TypedDict, total=False):
    peak_bytes: Annotated[
        list[int | None], Field("of the allocator on a card; of the process on a CPU; an item a rank")
    ]


class Throughput(TypedDict, total=False):
    """Every value null when nothing is left after the warm-up."""

    images_per_s: Annotated[
        float | None,
        derived("images of all ranks / measured wall time of the slowest", Column("images/s", ".1f")),
    ]
    images_per_s_per_card: Annotated[float | None, derived("the same / cards", Column("images/s/card", ".1f"))]
    images_per_s_core: Annotated[
        float | None,
        derived("without waiting for data: by device events where there are any", Column("core images/s", ".1f")),
    ]
    images_per_s_end_to_end: Annotated[
        float | None, derived("all images / phases_s.total_s", Column("whole run images/s", ".1f"))
    ]
    step_mean_ms: Annotated[float | None, derived("wall time of the slowest rank's steps")]
    step_sd_ms: Annotated[
        float | None,
        derived(
            "standard deviation, here and below of the device's step times where it has events, else of wall times"
        ),
    ]
    step_p50_ms: Annotated[float | None, derived("median", Column("step p50 ms", ".2f"))]
    step_p90_ms: Annotated[float | None, derived("90th percentile")]
    step_p99_ms: Annotated[float | None, derived("99th percentile", Column("step p99 ms", ".2f"))]
    step_max_ms: Annotated[float | None, derived("longest")]
    device_step_mean_ms: Annotated[float | None, derived("of the work of a step alone, by the device's own events")]
    data_wait_share: Annotated[float | None, derived("of its measured wall time", Column("data wait %", ".2f", 100))]
    measured_steps: Annotated[int, derived("steps after the warm-up")]
    slowest_rank: Annotated[int | None, derived("the rank with the longest measured wall time")]
    slowest_share: Annotated[float | None, derived("of the steps, those in which it was the slowest; 1 is a straggler")]
    skew_share: Annotated[float | None, derived("(slowest - fastest wall time) / slowest")]


class RankShare(TypedDict):
    """What one rank's own series says."""

    rank: Annotated[int, Field("number")]
    wall_s: Annotated[float, derived("measured")]
    step_p50_ms: Annotated[float | None, derived("median")]
    step_p99_ms: Annotated[float | None, derived("99th percentile")]
    data_wait_share: Annotated[float | None, derived("of its measured wall time")]
    images: Annotated[int, derived("measured")]


class Steady(TypedDict, total=False):
    """Shares are of the mean time per image; a bound is the end of the 95 % interval that is farther from 0."""

    verdict: Annotated[str, derived("steady, not_steady or too_short: bench/records/steady.py")]
    blocks: Annotated[int, derived("of consecutive steps that were compared")]
    split_half_share: Annotated[float | None, derived("(second half - first half) / mean, of time per image")]
    split_half_bound_share: Annotated[float | None, derived("how far from 0 it may be, at 95 %")]
    drift_share: Annotated[
        float | None, derived("climb of a straight line over the whole span / mean, of time per image")
    ]
    drift_bound_share: Annotated[float | None, derived("how far from 0 it may be, at 95 %")]
    slope_share_per_min: Annotated[float | None, derived("the same climb a minute")]
    quarters_share: Annotated[
        float | None,
        derived("the larger of (inner half - outer half) and (odd - even quarters) / mean: what halves do not show"),
    ]
    quarters_bound_share: Annotated[float | None, derived("how far from 0 it may be, at 95 %; since schema 5")]
    rate_bound_share: Annotated[
        float | None,
        derived("half the 95 % interval of the rate, from its own blocks; since schema 5", Column("± %", ".1f", 100)),
    ]


class Efficiency(TypedDict):
    """How near the run came to what its own cards were measured to do."""

    flops_per_image: Annotated[float | None, derived("forward FLOPs, times 3 for training")]
    gemm_flops_per_s_per_card: Annotated[float, derived("mean over ranks")]
    copy_bytes_per_s_per_card: Annotated[float, derived("mean over ranks")]
    roofline_images_per_s: Annotated[float | None, derived("no run can be faster: all cards' GEMM / flops_per_image")]
    mfu_share: Annotated[float | None, derived("of the measured GEMM ceiling", Column("MFU %", ".1f", 100))]


class CardTelemetry(TypedDict):
    """One card (or, for a CPU, one host) over the measured windows."""

    rank: Annotated[int, Field("whose card")]
    sensor: Annotated[str | None, Field("as in samples")]
    samples: Annotated[int, derived("inside the measured windows")]
    coverage_share: Annotated[float | None, derived("of the windows")]
    longest_gap_s: Annotated[float | None, derived("between two samples")]
    power_mean_w: Annotated[float | None, derived("energy / time")]
    power_max_w: Annotated[float | None, derived("highest")]
    energy_j: Annotated[float | None, derived("of the measured windows")]
    energy_source: Annotated[str | None, derived("counter or trapezoid")]
    temperature_mean_c: Annotated[float | None, derived("mean")]
    temperature_max_c: Annotated[float | None, derived("highest")]
    clock_mean_mhz: Annotated[float | None, derived("mean")]
    clock_min_mhz: Annotated[float | None, derived("lowest")]
    utilisation_mean_percent: Annotated[float | None, derived("mean")]
    memory_max_bytes: Annotated[float | None, derived("highest")]
    throttled_share: Annotated[float | None, derived("of the samples")]
    power_capped_share: Annotated[float | None, derived("of the samples")]
    ecc_errors: Annotated[float | None, derived("new ones")]
    valid: Annotated[bool, derived("coverage and gaps allow these numbers; else they are null")]
    reasons: Annotated[list[str], derived("why not")]


class Power(TypedDict):
    mean_w: Annotated[
        float, derived("all cards; the section is null unless each has valid telemetry", Column("power W", ".1f"))
    ]
    energy_j: Annotated[float, derived("of the measured windows")]
    energy_source: Annotated[str, derived("counter or trapezoid")]
    j_per_1k_images: Annotated[float, derived("energy of a thousand images", Column("J/1k images", ".1f"))]


class Phases(TypedDict, total=False):
    init_s: Annotated[
        float | None, Field("from the opening of the run, after the imports, to the first batch asked for")
    ]
    first_batch_s: Annotated[float | None, derived("wait for the first batch")]
    first_step_s: Annotated[
        float | None, derived("the first step without that wait: kernels are chosen, memory is found")
    ]
    compile_s: Annotated[float, Field("making the engine of a test and checking it against torch; a part of init_s")]
    warmup_s: Annotated[float | None, derived("the warm-up steps")]
    measured_s: Annotated[float | None, derived("the steps after them, slowest rank")]
    evaluation_s: Annotated[float, Field("validation, when training")]
    checkpoint_s: Annotated[float, Field("writing checkpoints")]
    latency_s: Annotated[float, Field("the latency measurement")]
    total_s: Annotated[float, Field("from the opening of the run to the record")]


class Latency(TypedDict, total=False):
    batch: Annotated[int, Field("one item a batch size; images of a batch")]
    n: Annotated[int, derived("batches timed")]
    mean_ms: Annotated[float, derived("wall time of a batch from host image to text, drained around each")]
    p50_ms: Annotated[float, derived("median")]
    p90_ms: Annotated[float, derived("90th percentile")]
    p99_ms: Annotated[float, derived("99th percentile")]
    seconds: Annotated[list[float], Field("of each batch", unit="s")]


class Audit(TypedDict, total=False):
    """What speaks for a run beside its own word; since schema 5. After MLPerf's compliance tests TEST01 and TEST04."""

    product_error: Annotated[
        float,
        Field("of a matrix product on the device after the run, against float64: norm of the error / of the result"),
    ]
    convolution_error: Annotated[float, Field("the same of a convolution")]
    timed_n: Annotated[int, Field("answers of later, timed passes that were kept, 5 % at random")]
    timed_same: Annotated[int, Field("of these, equal to the answer of the first pass, whose accuracy counts")]
    repeated_ms: Annotated[float, Field("a batch that was read before, the fastest of a few, drained around each")]
    new_ms: Annotated[
        float, Field("the same batch with noise in its images: never seen, so no answer can be kept of it")
    ]


class Accuracy(TypedDict, total=False):
    split: Annotated[str, Field("train, val or test")]
    method: Annotated[str, Field("how logits became texts: greedy, beam, lexicon, attention")]
    sets: Annotated[list[dict[str, Any]], Field("name and the fields of this section for each set that was read")]
    by_length: Annotated[list[dict[str, Any]], Field("the same, shorter, by the length of the truth")]
    confusions: Annotated[list[Any], Field("written, read, count: the commonest mistakes")]
    n: Annotated[int, Field("words read: the exact denominator", Column("n", "d"))]
    left_out: Annotated[int, Field("words that are not counted, as the mode leaves nothing of their truths")]
    split_n: Annotated[int, Field("words of the split, where --validate-samples read fewer")]
    mode: Annotated[
        str,
        Field("of correct, word_accuracy, one_minus_ned, cer: how texts are folded before they are compared"),
    ]
    correct: Annotated[int, Field("words read without a mistake")]
    right: Annotated[list[int], Field("1 for each word read, in the order of the data set; since schema 5")]
    word_accuracy: Annotated[float | None, derived("correct / n", Column("words read %", ".2f", 100))]
    word_accuracy_low: Annotated[float | None, Field("Wilson's 95 % interval")]
    word_accuracy_high: Annotated[float | None, Field("the same")]
    exact_accuracy: Annotated[float | None, Field("case and punctuation count")]
    ignore_case_accuracy: Annotated[float | None, Field("punctuation counts")]
    one_minus_ned: Annotated[float | None, Field("mean of 1 - edits / length of the longer text")]
    cer: Annotated[float | None, Field("edits / characters of the truths")]
    character_precision: Annotated[float | None, Field("mean share of characters found at their place")]
    sequence_distance: Annotated[float | None, Field("mean of edits / length of the truth")]


class TrainingResult(TypedDict, total=False):
    epochs: Annotated[float, Field("finished")]
    steps: Annotated[int, Field("made")]
    total_steps: Annotated[int | None, Field("asked for")]
    loss: Annotated[list[float | None], Field("of each step, mean over ranks")]
    skipped_steps: Annotated[int | None, Field("whose gradient was not finite")]
    zeroed_steps: Annotated[int, Field("--nonfinite zero: with gradients set to 0 that were not finite; absent: skip")]
    noticed: Annotated[
        list[str], Field("what was wrong without ending the run: skipped steps, a climbing loss, nothing but blanks")
    ]
    target_words_percent: Annotated[float, Field("--until: of the validation's words; absent where none was asked for")]
    target_s: Annotated[
        float | None,
        Field("from the first batch to the validation that reached it, all included", Column("to target s", ".1f")),
    ]
    target_images: Annotated[int | None, Field("trained on until then, of all ranks, each as often as it was seen")]
    resumed_from_step: Annotated[int | None, Field("null when from the start")]
    restarts: Annotated[int, Field("times that torchrun started the ranks again")]
    stopped_early: Annotated[bool, Field("by --early-stop")]
    checkpoint: Annotated[str | None, Field("file of the weights that were tested; null: random weights")]


class Breakdown(TypedDict, total=False):
    shares: Annotated[dict[str, float], Field("of the profiled work, by kind of operation")]
    source: Annotated[str, Field("device or host: whose time")]
    steps: Annotated[int, Field("profiled, outside the measured span")]


class LoadGen(TypedDict, total=False):
    scenario: Annotated[str, Field("Offline, SingleStream, MultiStream or Server")]
    mode: Annotated[str, Field("PerformanceOnly or AccuracyOnly")]
    verdict: Annotated[str | None, Field("VALID or INVALID, as LoadGen says")]
    metrics: Annotated[dict[str, float | str], Field("what LoadGen's summary says, in its own words")]
    reasons: Annotated[list[str], Field("LoadGen's own, when INVALID")]
    version: Annotated[str, Field("of mlcommons-loadgen")]
    logs: Annotated[str, Field("folder of LoadGen's files, next to the record")]


class PreflightCheck(TypedDict):
    check: Annotated[str, Field("one item a check")]
    level: Annotated[str, Field("ok, warning, or unknown when this machine does not tell")]
    said: Annotated[str, Field("what was found")]


class Seal(TypedDict):
    """Of the file, not of the record in memory: bench/records/seal.py."""

    sha256: Annotated[str, Field("of the whole record but the seal")]
    cells: Annotated[dict[str, str], Field("a short one for each field, to name what was edited")]
