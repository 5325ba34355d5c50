"""How many operators a training step asks of a card, by recipe: `python -m benchmarks.operators`. No card is needed.

Each is a launch of one kernel or more, and each launch some microseconds of the host: a step that computes for less
time than that is the host's. Counted on the CPU with a GPU's CTC loss and fused update. Where an optimiser has no fused
kernel the update is counted weight by weight, as on a CPU; on a card torch groups them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tabulate import tabulate
from torch.utils._python_dispatch import TorchDispatchMode

from bench.errors import run_cli
from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from bench.options import Bounds, Command
from models.data.charset import Charset
from models.data.image import Shape
from models.data.synthetic import Synthetic
from models.dataset import WordDataset
from models.network.network import Network, build
from models.run.options import RECIPES, Train, parse
from models.training.device_batch import to_device
from models.training.optimizer import GuardedOptimizer

# What launches nothing: views, sizes, and what makes memory.
FREE = ("view", "reshape", "permute", "transpose", "expand", "slice", "select", "alias", "detach", "unsqueeze",
        "squeeze", "as_strided", "empty", "unbind", "split", "chunk", "t.", "unfold", "lift_fresh",
        "_unsafe_view", "prim.")  # fmt: skip


@dataclass
class OperatorOptions:
    """Count the operators of a training step."""

    batch: Annotated[int, Bounds(1)] = 2
    recipes: str = ""
    """Some of them, with commas; default: all"""


COMMAND = Command("benchmarks.operators", OperatorOptions, "--recipes crnn,rare")


class Operators(TorchDispatchMode):
    """Counts by part of the step; `part` is what is being done."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.part = ""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = str(function).removeprefix("aten.")
        if not name.startswith(FREE):
            self.counts[self.part] = self.counts.get(self.part, 0) + 1
        return function(*arguments, **(keywords or {}))


def count_step(recipe: str, batch_size: int) -> dict[str, int]:
    """Operators of forward, loss, backward and update."""
    options = parse(Train, ["--recipe", recipe], "benchmarks.operators")
    gpu = DEVICES["GPU"]
    device = Device(replace(DEVICES["CPU"], own_ctc=gpu.own_ctc, fused_adam=gpu.fused_adam), "FP32")
    charset = Charset.named(options.data.charset)
    shape = Shape(options.data.height, options.data.width, options.data.channels)
    network = build(replace(options.model, pretrained=""), charset.classes, shape.height, shape.channels).train()
    optimizer = GuardedOptimizer(network, device, options.optimizer, 1e-4, 100)
    dataset = WordDataset(Synthetic(shape, charset), shape, charset)
    batch = to_device(dataset.__getitems__(list(range(batch_size))), device, network)
    for calls in (None, Operators()):  # the first step makes the optimiser's state
        step(network, optimizer, batch, calls)
    return calls.counts if calls else {}


def step(network: Network, optimizer: GuardedOptimizer, batch: Any, calls: Operators | None) -> None:
    mode = calls or Operators()
    with mode:
        mode.part = "forward"
        logits = network(batch.images, batch.widths, batch.targets)
        mode.part = "loss"
        loss = network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
        mode.part = "backward"
        optimizer.zero_grad()
        loss.backward()
        mode.part = "update"
        optimizer.update(optimizer.clip_gradients())


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    names = options.recipes.split(",") if options.recipes else sorted(path.stem for path in RECIPES.glob("*.yaml"))
    parts = ("forward", "loss", "backward", "update")
    rows = []
    for name in names:
        counts = count_step(name, options.batch)
        rows.append([name, *(counts.get(part, 0) for part in parts), sum(counts.get(part, 0) for part in parts)])
    print(tabulate(rows, ("recipe", *parts, "in all"), "github"))


if __name__ == "__main__":
    run_cli(main, "benchmarks.operators")
