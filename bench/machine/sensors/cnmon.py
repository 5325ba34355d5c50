"""Read Cambricon's `cnmon`: the table it prints, `cnmon info`, and the JSON that `cnmon info -j` leaves behind.

The table has two layouts: drivers up to 4.20 write the driver into each card's row, 5.10 and later into the heading.
Both are parsed from published samples (PaddlePaddle's and CNStream's install pages). No public sample of the text and
the JSON of `cnmon info` was found; their keys come from programs that read them, so they are matched loosely and are
asked only when the table said nothing. What is not there is None: never 0, never an exception.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

TIMEOUT_S = 10  # a healthy cnmon answers in well under a second; a hung driver must not hang a run


@dataclass(frozen=True)
class CardStatus:
    """What one MLU reported at one moment. One chip is one device: an MLU370-X8 board carries two."""

    card: int
    name: str | None = None
    driver: str | None = None  # without the leading v
    power_w: float | None = None
    temperature_c: float | None = None
    utilisation_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None


def first_number(value: object) -> float | None:
    """The first number in `value`, which may carry a unit; None for "N/A", "/" and absence."""
    found = re.search(r"-?\d+(?:\.\d+)?", str(value))
    return float(found[0]) if found else None


def first_group(pattern: str, text: str) -> str | None:
    """The first group of the first match, or None."""
    found = re.search(pattern, text)
    return found[1] if found else None


# | 0     /   MLU370-X8    v1.1.6 |         0000:39:00.0 | 0%                N/A |    5.10
# | 0     /   MLU370-X4    v1.1.6 | On          v4.20.11 | 0%          N/A       |    4.20
CARD_ROW = re.compile(r"\|\s*(\d+)\s+\S+\s+(\S+)\s+v[\d.]+\s*\|([^|]*)\|\s*(\S+)[^|]*\|")


def parse_table(text: str) -> list[CardStatus]:
    """Cards of a bare `cnmon`, in either layout. Each card has two rows: what it is, then what it draws."""
    cards_only = text.split("Processes:")[0]
    heading_driver = first_group(r"Driver\s+v([\d.]+)", cards_only)
    return [
        _table_reading(identity, following, heading_driver)
        for line, following in pairwise([*cards_only.splitlines(), ""])
        if (identity := CARD_ROW.match(line.strip()))
    ]


def _table_reading(identity: re.Match[str], meters: str, heading_driver: str | None) -> CardStatus:
    """`meters` is the row below, such as `|  0%   32C   106 W/ 250 W |  0 MiB/ 23374 MiB | N/A   Default |`."""
    card, name, middle, utilisation = identity.groups()
    return CardStatus(
        card=int(card),
        name=name,
        driver=first_group(r"v([\d.]+)", middle) or heading_driver,
        power_w=first_number(first_group(r"([\d.]+)\s*W\s*/", meters)),
        temperature_c=first_number(first_group(r"(-?\d+)\s*C\b", meters)),
        utilisation_percent=first_number(utilisation),
        memory_used_mib=first_number(first_group(r"(\d+)\s*MiB\s*/", meters)),
        memory_total_mib=first_number(first_group(r"MiB\s*/\s*(\d+)\s*MiB", meters)),
    )


# (section, key) of `cnmon info`, in lower case; keys before any section have none.
INFO_FIELDS: dict[tuple[str, str], tuple[str, Callable[[str], object]]] = {
    ("", "product name"): ("name", str),
    ("", "driver"): ("driver", lambda value: value.lstrip("vV")),
    ("power", "usage"): ("power_w", first_number),
    ("temperature", "chip"): ("temperature_c", first_number),
    ("utilization", "mlu average"): ("utilisation_percent", first_number),
    ("physical memory usage", "used"): ("memory_used_mib", first_number),
    ("physical memory usage", "total"): ("memory_total_mib", first_number),
}


def parse_info(text: str) -> list[CardStatus]:
    """Cards of `cnmon info`: a `Card N` line, then indented `Key : value` lines in named sections."""
    readings, section = [], ""
    for line in text.splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if card := first_group(r"(?i)^\s*card\s*:?\s*(\d+)\s*$", line):
            readings.append(CardStatus(int(card)))
            section = ""
        elif key and not value:
            section = key.lower()
        elif readings:
            readings[-1] = _with_field(readings[-1], section, key.lower(), value)
    return readings


def _with_field(reading: CardStatus, section: str, key: str, value: str) -> CardStatus:
    known = INFO_FIELDS.get((section, key)) or INFO_FIELDS.get(("", key))
    if known is None:
        return reading
    field, convert = known
    return replace(reading, **{field: convert(value)})  # type: ignore[arg-type]  # INFO_FIELDS has the right kinds


def parse_json(text: str) -> list[CardStatus]:
    """Cards of `cnmon_info.json`. Raises ValueError when it is not JSON of that shape."""
    cards = json.loads(text)
    if not isinstance(cards, dict) or not isinstance(cards.get("CnmonInfo"), list):
        raise ValueError("cnmon_info.json has no list CnmonInfo")
    return [_json_reading(position, card) for position, card in enumerate(cards["CnmonInfo"]) if isinstance(card, dict)]


def _json_reading(position: int, card: dict[str, Any]) -> CardStatus:
    def of(section: str, key: str) -> float | None:
        found = card.get(section)
        return first_number(found.get(key)) if isinstance(found, dict) else None

    own_number = first_number(card.get("CardNum"))
    return CardStatus(
        card=position if own_number is None else int(own_number),
        name=card.get("ProductName"),
        power_w=of("Power", "Usage"),
        temperature_c=of("Temperature", "Chip"),
        utilisation_percent=of("Utilization", "MLUAverage"),
        memory_used_mib=of("PhysicalMemUsage", "Used"),
        memory_total_mib=of("PhysicalMemUsage", "Total"),
    )


def call_cnmon(arguments: Sequence[str], folder: str) -> str:
    """Output of `cnmon` run in `folder`. Raises OSError or SubprocessError where there is none or it fails."""
    done = subprocess.run(
        ["cnmon", *arguments], cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    return done.stdout


def _ask_json(folder: str) -> list[CardStatus]:
    call_cnmon(("info", "-e", "-m", "-u", "-j"), folder)
    return parse_json((Path(folder) / "cnmon_info.json").read_text())


WAYS: tuple[Callable[[str], list[CardStatus]], ...] = (
    lambda folder: parse_table(call_cnmon((), folder)),
    lambda folder: parse_info(call_cnmon(("info",), folder)),
    _ask_json,  # writes its answer into the working directory, hence a folder of its own
)


def read_cnmon() -> list[CardStatus] | None:
    """Every card, by the first way of asking that names one; None without the tool, a driver or a card."""
    with tempfile.TemporaryDirectory() as folder:
        for ask in WAYS:
            try:
                readings = ask(folder)
            except (OSError, subprocess.SubprocessError, ValueError):
                continue
            if readings:
                return readings
    return None
