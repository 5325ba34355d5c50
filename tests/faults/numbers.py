"""Numbers that go wrong: NaN and infinity in data, loss and gradients, collapse, divergence.

`python -m tests.faults.numbers`
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch

from models import train
from models.train import Training
from models.weights import checkpoint
from tests.faults.runs import Place, ended, last_line, narrow, place, run_cases, start

Spoil = Callable[[Training], None]


def run(where: Place, spoil: dict[str, Callable], **options) -> tuple[int, str, dict]:
    """Train with some methods of Training wrapped; gives exit code, last line, and the record."""

    def work() -> None:
        for name, wrap in spoil.items():
            setattr(Training, name, wrap(getattr(Training, name)))
        train.main(where.words(**options))

    code = ended(start(work, where.log), 180)
    [path] = (where.folder / "runs").glob("*.json")
    return code, last_line(where.said()), json.loads(path.read_text())


def at(step: int | None, value: float):
    """A loss that is not finite, at one step or (None) at all."""

    def wrap(train_step):
        def spoiled(self, batch):
            head, spoils = self.network.head, step in (None, self.optimizer.step)
            loss = type(head).loss
            head.loss = lambda *arguments: loss(head, *arguments) * (value if spoils else 1)
            return train_step(self, batch)

        return spoiled

    return wrap


def gradient(value: float):
    """One gradient that is not finite, at step 4."""

    def wrap(update):
        def spoiled(self, batch):
            weight = next(self.network.parameters())
            hook = weight.register_hook(lambda g: g * value if self.optimizer.step == 4 else g)
            try:
                return update(self, batch)
            finally:
                hook.remove()

        return spoiled

    return wrap


def data(value: float):
    """One batch of images that is not finite, as a defective card or a wrong decoder may make it, at step 4."""

    def wrap(train_step):
        def spoiled(self, batch):
            there = self.to_device(batch)
            if self.optimizer.step == 4:
                there.images = torch.full(there.images.shape, value)
            return train_step(self, there)

        return spoiled

    return wrap


def once(**spoil: Callable) -> Callable[[], tuple[bool, str]]:
    """The step is skipped, counted and said; what is saved is finite to the last weight and statistic."""

    def case() -> tuple[bool, str]:
        with place() as where:
            code, _, record = run(where, spoil)
            network = checkpoint.read(where.newest())["network"]
            finite = all(torch.isfinite(tensor).all() for tensor in network.values())
            training = record["training"]
            said = "; ".join(training["noticed"])
            return code == 0 and training["skipped_steps"] == 1 and finite and "not finite" in said, said

    return case


def always() -> tuple[bool, str]:
    with place() as where:
        code, said, record = run(where, {"train_step": at(None, float("nan"))}, epochs=20)
        return code == 2 and record["status"] == "diverged", f"record: {record['status']}; {said}"


def blank() -> tuple[bool, str]:
    """The last layer is made to answer blank (class 0) to everything, as it does when CTC training collapses."""

    def wrap(validate):
        def spoiled(self):
            dict(self.network.named_parameters())["head.bias"].data[0] += 100
            validate(self)

        return spoiled

    with place() as where:
        code, _, record = run(where, {"validate": wrap})
        said = "; ".join(record["training"]["noticed"])
        return code == 0 and "read as empty" in said, said


def climbing() -> tuple[bool, str]:
    """At step 110 all weights of the last layer are multiplied by 30."""

    def wrap(update):
        def spoiled(self, batch):
            if self.optimizer.step == 110:
                for weight in self.network.head.parameters():
                    weight.data.mul_(30)
            return update(self, batch)

        return spoiled

    with place() as where:
        code, _, record = run(where, {"train_step": wrap}, steps=160, save_every=1000, **{"optimizer.lr": 1e-6})
        said = "; ".join(record["training"]["noticed"])
        return code == 0 and "training diverges" in said, said


CASES = {
    "NaN in the loss": once(train_step=at(4, float("nan"))),
    "infinite loss": once(train_step=at(4, float("inf"))),
    "NaN in a gradient": once(train_step=gradient(float("nan"))),
    "infinite gradient": once(train_step=gradient(float("inf"))),
    "NaN in the data": once(train_step=data(float("nan"))),
    "infinity in the data": once(train_step=data(float("inf"))),
    "NaN in every step": always,
    "nothing but blanks": blank,
    "divergence": climbing,
}

if __name__ == "__main__":
    narrow()
    run_cases(CASES, __doc__)
