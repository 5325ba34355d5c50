"""Forward pass and loss of every recipe on tensors that say they lie on a card: no data, no driver, only a torch built
for CUDA. Mixed devices are an error there, and autocast answers as on a card. Without such a torch: skipped.

A backward pass cannot be tried like this: autograd asks the driver for its device.
"""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from benchmarks.operators import Operators, count_step
from models.data.charset import Charset
from models.data.image import Shape
from models.data.synthetic import Synthetic
from models.dataset import WordDataset
from models.network.network import Network, build
from models.run.options import RECIPES, Train, parse
from models.training.device_batch import DeviceBatch, to_device

pytestmark = pytest.mark.skipif(torch.version.cuda is None, reason="this torch is not built for CUDA")
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
TYPES = {"FP32": torch.float32, "AMP": torch.float16, "BF16": torch.bfloat16}
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "linear", "matmul")


class Types(TorchDispatchMode):
    """Types of matrix products and convolutions, and copies from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.products: set[torch.dtype] = set()
        self.crossings: list[str] = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        out = function(*arguments, **(keywords or {}))
        name = str(function).removeprefix("aten.").partition(".")[0]
        tensors = [value for value in (*arguments, out) if isinstance(value, torch.Tensor)]
        if name in PRODUCTS:
            self.products |= {value.dtype for value in tensors}
        if len({value.device.type for value in tensors}) > 1:
            self.crossings.append(name)
        return out


@pytest.fixture
def card():
    """What torch asks of a driver that is not there; cuDNN asks, too, so recurrent layers are torch's own."""
    with (
        torch.backends.cudnn.flags(enabled=False),
        mock.patch("torch.cuda.is_bf16_supported", lambda *_, **__: True),
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
    ):
        yield


def on_card(tensor: torch.Tensor, mode: FakeTensorMode) -> torch.Tensor:
    there = torch.empty_like(mode.from_tensor(tensor), device="cuda:0")
    return nn.Parameter(there) if isinstance(tensor, nn.Parameter) else there


def fake(recipe: str, mode: FakeTensorMode) -> tuple[Network, DeviceBatch]:
    """The recipe's network and a batch as to_device makes it for a GPU, on a card, without data."""
    options = parse(Train, ["--recipe", recipe], "test")
    charset = Charset.named(options.data.charset)
    shape = Shape(options.data.height, options.data.width, options.data.channels)
    network = build(replace(options.model, pretrained=""), charset.classes, shape.height, shape.channels).train()
    host = Device(replace(DEVICES["CPU"], own_ctc=DEVICES["GPU"].own_ctc), "FP32")
    batch = to_device(WordDataset(Synthetic(shape, charset), shape, charset).__getitems__([0, 1]), host, network)
    sent = {"images", "labels", "targets"} | ({"lengths"} if batch.labels.dim() == 2 else set())
    with mode:
        network._apply(lambda tensor: on_card(tensor, mode))
        there = {name: on_card(tensor, mode) for name, tensor in batch.tensors.items() if name in sent}
    return network, replace(batch, **there)


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("recipe", NAMES)
def test_a_recipes_forward_pass_and_loss_stay_on_the_card(recipe, precision, card):
    """A wait for the host is an error of its own: a fake tensor has no value to give."""
    device = Device(DEVICES["GPU"], precision, has_bf16_cells=True)
    network, batch = fake(recipe, mode := FakeTensorMode(allow_non_fake_inputs=True))
    network.recur_in(device.recurrent_dtype)
    with mode, Types() as seen:
        with device.autocast():
            logits = network(batch.images, batch.widths, batch.targets)
        loss = network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
    assert logits.device.type == loss.device.type == "cuda"
    assert loss.dtype == torch.float32
    assert seen.products == {TYPES[precision]}
    assert seen.crossings == []


def test_a_loss_takes_the_operators_on_a_card_that_the_table_of_docs_says(card):
    """benchmarks.operators counts on the CPU. No forward pass is compared: without cuDNN an LSTM goes step by step."""
    network, batch = fake("crnn", mode := FakeTensorMode(allow_non_fake_inputs=True))
    with mode:
        logits = network(batch.images, batch.widths, batch.targets)
        with Operators() as calls:
            calls.part = "loss"
            network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
    assert calls.counts == {"loss": count_step("crnn", 2)["loss"]}
