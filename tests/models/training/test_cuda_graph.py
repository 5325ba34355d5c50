"""The recorded step without a card: `record` here does the work again on the same addresses, as a replay does."""

import pytest
import torch
from torch import nn

from bench.errors import UserError
from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from bench.machine.world import World
from models.data.charset import Charset
from models.dataset import Batch
from models.network.ctc_loss import rows_of
from models.network.model import Model
from models.network.network import build
from models.run.context import Session
from models.run.options import Optimizer, Train, parse
from models.train import Training, refuse_graph
from models.training import staging
from models.training.cuda_graph import WARMUP, Graphed
from models.training.optimizer import Stepper
from models.training.staging import Staged, stage

QUICK = ["--device", "CPU", "--batch-size", "8", "--log-every", "1", "--warmup-steps", "1"]


def staged(images, weight=1.0):
    images = torch.as_tensor(images, dtype=torch.float)
    return Staged(images, None, torch.zeros(len(images), 2), torch.zeros(len(images)), None, len(images), weight)


class Recorder:
    """Counts what was recorded and replayed."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def __call__(self, work):
        self.recorded += 1
        result = work()  # only to know its shape: recording does not do the work

        def replay():
            self.replayed += 1
            result.copy_(work())

        return replay, result


def test_a_step_is_recorded_once_and_reads_every_later_batch():
    record = Recorder()
    graphed = Graphed(lambda batch: batch.images.sum(), record)
    sums = [graphed(staged([float(i), 1.0])).item() for i in range(WARMUP + 4)]
    assert sums == [i + 1.0 for i in range(WARMUP + 4)]
    assert (record.recorded, record.replayed) == (1, 4)


def test_losses_of_earlier_steps_are_not_written_over():
    graphed = Graphed(lambda batch: batch.images.sum(), Recorder(), warmup=0)
    first, second = graphed(staged([1.0])), graphed(staged([2.0]))
    assert (first.item(), second.item()) == (1.0, 2.0)


@pytest.mark.parametrize("other", [staged([1.0, 2.0]), staged([5.0], weight=0.0)], ids=["shorter", "placeholder"])
def test_what_the_graph_was_not_recorded_for_goes_the_plain_way(other):
    record = Recorder()
    graphed = Graphed(lambda batch: batch.images.sum() * batch.weight, record, warmup=0)
    graphed(staged([1.0]))
    assert graphed(other).item() == other.images.sum().item() * other.weight
    assert record.replayed == 1
    assert graphed(staged([7.0])).item() == 7.0


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
    images = batch.images.float() / 127.5 - 1
    found = []
    for asks_nobody in (False, True):
        monkeypatch.setattr(staging, "asks_nobody", lambda device, answer=asks_nobody: answer)
        there = stage(batch, images, device, network)
        network.zero_grad()
        loss = network.head.loss(network(there.images), torch.full((3,), 26), there.labels, there.lengths)
        loss.backward()
        found.append((loss.detach(), network.head.weight.grad.clone()))
    assert there.labels.tolist() == rows_of(batch.labels, batch.lengths, 26).tolist()
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_training_through_a_recorded_step_is_training(sample, monkeypatch):
    """Weights after five steps, two of them replayed, are those of plain training."""
    monkeypatch.setattr(staging, "asks_nobody", lambda device: True)
    weights = []
    for graphed in (False, True):
        options = parse(Train, ["--dataset", str(sample), *QUICK, "--steps", "5", "--batch-size", "2"], "models.train")
        training = Training(options, Session.open(options))
        training.trained = training.network.train()
        if graphed:
            training.learner = Graphed(training.learn, lambda work: (work, torch.zeros(())), warmup=3)
        for batch in list(training.batches)[:5]:
            training.update(batch)
        weights.append(torch.cat([p.detach().flatten() for p in training.network.parameters()]))
    torch.testing.assert_close(*weights)


def test_a_recordable_update_reads_its_rate_where_the_schedule_writes_it():
    torch.manual_seed(0)
    steppers = []
    for recordable in (False, True):
        torch.manual_seed(0)
        options = Optimizer(schedule="one_cycle")
        steppers.append(Stepper(nn.Linear(2, 1), Device.open("CPU"), options, 1e-2, 10, recordable=recordable))
    rate = steppers[1].optimizer.param_groups[0]["lr"]
    for step in steppers:
        step(step.network(torch.ones(1, 2)).sum())
    assert steppers[1].optimizer.param_groups[0]["lr"] is rate  # the address that a graph knows
    torch.testing.assert_close(steppers[0].network.weight, steppers[1].network.weight)


@pytest.mark.parametrize(
    "kind, cards, options, message",
    [
        ("CPU", 1, [], "a GPU, and this is CPU"),
        ("GPU", 2, [], "one card"),
        ("GPU", 1, ["--model.head", "attention"], "a CTC head"),
        ("GPU", 1, ["--recipe", "crnn_variable"], "pictures of one width"),
        ("GPU", 1, ["--optimizer.name", "sgd"], "adam or adamw"),
    ],
)
def test_a_graph_that_cannot_be_is_refused(kind, cards, options, message):
    asked = parse(Train, ["--graph", *options], "models.train")
    session = Session(asked, Device(DEVICES[kind], "FP32"), World(size=cards), Charset())
    with pytest.raises(UserError, match=message):
        refuse_graph(asked, session)


def test_a_graph_that_can_be_is_not_refused():
    asked = parse(Train, ["--graph"], "models.train")
    refuse_graph(asked, Session(asked, Device(DEVICES["GPU"], "FP32"), World(), Charset()))
