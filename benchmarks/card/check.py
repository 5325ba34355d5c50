"""Is this card computing what it should? A minute before anything is measured: `python -m benchmarks.card.check`.

Every number that a card gives rests on these: forward passes against float64 on the host, the loss and its gradient,
a replayed step against a plain one, a spoiled batch, the types that kernels really see, sensors that answer, the meter
against the card's own clock. One that is wrong is named, with the cases of benchmarks.gpu that it makes worthless.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UserError, one_line, run_cli
from bench.machine import telemetry
from bench.machine.device import Device, RecurrentCalls
from bench.options import Bounds, Command
from models import weights
from models.data.charset import Charset
from models.data.image import Shape
from models.dataset import Batch, normalise, open_dataset
from models.decoding.ctc import decode_greedy
from models.network.ctc_loss import ctc_losses, pad_labels_to
from models.network.model import Model
from models.network.network import Network, build
from models.run.context import make_meter
from models.run.options import Optimizer
from models.training.cuda_graph import CUDAGraphStep
from models.training.device_batch import DeviceBatch, to_device
from models.training.optimizer import GuardedOptimizer
from models.weights import checkpoint

# Of logits, which reach 20: float16 and TF32 keep 11 bits, bfloat16 8; what a library gets wrong is off by the logits
# themselves. FP32's is below what TF32 would give, so that a switch that does nothing is seen.
FORWARD = {"FP32": 5e-3, "TF32": 0.15, "AMP": 0.15, "BF16": 0.75}
WORDS_ALIKE = {"FP32": 1.0, "TF32": 0.98, "AMP": 0.98, "BF16": 0.95}  # share of the same texts
LOSSES = {"FP32": 1e-3, "AMP": 2e-2}  # relative: cuDNN may add in another order in each step
CLOCKS = 0.03  # between the meter's steps by events and its wall time
SENSED = ("power_w", "temperature_c", "clock_mhz", "utilisation_percent", "memory_bytes")
STEPS, TIMED_STEPS, BATCH = 8, 60, 64


class WrongResult(Exception):
    """What a check found wrong, in words."""


@dataclass
class CardCheckOptions:
    """Check that a card computes and tells what it should."""

    device: Literal["GPU", "MLU", "CPU"] = "GPU"
    words: Path | None = None
    """Packed words to read; default: noise"""
    count: Annotated[int, Bounds(1, 1024)] = 64
    """Of them"""


COMMAND = Command("benchmarks.card.check", CardCheckOptions, "--words .card/words")


class Verdict(NamedTuple):
    """What came of one check. `spoils` is a pattern of the cases that are worth nothing when it is wrong."""

    check: str
    wrong: bool
    said: str
    seconds: float
    spoils: str


@dataclass(eq=False)
class Setting:
    """What the checks look at."""

    device: str
    images: Tensor  # uint8 (N, 1, 32, 100)
    texts: list[str]

    @property
    def is_cuda(self) -> bool:
        return self.device == "GPU"

    def open(self, precision: str) -> Device:
        return Device.open(self.device, precision)

    def batch(self) -> Batch:
        labels, lengths = Charset().encode_all(self.texts)
        n, width = len(self.texts), self.images.shape[-1]
        widths = torch.full((n,), width, dtype=torch.int32)
        return Batch(self.images, widths, torch.from_numpy(labels), torch.from_numpy(lengths), self.texts, [*range(n)])


def open_setting(options: CardCheckOptions) -> Setting:
    if options.words is None:
        random = np.random.default_rng(0)
        images = torch.from_numpy(random.integers(0, 256, (options.count, 1, 32, 100), np.uint8))
        return Setting(options.device, images, ["noise"] * options.count)
    dataset = open_dataset(options.words, "test", Shape(), Charset())
    batch = dataset.__getitems__(list(range(min(options.count, len(dataset)))))
    return Setting(options.device, batch.images, [Charset().remove_out_of_charset(text) or "x" for text in batch.texts])


@cache
def trained() -> Network:
    """The paper's network with the weights that come with the repository."""
    path = weights.path(weights.of_recipe("crnn"))
    network = build(Model())
    checkpoint.restore_weights(network, checkpoint.read(path), path, Charset().characters, "crnn")
    return network.eval()


