"""Which cards the stand-in pretends to have, and the state of the driver under them.

Everything is set by the environment, because the stand-in is only ever used in a process of its own:

FAKE_MLU_COUNT    cards in the machine, 1 to 8 (default 1); 0 is a driver without cards
FAKE_MLU_NAME     a row of `PERSONALITIES` (default MLU370-X8), or one for each card: MLU370-X8,MLU590-M9
FAKE_MLU_DRIVER   a row of `DRIVERS` (default ok)
FAKE_MLU_BUSY     cards that another process holds, such as "2,3"

`MLU_VISIBLE_DEVICES` hides cards as the real library does, and so does a stray `CUDA_VISIBLE_DEVICES`.
"""

import os
from typing import NamedTuple

MIB = 1024 * 1024


class Properties(NamedTuple):
    """The fields of the real `torch.mlu.get_device_properties` (csrc/python/Module.cpp, r2.4_develop)."""

    name: str
    major: int  # 5 and more have bfloat16, 6 and more have fp8
    minor: int
    isa_version: int
    multi_processor_count: int
    cluster_count: int
    core_num_per_cluster: int
    total_memory: int  # bytes
    supports_linear_memory: bool


# Names and memory come from published `cnmon` tables; the core counts are placeholders, not to be quoted.
PERSONALITIES = {
    "MLU370-X8": Properties("MLU370-X8", 3, 7, 372, 8, 8, 4, 23374 * MIB, True),
    "MLU590-M9": Properties("MLU590-M9", 5, 0, 592, 12, 12, 4, 98304 * MIB, True),
}

# What `import torch_mlu`, `is_available()` and a first allocation do in each state of the host.
DRIVERS = {
    "ok": "cards answer",
    "absent": "the wheel imports, no driver: is_available() is False and there are no cards",
    "broken": "cards are counted, the first use of one fails as cnInit does",
    "unloadable": "the wheel's own shared objects do not load: import raises OSError",
}

# First one set wins, as in the real `_parse_visible_devices`: a stray CUDA_VISIBLE_DEVICES hides MLUs too.
VISIBILITY_VARIABLES = ("CN_VISIBLE_DEVICES", "MLU_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


def _row(table: dict, variable: str, default: str, card: int = 0):
    keys = os.environ.get(variable, default).split(",")
    key = keys[card % len(keys)]
    if key not in table:
        raise ValueError(f"{variable}={key} is unknown to the stand-in; one of {', '.join(table)}")
    return key


def driver() -> str:
    """The state of the driver, a key of `DRIVERS`."""
    return _row(DRIVERS, "FAKE_MLU_DRIVER", "ok")


def properties(index: int = 0) -> Properties:
    """The personality of card `index` of this process."""
    return PERSONALITIES[_row(PERSONALITIES, "FAKE_MLU_NAME", "MLU370-X8", visible_cards()[index])]


def visible_cards() -> list[int]:
    """Physical numbers of the cards this process may use, in order; the list stops at a bad entry."""
    installed = 0 if driver() == "absent" else int(os.environ.get("FAKE_MLU_COUNT", "1"))
    chosen = next((os.environ[name] for name in VISIBILITY_VARIABLES if name in os.environ), None)
    if chosen is None:
        return list(range(installed))
    cards: list[int] = []
    for token in chosen.split(","):
        if not token.strip().isdigit() or int(token) >= installed or int(token) in cards:
            break
        cards.append(int(token))
    return cards


def check_usable(index: int) -> None:
    """Fail as the runtime does when card `index` of this process cannot be used."""
    cards = visible_cards()
    if driver() == "broken":
        raise RuntimeError("CNRT error: cnInit failed, the driver does not answer (stand-in)")
    if not 0 <= index < len(cards):
        raise RuntimeError(f"invalid device ordinal: mlu:{index}, {len(cards)} visible (stand-in)")
    if str(cards[index]) in os.environ.get("FAKE_MLU_BUSY", "").split(","):
        raise RuntimeError(f"MLU out of memory: card {cards[index]} is held by another process (stand-in)")
