"""The raw series of one rank: a value per step, kept whole from the loop to the record."""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence
from dataclasses import dataclass, field

from bench.records.packing import ticks
from bench.records.sections import RankSeries


def doubles() -> MutableSequence[float]:
    """30 epochs of Synth90k are millions of steps: 8 bytes a value, not 32."""
    return array("d")


@dataclass
class Series:
    """What one rank measured, a value per step; `RankSeries` says what each is."""

    step_s: MutableSequence[float] = field(default_factory=doubles)
    wait_s: MutableSequence[float] = field(default_factory=doubles)
    images: MutableSequence[int] = field(default_factory=lambda: array("q"))
    device_s: MutableSequence[float] = field(default_factory=doubles)
    device_step_s: MutableSequence[float] = field(default_factory=doubles)

    def to_record(self) -> RankSeries:
        """As a record holds it: lists, times rounded to ticks."""
        return {
            "step_s": ticks(self.step_s),
            "wait_s": ticks(self.wait_s),
            "device_s": ticks(self.device_s),
            "device_step_s": ticks(self.device_step_s),
            "images": list(self.images),
        }
