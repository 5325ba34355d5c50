"""What a person sees of training: a bar on a terminal, plain lines in a log, scalars in TensorBoard."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.errors import one_line
from bench.files import say, warn
from models.scoring.evaluate import Prediction
from models.scoring.metrics import Score
from models.training.curves import VALIDATED

LINE_EVERY_S = 15  # in a log a line now and then; a terminal has the bar


class ScalarWriter:
    """Scalars for TensorBoard, written by this thread.

    tensorboardX's SummaryWriter has a thread that a full disk ends, and then a queue that holds the run up for ever.
    """

    def __init__(self, folder: Path):
        # Here, because importing it takes a while and only one rank writes.
        from tensorboardX import event_file_writer, summary

        self.folder: Path | None = folder
        self.summary, self.writer = summary, event_file_writer
        self.events: Any = None

    def add(self, step: int, **values: float) -> None:
        """A full disk does not stop training: it only ends the scalars, with a warning."""
        if self.folder is None:
            return
        try:
            self.events = self.events or self.open_file(self.folder)
            for name, value in values.items():
                event = {"summary": self.summary.scalar(name, value), "wall_time": time.time(), "step": step}
                self.events.write_event(self.writer.event_pb2.Event(**event))
            self.events.flush()
        except OSError as error:
            warn(f"no more TensorBoard from step {step} on: {self.folder}: {error.strerror}")
            self.folder = None

    def open_file(self, folder: Path) -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        # The name has seconds in it: two runs that start in the same one are told apart by their process.
        return self.writer.EventsWriter(str(folder / "events"), f".{os.getpid()}")


class ProgressBar:
    """Shows on the leading rank only. Use as a context manager."""

    def __init__(self, total: int, folder: Path, leads: bool):
        self.leads = leads
        hidden = not (leads and sys.stderr.isatty())
        self.bar = tqdm(total=total, unit="step", disable=hidden, delay=0.1)  # s: drawn with the first step, not before
        self.spoke = time.monotonic()
        self.board = ScalarWriter(folder / "tensorboard") if leads else None

    def from_step(self, step: int) -> ProgressBar:
        """Count from this step, and time from now."""
        self.bar.initial = self.bar.n = step
        self.bar.unpause()
        return self

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *failure) -> None:
        self.bar.close()

    def advance(self) -> None:
        self.bar.update()

    def log(self, step: int, **values: float) -> None:
        """Show scalars of one step."""
        if self.board is None:
            return
        self.board.add(step, **values)
        text = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        self.bar.set_postfix_str(text, refresh=False)
        if self.bar.disable and time.monotonic() - self.spoke > LINE_EVERY_S:
            self.spoke = time.monotonic()
            say(f"  step {step:,} of {self.bar.total:,}: {text}")

    def log_validation(self, step: int, epoch: int, score: Score, shown: Sequence[Prediction] = ()) -> None:
        """Print the score of a validation and some readings beside their truths; epochs are counted from 1."""
        if self.board is None:
            return
        self.board.add(step, **{name: getattr(score, name) for name in VALIDATED})
        self.bar.clear()
        say(
            f"  step {step:,}, epoch {epoch}: validation {score.word_accuracy:.1%} of {score.n:,} words read, "
            f"CER {score.cer:.3f}"
        )
        width = max((len(one.truth) for one in shown), default=0)
        for one in shown:
            say(one_line(f"    {one.truth:{width}} read as {one.text!r}{'' if one.text != one.truth else ', right'}"))
