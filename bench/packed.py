"""Long lists of numbers as short JSON: `{"packed": "eJw...", "as": "int64", "scale": 10000000, "n": 12000}`. Lossless.

Bytes are put in planes (all lowest bytes first) before zlib: neighbouring steps differ in their low bytes only, so the
high planes vanish. A step of a steady run then costs about two bytes.
"""

from __future__ import annotations

import base64
import math
import zlib

import numpy as np

TICKS_PER_S = 10_000_000  # times are kept to 0.1 us: the steps measured here take 1 ms and more
SHORTEST = 64  # shorter lists stay readable


def ticks(seconds) -> list[float]:
    """Seconds rounded to whole ticks, as they are kept: what is derived from them can be derived again to the bit."""
    return (np.rint(np.asarray(seconds, float) * TICKS_PER_S) / TICKS_PER_S).tolist()


def pack(values: list) -> dict:
    """`values` are numbers, all int or all float. The smallest of the types that keeps every bit is used."""
    array = np.asarray(values)
    scaled = np.rint(array * float(TICKS_PER_S)) if array.dtype.kind == "f" else None
    if scaled is None:
        kept, scale = array.astype("<i8"), 1
    elif np.isfinite(scaled).all() and np.abs(scaled).max() < 2**53 and (scaled / TICKS_PER_S == array).all():
        kept, scale = scaled.astype("<i8"), TICKS_PER_S
    else:
        with np.errstate(over="ignore"):
            single = array.astype("<f4")
        kept, scale = (single if np.array_equal(single, array, equal_nan=True) else array.astype("<f8")), 1
    planes = kept.view(np.uint8).reshape(len(kept), -1).T.tobytes()
    text = base64.b64encode(zlib.compress(planes, 6)).decode()
    return {"packed": text, "as": kept.dtype.name, "scale": scale, "n": len(kept)}


def unpack(packed: dict) -> list:
    """The list that `pack` was given. Raises ValueError (also KeyError, TypeError) for what `pack` did not write."""
    if packed["as"] not in ("int64", "float32", "float64"):
        raise ValueError(f"a series packed as {packed['as']!r}")
    kind = np.dtype(packed["as"]).newbyteorder("<")
    try:
        planes = zlib.decompress(base64.b64decode(packed["packed"], validate=True))
    except zlib.error as error:
        raise ValueError(f"a damaged series ({error})") from None
    kept = np.frombuffer(planes, np.uint8).reshape(kind.itemsize, packed["n"]).T.copy().view(kind)[:, 0]
    return (kept / packed["scale"] if packed["scale"] != 1 else kept).tolist()


def packable(value) -> bool:
    """A long list of numbers of one kind."""
    return isinstance(value, list) and len(value) >= SHORTEST and {type(v) for v in value} in ({int}, {float})


def packed_tree(value):
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


def unpacked_tree(value):
    if isinstance(value, dict):
        if "packed" in value:
            return unpack(value)
        return {key: unpacked_tree(inner) for key, inner in value.items()}
    return [unpacked_tree(inner) for inner in value] if isinstance(value, list) else value
