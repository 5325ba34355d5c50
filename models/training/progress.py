"""What a person sees of training: a bar on a terminal, plain lines in a log, scalars in TensorBoard."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tqdm import tqdm

from bench.files import say, warn

LINE_EVERY_S = 15  # in a log a line now and then; a terminal has the bar


class Board:
    """Scalars for TensorBoard, written by this thread.

    tensorboardX's SummaryWriter has a thread that a full disk ends, and then a queue that holds the run up for ever.
    """

    def __init__(self, folder: Path):
        # Here, because importing it takes a while and only one rank writes.
        from tensorboardX import event_file_writer, summary

        self.folder, self.summary, self.kinds = folder, summary, event_file_writer
        self.events = None

    def add(self, step: int, **values: float) -> None:
        """A board that cannot be written stops no training: it is given up, and that is said."""
        if self.folder is None:
            return
        try:
            self.events = self.events or self.opened()
            for name, value in values.items():
                about = {"summary": self.summary.scalar(name, value), "wall_time": time.time(), "step": step}
                self.events.write_event(self.kinds.event_pb2.Event(**about))
            self.events.flush()
        except OSError as error:
            warn(f"no more TensorBoard from step {step} on: {self.folder}: {error.strerror}")
            self.folder = None

    def opened(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        # The name has seconds in it: two runs that start in the same one are told apart by their process.
        return self.kinds.EventsWriter(str(self.folder / "events"), f".{os.getpid()}")


class Progress:
    """Shown by the leading rank only. Use as a context manager."""

    def __init__(self, total: int, done: int, folder: Path, leads: bool):
        self.leads = leads
        self.bar = tqdm(total=total, initial=done, unit="step", disable=not (leads and sys.stderr.isatty()))
        self.spoke = time.monotonic()
        self.board = Board(folder / "tensorboard") if leads else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *failure) -> None:
        self.bar.close()

    def advance(self) -> None:
        self.bar.update()

    def say(self, step: int, **values: float) -> None:
        """Scalars of one step."""
        if not self.leads:
            return
        self.board.add(step, **values)
        text = ", ".join(f"{name} {value:.3g}" for name, value in values.items())
        self.bar.set_postfix_str(text, refresh=False)
        if self.bar.disable and time.monotonic() - self.spoke > LINE_EVERY_S:
            self.spoke = time.monotonic()
            say(f"  step {step:,} of {self.bar.total:,}: {text}")

    def validated(self, step: int, epoch: int, score) -> None:
        """Say how well a validation read; epochs are counted from 1."""
        if not self.leads:
            return
        self.board.add(step, word_accuracy=score.word_accuracy)
        self.bar.clear()
        say(
            f"  step {step:,}, epoch {epoch}: validation {score.word_accuracy:.1%} of {score.n:,} words read, "
            f"CER {score.cer:.3f}"
        )
