"""What a person sees of training: a bar on a terminal, plain lines in a log, scalars in TensorBoard."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tqdm import tqdm

LINE_EVERY_S = 15  # in a log a line now and then; a terminal has the bar


class Progress:
    """Shown by the leading rank only. Use as a context manager."""

    def __init__(self, total: int, done: int, folder: Path, leads: bool):
        self.leads = leads
        self.bar = tqdm(total=total, initial=done, unit="step", disable=not (leads and sys.stderr.isatty()))
        self.folder = folder
        self.spoke = time.monotonic()
        self.board = None

    def __enter__(self) -> Progress:
        if self.leads:
            from tensorboardX import (
                SummaryWriter,
            )  # here, because importing it takes a while and only one rank writes

            self.board = SummaryWriter(str(self.folder / "tensorboard"))
        return self

    def __exit__(self, *failure) -> None:
        self.bar.close()
        if self.board:
            self.board.close()

    def advance(self) -> None:
        self.bar.update()

    def say(self, step: int, **values: float) -> None:
        """Scalars of one step."""
        if not self.leads:
            return
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        text = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        self.bar.set_postfix_str(text, refresh=False)
        if self.bar.disable and time.monotonic() - self.spoke > LINE_EVERY_S:
            self.spoke = time.monotonic()
            print(f"  step {step:,} of {self.bar.total:,}: {text}", flush=True)

    def validated(self, step: int, epoch: int, score) -> None:
        if not self.leads:
            return
        self.board.add_scalar("word_accuracy", score.word_accuracy, step)
        self.bar.write(
            f"  step {step:,}, epoch {epoch}: validation {score.word_accuracy:.1%} of {score.n:,} words read, "
            f"CER {score.cer:.3f}",
            file=sys.stdout,
        )
