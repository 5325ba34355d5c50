"""One run, one JSON file: what was run, on what, what was measured, and whether it can be believed. No torch here.

Units are in the names. A value nobody measured is null. `bench/records/schema.py` describes every field;
`results/README.md` is made from it. What people read is derived from raw series in the same file, long series are
packed, the whole is sealed (derive.py, packing.py, seal.py beside this file).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

from bench.errors import UserError
from bench.files import lacking
from bench.records.packing import LONGEST, numbers, packed_tree, unpacked_tree
from bench.records.run_name import RunName
from bench.records.seal import altered, sealed

SCHEMA_VERSION = 3
LARGEST = 1 << 26  # bytes of a record file; 30 epochs of Synth90k on 8 cards at batch 32 take about 30 MB
RUNS = Path(__file__).resolve().parents[2] / "results" / "runs"
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
    # Derived from them by bench.records.derive
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
        """Write the record whole or not at all; names never collide, whoever else writes to the folder.

        Raises UserError where that cannot be done; hours of measuring are then not lost but in the folder it names.
        """
        stamp = self.started_utc.replace(":", "").replace("-", "").partition("+")[0]
        name = f"{self.run}.{stamp}.{self.record_id[:8]}.json"
        text = json.dumps(sealed(self.body()), indent=1, allow_nan=False) + "\n"
        try:
            return write_whole(text, folder / name)
        except OSError as error:
            refusal = f"cannot write the record to {folder}: {lacking(error, len(text), folder)}"
        try:
            rescued = write_whole(text, Path(tempfile.gettempdir()) / name)
        except OSError as error:
            raise UserError(f"{refusal}; nor to {tempfile.gettempdir()}: {error.strerror}") from None
        raise UserError(f"{refusal}; it is {rescued}: move it there")

    def body(self) -> dict:
        """As JSON has it: long series packed, paths and the like as text."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "altered"}
        return json.loads(json.dumps(packed_tree(fields), default=str))

    @classmethod
    def load(cls, path: Path) -> Record:
        """Raises UserError naming the file when it is no record of this schema. A broken seal is told in `altered`."""
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"more than {LARGEST:,} bytes")
            content = json.loads(path.read_text(encoding="utf8"))
            version = content["schema_version"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not a record ({error})") from None
        if version != SCHEMA_VERSION:
            raise UserError(f"{path}: {other_schema(version)}")
        known = {f.name for f in dataclasses.fields(cls)}
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        if wrong := sorted((set(content) - known - {"seal"}) | (required - set(content))):
            raise UserError(f"{path}: unknown or missing fields: {', '.join(wrong)}")
        try:
            refuse_other_kinds(cls, content)
            RunName.parse(content["run"])  # it becomes part of file names
            if numbers(content) > 4 * LONGEST:
                raise ValueError(f"its series hold more than {4 * LONGEST:,} numbers")
            body = {name: value for name, value in content.items() if name != "seal"}
            return cls(**{**unpacked_tree(body), "altered": altered(content)})
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path}: not a record ({error})") from None


def write_whole(text: str, path: Path) -> Path:
    """Write a file so that a reader sees all of it or none. Raises OSError."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def refuse_other_kinds(cls: type, content: dict) -> None:
    """Raises TypeError for a field that is not of the kind that the dataclass says: dict, list[str], dict | None."""
    for name, kind in get_type_hints(cls).items():
        value = content.get(name)
        items = value if get_origin(kind) is list and isinstance(value, list) else []
        kinds = list if get_origin(kind) is list else get_args(kind) or kind
        if name in content and not (isinstance(value, kinds) and all(isinstance(v, get_args(kind)) for v in items)):
            raise TypeError(f"its {name} is not of the kind {kind if get_args(kind) else kind.__name__}")


def other_schema(version) -> str:
    """What to do about a record of another version."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        advice = "it was written by a newer checkout; read it with that one"
    else:
        advice = "numbers of other versions mean other things; run it again, or read it with the commit it names"
    return f"schema {version}, this program reads {SCHEMA_VERSION}: {advice}"


def recipe_section(path: Path) -> dict:
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
