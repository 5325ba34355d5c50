"""What training and testing share: opening a run, from picture batch to logits, and the sections of its record."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError, plain
from bench.files import say
from bench.machine.device import Device, best
from bench.machine.meter import Meter
from bench.machine.world import World
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.data.formats import SourceOptions, has_splits
from models.data.prefetch import Prefetcher
from models.data.resident import ResidentLoader
from models.data.synthetic import Synthetic
from models.dataset import Batch, EpochSampler, Shape, WordDataset, loader, open_dataset
from models.decoding.decoder import GREEDY, Method
from models.network.network import Recogniser, build
from models.network.winograd import use_winograd
from models.run.options import Common, Infer, dataset_root


@dataclass
class Session:
    """An open run: its options, its device, its place among the ranks."""

    options: Common
    device: Device
    world: World
    charset: Charset
    opened_s: float = field(default_factory=time.perf_counter)
    instruments: object = None  # models.run.measure.Instruments, once they are started
    engine: str = "eager"  # what computes the network, a row of models/engines/table.py

    @classmethod
    def open(cls, options: Common) -> Session:
        opened_s = time.perf_counter()
        world = World.here()
        device = Device.open(options.device or best(), options.precision, world.local_rank)
        world.join(device)
        seed(options.seed + world.rank)
        choose_kernels(device, options)
        return cls(options, device, world, Charset.named(options.data.charset), opened_s)

    def dataset(self, split: str, targets: bool = True) -> WordDataset:
        """A split in the recipe's shape; without `targets` for reading only, when every label counts as it is."""
        if self.options.input == "synthetic":
            return WordDataset(Synthetic(self.shape, self.charset), self.shape, self.charset)
        out_of_charset = "skip" if targets else "remove"
        root = dataset_root(self.options)
        data = open_dataset(root, split, self.shape, self.charset, out_of_charset=out_of_charset)
        data.tolerance.share = self.options.tolerate
        data.is_whole = not has_splits(root, SourceOptions(), split)
        if data.is_whole and split != "train":
            self.say(f"  warning: {said_of_whole(root, split)}")
        return data

    @property
    def shape(self) -> Shape:
        data = self.options.data
        return Shape(data.height, data.width, data.channels, data.keep_ratio)

    def meter(self, warmup_steps: int) -> Meter:
        return Meter(self.device.synchronize, warmup_steps, event=self.device.event_maker())

    def network(self) -> Recogniser:
        """A freshly initialised recogniser on the device; the same on every rank."""
        options = self.options
        torch.manual_seed(options.seed)
        network = build(options.model, self.charset.classes, options.data.height, options.data.channels)
        torch.manual_seed(options.seed + self.world.rank)
        if options.kernels == "winograd":
            refuse_other_kernels(options, self.device)
            use_winograd(network)
        network.recur_in(self.device.recurrent_dtype)
        return network.to(self.device.torch, memory_format=torch.channels_last)

    @cached_property
    def method(self) -> Method:
        """How logits become texts; in training greedily. Raises UserError when the options contradict each other."""
        options = self.options
        if not isinstance(options, Infer):
            return GREEDY
        return Method.asked(options.model, self.charset, options.decode, options.beam, options.lexicon)

    def batches(self, dataset: WordDataset, sampler: EpochSampler) -> Iterable[Batch]:
        """Batches in the sampler's order, those of a card made while it works: by workers, else by a thread."""
        if self.options.input == "resident":
            made = ResidentLoader(dataset, sampler, self.device.torch)
            return made if self.device.kind.type == "cpu" else Prefetcher(made)
        return loader(dataset, sampler, self.workers, self.device.kind.type)

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
            say(*map(plain, words))


def choose_kernels(device: Device, options: Common) -> None:
    """Let cuDNN try its convolutions and keep the fastest, where pictures of one width let it do so only once."""
    if device.kind.type == "cuda":
        torch.backends.cudnn.benchmark = not options.data.keep_ratio
        device.switches["cudnn_benchmark"] = torch.backends.cudnn.benchmark


def refuse_other_kernels(options: Common, device: Device) -> None:
    """Raises UserError where a run with --kernels winograd would compute its convolutions otherwise."""
    others = {"--precision": (options.precision, "FP32"), "--device": (device.kind.name, "CPU"),
              "--compile": (getattr(options, "compile", False), False),
              "--engine": (getattr(options, "engine", "eager"), "eager")}  # fmt: skip
    for name, (value, needed) in others.items():
        if value != needed:
            raise UserError(f"--kernels winograd needs {name} {needed}, not {value}: others use the vendor's")


def said_of_whole(root: str, split: str) -> str:
    return (
        f"{root} has no {split} split of its own: {split} is all of it, any pictures trained on among them; "
        "split it with `python -m models.prepare --ratio`"
    )


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)


def normalised(images: Tensor, device: torch.device) -> Tensor:
    """uint8 (N, C, H, W) on the host -> float in -1..1 on the device: (x / 255 - 0.5) / 0.5."""
    images = images.to(device, non_blocking=True).float().div_(127.5).sub_(1.0)
    return images.contiguous(memory_format=torch.channels_last)
