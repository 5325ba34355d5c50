"""Where a program runs: its device, its place among the ranks, its options; and what it makes of them."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.errors import UserError, plain
from bench.files import format_bytes, say
from bench.machine.device import Device
from bench.machine.discovery import best
from bench.machine.meter import Meter
from bench.machine.world import World
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.data.formats import SourceOptions
from models.data.opening import has_splits
from models.data.prefetch import Prefetcher
from models.data.resident import ResidentLoader
from models.data.sampler import BucketSampler, EpochSampler, ShardSampler
from models.data.synthetic import Synthetic
from models.dataset import Batch, LabelIssues, Shape, WordDataset, make_loader, open_dataset
from models.network.network import Network, build
from models.network.winograd import use_winograd
from models.run.options import ON_DEVICE, Common, Data, dataset_root

READY = 2  # batches that each loader process has ready: torch's prefetch_factor


@dataclass(frozen=True)
class Context:
    """What every part of a run may need to know. Nothing changes it."""

    device: Device
    world: World
    options: Common
    say: Callable[..., None]  # prints on the leading rank
    started_s: float  # clock time at which the program began


@contextmanager
def open_context(options: Common) -> Iterator[Context]:
    """Open the device, join the other ranks, seed the generators; leave the ranks at the end."""
    started_s = time.perf_counter()
    world = World.here()
    device = Device.open(options.device or best(), options.precision, world.local_rank)
    world.join(device)
    try:
        set_seed(options.seed + world.rank)
        choose_convolutions(device, options)
        yield Context(device, world, options, say_if_leading(world), started_s)
    finally:
        world.leave()


def say_if_leading(world: World) -> Callable[..., None]:
    """A `say` that prints on the leading rank alone, with control characters taken out."""
    return lambda *words: say(*map(plain, words)) if world.leads else None


def set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def choose_convolutions(device: Device, options: Common) -> None:
    """Let cuDNN try its convolutions and keep the fastest, where images of one width let it do so only once."""
    if device.kind.tries_convolutions:
        torch.backends.cudnn.benchmark = not options.data.keep_ratio
        device.switches["cudnn_benchmark"] = torch.backends.cudnn.benchmark


def make_shape(data: Data) -> Shape:
    """The shape of images that a recipe's `data` section describes."""
    return Shape(data.height, data.width, data.channels, data.keep_ratio)


def make_dataset(context: Context, charset: Charset, split: str, targets: bool = True) -> WordDataset:
    """A split of --dataset in the recipe's shape. Without `targets` for reading only: every label counts as it is."""
    options, shape = context.options, make_shape(context.options.data)
    if options.input == "synthetic":
        return WordDataset(Synthetic(shape, charset), shape, charset)
    root, reading = dataset_root(options, split), SourceOptions(image_root=options.image_root)
    dataset = open_dataset(root, split, shape, charset, reading, "skip" if targets else "remove")
    refuse_other_data(context.world, dataset, split)
    dataset.tolerance.share = options.tolerate
    dataset.is_whole = not has_splits(root, reading, split)
    named = split == "val" and getattr(options, "val_dataset", None)
    if dataset.is_whole and split != "train" and not named:
        context.say(
            f"  warning: {root} has no {split} split of its own: {split} is all of it, any images trained on included; "
            "split it with `python -m models.prepare --ratio`"
        )
    return dataset


def refuse_other_data(world: World, dataset: WordDataset, split: str) -> None:
    """Raises UserError on every rank where the hosts of a job hold different data: one process of each says what."""
    if world.hosts == 1:
        return
    digest = dataset.digest if world.local_rank == 0 else None
    mine = (len(dataset.source), digest.hex if digest else "none") if world.local_rank == 0 else None
    found = [one for one in world.gather(mine) if one is not None]
    if len(set(found)) > 1:
        each = ", ".join(
            f"host {i}: {count:,} samples, digest {content[:12]}" for i, (count, content) in enumerate(found)
        )
        raise UserError(f"the hosts do not hold the same {split} data ({each}); copy one host's to the others")


def make_val_set(context: Context, charset: Charset, most: int | None) -> WordDataset:
    """The validation split, or `most` samples from all over it: the same ones every time."""
    dataset = make_dataset(context, charset, "val", targets=False)
    if most is None or most >= len(dataset):
        return dataset
    return dataset.part(np.linspace(0, len(dataset) - 1, most).round().astype(np.uint32))


def make_network(context: Context, charset: Charset) -> Network:
    """A freshly initialised network on the device; the same on every rank."""
    options, device = context.options, context.device
    torch.manual_seed(options.seed)
    network = build(options.model, charset.classes, options.data.height, options.data.channels)
    torch.manual_seed(options.seed + context.world.rank)
    if options.kernels == "winograd":
        check_kernels(options, device)
        use_winograd(network)
    network.recur_in(device.recurrent_dtype)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return network.to(device.torch)