def on_device(network: Network, device: Device) -> Network:
    moved = build(Model())
    moved.load_state_dict(network.state_dict())
    moved.recur_in(device.recurrent_dtype)
    moved.to(memory_format=torch.channels_last)
    return moved.to(device.torch)


@cache
def reference(at: Setting) -> Tensor:
    """Logits in float64 on the host."""
    network = build(Model())
    network.load_state_dict(trained().state_dict())
    with torch.inference_mode():
        return network.double().eval()(at.images.double() / 127.5 - 1)


def check_forward(precision: str, at: Setting) -> str:
    """Logits and texts of a trained network against float64 on the host."""
    device, expected = at.open(precision), reference(at)
    network = on_device(trained(), device).eval()
    with torch.inference_mode(), device.autocast():
        found = network(normalise(at.images, device.torch)).double().cpu()
    off = float((found - expected).abs().max())
    texts, truths = (decode_greedy(logits.float(), None, Charset()).texts for logits in (found, expected))
    alike = sum(a == b for a, b in zip(texts, truths, strict=True)) / len(truths)
    said = f"logits within {off:.2g} of float64's (limit {FORWARD[precision]:g}), {alike:.1%} of the texts alike"
    if not off <= FORWARD[precision] or alike < WORDS_ALIKE[precision]:
        raise WrongResult(said)
    return said


def check_ctc(at: Setting) -> str:
    """The loss that a captured step uses, and its gradient, against torch's own in float64 on the host."""
    device, random = at.open("FP32"), torch.Generator().manual_seed(0)
    logits = torch.randn(26, 64, 37, generator=random) * 3
    lengths = torch.randint(0, 20, (64,), generator=random)
    labels = torch.randint(1, 37, (int(lengths.sum()),), generator=random)
    theirs = logits.double().requires_grad_()
    wanted = F.ctc_loss(theirs.log_softmax(2), labels, torch.full((64,), 26), lengths, reduction="none",
                        zero_infinity=True)  # fmt: skip
    wanted.sum().backward()
    ours = logits.to(device.torch).requires_grad_()
    rows = pad_labels_to(labels, lengths, 26)
    found = ctc_losses(ours, rows.to(device.torch), lengths.to(device.torch))
    found.sum().backward()
    off = float((found.detach().double().cpu() - wanted.detach()).abs().max())
    slope = float((ours.grad.double().cpu() - theirs.grad).abs().max())
    said = f"losses within {off:.2g}, gradients within {slope:.2g} of torch's in float64 (limit 1e-3)"
    if not (off <= 1e-3 and slope <= 1e-3):
        raise WrongResult(said)
    return said


class Trainer:
    """Training as models.train makes it, on one batch that is on the device."""

    def __init__(self, at: Setting, precision: str, graph: bool = False):
        self.device = at.open(precision)
        torch.manual_seed(0)
        self.network = on_device(build(Model()), self.device).train()
        self.optimizer = GuardedOptimizer(self.network, self.device, Optimizer(), 1e-4, 1000, capturable=graph)
        self.batch = to_device(at.batch(), self.device, self.network)
        self.step = CUDAGraphStep(self.train_step, lambda batch: batch) if graph else self.train_step

    def train_step(self, batch: DeviceBatch) -> Tensor:
        with self.device.autocast():
            logits = self.network(batch.images)
        loss = self.network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
        self.optimizer.zero_grad()
        self.optimizer.scale(loss).backward()
        self.optimizer.update(self.optimizer.clip_gradients())
        return loss.detach()

    def steps(self, count: int) -> list[float]:
        losses = []
        for _ in range(count):
            self.optimizer.set_lr()
            losses.append(self.step(self.batch))
            self.optimizer.count_step()
        return [float(loss) for loss in losses]

    def weights(self) -> Tensor:
        return torch.cat([weight.detach().flatten().cpu() for weight in self.network.parameters()])


def check_graph(precision: str, at: Setting) -> str:
    """Replayed steps against plain ones: the same losses."""
    if not at.is_cuda:
        return "not asked: a GPU's"
    plain, graph = (Trainer(at, precision, graph).steps(STEPS) for graph in (False, True))
    off = max(abs(a - b) / abs(a) for a, b in zip(plain, graph, strict=True))
    said = f"{STEPS} losses within {off:.2g} of the plain steps' (limit {LOSSES[precision]:g}): {graph[-1]:.4f}"
    if not off <= LOSSES[precision]:
        raise WrongResult(f"{said}; plain {plain}, graph {graph}")
    return said


