"""Long lists of numbers as short JSON: `{"packed": "eJw...", "as": "int64", "scale": 10000000, "n": 12000}`. Lossless.

Bytes are put in planes (all lowest bytes first) before zlib: neighbouring steps differ in their low bytes only, so the
high planes vanish. A step of a steady run then costs about two bytes.
"""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Json = Any  # a JSON value: its dictionaries and lists hold the same
Numbers = NDArray[Any]

TICKS_PER_S = 10_000_000  # times are kept to 0.1 us: the steps measured here take 1 ms and more
SHORTEST = 64  # shorter lists stay readable
LONGEST = 1 << 24  # longer ones are no series: 30 epochs of Synth90k are 7 million steps at batch 32


@overload
def ticks(seconds: float) -> float: ...
@overload
def ticks(seconds: Sequence[float]) -> list[float]: ...
def ticks(seconds: float | Sequence[float]) -> float | list[float]:
    """Seconds, one or many, rounded to whole ticks: what is derived from them can be derived again to the bit."""
    rounded: float | list[float] = (np.rint(np.asarray(seconds, float) * TICKS_PER_S) / TICKS_PER_S).tolist()
    return rounded


def pack(values: list[Any]) -> dict[str, Any]:
    """`values` are numbers, all int or all float. The smallest of the types that keeps every bit is used."""
    array = np.asarray(values)
    kept, scale = (narrowed(array) if array.dtype.kind == "f" else array.astype("<i8")), 1
    if kept.dtype.kind == "f" and (counted := whole_ticks(array)) is not None:
        kept, scale = counted, TICKS_PER_S
    planes = kept.view(np.uint8).reshape(len(kept), -1).T.tobytes()
    text = base64.b64encode(zlib.compress(planes, 6)).decode()
    return {"packed": text, "as": kept.dtype.name, "scale": scale, "n": len(kept)}


@np.errstate(over="ignore", invalid="ignore")
def whole_ticks(array: Numbers) -> Numbers | None:
    """Floats as int64 ticks, or None where that would lose a bit (or the sign of a zero)."""
    counted = np.rint(array * TICKS_PER_S)
    exact = np.abs(counted) < 2**53
    exact &= (counted / TICKS_PER_S == array) & (np.signbit(array) == (counted < 0))
    return counted.astype("<i8") if exact.all() else None


@np.errstate(over="ignore")
def narrowed(array: Numbers) -> Numbers:
    """As float32 where that keeps every bit, else as float64."""
    single = array.astype("<f4")
    return single if np.array_equal(single, array, equal_nan=True) else array.astype("<f8")


def unpack(packed: dict[str, Any]) -> list[Any]:
    """The list that `pack` was given. Raises ValueError (also KeyError, TypeError) for what `pack` did not write."""
    if packed["as"] not in ("int64", "float32", "float64"):
        raise ValueError(f"a series packed as {packed['as']!r}")
    kind, count = np.dtype(packed["as"]).newbyteorder("<"), packed["n"]
    if not 0 < count <= LONGEST:
        raise ValueError(f"a series of {count} numbers")
    try:  # a few bytes can say gigabytes: no more is unpacked than the numbers take, and one byte to notice it
        planes = zlib.decompressobj().decompress(
            base64.b64decode(packed["packed"], validate=True), count * kind.itemsize + 1
        )
    except zlib.error as error:
        raise ValueError(f"a damaged series ({error})") from None
    kept = np.frombuffer(planes, np.uint8).reshape(kind.itemsize, count).T.copy().view(kind)[:, 0]
    values: list[Any] = (kept / packed["scale"] if packed["scale"] != 1 else kept).tolist()
    return values


def packable(value: Json) -> bool:
    """A long list of numbers of one kind."""
    return isinstance(value, list) and len(value) >= SHORTEST and {type(v) for v in value} in ({int}, {float})


def packed_tree(value: Json) -> Json:
    """A JSON value with its long lists packed, and what JSON cannot say (NaN, infinity) null."""
    if packable(value):
        return pack(value)
    if isinstance(value, dict):
        return {str(key): packed_tree(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [packed_tree(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def count_packed(value: Json) -> int:
    """How many numbers the packed lists of a JSON value say they hold."""
    if isinstance(value, dict):
        return value["n"] if "packed" in value else sum(map(count_packed, value.values()))
    return sum(map(count_packed, value)) if isinstance(value, list) else 0


def unpacked_tree(value: Json) -> Json:
    if isinstance(value, dict):
        if "packed" in value:
            return unpack(value)
        return {key: unpacked_tree(inner) for key, inner in value.items()}
    return [unpacked_tree(inner) for inner in value] if isinstance(value, list) else value
