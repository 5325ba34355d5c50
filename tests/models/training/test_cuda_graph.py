"""The captured step without a GPU: `capture` here does the work again on the same addresses, as a replay does."""

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from bench.machine.world import World
from models.dataset import Batch
from models.network.ctc_loss import pad_labels_to
from models.network.model import Model
from models.network.network import build
from models.run.context import open_context
from models.run.options import Optimizer, Train, parse
from models.train import Training
from models.training import device_batch
from models.training.cuda_graph import WARMUP, CUDAGraphStep, check_graph
from models.training.device_batch import DeviceBatch, to_device
from models.training.optimizer import GuardedOptimizer

QUICK = ["--device", "CPU", "--batch-size", "8", "--log-every", "1", "--warmup-steps", "1"]


def on_device(images, weight=1.0):
    images = torch.as_tensor(images, dtype=torch.float)
    n = len(images)
    return DeviceBatch(images, None, torch.zeros(n), torch.zeros(n, 2), torch.zeros(n), None, n, weight)


def as_it_is(batch):
    return batch


class Capturer:
    """Counts what was captured and replayed."""

    def __init__(self):
        self.captured = self.replayed = 0

    def __call__(self, work):
        self.captured += 1
        result = work()  # only to know its shape: capturing does not do the work

        def replay():
            self.replayed += 1
            result.copy_(work())

        return replay, result


def test_a_step_is_recorded_once_and_reads_every_later_batch():
    record = Capturer()
    graphed = CUDAGraphStep(lambda batch: batch.images.sum(), as_it_is, record)
    sums = [graphed(on_device([float(i), 1.0])).item() for i in range(WARMUP + 4)]
    assert sums == [i + 1.0 for i in range(WARMUP + 4)]
    assert (record.captured, record.replayed) == (1, 4)


def test_losses_of_earlier_steps_are_not_written_over():
    graphed = CUDAGraphStep(lambda batch: batch.images.sum(), as_it_is, Capturer(), warmup=0)
    first, second = graphed(on_device([1.0])), graphed(on_device([2.0]))
    assert (first.item(), second.item()) == (1.0, 2.0)


@pytest.mark.parametrize("other", [on_device([1.0, 2.0]), on_device([5.0], weight=0.0)], ids=["shorter", "placeholder"])
def test_what_the_graph_was_not_recorded_for_goes_the_plain_way(other):
    record = Capturer()
    graphed = CUDAGraphStep(lambda batch: batch.images.sum() * batch.weight, as_it_is, record, warmup=0)
    graphed(on_device([1.0]))
    assert graphed(other).item() == other.images.sum().item() * other.weight
    assert record.replayed == 1
    assert graphed(on_device([7.0])).item() == 7.0


def batch_of(texts):
    torch.manual_seed(len(texts))
    labels = torch.tensor([c for text in texts for c in text], dtype=torch.int32)
    lengths = torch.tensor([len(text) for text in texts], dtype=torch.int32)
    images = torch.randint(0, 256, (len(texts), 1, 32, 100), dtype=torch.uint8)
    widths = torch.full((len(texts),), 100, dtype=torch.int32)
    return Batch(images, widths, labels, lengths, ["x"] * len(texts), list(range(len(texts))))


def test_a_card_is_given_texts_one_a_row_and_learns_the_same(monkeypatch):
    """The loss that asks nobody, through the network and its head, beside the one that a CPU takes."""
    device, network = Device.open("CPU"), build(Model()).eval()
    batch = batch_of([[1, 2, 3], [4, 4], [30]])
    results = []
    for own in (False, True):
        monkeypatch.setattr(device_batch, "uses_own_ctc_loss", lambda device, answer=own: answer)
        there = to_device(batch, device, network)
        network.zero_grad()
        loss = network.head.loss(network(there.images), there.time_steps, there.labels, there.lengths)
        loss.backward()
        results.append((loss.detach(), network.head.weight.grad.clone()))
    assert there.labels.tolist() == pad_labels_to(batch.labels, batch.lengths, 26).tolist()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_training_through_a_recorded_step_is_training(sample, monkeypatch):
    """Weights after five steps, two of them replayed, are those of plain training."""
    monkeypatch.setattr(device_batch, "uses_own_ctc_loss", lambda device: True)
    weights = []
    for captured in (False, True):
        options = parse(Train, ["--dataset", str(sample), *QUICK, "--steps", "5", "--batch-size", "2"], "models.train")
        with open_context(options) as context:
            training = Training(context, options)
            step = training.train_step
            if captured:
                step = CUDAGraphStep(step, training.to_device, lambda work: (work, torch.zeros(())), warmup=3)
            training.network.train()
            for batch in list(training.batches)[:5]:
                training.optimizer.set_lr()
                step(batch)
                training.optimizer.count_step()
        weights.append(torch.cat([p.detach().flatten() for p in training.network.parameters()]))
    torch.testing.assert_close(*weights)


def test_a_recordable_update_reads_its_rate_where_the_schedule_writes_it():
    torch.manual_seed(0)
    steppers = []
    for capturable in (False, True):
        torch.manual_seed(0)
        options = Optimizer(schedule="one_cycle")
        steppers.append(GuardedOptimizer(nn.Linear(2, 1), Device.open("CPU"), options, 1e-2, 10, capturable=capturable))
    rate = steppers[1].optimizer.param_groups[0]["lr"]
    for step in steppers:
        step.minimise(step.network(torch.ones(1, 2)).sum())
    assert steppers[1].optimizer.param_groups[0]["lr"] is rate  # the address that a graph knows
    torch.testing.assert_close(steppers[0].network.weight, steppers[1].network.weight)


@pytest.mark.parametrize(
    "kind, cards, options, message",
    [
        ("CPU", 1, [], "a GPU, and this is CPU"),
        ("GPU", 2, ["--exchange.bucket-mb", "5"], "leave --exchange.bucket-mb out"),
        ("GPU", 1, ["--model.head", "attention"], "a CTC head"),
        ("GPU", 1, ["--recipe", "crnn_variable"], "images of one width"),
        ("GPU", 1, ["--optimizer.name", "sgd"], "adam or adamw"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(kind, cards, options, message):
    asked = parse(Train, ["--graph", *options], "models.train")
    with pytest.raises(UserError, match=message):
        check_graph(asked, Device(DEVICES[kind], "FP32"), World(size=cards))


@pytest.mark.parametrize("cards, options", [(1, []), (1, ["--exchange.bucket-mb", "5"]), (2, [])])
def test_a_graph_that_can_be_is_not_refused(cards, options):
    asked = parse(Train, ["--graph", *options], "models.train")
    check_graph(asked, Device(DEVICES["GPU"], "FP32"), World(size=cards))