def check_poison(precision: str, graph: bool, at: Setting) -> str:
    """A batch of what is not a number changes no weight and is counted; the next one is learned from."""
    if graph and not at.is_cuda:
        return "not asked: a GPU's"
    trainer = Trainer(at, precision, graph)
    trainer.steps(5)
    before, clean, skipped = trainer.weights(), trainer.batch.images, trainer.optimizer.skipped
    trainer.batch.images = torch.full_like(clean, float("nan"))
    trainer.steps(1)
    skipped = trainer.optimizer.skipped - skipped  # a loss scale that is too high at first is skipped, too
    if skipped != 1 or not torch.equal(before, trainer.weights()):
        raise WrongResult(f"{skipped} steps were counted as skipped, and the weights are not as before")
    for name, buffer in trainer.network.named_buffers():  # the mean of what is not a number is none, either
        if "running" in name:
            buffer.fill_(1)
    trainer.batch.images = clean
    loss = trainer.steps(3)[-1]
    if not np.isfinite(loss) or torch.equal(before, trainer.weights()):
        raise WrongResult(f"the steps after it end in a loss of {loss} or changed nothing")
    return "skipped, counted, and the next step learns"


def check_recurrent(precision: str, at: Setting) -> str:
    """The type that recurrent kernels are given is the one that the record will name."""
    if not at.is_cuda:
        return "not asked: a GPU's"
    device = at.open(precision)
    network = on_device(trained(), device).train()
    with RecurrentCalls() as calls, device.autocast():
        network(normalise(at.images, device.torch)).float().sum().backward()
    named = device.switches["recurrent_dtype"]
    seen = ", ".join(f"{name} {sorted(map(str, dtypes))}" for name, dtypes in calls.seen.items()) or "no kernel"
    said = f"{seen}; the record names {named}"
    if calls.dtypes != {getattr(torch, named)}:
        raise WrongResult(said)
    return said


def check_sensor(at: Setting) -> str:
    """Power, heat, clock, use and memory: what is null stays out of every row."""
    device = at.open("FP32")
    sensor = telemetry.open_sensor(device.kind.name, device.identity() or device.index)
    if sensor is None:
        raise WrongResult(telemetry.why_no_sensor(device.kind.name))
    sample = sensor.sample() or {}
    missing = [name for name in SENSED if sample.get(name) is None]
    told = ", ".join(f"{name} {value:.4g}" for name, value in sample.items() if value is not None)
    if missing and at.device != "CPU":
        raise WrongResult(f"{', '.join(missing)} null; {told}; users {sensor.users()}")
    return f"{told}; users {sensor.users()}; {sensor.facts().get('name')}"


def check_meter(at: Setting) -> str:
    """Steps by the card's events add up to the wall time, and the median is near the mean."""
    trainer = Trainer(at, "FP32")
    trainer.steps(5)
    meter = make_meter(trainer.device, 0)
    steps = TIMED_STEPS if at.device != "CPU" else 3
    for _ in meter.steps(range(steps), images=lambda _: BATCH):
        trainer.step(trainer.batch)
    clocked, wall = meter.series.device_step_s, float(sum(meter.series.step_s))
    if at.device == "CPU":
        return "not asked: a card's"
    if len(clocked) != steps:
        raise WrongResult(f"{len(clocked)} of {steps} steps have events")
    median, total = float(np.median(clocked)), float(sum(clocked))
    said = f"p50 {median * 1e3:.2f} ms by events, mean {wall / steps * 1e3:.2f} ms by the wall"
    if abs(total - wall) > CLOCKS * wall or abs(median - wall / steps) > 0.25 * wall / steps:
        raise WrongResult(f"{said}; events add up to {total:.4f} s, the wall to {wall:.4f} s")
    return said


def time_calls(work: Callable[[], object], device: Device, calls: int = 20) -> float:
    """Milliseconds of each of some calls in a row, launching included."""
    for _ in range(3):
        work()
    device.synchronize()
    began = time.perf_counter()
    for _ in range(calls):
        work()
    device.synchronize()
    return (time.perf_counter() - began) / calls * 1e3


