"""The grammar of run names, the key of the whole house. Parsed here and nowhere else.

<MODEL>_<PRECISION>[_<n>E|_<n>S]_<cards><DEVICE>[s]_<Train|Infer>      CRNN_FP32_30E_4MLUs_Train
<MODEL>_<Train|Infer>                                                  CRNN_Infer: best device, 1 card, FP32
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UserError

PRECISIONS = ("FP32", "TF32", "AMP", "BF16", "INT8")
DEVICES = ("MLU", "GPU", "CPU")  # in order of preference
GRAMMAR = re.compile(
    rf"(?P<model>[A-Z][A-Z0-9]*(?:_(?!{'|'.join(PRECISIONS)})[A-Z][A-Z0-9]*)*?)"
    rf"(?:_(?P<precision>{'|'.join(PRECISIONS)})"
    r"(?:_(?P<length>[1-9][0-9]*)(?P<unit>[ES]))?"
    rf"_(?P<cards>[1-9][0-9]*)(?P<device>{'|'.join(DEVICES)})s?)?"
    r"_(?P<task>Train|Infer)"
)


@dataclass(frozen=True)
class RunName:
    """The coordinates of a run. `str()` spells them as the file name of its script, without `.sh`."""

    model: str
    task: str
    precision: str = "FP32"
    device: str | None = None  # None: the best one present
    cards: int = 1
    epochs: int | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, name: str) -> RunName:
        """Raises UserError when `name` is not a run name."""
        match = GRAMMAR.fullmatch(name)
        if not match:
            raise UserError(
                f"'{name}' is not a run name: want MODEL_PRECISION[_nE|_nS]_<cards>DEVICE[s]_Train|Infer, such as"
                f" CRNN_FP32_30E_4MLUs_Train; precisions {' '.join(PRECISIONS)}, devices {' '.join(DEVICES)}"
            )
        part = match.groupdict()
        length = {unit: int(part["length"]) if part["unit"] == unit else None for unit in "ES"}
        return cls(
            model=part["model"],
            task=part["task"],
            precision=part["precision"] or "FP32",
            device=part["device"],
            cards=int(part["cards"] or 1),
            epochs=length["E"],
            steps=length["S"],
        )

    @property
    def recipe(self) -> str:
        return self.model.lower()

    def __str__(self) -> str:
        if self.device is None:
            return f"{self.model}_{self.task}"
        length = f"_{self.steps}S" if self.steps else f"_{self.epochs}E" if self.epochs else ""
        plural = "s" if self.cards > 1 else ""
        return f"{self.model}_{self.precision}{length}_{self.cards}{self.device}{plural}_{self.task}"
