"""Hooks the instrument into a run: sensors and checks when it opens, the record when it ends, well or badly."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from bench.errors import UserError, plain
from bench.files import refuse_unwritable, say, warn
from bench.machine import ceilings, preflight, telemetry
from bench.machine.discovery import visibility
from bench.machine.meter import Meter
from bench.machine.world import World
from bench.records import provenance
from bench.records.derive import with_derived
from bench.records.packing import ticks
from bench.records.record import Record, recipe_section
from bench.records.run_name import RunName
from models.dataset import DataError, WordDataset
from models.run.context import Session
from models.run.failures import one_line, verdict
from models.run.options import Common, recipe_path
from models.run.signals import Interrupted, handled, interrupt


@dataclasses.dataclass
class Instruments:
    """What watches a run: its card's sensors, and what the checks before it found."""

    sampler: telemetry.Sampler
    card: dict  # facts of it
    preflight: list[dict]

    @classmethod
    def open(cls, session: Session) -> Instruments:
        """Check the machine, say what is wrong with it, start sampling. Raises UserError under --strict."""
        sensor = own_sensor(session)
        found = session.world.gather(checks(session, sensor))
        everything = [one for rank in found for one in rank]
        if session.options.strict:
            preflight.require_clean(everything)
        for warning in preflight.list_warnings(everything):
            session.say(f"  warning: {warning}")
        facts = sensor.facts() if sensor else {}
        return cls(telemetry.Sampler(sensor).start(), {"name": session.device.card_name(), **facts}, everything)


def own_sensor(session: Session):
    """The sensors that this rank reads: its own card's, or on a CPU the host's, which one rank reads for all."""
    device = session.device
    if device.kind.name == "CPU" and session.world.local_rank:
        return None
    chosen = visibility(device.kind)
    card = device.identity() or telemetry.physical_card(device.index, chosen and chosen[1])
    return telemetry.open_sensor(device.kind.name, card)


def checks(session: Session, sensor) -> list[dict]:
    """Of this rank's card; those of the host once a host."""
    world, device, options = session.world, session.device, session.options
    per_card = torch.get_num_threads() + session.workers
    place = options.dataset or os.environ.get("PYTORCH_TRAIN_DATASET")
    at = preflight.look_around(
        f"card {device.index}" if device.kind.type != "cpu" else "the host",
        sensor,
        threads=per_card * world.local_size,
        dataset=Path(place) if place and Path(place).exists() else None,
        shared=device.kind.type == "cpu",
    )
    return preflight.run_checks(at, host=world.local_rank == 0)


def cell(session: Session) -> dict:
    """The coordinates of a row: what must agree before two numbers may be compared."""
    options, world = session.options, session.world
    return {
        "model": options.recipe,
        "device": session.device.kind.name,
        "card": session.device.card_name(),
        "cards": world.size,
        "hosts": world.hosts,
        "precision": options.precision,
        "batch_per_card": options.batch_size,
        "global_batch": options.batch_size * world.size,
        "height_px": options.data.height,
        "width_px": options.data.width,
        "keep_ratio": options.data.keep_ratio,
        "classes": session.charset.classes,
        "workers_per_card": session.workers,
        "threads_per_card": torch.get_num_threads(),
        "engine": session.engine,
        "input": options.input,
        "without": getattr(options, "without", None),
        "scenario": getattr(options, "scenario", None),
        "simulated": provenance.is_simulated(session.device.versions()),
    }


def dataset_section(dataset: WordDataset, split: str, gather: Callable) -> dict:
    """What was read. A picture that several ranks could not read counts once."""
    skipped = set().union(*gather(set(dataset.reasons)))
    try:
        manifest = dataset.manifest_hash
    except (DataError, OSError) as error:  # it was there when it was read: no reason to lose what was measured
        manifest = None
        warn(f"the record has no hash of the data set: {error}")
    return {
        "name": dataset.name,
        "split": split,
        "is_sample": dataset.is_sample,
        "is_whole": dataset.is_whole,
        "n": len(dataset),
        "skipped": len(skipped),
        "manifest_sha256": manifest,
    }


def origin(session: Session, gather: Callable) -> dict:
    """Where the number comes from; of several hosts also what each of them said, the leader's first."""
    mine = {**provenance.collect(), "device_versions": session.device.versions()}
    hosts = gather(mine)[:: session.world.local_size]
    several = {"hosts": hosts} if len(hosts) > 1 else {}
    return {**mine, "cards": gather(session.instruments.card), **several}


