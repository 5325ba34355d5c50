"""Text that came from elsewhere (card names, data set names, file names), made harmless for where it is shown.

HTML is escaped by jinja2 itself; the other places have their functions here.
"""

from __future__ import annotations

import re

# Escape sequences and control characters would drive the reader's terminal; a tab or a newline breaks a row.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# Marks that reorder text: a name could show itself as another name (Trojan Source, CVE-2021-42574).
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: object) -> str:
    """For a terminal: printable text and newlines, nothing that acts."""
    return DIRECTION.sub("", CONTROL.sub("", str(text)))


def one_line(text: object) -> str:
    return plain(text).replace("\n", " ")


def markdown(text: object) -> str:
    """For a cell of a Markdown table: no pipe ends it, no tag, link or emphasis begins in it."""
    escaped = re.sub(r"([\\`*_\[\]|#])", r"\\\1", one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def spreadsheet(text: object) -> str:
    """For CSV: a spreadsheet would run a cell that begins like a formula (OWASP, CSV injection); a number is none."""
    line = one_line(text)
    is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", line)
    return f"'{line}" if line[:1] in "=+-@" and line and not is_number else line