def loss_speed(device: Device, n: int) -> str:
    """Of a batch of n."""
    lengths = torch.randint(4, 13, (n,))
    labels = torch.randint(1, 37, (int(lengths.sum()),))
    logits = torch.randn(26, n, 37, device=device.torch, requires_grad=True)
    rows, counts = pad_labels_to(labels, lengths, 26).to(device.torch), lengths.to(device.torch)
    steps, there = torch.full((n,), 26), labels.to(device.torch)

    def theirs() -> None:
        F.ctc_loss(logits.log_softmax(2), there, steps, lengths, zero_infinity=True).backward()

    ours_ms = time_calls(lambda: ctc_losses(logits, rows, counts).mean().backward(), device)
    return f"batch {n}: ours {ours_ms:.2f} ms, torch's {time_calls(theirs, device):.2f} ms"


def ask_loss_speed(at: Setting) -> str:
    """Our loss, which can be captured, beside torch's, forward and backward: which of them a plain step should take."""
    device = at.open("FP32")
    return "; ".join(loss_speed(device, n) for n in ((32, 2048) if at.is_cuda else (2,)))


def ask_recurrent_speed(at: Setting) -> str:
    """A bidirectional LSTM as the network has it, forward and backward, in each type that it may run in."""
    device, said = at.open("FP32"), []
    n = 2048 if at.is_cuda else 2
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        layer = torch.nn.LSTM(512, 256, bidirectional=True).to(device.torch, dtype)
        x = torch.randn(26, n, 512, device=device.torch, dtype=dtype)
        took = time_calls(lambda layer=layer, x=x: layer(x)[0].sum().backward(), device, 10)
        said.append(f"{str(dtype).removeprefix('torch.')} {took:.2f} ms")
    return f"batch {n}: {', '.join(said)}"


NONE = "(?!)"  # matches no case
# Name, what it asks, and the cases of benchmarks.gpu that are worth nothing when it is wrong.
CHECKS: tuple[tuple[str, Callable[[Setting], str], str], ...] = (
    ("sensor", check_sensor, NONE),
    *((f"forward {name}", partial(check_forward, name), name) for name in FORWARD),
    ("loss", check_ctc, "Train"),
    *((f"recurrent type {name}", partial(check_recurrent, name), name) for name in ("FP32", "AMP", "BF16")),
    ("graph FP32", partial(check_graph, "FP32"), "graph"),
    ("graph AMP", partial(check_graph, "AMP"), "AMP.*graph"),
    ("poisoned batch FP32", partial(check_poison, "FP32", False), "Train"),
    ("poisoned batch AMP", partial(check_poison, "AMP", False), "Train AMP"),
    ("poisoned batch, graph", partial(check_poison, "FP32", True), "graph"),
    ("meter", check_meter, NONE),
    ("speed of the loss", ask_loss_speed, NONE),
    ("speed of recurrent layers", ask_recurrent_speed, NONE),
)


def verdicts(at: Setting) -> Iterator[Verdict]:
    """Each check as it is done; one that fails in any way is wrong, with its reason, and the others are made."""
    for name, check, spoils in CHECKS:
        if at.device == "CPU" and "TF32" in name:
            continue
        began = time.perf_counter()
        try:
            wrong, said = False, check(at)
        except (WrongResult, UserError, RuntimeError, ValueError, AttributeError, TypeError) as failure:
            wrong, said = (
                True,
                f"{type(failure).__name__}: {failure}" if not isinstance(failure, WrongResult) else str(failure),
            )
        yield Verdict(name, wrong, one_line(said)[:600], time.perf_counter() - began, spoils)


def line(verdict: Verdict) -> str:
    mark = "WRONG" if verdict.wrong else "ok"
    return f"  {mark:5s} {verdict.check} ({verdict.seconds:.1f} s): {verdict.said}"


def main(argv: list[str] | None = None) -> None:
    at = open_setting(COMMAND.parse(argv))
    began, wrong = time.perf_counter(), []
    for verdict in verdicts(at):
        print(line(verdict), flush=True)
        wrong += [verdict.check] * verdict.wrong
    print(f"{time.perf_counter() - began:.0f} s: {'WRONG: ' + ', '.join(wrong) if wrong else 'all is as it should be'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    run_cli(main, "benchmarks.card.check")
