"""What training and testing share: opening a run, from picture batch to logits, and the sections of its record."""

from __future__ import annotations

import dataclasses
import os
import random
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench import provenance
from bench.device import Device, best
from bench.meter import Meter, throughput
from bench.record import Record, recipe_section
from bench.run_name import RunName
from bench.world import World
from models.charset import Charset
from models.dataset import Shape, WordDataset, open_dataset
from models.options import Common, dataset_root, recipe_path
from models.recogniser import Recogniser, build


@dataclass
class Session:
    """An open run: its options, its device, its place among the ranks."""

    options: Common
    device: Device
    world: World
    charset: Charset

    @classmethod
    def open(cls, options: Common) -> Session:
        world = World.here()
        device = Device.open(options.device or best(), options.precision, world.local_rank)
        world.join(device)
        seed(options.seed + world.rank)
        return cls(options, device, world, Charset.named(options.data.charset))

    def dataset(self, split: str, targets: bool = True) -> WordDataset:
        """A split in the recipe's shape; without `targets` for reading only, when every label counts as it is."""
        data = self.options.data
        shape = Shape(data.height, data.width, data.channels, data.keep_ratio)
        return open_dataset(
            dataset_root(self.options), split, shape, self.charset, foreign="drop" if targets else "strip"
        )

    def network(self) -> Recogniser:
        """A freshly initialised recogniser on the device; the same on every rank."""
        options = self.options
        torch.manual_seed(options.seed)
        network = build(options.model, self.charset.classes, options.data.height, options.data.channels)
        torch.manual_seed(options.seed + self.world.rank)
        network.recur_in(self.device.recurrent_dtype)
        return network.to(self.device.torch, memory_format=torch.channels_last)

    @property
    def workers(self) -> int:
        """Loader processes: none on a CPU, whose cores compute; 4 a card elsewhere."""
        if self.options.workers >= 0:
            return self.options.workers
        return 0 if self.device.kind.type == "cpu" else 4

    def run_name(self, task: str, epochs: int | None = None, steps: int | None = None) -> RunName:
        """The name of what really runs, whatever the script was called."""
        return RunName(
            model=self.options.recipe.upper(),
            task=task,
            precision=self.options.precision,
            device=self.device.kind.name,
            cards=self.world.size,
            epochs=epochs,
            steps=steps,
        )

    def say(self, *words) -> None:
        if self.world.leads:
            print(*words, flush=True)


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def normalised(images: Tensor, device: torch.device) -> Tensor:
    """uint8 (N, C, H, W) on the host -> float in -1..1 on the device: (x / 255 - 0.5) / 0.5."""
    images = images.to(device, non_blocking=True).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)


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
        "engine": "eager",
    }


def dataset_section(dataset: WordDataset, split: str, world: World) -> dict:
    """What was read. A picture that several ranks could not read counts once."""
    skipped = set().union(*world.gather(set(dataset.reasons)))
    return {
        "name": dataset.name,
        "split": split,
        "is_sample": dataset.is_sample,
        "n": len(dataset),
        "skipped": len(skipped),
        "manifest_sha256": dataset.manifest_hash,
    }


def provenance_section(session: Session) -> dict:
    """Where the number comes from; of several hosts also what each of them said, the leader's first."""
    mine = {**provenance.collect(), "device_versions": session.device.versions()}
    hosts = session.world.gather_hosts(mine)
    return {**mine, "hosts": hosts} if len(hosts) > 1 else mine


def make_record(session: Session, run: RunName, meter: Meter, dataset: dict, **sections) -> Record:
    """Collect every rank's series and put the record together. All ranks call it; the leader saves what it gets."""
    series = session.world.gather(dataclasses.asdict(meter.series))
    memory = session.world.gather(session.device.peak_memory_bytes())
    rates = throughput([type(meter.series)(**one) for one in series], meter.warmup_steps)
    short = rates.images_per_s is None
    return Record(
        run=str(run),
        task=run.task,
        cell=cell(session),
        recipe=recipe_section(recipe_path(session.options.recipe)),
        options=dataclasses.asdict(session.options),
        dataset=dataset,
        provenance=provenance_section(session),
        series=series,
        warmup_steps=meter.warmup_steps,
        throughput=dataclasses.asdict(rates),
        phases_s=meter.phases_s,
        memory={"peak_bytes": memory},
        precision_evidence=session.device.switches,
        seeds={"seed": session.options.seed, "hash": os.environ.get("PYTHONHASHSEED")},
        **{"status": "too_short", "status_reasons": ["no step is left after the warm-up"]} if short else {},
        **sections,
    )
