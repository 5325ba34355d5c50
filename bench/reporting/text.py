"""Text that came from elsewhere (card names, data set names, file names), made harmless for where it is shown.

HTML is escaped by jinja2 itself; the other places have their functions here.
"""

from __future__ import annotations

import re
import unicodedata

# Escape sequences and control characters would drive the reader's terminal; a tab or a newline breaks a row.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# Marks that reorder text: a name could show itself as another name (Trojan Source, CVE-2021-42574).
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
HALVES = re.compile("[\ud800-\udfff]")  # of a pair: what a name that is not UTF-8 becomes; no file takes them


def plain(text: object) -> str:
    """For a terminal: printable text and newlines, nothing that acts."""
    return HALVES.sub("\ufffd", DIRECTION.sub("", CONTROL.sub("", str(text))))


def printable(value: object) -> object:
    """jinja2's `finalize`: text loses what is not to be seen before it is escaped; markup is ours and stays."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def one_line(text: object) -> str:
    """For a line of a log: no newline begins another one."""
    return re.sub("[\n\u2028\u2029]", " ", plain(text))


def markdown(text: object) -> str:
    """For a cell of a Markdown table: no pipe ends it, no tag, link (a bare address is one) or emphasis begins."""
    escaped = re.sub(r"([\\`*_~\[\]|#]|:(?=//)|(?<=www)\.)", r"\\\1", one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def spreadsheet(text: object) -> str:
    """For CSV: a spreadsheet would run a cell that begins like a formula (OWASP, CSV injection); a number is none."""
    line = one_line(text)
    is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", line)
    begins = unicodedata.normalize("NFKC", line.lstrip()[:1])  # some programs take a full-width sign for its like
    return f"'{line}" if begins and begins in "=+-@" and not is_number else line
