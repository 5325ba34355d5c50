"""One run, one JSON file: what was run, on what, what was measured, and whether it can be believed. No torch here.

Units are in the names. A value nobody measured is null. `bench/schema.py` describes every field; `results/README.md` is
made from it. What people read is derived from raw series in the same file, long series are packed, the whole is sealed
(bench/arithmetic/: derive.py, packing.py, seal.py).
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

from bench.arithmetic.packing import packed_tree, unpacked_tree
from bench.arithmetic.seal import altered, sealed
from bench.refusal import Refusal

SCHEMA_VERSION = 3
RUNS = Path(__file__).resolve().parent.parent / "results" / "runs"
# A run that ended in one of these leaves what it had; the others are judged from its series.
FAILURES = ("oom", "diverged", "crash", "interrupted", "timeout")
STATUSES = ("ok", "too_short", "not_steady", *FAILURES)


@dataclass
class Record:
    """Everything about one run. Sections are plain dictionaries, written by those who know: see results/README.md."""

    # What was run
    run: str
    task: str
    cell: dict
    recipe: dict
    options: dict
    dataset: dict
    provenance: dict
    # Raw measurements
    series: list[dict]
    warmup_steps: int
    minimum: dict = field(default_factory=lambda: {"steps": 0, "seconds": 0.0})
    samples: list[dict] = field(default_factory=list)
    limits: list[dict] = field(default_factory=list)
    memory: dict = field(default_factory=dict)
    # Derived from them by bench.arithmetic.derive
    throughput: dict = field(default_factory=dict)
    ranks: list[dict] = field(default_factory=list)
    steady: dict = field(default_factory=dict)
    efficiency: dict | None = None
    telemetry: list[dict] = field(default_factory=list)
    power: dict | None = None
    # Measured and derived together
    phases_s: dict = field(default_factory=dict)
    latency: list[dict] = field(default_factory=list)
    accuracy: dict | None = None
    # Evidence
    training: dict | None = None
    breakdown: dict | None = None
    loadgen: dict | None = None
    precision_evidence: dict = field(default_factory=dict)
    preflight: list[dict] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    seeds: dict = field(default_factory=dict)
    status: str = "ok"
    status_reasons: list[str] = field(default_factory=list)
    started_utc: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    record_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    schema_version: int = SCHEMA_VERSION
    # Of the file it was read from: cells that are not what was sealed. Never written.
    altered: list[str] = field(default_factory=list, compare=False)

    def save(self, folder: Path = RUNS) -> Path:
        """Write the record whole or not at all; names never collide, whoever else writes to the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        stamp = self.started_utc.replace(":", "").replace("-", "").partition("+")[0]
        path = folder / f"{self.run}.{stamp}.{self.record_id[:8]}.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(sealed(self.body()), indent=1, allow_nan=False) + "\n", encoding="utf8")
        os.replace(partial, path)
        return path

    def body(self) -> dict:
        """As JSON has it: long series packed, paths and the like as text."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "altered"}
        return json.loads(json.dumps(packed_tree(fields), default=str))

    @classmethod
    def load(cls, path: Path) -> Record:
        """Raises Refusal naming the file when it is no record of this schema. A broken seal is told in `altered`."""
        try:
            content = json.loads(path.read_text(encoding="utf8"))
            version = content["schema_version"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path}: not a record ({error})") from None
        if version != SCHEMA_VERSION:
            raise Refusal(f"{path}: {other_schema(version)}")
        content["altered"] = altered(content)
        content.pop("seal", None)
        known = {f.name for f in dataclasses.fields(cls)}
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        if wrong := sorted((set(content) - known) | (required - set(content))):
            raise Refusal(f"{path}: unknown or missing fields: {', '.join(wrong)}")
        try:
            return cls(**unpacked_tree(content))
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(f"{path}: not a record ({error})") from None


def other_schema(version) -> str:
    """What to do about a record of another version."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        advice = "it was written by a newer checkout; read it with that one"
    else:
        advice = "numbers of other versions mean other things; run it again, or read it with the commit it names"
    return f"schema {version}, this program reads {SCHEMA_VERSION}: {advice}"


def recipe_section(path: Path) -> dict:
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
