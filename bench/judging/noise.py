"""What A/A runs taught about a card: the spread between pairs of identical runs, by cell and metric. No torch.

Kept with the baselines, one JSON file a card, so that a gate knows beforehand what it can detect there.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import UserError
from bench.files import ROOT, read_regular, write_file
from bench.judging.policy import GatedMetric
from bench.judging.statistics import sd_upper_bound
from bench.judging.verdict import detectable

BASELINES = ROOT / "results" / "baselines"


@dataclass(frozen=True)
class Spread:
    """Standard deviation of one pair's change, estimated on `pairs` pairs."""

    sd: float
    pairs: int

    @classmethod
    def of(cls, changes: NDArray[np.float64]) -> Spread:
        return cls(float(changes.std(ddof=1)), len(changes))

    @property
    def upper(self) -> float:
        """What it does not exceed, at 95 %: a gate that advertises on the estimate alone disappoints half the time."""
        return sd_upper_bound(self.sd, self.pairs - 1, 0.95)

    def detects(self, tolerance: GatedMetric, tests: int) -> float:
        """The smallest loss that the gate advertises here: a share, or points of a share."""
        size = detectable(self.upper, tolerance.loss, tests)
        return size if tolerance.absolute else 1 - math.exp(-size)


def slug(card: str) -> str:
    """A card's name as a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", card).strip("-").lower() or "unnamed"


def noise_path(card: str, folder: Path = BASELINES) -> Path:
    return folder / f"noise.{slug(card)}.json"


def load_noise(card: str, folder: Path = BASELINES) -> dict[str, dict[str, Spread]]:
    """Cell key -> metric -> Spread; empty where this card was never calibrated. Raises UserError for a broken file."""
    path = noise_path(card, folder)
    if not path.exists():
        return {}
    try:
        cells = json.loads(read_regular(path))["cells"]
        return {k: {m: Spread(**s) for m, s in cell["metrics"].items()} for k, cell in cells.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a noise model ({error}); make one with compare.sh --calibrate") from None


def store_noise(card: str, key: str, run: str, spreads: dict[str, Spread], folder: Path = BASELINES) -> Path:
    """Put one cell into the card's file; other cells stay as they are."""
    load_noise(card, folder)  # refuse to overwrite what cannot be read
    path = noise_path(card, folder)
    content: dict[str, Any] = {"card": card, "cells": {}}
    if path.exists():
        content = json.loads(read_regular(path))
    content["cells"][key] = {
        "run": run,
        "calibrated_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "metrics": {name: {"sd": spread.sd, "pairs": spread.pairs} for name, spread in spreads.items()},
    }
    return write_file(path, json.dumps(content, indent=1) + "\n")
