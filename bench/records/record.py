"""One run, one JSON file: what was run, on what, what was measured, and whether it can be believed. No torch here.

Units are in the names. A value that was not measured is null. Every field is declared here or in sections.py;
`results/README.md` is made from the declarations. What people read is derived from raw series in the same file, long
series are packed, the whole is sealed (derive.py, packing.py, seal.py).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict

from bench.errors import UserError
from bench.files import ROOT, read_regular, write_error_reason, write_file
from bench.records import sections
from bench.records.packing import LONGEST, count_packed, packed_tree, unpacked_tree
from bench.records.run_name import RunName
from bench.records.seal import altered, sealed
from bench.records.sections import Field

SCHEMA_VERSION = 5
# 4: limits hold their spread. 5: contents and variables are part of the key, quarters of steadiness, words read.
# Older records keep the rules they were made under.
READABLE = (3, 4, SCHEMA_VERSION)
SINCE = {"audit": 5}  # fields that older records do not have
LARGEST = 1 << 26  # bytes of a record file; 30 epochs of Synth90k on 8 cards at batch 32 take about 30 MB
RUNS = ROOT / "results" / "runs"
# A run that ended in one of these leaves what it had; the others are judged from its series.
FAILURES = ("oom", "diverged", "crash", "interrupted", "timeout")
STATUSES = ("ok", "too_short", "not_steady", *FAILURES)


@dataclass
class Record:
    """Everything about one run. Its sections are declared in bench/records/sections.py."""

    # What was run
    run: Annotated[str, Field("name of what really ran, in the grammar of bench/records/run_name.py")]
    task: Annotated[str, Field("Train or Infer")]
    cell: Annotated[sections.Cell, Field()]
    recipe: Annotated[sections.Recipe, Field()]
    options: Annotated[dict[str, Any], Field("every option of the program, as it was used")]
    dataset: Annotated[sections.Dataset, Field()]
    provenance: Annotated[sections.Provenance, Field()]
    # Raw measurements
    series: Annotated[list[sections.RankSeries], Field()]
    warmup_steps: Annotated[int, Field("steps at the start of each series that no derived number uses")]
    minimum: Annotated[sections.Minimum, Field()] = field(
        default_factory=lambda: sections.Minimum(steps=0, seconds=0.0)
    )
    samples: Annotated[list[sections.Samples], Field()] = field(default_factory=list)
    limits: Annotated[list[sections.Ceilings], Field()] = field(default_factory=list)
    memory: Annotated[sections.Memory, Field()] = field(default_factory=sections.Memory)
    # Derived from them by bench.records.derive
    throughput: Annotated[sections.Throughput, Field()] = field(default_factory=sections.Throughput)
    ranks: Annotated[list[sections.RankShare], Field()] = field(default_factory=list)
    steady: Annotated[sections.Steady, Field()] = field(default_factory=sections.Steady)
    efficiency: Annotated[sections.Efficiency | None, Field()] = None
    telemetry: Annotated[list[sections.CardTelemetry], Field()] = field(default_factory=list)
    power: Annotated[sections.Power | None, Field()] = None
    # Measured and derived together
    phases_s: Annotated[sections.Phases, Field()] = field(default_factory=sections.Phases)
    latency: Annotated[list[sections.Latency], Field()] = field(default_factory=list)
    accuracy: Annotated[sections.Accuracy | None, Field()] = None
    # Evidence
    training: Annotated[sections.TrainingResult | None, Field()] = None
    audit: Annotated[sections.Audit | None, Field()] = None
    breakdown: Annotated[sections.Breakdown | None, Field()] = None
    loadgen: Annotated[sections.LoadGen | None, Field()] = None
    precision_evidence: Annotated[dict[str, Any], Field("switches as read back after they were set")] = field(
        default_factory=dict
    )
    preflight: Annotated[list[sections.PreflightCheck], Field()] = field(default_factory=list)
    fallbacks: Annotated[
        list[str], Field("operators the device has no kernel for: the host ran them, and part of the throughput is its")
    ] = field(default_factory=list)
    seeds: Annotated[sections.Seeds, Field()] = field(default_factory=sections.Seeds)
    status: Annotated[str, Field(f"{' | '.join(STATUSES)} (derived, but for {', '.join(FAILURES)})")] = "ok"
    status_reasons: Annotated[list[str], Field("why the status is not ok, in words")] = field(default_factory=list)
    started_utc: Annotated[str, Field("ISO 8601")] = field(
        default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds")
    )
    record_id: Annotated[str, Field("random, 32 hex digits")] = field(default_factory=lambda: uuid.uuid4().hex)
    schema_version: Annotated[int, Field(f"{SCHEMA_VERSION}; {', '.join(map(str, READABLE))} are read")] = (
        SCHEMA_VERSION
    )
    # Of the file it was read from: cells that are not what was sealed. Never written.
    altered: list[str] = field(default_factory=list, compare=False)

    @property
    def host(self) -> str:
        """Name of the machine; empty where it was not kept."""
        return self.provenance.get("host") or ""

    def save(self, folder: Path = RUNS) -> Path:
        """Write the record whole or not at all; names never collide with those of other processes.

        Raises UserError where that cannot be done; hours of measuring are then not lost but in the folder it names.
        """
        stamp = self.started_utc.replace(":", "").replace("-", "").partition("+")[0]
        name = f"{self.run}.{stamp}.{self.record_id[:8]}.json"
        text = json.dumps(sealed(self.body()), indent=1, allow_nan=False) + "\n"
        try:
            return write_file(folder / name, text)
        except OSError as error:
            refusal = f"cannot write the record to {folder}: {write_error_reason(error, len(text), folder)}"
        try:
            saved = write_file(Path(tempfile.gettempdir()) / name, text)
        except OSError as error:
            raise UserError(f"{refusal}; nor to {tempfile.gettempdir()}: {error.strerror}") from None
        raise UserError(f"{refusal}; it is {saved}: move it there")

    def body(self) -> dict[str, Any]:
        """As JSON has it: long series packed, paths and the like as text."""
        fields = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.name != "altered" and self.schema_version >= SINCE.get(f.name, 0)
        }
        content: dict[str, Any] = json.loads(json.dumps(packed_tree(fields), default=str))
        return content

    @classmethod
    def load(cls, path: Path) -> Record:
        """Raises UserError naming the file when it is no record of this schema. A broken seal is told in `altered`."""
        try:
            content = json.loads(read_regular(path, LARGEST))
            version = content["schema_version"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not a record ({error})") from None
        if version not in READABLE:
            raise UserError(f"{path}: {other_schema(version)}")
        known = {f.name for f in dataclasses.fields(cls)}
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        if wrong := sorted((set(content) - known - {"seal"}) | (required - set(content))):
            raise UserError(f"{path}: unknown or missing fields: {', '.join(wrong)}")
        try:
            refuse_other_kinds(content)
            RunName.parse(content["run"])  # it becomes part of file names
            if count_packed(content) > 4 * LONGEST:
                raise ValueError(f"its series hold more than {4 * LONGEST:,} numbers")
            body = {name: value for name, value in content.items() if name != "seal"}
            return cls(**{**unpacked_tree(body), "altered": altered(content)})
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path}: not a record ({error})") from None


def read_seal(path: Path) -> str:
    """What is signed of a record: the sha256 that its seal names, with a newline. Raises UserError."""
    try:
        return f"{json.loads(read_regular(path))['seal']['sha256']}\n"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no seal ({error})") from None


def refuse_other_kinds(content: dict[str, Any]) -> None:
    """Raises TypeError for a section or top-level field that is of another JSON kind than Record declares."""
    for name, kind in declared_kinds().items():
        parts = get_args(kind) if get_origin(kind) is UnionType else (kind,)
        if name in content and not any(is_json_kind(content[name], part) for part in parts):
            raise TypeError(f"its {name} is a {type(content[name]).__name__}, or a list of other items than declared")


@cache
def declared_kinds() -> dict[str, Any]:
    return get_type_hints(Record)


def is_json_kind(value: object, kind: Any) -> bool:
    """Whether a value is the object, the list of objects or texts, or the plain value that `kind` says."""
    if get_origin(kind) is list:
        return isinstance(value, list) and all(is_json_kind(item, get_args(kind)[0]) for item in value)
    return isinstance(value, dict if is_typeddict(kind) else get_origin(kind) or kind)


def other_schema(version: object) -> str:
    """What to do about a record of another version."""
    if isinstance(version, int) and version > SCHEMA_VERSION:
        advice = "it was written by a newer checkout; read it with that one"
    else:
        advice = "numbers of other versions mean other things; run it again, or read it with the commit it names"
    return f"schema {version}, this program reads {', '.join(map(str, READABLE))}: {advice}"


def recipe_section(path: Path) -> sections.Recipe:
    return {"name": path.stem, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