def alone(value) -> list:
    """Gathers from nobody else: other ranks of a failed run may be gone."""
    return [value]


@dataclasses.dataclass
class Run:
    """A run that is being measured: what its record needs to know."""

    session: Session
    name: RunName
    meter: Meter
    dataset: WordDataset
    split: str
    network: nn.Module
    evidence: Callable[[], dict] = dict  # sections that a failed run has, too
    trial: Callable[[int], object] | None = None  # needs as much memory as a step of so many pictures

    def record(self, **sections) -> Record:
        """Collect every rank's series and put the record together. All ranks call it; the leader saves what it gets."""
        gather, total_s = self.session.world.gather, self.total_s
        memory = {"peak_bytes": gather(self.session.device.peak_memory_bytes())}
        ceilings = gather(self.limits())
        return with_derived(self.raw(gather, total_s, memory=memory, limits=ceilings, **sections))

    def failed(self, failure: BaseException) -> Record | None:
        """What this rank alone knows of a run that ended in `failure`; None when that was the user's mistake."""
        status = verdict(failure)
        if status is None:
            return None
        where = f"rank {self.session.world.rank}: " * (self.session.world.size > 1)
        reason = f"{where}{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0]}"
        self.meter.stop()
        return with_derived(
            self.raw(alone, self.total_s, status=status, status_reasons=[reason[:500]], **self.evidence())
        )

    def raw(self, gather: Callable, total_s: float, **sections) -> Record:
        session, options, instruments = self.session, self.session.options, self.session.instruments
        instruments.sampler.stop()
        sampled = instruments.sampler.sampled(session.world.rank, self.meter.windows, session.opened_s)
        first_s = self.meter.first_s
        return Record(
            run=str(self.name),
            task=self.name.task,
            cell=cell(session),
            recipe=recipe_section(recipe_path(options.recipe)),
            options=dataclasses.asdict(options),
            dataset=dataset_section(self.dataset, self.split, gather),
            provenance=origin(session, gather),
            series=gather(self.meter.series.to_record()),
            warmup_steps=self.meter.warmup_steps,
            minimum={"steps": options.min_steps, "seconds": options.min_seconds},
            samples=[one for one in gather(sampled) if watched(one, session)],
            phases_s={
                "init_s": None if first_s is None else ticks(first_s - session.opened_s),
                **{name: ticks(seconds) for name, seconds in self.meter.phases_s.items()},
                "total_s": total_s,
            },
            preflight=instruments.preflight,
            fallbacks=sorted(set().union(*gather(session.device.fallbacks))),
            precision_evidence=session.device.switches,
            seeds={"seed": options.seed, "hash": os.environ.get("PYTHONHASHSEED")},
            **sections,
        )

    @property
    def total_s(self) -> float:
        return time.perf_counter() - self.session.opened_s

    def limits(self) -> dict:
        """The ceilings of this rank's device, and what one picture costs."""
        data = self.session.options.data
        pictures = (1, data.channels, data.height, data.width)
        flops = ceilings.forward_flops(self.network, pictures)
        return {"forward_flops_per_image": flops, **ceilings.measure_ceilings(self.session.device)}


def watched(sampled: dict, session: Session) -> bool:
    """On a CPU one rank a host has samples; the others have nothing to say."""
    return sampled["sensor"] is not None or session.device.kind.name != "CPU"


def tells(world: World, status: str) -> bool:
    """Whether this rank leaves the record of a failure: the leader, or before it one that has run out of memory, of
    which the leader sees no more than that it is gone.
    """
    return (world.leads or status == "oom") and world.first("record of a failure")


@contextmanager
def recorded(run: Run, options: Common):
    """Leave a record of a failure of what happens inside, and let it pass on, as one line where one says it all."""
    if run.session.world.leads:
        refuse_unwritable(options.results, "--results")
    try:
        with handled(interrupt):
            yield
    except BaseException as failure:
        record = run.failed(failure)
        if isinstance(failure, Interrupted):
            run.session.say(failure)
        if record and tells(run.session.world, record.status):
            say(f"record of a failed run ({record.status}): {plain(str(record.save(options.results)))}")
        free = getattr(run.session.device.module, "empty_cache", lambda: None)
        if line := one_line(failure, options.batch_size, run.trial, free):
            raise UserError(line) from None
        raise
