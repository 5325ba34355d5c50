"""An index of record files, so that ten thousand of them are read once. No torch here.

A line for each file, by the digest of its bytes: what a table needs to sort and compare, or why the file is refused.
The JSON files stay the truth: a file that changed is another digest, changed rules are another index, and the index
file may be deleted at any time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from bench.errors import UserError
from bench.files import read_regular
from bench.judging.policy import TOLERANCES
from bench.records import cells
from bench.records.checks import validation_errors
from bench.records.record import LARGEST, Record

NAME = "index.sqlite"
WORTH = 200  # files in a folder from which on an index is kept
PROCESSES = 2
DIFFERENT = 20  # step times of a record that make its series its own: clocks do not repeat themselves


@dataclass(frozen=True)
class Entry:
    """What is known of a record without reading it again."""

    record_id: str
    run: str
    card: str
    key: str  # configuration and environment
    speed_key: str  # the same without the weights' values
    configuration: str
    build: str
    commit: str | None
    dirty: bool | None
    host: str
    started_utc: str
    failed: bool
    simulated: bool
    series: str | None  # digest of the raw series, where they are long enough to be unique
    values: dict[str, float]  # of the gated metrics
    path: str = ""
    file_sha256: str = ""

    def record(self) -> Record:
        """The whole record. Raises UserError where the file is no longer what was examined."""
        path = Path(self.path)
        if file_digest(path) != self.file_sha256:
            raise UserError(f"{path}: changed while it was being read")
        return Record.load(path)


def make_entry(record: Record, path: Path | None = None, digest: str = "") -> Entry:
    values = {name: tolerance.read(record) for name, tolerance in TOLERANCES.items()}
    return Entry(
        record.record_id, record.run, record.cell["card"], cells.key(record), cells.speed_key(record),
        cells.configuration_key(record), cells.short_hash(cells.build_of(record)), *cells.code_version(record),
        record.host, record.started_utc, cells.is_failed(record), cells.is_simulated_card(record),
        series_digest(record), {name: value for name, value in values.items() if value is not None},
        str(path or ""), digest,
    )  # fmt: skip


def series_digest(record: Record) -> str | None:
    """Of the step times of every rank; None where they are so few, or so round, that two runs may share them."""
    times = [rank["step_s"] for rank in record.series]
    if len({one for rank in times for one in rank}) < DIFFERENT:
        return None
    return sha256(json.dumps(times).encode()).hexdigest()[:24]


def file_digest(path: Path) -> str:
    """Raises UserError for what cannot be read, or is too large for a record."""
    try:
        return sha256(read_regular(path, LARGEST)).hexdigest()
    except (OSError, UserError) as error:
        raise UserError(f"{path}: not a record ({str(error).removeprefix(f'{path}: ')})") from None


def examine_record(path: Path) -> str:
    """A file's line of the index: its entry, or why it is refused, as JSON."""
    try:
        record = Record.load(path)
        if errors := validation_errors(record):
            more = f"; and {len(errors) - 2} more, which bench.verify names" if len(errors) > 2 else ""
            return json.dumps({"refused": "; ".join(errors[:2]) + more})
        content = asdict(make_entry(record))
        return json.dumps({name: value for name, value in content.items() if name not in ("path", "file_sha256")})
    except UserError as refusal:
        return json.dumps({"refused": str(refusal).removeprefix(f"{path}: ")})
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return json.dumps({"refused": f"a section is not as results/README.md says: {type(error).__name__} {error}"})


@cache
def rules_digest() -> str:
    """Of the code by which records are examined: what other rules said is not believed."""
    folder = Path(__file__).resolve().parents[1]
    files = sorted([*(folder / "records").glob("*.py"), folder / "judging" / "policy.py", Path(__file__)])
    return sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class Index:
    """The lines of one folder. Where the folder cannot be written to, they live as long as the program."""

    def __init__(self, folder: Path, keep: bool):
        self.lines: dict[str, str] = {}
        self.database = None
        if keep:
            try:
                self.database = open_database(folder / NAME)
                self.lines = dict(
                    self.database.execute("SELECT digest, line FROM records WHERE rules = ?", [rules_digest()])
                )
            except sqlite3.Error:
                self.database = None

    def add(self, lines: dict[str, str]) -> None:
        self.lines |= lines
        if self.database is None or not lines:
            return
        try:
            with self.database:
                self.database.execute("DELETE FROM records WHERE rules != ?", [rules_digest()])
                rows = [(digest, rules_digest(), line) for digest, line in lines.items()]
                self.database.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", rows)
        except sqlite3.Error:
            self.database = None


def open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10)
    database.execute("CREATE TABLE IF NOT EXISTS records (digest TEXT PRIMARY KEY, rules TEXT, line TEXT)")
    return database


def examined(files: Sequence[Path]) -> Iterable[tuple[Path, str, str]]:
    """(file, digest, line) of every file, in order; those that the index of their folder knows are not read again."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    for folder, some in folders.items():
        index = Index(folder, keep=len(some) >= WORTH)
        digests = {file: digest_or_reason(file) for file in some}
        new = {digests[file]: file for file in some if digests[file] not in index.lines}
        index.add(dict(zip(new, examine_all(list(new.values())), strict=True)))
        yield from ((file, digests[file], index.lines[digests[file]]) for file in some)


def digest_or_reason(file: Path) -> str:
    """Something that is the same only for the same bytes, or the same reason."""
    try:
        return file_digest(file)
    except UserError as refusal:
        return str(refusal)


def examine_all(files: list[Path]) -> list[str]:
    if len(files) < WORTH:
        return [examine_record(file) for file in files]
    with ProcessPoolExecutor(PROCESSES) as pool:
        return list(pool.map(examine_record, files, chunksize=50))
