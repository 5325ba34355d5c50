"""How many images of a data set may be unusable before a run stops instead of going on with the rest."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 10_000  # images over which the share is taken: a disk that goes away is noticed after --tolerate of them
FEW = 10  # in a window never matter, so that a small set may have a bad image


@dataclass
class SkipTolerance:
    """Counts what was asked for and what was missing, window by window. A share of 1 tolerates everything."""

    share: float = 0.01
    window: int = WINDOW
    asked: int = 0
    missing: int = 0

    def count(self, missing: int, asked: int) -> None:
        if self.asked >= self.window:
            self.asked = self.missing = 0
        self.asked += asked
        self.missing += missing

    @property
    def exceeded(self) -> bool:
        return self.missing > max(FEW, self.share * self.window) and self.share < 1
