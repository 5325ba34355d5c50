"""What counts as worse. Policy is this file and nothing else: change a number here, and say why in CHANGELOG.md."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.errors import UserError
from bench.records.record import Record


def read_throughput(record: Record) -> float | None:
    return record.throughput.get("images_per_s")


def read_step(record: Record) -> float | None:
    return record.throughput.get("step_p50_ms")


def read_latency(record: Record) -> float | None:
    """Median of the smallest batch measured."""
    rows = sorted(record.latency, key=lambda row: row["batch"])
    return rows[0]["p50_ms"] if rows else None


def read_memory(record: Record) -> float | None:
    """Bytes of the rank that took most."""
    return max((bytes_ for bytes_ in record.memory.get("peak_bytes") or [] if bytes_), default=None)


def read_accuracy(record: Record) -> float | None:
    return record.accuracy.get("word_accuracy") if record.accuracy else None


@dataclass(frozen=True)
class GatedMetric:
    """A metric of the gate. `margin` is the loss that is accepted: a share, or, where `absolute`, points of a share."""

    read: Callable[[Record], float | None]
    better: int  # +1: more is better; -1: less is
    margin: float
    absolute: bool = False
    unit: str = ""
    factor: float = 1.0  # from the value to its unit

    @property
    def loss(self) -> float:
        """The margin on the scale of changes: a logarithm, or points."""
        return self.margin if self.absolute else -math.log1p(-self.margin)

    def show(self, value: float) -> str:
        """A value as people read it."""
        return f"{value * self.factor:.4g} {self.unit}"


TOLERANCES = {
    "throughput": GatedMetric(read_throughput, +1, 0.02, unit="images/s"),
    "latency": GatedMetric(read_latency, -1, 0.02, unit="ms"),
    "memory": GatedMetric(read_memory, -1, 0.03, unit="MiB", factor=2**-20),
    "accuracy": GatedMetric(
        read_accuracy, +1, 0.005, absolute=True, unit="%", factor=100
    ),  # non-inferiority by half a point
    "step": GatedMetric(
        read_step, -1, 0.02, unit="ms"
    ),  # median step time: blind to rare stalls, but steadier on a shared host
}
GATED = ("throughput", "latency", "memory", "accuracy")  # unless --metrics says otherwise

# Pairs after which a verdict is sought. Even, so that the orders AB and BA are equally many and a drift of the host
# falls out of the mean.
LOOKS = (6, 10, 16)
MORE = 16  # pairs of each further look, when an AMBIGUOUS session is continued
FALSE_ALARM = 0.01  # of a whole session: all looks, all metrics, all cells, however often it is continued
MISSED = 0.05  # of passing something that is worse by its margin, and of failing something that is better than it
CERTAIN = 0.025  # no bound that decides is nearer to the estimate than the end of the printed 95 % interval
POWER = 0.90  # at the size that is advertised
CANARY_MOVED = 0.05  # a fixed workload that changed by more than this says that the host did, not the code
SITTING_GAP_S = 3600  # runs that begin further apart are of two sittings: the level of a machine moves between them
HISTORY_P = 0.005  # of a whole series, over all places


def look_share(number: int) -> float:
    """What part of the error rates look `number` (from 0) may spend: a quarter each, then 1/8, 1/16 and so on.

    They add up to 1 without end, so that a session may be continued as often as its reader likes.
    """
    return 0.25 if number < len(LOOKS) else 0.25 / 2 ** (number - len(LOOKS) + 1)


def pairs_at(number: int) -> int:
    """Pairs in all at look `number`."""
    return LOOKS[number] if number < len(LOOKS) else LOOKS[-1] + MORE * (number - len(LOOKS) + 1)


def tolerances(metrics: list[str] | None, margins: list[str]) -> dict[str, GatedMetric]:
    """The rows of TOLERANCES asked for, margins changed as in `throughput=0.05`. UserError for a name that is none."""
    chosen = {name: tolerance_of(name) for name in metrics or GATED}
    for text in margins:
        name, _, value = text.partition("=")
        before = chosen.get(name) or tolerance_of(name)
        try:
            chosen[name] = replace(before, margin=parse_share(value))
        except ValueError:
            raise UserError(f"--margin {text}: want METRIC=SHARE, such as throughput=0.03") from None
    return chosen


def tolerance_of(name: str) -> GatedMetric:
    if name not in TOLERANCES:
        raise UserError(f"no metric '{name}'; there are {', '.join(TOLERANCES)}")
    return TOLERANCES[name]


def parse_share(text: str) -> float:
    value = float(text)
    if not 0 < value < 1:
        raise ValueError(text)
    return value
