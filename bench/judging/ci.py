"""Telling a CI service: GitHub's step summary and annotations, a JUnit file for GitLab and Jenkins. No torch here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree

from bench.errors import plain
from bench.files import write_file
from bench.judging.outcome import Outcome, finding_row
from bench.judging.verdict import AMBIGUOUS, FAIL, INCOMPLETE, NEW, PASS
from bench.options import Metavar

LEVEL = {FAIL: "error", INCOMPLETE: "error", AMBIGUOUS: "warning", NEW: "notice"}
# A green "skipped" is read as fine; GitLab and Jenkins show errors beside failures, and judge by the exit code.
ELEMENT = {FAIL: "failure", INCOMPLETE: "error", AMBIGUOUS: "error", NEW: "skipped"}
MARKER = "<!-- crnn-bench gate -->"  # by which a workflow finds its own comment again


@dataclass(kw_only=True)
class CiOptions:
    """Where a verdict is written."""

    github: bool = False
    """Write GitHub's step summary and annotations"""
    junit: Annotated[Path | None, Metavar("FILE")] = None
    """Write a JUnit report"""
    markdown: Annotated[Path | None, Metavar("FILE")] = None
    """Write the verdict as Markdown"""


def publish(outcome: Outcome, options: CiOptions) -> None:
    """Write what the options ask for."""
    if options.github:
        github(outcome)
    if options.junit:
        junit(outcome, options.junit)
    if options.markdown:
        write_file(options.markdown, f"{MARKER}\n{outcome.markdown()}")


def github(outcome: Outcome) -> None:
    """Append to $GITHUB_STEP_SUMMARY, and annotate what is not a pass."""
    if place := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(place).open("a", encoding="utf8") as summary:
            summary.write(outcome.markdown())
    for found in outcome.findings:
        if found.verdict != PASS:
            cells = finding_row(found)
            said = f"{cells['better by']} ({cells['95 % interval']}), accepted {cells['accepted loss']}"
            print(annotation(LEVEL[found.verdict], f"{cells['cell']} {cells['metric']}: {found.verdict}", said))
    if outcome.verdict != PASS and not outcome.findings:
        print(annotation(LEVEL[outcome.verdict], outcome.title, "; ".join(outcome.notes)))


def annotation(level: str, title: str, said: str) -> str:
    """A workflow command; its own characters are escaped as actions/toolkit does."""
    text = plain(said).replace("%", "%25").replace("\n", "%0A")
    name = plain(title).replace("%", "%25").replace("\n", "%0A").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{text}"


def junit(outcome: Outcome, path: Path) -> None:
    """One test case a finding: FAIL is a failure, what is open an error, what is new skipped. ElementTree escapes."""
    suite = ElementTree.Element("testsuite", name="bench gate", tests=str(max(1, len(outcome.findings))))
    for found in outcome.findings:
        case = ElementTree.SubElement(
            suite, "testcase", classname=plain(found.evidence.cell), name=found.evidence.metric
        )
        mark(case, found.verdict, ", ".join(f"{name} {value}" for name, value in finding_row(found).items()))
    if not outcome.findings:
        mark(
            ElementTree.SubElement(suite, "testcase", name=plain(outcome.title)),
            outcome.verdict,
            "; ".join(outcome.notes),
        )
    for name, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(len(suite.findall(f".//{element}"))))
    ElementTree.indent(suite)
    write_file(path, ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True))


def mark(case: ElementTree.Element, verdict: str, said: str) -> None:
    if verdict != PASS:
        ElementTree.SubElement(case, ELEMENT[verdict], message=plain(f"{verdict}: {said}"))
