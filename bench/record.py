"""One run, one JSON file: what was run, on what, what was measured, and whether it can be believed. No torch here.

Units are in the names. A value nobody measured is null. `results/README.md` describes the fields.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from bench.refusal import Refusal

SCHEMA_VERSION = 1
RUNS = Path(__file__).resolve().parent.parent / "results" / "runs"


@dataclass
class Record:
    """Everything about one run. Sections are plain dictionaries, written by those who know: see results/README.md."""

    run: str  # the name of what really ran
    task: str  # Train | Infer
    cell: dict  # model, device, card, cards, hosts, precision, batch_per_card, global_batch, height_px, width_px, ...
    recipe: dict  # name, sha256
    options: dict  # every option of the program, as it was used
    dataset: dict  # name, split, is_sample, n, skipped, manifest_sha256
    provenance: dict  # commit, dirty, image digest, versions, host, argv
    series: list[dict]  # per rank: step_s, wait_s, images; warm-up included
    warmup_steps: int
    throughput: dict  # derived from `series`: bench.meter.Throughput
    phases_s: dict = field(default_factory=dict)
    latency: list[dict] = field(default_factory=list)  # bench.meter.Latency, one a batch size
    memory: dict = field(default_factory=dict)  # peak_bytes per rank
    power: dict | None = None  # null without a sensor, never 0
    precision_evidence: dict = field(default_factory=dict)  # switches as read back
    accuracy: dict | None = None  # n, word_accuracy, word_accuracy_low, word_accuracy_high, exact_accuracy, ...
    training: dict | None = None  # epochs, steps, samples, loss_first, loss_last, skipped_steps, resumed_from, seconds
    seeds: dict = field(default_factory=dict)
    status: str = "ok"  # ok | too_short | diverged | interrupted
    status_reasons: list[str] = field(default_factory=list)
    started_utc: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema_version: int = SCHEMA_VERSION

    def save(self, folder: Path = RUNS) -> Path:
        """Write the record whole or not at all; names never collide, whoever else writes to the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = self.started_utc.replace(":", "").replace("-", "").partition("+")[0]
        path = folder / f"{self.run}.{stamp}.{self.record_id[:8]}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=1, default=str) + "\n", encoding="utf8")
        os.replace(partial, path)
        return path

    @classmethod
    def load(cls, path: Path) -> Record:
        """Raises Refusal naming the file when it is no record of this schema."""
        try:
            content = json.loads(path.read_text(encoding="utf8"))
            version = content["schema_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path}: not a record ({error})") from None
        if version != SCHEMA_VERSION:
            raise Refusal(f"{path}: schema {version}, this program reads {SCHEMA_VERSION}")
        known = {f.name for f in dataclasses.fields(cls)}
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        if wrong := sorted((set(content) - known) | (required - set(content))):
            raise Refusal(f"{path}: unknown or missing fields: {', '.join(wrong)}")
        return cls(**content)


def recipe_section(path: Path) -> dict:
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
