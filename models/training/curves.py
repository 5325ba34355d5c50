"""The course of a training as one picture: loss and learning rate, and what validations found."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.files import refuse_unwritable, warn, write_file
from models.scoring.metrics import Score

FILE = "curves.json"
MOST = 2000  # points of a curve; beyond, every second one is left out, and so on
VALIDATED = ("word_accuracy", "cer", "sequence_distance", "character_precision")  # fields of Score


def check_curves(path: Path | None) -> None:
    """Raises UserError, before hours of training, where the picture could not be written."""
    if path is None:
        return
    refuse_unwritable(path.parent, "--curves")
    if path.suffix.lower() not in (".png", ".svg", ".pdf", ".jpg"):
        raise UserError(f"--curves {path}: it is a picture: .png, .svg, .pdf or .jpg")


@dataclass
class Curves:
    """Rows that begin with the step. Kept beside the checkpoints: a resumed run goes on with the same picture."""

    logged: list[list[float]] = field(default_factory=list)  # step, loss, learning rate
    validated: list[list[float]] = field(default_factory=list)  # step, and VALIDATED

    every: int = 1  # of the rows to log, those that are kept
    seen: int = 0

    def log(self, step: int, loss: float, lr: float) -> None:
        if self.seen % self.every == 0:
            self.logged.append([step, loss, lr])
        self.seen += 1
        if len(self.logged) > MOST:
            self.logged, self.every = self.logged[::2], 2 * self.every

    def lacks_loss(self, step: int) -> bool:
        """Whether none was logged since the validation before this step's: an epoch shorter than --log-every."""
        before = max((row[0] for row in self.validated if row[0] < step), default=0)
        return not any(row[0] > before for row in self.logged)

    def log_validation(self, step: int, score: Score) -> None:
        if self.validated and self.validated[-1][0] == step:  # a run that was stopped in a validation makes it again
            self.validated.pop()
        self.validated.append([step, *(getattr(score, name) for name in VALIDATED)])

    def save(self, folder: Path) -> None:
        """Beside the checkpoints, which are written before the validation of their step. A full disk stops no run."""
        try:
            write_file(folder / FILE, json.dumps(asdict(self)))
        except OSError as error:
            warn(f"{folder / FILE}: not written: {error.strerror}")

    def load(self, folder: Path, step: int) -> None:
        """What a run that goes on had up to this step. An older one has left nothing: the picture begins here."""
        try:
            kept = json.loads((folder / FILE).read_text(encoding="utf8"))
            self.every, self.seen = kept["every"], kept["seen"]
            self.logged, self.validated = (
                [row for row in kept[name] if row[0] <= step] for name in ("logged", "validated")
            )
        except (OSError, ValueError, KeyError, TypeError):
            self.logged, self.validated, self.every, self.seen = [], [], 1, 0

    def draw(self, path: Path, title: str) -> None:
        """Write the picture, of whatever type its name says. A failure is said and stops no training."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, places = pyplot.subplots(2, 3, figsize=(12, 6), sharex=True, layout="constrained")
        names = ("loss", "lr", *VALIDATED)
        for place, name in zip(places.flat, names, strict=True):
            number = names.index(name)
            rows, column = (self.logged, number + 1) if number < 2 else (self.validated, number - 1)
            place.plot([row[0] for row in rows], [row[column] for row in rows], marker="." if len(rows) < 50 else None)
            place.set_title({"lr": "learning rate", "cer": "CER"}.get(name, name.replace("_", " ")))
            place.grid(alpha=0.3)
            if name in ("word_accuracy", "character_precision"):
                place.set_ylim(0, 1)
        for place in places[1]:
            place.set_xlabel("step")
        figure.suptitle(title)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=100)
        except (OSError, ValueError) as error:  # a full disk; a type that matplotlib does not know
            warn(f"no curves in {path}: {error}")
        pyplot.close(figure)
