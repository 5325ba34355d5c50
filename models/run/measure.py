"""Hooks the instrument into a run: sensors and checks when it opens, the record when it ends, well or badly."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch

from bench.errors import UserError, plain
from bench.files import refuse_unwritable, say, warn
from bench.machine import ceilings, preflight, telemetry
from bench.machine.arithmetic import arithmetic_errors
from bench.machine.discovery import visibility
from bench.machine.meter import Meter
from bench.machine.telemetry import Sensor
from bench.machine.world import World
from bench.records import provenance
from bench.records.derive import with_derived
from bench.records.packing import ticks
from bench.records.record import Record, recipe_section
from bench.records.run_name import RunName
from bench.records.sections import Ceilings, Cell, Dataset, Phases, PreflightCheck, Provenance, Samples
from models.dataset import DataError, WordDataset
from models.decoding.decoder import is_bundled
from models.network.network import Network
from models.rendering.lexicon import BUNDLED
from models.run.context import Context, count_workers
from models.run.failures import failure_message, failure_status
from models.run.options import images_per_step, recipe_path
from models.run.signals import Interrupted, handle_signals, raise_interrupted

Gather = Callable[[Any], list[Any]]  # a value of this rank -> those of all ranks


@dataclasses.dataclass
class Instruments:
    """What watches a run: its card's sensors, and the results of the checks before it."""

    sampler: telemetry.Sampler
    card: dict[str, Any]  # facts of it
    preflight: list[PreflightCheck]

    @classmethod
    def open(cls, context: Context) -> Instruments:
        """Check the machine, say what is wrong with it, start sampling. Raises UserError under --strict."""
        sensor = own_sensor(context)
        per_rank = context.world.gather(run_checks(context, sensor))
        everything = [check for rank in per_rank for check in rank]
        if context.options.strict:
            preflight.require_clean(everything)
        for warning in preflight.list_warnings(everything):
            context.say(f"  warning: {warning}")
        facts = sensor.facts() if sensor else {}
        why = telemetry.why_no_sensor(context.device.kind.name)
        return cls(
            telemetry.Sampler(sensor, why_none=why).start(), {"name": context.device.card_name(), **facts}, everything
        )


def own_sensor(context: Context) -> Sensor | None:
    """The sensors that this rank reads: its own card's, or on a CPU the host's, which one rank reads for all."""
    device = context.device
    if device.kind.name == "CPU" and context.world.local_rank:
        return None
    chosen = visibility(device.kind)
    card = device.identity() or telemetry.physical_card(device.index, chosen and chosen[1])
    return telemetry.open_sensor(device.kind.name, card)


def run_checks(context: Context, sensor: Sensor | None) -> list[PreflightCheck]:
    """Results of the checks of this rank's card, and on local rank 0 of those of the host."""
    world, device, options = context.world, context.device, context.options
    # Beside a card the host's threads for operations lie idle: one thread a rank launches its work.
    per_card = (1 if device.kind.is_card else torch.get_num_threads()) + count_workers(context)
    root = options.dataset or os.environ.get("PYTORCH_TRAIN_DATASET")
    at = preflight.look_around(
        f"card {device.index}" if device.kind.type != "cpu" else "the host",
        sensor,
        threads=per_card * world.local_size,
        dataset=Path(root) if root and Path(root).exists() else None,
        shared=device.kind.type == "cpu",
    )
    return preflight.check_machine(at, host=world.local_rank == 0)


