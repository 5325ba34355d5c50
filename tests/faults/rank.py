"""The program of one rank under a fault: `models.train` with the narrow network, told by the environment when to fail.

FAULT=how:rank:step, how being kill, stop (SIGSTOP), hang or oom; it happens once (a file FAULT_DONE says that it has),
or with the rank "all" on every rank.
SEEN=folder: each rank writes the numbers of the samples that it learns from there.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from bench.errors import run_cli
from models import train
from models.train import Training
from tests.faults.runs import narrow

HOW = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "hang": lambda: time.sleep(100_000),
    "oom": lambda: bytearray(1 << 62),
    "slow": lambda: time.sleep(0.3),
}


def fail(at: str, step: int) -> None:
    how, rank, when = at.split(":")
    if how == "slow":
        return HOW[how]()
    done = Path(os.environ["FAULT_DONE"])
    mine = rank == "all" or (rank == os.environ.get("RANK", "0") and not done.exists())
    if mine and step == int(when):
        done.touch()
        HOW[how]()
    return None


def watched(step):
    def call(self: Training, batch):
        if at := os.environ.get("FAULT"):
            fail(at, self.optimizer.step)
        loss = step(self, batch)
        if (folder := os.environ.get("SEEN")) and batch.weight:
            with (Path(folder) / f"{self.position.epoch}.{self.context.world.rank}").open("a") as file:
                file.writelines(f"{number}\n" for number in batch.numbers)
        return loss

    return call


if __name__ == "__main__":
    narrow()
    Training.train_step = watched(Training.train_step)
    run_cli(train.main, "models.train")
