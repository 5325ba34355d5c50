"""What a gate found, as people and programs read it. No torch here."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass

import pandas as pd

from bench.errors import escape_markdown, plain
from bench.judging.verdict import AMBIGUOUS, EXIT, FAIL, INCOMPLETE, NEW, PASS, Evidence, Finding


@dataclass(frozen=True)
class Outcome:
    """The verdict on a session, with the finding on each cell and metric, and what else a reader must know."""

    title: str
    verdict: str
    findings: list[Finding]
    notes: list[str]
    if_open: str = ""  # what to do about AMBIGUOUS where more pairs are no answer

    def frame(self) -> pd.DataFrame:
        return pd.DataFrame([finding_row(found) for found in self.findings])

    def console(self, width: int | None = None) -> str:
        """For a terminal: a table where it fits, else a few lines for each finding."""
        lines = [f"{self.title}: {self.verdict}"]
        if self.findings:
            table = self.frame().to_markdown(index=False, tablefmt="simple", disable_numparse=True)
            fits = max(map(len, table.splitlines())) <= (width or shutil.get_terminal_size((160, 40)).columns)
            lines.append(table if fits else "\n".join(map(finding_lines, self.findings)))
        after = (self.verdict == AMBIGUOUS and self.if_open) or NEXT[self.verdict]
        return plain(
            "\n".join([*lines, *(f"- {note}" for note in self.notes), f"exit code {EXIT[self.verdict]}: {after}"])
        )

    def markdown(self) -> str:
        parts = [f"### {escape_markdown(self.title)}: {self.verdict}"]
        if self.findings:
            parts.append(self.frame().map(escape_markdown).to_markdown(index=False, disable_numparse=True))
        return "\n\n".join([*parts, "\n".join(f"- {escape_markdown(note)}" for note in self.notes)]) + "\n"


def finding_row(found: Finding) -> dict[str, str]:
    """Changes for people: a share of the value, or points; positive is always better."""
    one = found.evidence
    between = "" if one.df is None else f"{format_change(found.low, one)} to {format_change(found.high, one)}"
    base, candidate = ("", "") if one.levels is None else (one.tolerance.show(level) for level in one.levels)
    return {
        "cell": one.cell,
        "metric": one.metric,
        "n": str(one.n) if one.n else "",
        "base": base,
        "candidate": candidate,
        "better by": format_change(one.estimate, one) if one.n else "",
        "95 % interval": between,
        "accepted loss": f"{one.tolerance.margin * 100:g}" + (" points" if one.tolerance.absolute else " %"),
        "verdict": found.verdict + (f" ({found.reason})" if found.reason else ""),
    }


def finding_lines(found: Finding) -> str:
    """A finding where a table is too wide."""
    row = finding_row(found)
    said = {name: row[name] for name in ("better by", "95 % interval", "accepted loss", "n") if row[name]}
    levels = f"    base {row['base']}, candidate {row['candidate']}" if row["base"] else ""
    lines = [f"  {row['cell']} {row['metric']}: {row['verdict']}",
             "    " + ", ".join(f"{name} {value}" for name, value in said.items()), levels]  # fmt: skip
    return "\n".join(line for line in lines if line.strip())


def format_change(change: float, one: Evidence) -> str:
    """A change as it is kept (a logarithm, or a share) as people read it."""
    if one.tolerance.absolute:
        return f"{change * 100:+.2f} points"
    return f"{math.expm1(change) * 100:+.2f} %"


NEXT = {
    PASS: "nothing is worse by more than is accepted: merge it",
    FAIL: "worse by more than is accepted: look at the metric named, bench.attribute says where a step's time goes",
    AMBIGUOUS: "neither was shown: the same command goes on with more pairs; or accept a larger --margin, or find a"
    " quieter host",
    INCOMPLETE: "something was not measured on both sides, or a record is of no use: see the reasons, measure it, and"
    " run this again",
    NEW: "there is nothing to compare with: bench.gate --promote makes a baseline of records that you trust",
}