def benchmark_key(context: Context, classes: int, engine: str) -> Cell:
    """What must agree before two numbers may be compared: the record's `cell`."""
    options, world = context.options, context.world
    images = images_per_step(options, world.size)
    cell: Cell = {
        "model": options.recipe,
        "device": context.device.kind.name,
        "card": context.device.card_name(),
        "cards": world.size,
        "hosts": world.hosts,
        "precision": options.precision,
        "kernels": options.kernels,
        "batch_per_card": images // world.size,
        "global_batch": images,
        "height_px": options.data.height,
        "width_px": options.data.width,
        "keep_ratio": options.data.keep_ratio,
        "classes": classes,
        "workers_per_card": count_workers(context),
        "threads_per_card": torch.get_num_threads(),
        "engine": engine,
        "input": options.input,
        "without": getattr(options, "without", None),
        "scenario": getattr(options, "scenario", None),
        "simulated": provenance.is_simulated(context.device.versions()),
    }
    if getattr(options, "accumulate", 1) > 1:
        cell["accumulated"] = getattr(options, "accumulate", 1)
    if frozen := getattr(options, "freeze", None):
        cell["frozen"] = frozen
    return cell


def dataset_section(dataset: WordDataset, split: str, gather: Gather, identify: bool) -> Dataset:
    """What was read. An image that several ranks could not read counts once.

    identify: read what of it the hashes need; else they are there only where they are known already.
    """
    skipped = set().union(*gather(set(dataset.reasons)))
    manifest, digest = None, vars(dataset).get("digest")
    try:
        if identify:
            manifest, digest = dataset.manifest_hash, dataset.digest
    except (DataError, OSError) as error:  # gone since it was read: no reason to lose what was measured
        warn(f"the record has no hash of the data set: {error}")
    return {
        "name": dataset.name,
        "split": split,
        "is_sample": dataset.is_sample,
        "is_whole": dataset.is_whole,
        "n": len(dataset),
        "skipped": len(skipped),
        "manifest_sha256": manifest,
        "digest_sha256": digest.hex if digest else None,
        "digest_images": digest.images if digest else None,
    }


def file_sha256(path: str | Path) -> str | None:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:  # gone since it was read: no reason to lose what was measured
        warn(f"the record has no hash of {path}: {error.strerror}")
        return None


def provenance_section(
    context: Context, instruments: Instruments, gather: Gather, contents: dict[str, str | None]
) -> Provenance:
    """Where the number comes from; with several hosts also that of each, the leader's first."""
    section: Provenance = {**provenance.collect(), "device_versions": context.device.versions()}
    hosts = gather({**section})[:: context.world.local_size]
    section["contents"] = contents
    section["cards"] = gather(instruments.card)
    if len(hosts) > 1:
        section["hosts"] = hosts
    return section


def gather_alone(value: Any) -> list[Any]:
    """In place of World.gather for a failed run, whose other ranks may be gone."""
    return [value]