def check_kernels(options: Common, device: Device) -> None:
    """Raises UserError where a run with --kernels winograd would compute its convolutions otherwise."""
    needed = {
        "--precision": (options.precision, "FP32"),
        "--device": (device.kind.name, "CPU"),
        "--compile": (getattr(options, "compile", False), False),
        "--engine": (getattr(options, "engine", "eager"), "eager"),
    }
    for name, (value, only) in needed.items():
        if value != only:
            raise UserError(f"--kernels winograd needs {name} {only}, not {value}: others use the vendor's")


def make_train_set(context: Context, charset: Charset, network: Network) -> tuple[WordDataset, LabelIssues]:
    """The training split without labels that the head cannot learn, and those labels."""
    options, dataset = context.options, make_dataset(context, charset, "train")
    if network.model.head == "attention":
        issues = dataset.label_issues(options.model.longest, characters=True)
    elif dataset.shape.keep_ratio:
        issues = dataset.label_issues(network.time_steps(dataset.widths()))
    else:
        issues = dataset.label_issues(network.time_steps(dataset.shape.width))
    return (dataset.without(issues) if len(issues) else dataset), issues


def make_train_sampler(context: Context, dataset: WordDataset) -> EpochSampler:
    """Every sample once an epoch; with kept ratios in batches of similar widths, so that little of them is padding."""
    options, rank, ranks = context.options, context.world.rank, context.world.size
    if options.input == "sharded":
        if dataset.shape.keep_ratio:
            raise UserError("--input sharded needs images of one width: batches of similar widths are not of one share")
        return ShardSampler(len(dataset), options.batch_size, options.seed, rank=rank, world=ranks)
    if dataset.shape.keep_ratio:
        return BucketSampler(dataset.widths(), options.batch_size, options.seed, rank=rank, world=ranks)
    return EpochSampler(len(dataset), options.batch_size, options.seed, rank=rank, world=ranks)


def make_batches(context: Context, dataset: WordDataset, sampler: EpochSampler) -> Iterable[Batch]:
    """Batches in the sampler's order, prepared while a card computes: by worker processes, else by a thread."""
    device = context.device
    if context.options.input in ON_DEVICE:
        resident = ResidentLoader(dataset, sampler, device.torch, sharded=context.options.input == "sharded")
        return resident if device.kind.type == "cpu" else Prefetcher(resident)
    workers = count_workers(context)
    if workers:
        shape = dataset.shape
        image_bytes = shape.height * shape.width * shape.channels
        refuse_small_shm(workers, context.options.batch_size * image_bytes, context.world.local_size)
    return make_loader(dataset, sampler, workers, device.kind.type)


def refuse_small_shm(workers: int, batch_bytes: int, ranks: int, place: Path = Path("/dev/shm")) -> None:
    """Raises UserError when shared memory has no room for the batches that loader processes have ready.

    A worker that finds it full says so on stderr alone, and its batch never comes.
    """
    if not place.is_dir():  # macOS
        return
    usage = shutil.disk_usage(place)
    needed = ranks * batch_bytes * (READY * workers + 1)  # and the one that is computed
    if needed > usage.free:
        raise UserError(
            f"{place}: {format_bytes(usage.free)} of {format_bytes(usage.total)} are free, and {workers} loader"
            f" processes per card with batches of {format_bytes(batch_bytes)} need {format_bytes(needed)}: enlarge it"
            " (docker: --shm-size=8g), or pass fewer --workers or a smaller --batch-size"
        )


def make_test_batches(context: Context, dataset: WordDataset) -> Iterable[Batch]:
    """This rank's share of the split, in order; may be iterated again."""
    world, size = context.world, context.options.batch_size
    return make_batches(
        context, dataset, EpochSampler(len(dataset), size, rank=world.rank, world=world.size, shuffle=False)
    )


def make_meter(device: Device, warmup_steps: int, events: bool = True) -> Meter:
    """Without `events` steps are timed by the host alone: right where it waits for the result of each, as in a test."""
    return Meter(device.synchronize, warmup_steps, event=device.event_maker() if events else None)


def count_workers(context: Context) -> int:
    """Loader processes: none on a CPU, whose cores compute; 4 per card elsewhere."""
    if context.options.workers >= 0:
        return context.options.workers
    return 0 if context.device.kind.type == "cpu" else 4


def make_run_name(context: Context, task: str, epochs: int | None = None, steps: int | None = None) -> RunName:
    """The name of what really runs, whichever script started it."""
    return RunName(
        model=context.options.recipe.upper(),
        task=task,
        precision=context.options.precision,
        device=context.device.kind.name,
        cards=context.world.size,
        epochs=epochs,
        steps=steps,
    )