@dataclasses.dataclass
class MeasuredRun:
    """A run that is being measured: what its record needs to know."""

    context: Context
    instruments: Instruments
    name: RunName
    meter: Meter
    dataset: WordDataset
    split: str
    network: Network
    engine: str = "eager"  # what computes the network, a row of models/engines/table.py
    evidence: Callable[[], dict[str, Any]] = dict  # sections that a failed run has too
    weights_sha256: str | None = None  # of the weights that were loaded; None: random ones
    try_batch: Callable[[int], object] | None = None  # needs as much memory as a step of this many images

    def record(self, **sections: Any) -> Record:
        """Collect every rank's series and put the record together. All ranks call it; the leader saves what it gets."""
        gather, total_s = self.context.world.gather, self.total_s
        memory = {"peak_bytes": gather(self.context.device.peak_memory_bytes())}
        limits = gather(self.measure_ceilings())
        audit = {**arithmetic_errors(self.context.device), **sections.pop("audit", {})}
        about = {"memory": memory, "limits": limits, "audit": audit, **sections}
        return with_derived(self.make_record(gather, total_s, identify=self.context.world.leads, **about))

    def failure_record(self, failure: BaseException) -> Record | None:
        """What this rank alone knows of a run that ended in `failure`; None when it was the user's mistake."""
        status = failure_status(failure)
        if status is None:
            return None
        where = f"rank {self.context.world.rank}: " * (self.context.world.size > 1)
        reason = f"{where}{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
        self.meter.stop()
        sections = {"status": status, "status_reasons": [reason[:500]], **self.evidence()}
        in_time = status != "interrupted"  # whoever sends a signal does not wait for long
        return with_derived(self.make_record(gather_alone, self.total_s, identify=in_time, **sections))

    def make_record(self, gather: Gather, total_s: float, identify: bool, **sections: Any) -> Record:
        """identify: read the data set for its hashes, as `dataset_section`."""
        context, options, instruments = self.context, self.context.options, self.instruments
        instruments.sampler.stop()
        sampled = instruments.sampler.sampled(context.world.rank, self.meter.windows, context.started_s)
        first_s = self.meter.first_s
        phases = {
            "init_s": None if first_s is None else ticks(first_s - context.started_s),
            **{name: ticks(seconds) for name, seconds in self.meter.phases_s.items()},
            "total_s": total_s,
        }
        return Record(
            run=str(self.name),
            task=self.name.task,
            cell=benchmark_key(context, self.network.classes, self.engine),
            recipe=recipe_section(recipe_path(options.recipe, options.recipes)),
            options=dataclasses.asdict(options),
            dataset=dataset_section(self.dataset, self.split, gather, identify),
            provenance=provenance_section(context, instruments, gather, self.contents()),
            series=gather(self.meter.series.to_record()),
            warmup_steps=self.meter.warmup_steps,
            minimum={"steps": options.min_steps, "seconds": options.min_seconds},
            samples=[one for one in gather(sampled) if has_samples(one, context)],
            phases_s=cast(Phases, phases),
            preflight=instruments.preflight,
            fallbacks=sorted(set().union(*gather(context.device.fallbacks))),
            precision_evidence=context.device.switches,
            seeds={"seed": options.seed, "hash": os.environ.get("PYTHONHASHSEED")},
            **sections,
        )

    def contents(self) -> dict[str, str | None]:
        """What options name by a file, by its content: one file in two places is one, two under one name are two."""
        lexicon = getattr(self.context.options, "lexicon", None)
        return {
            "charset_sha256": hashlib.sha256(self.dataset.charset.characters.encode()).hexdigest(),
            "lexicon_sha256": file_sha256(BUNDLED if is_bundled(lexicon) else lexicon) if lexicon else None,
            "weights_sha256": self.weights_sha256,
        }

    @property
    def total_s(self) -> float:
        return time.perf_counter() - self.context.started_s

    def measure_ceilings(self) -> Ceilings:
        """The ceilings of this rank's device, and what one image costs."""
        data = self.context.options.data
        images = (1, data.channels, data.height, data.width)
        flops = ceilings.forward_flops(self.network, images)
        parameters = sum(one.numel() for one in self.network.parameters() if one.requires_grad)
        return {
            "forward_flops_per_image": flops,
            "parameters": parameters,
            **ceilings.measure_ceilings(self.context.device),
        }


def has_samples(sampled: Samples, context: Context) -> bool:
    """On a CPU one rank per host has samples."""
    return sampled["sensor"] is not None or context.device.kind.name != "CPU"


def writes_failure(world: World, status: str) -> bool:
    """Whether this rank leaves the record of a failure: the leader, or before it one that has run out of memory, of
    which the leader sees no more than that it is gone.
    """
    return (world.leads or status == "oom") and world.first("record of a failure")


@contextmanager
def record_failure(run: MeasuredRun) -> Iterator[None]:
    """Leave a record of a failure inside, and raise it again, as one line where one says it all."""
    context, options = run.context, run.context.options
    if context.world.leads:
        refuse_unwritable(options.results, "--results")
    try:
        with handle_signals(raise_interrupted):
            yield
    except BaseException as failure:
        record = run.failure_record(failure)
        if isinstance(failure, Interrupted):
            context.say(failure)
        if record and writes_failure(context.world, record.status):
            say(f"record of a failed run ({record.status}): {plain(str(record.save(options.results)))}")
        free = getattr(context.device.module, "empty_cache", lambda: None)
        if line := failure_message(failure, options.batch_size, run.try_batch, free):
            raise UserError(line) from None
        raise
