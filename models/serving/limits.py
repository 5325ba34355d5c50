"""How much the service takes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bench.options import Bounds


@dataclass(frozen=True)
class Limits:
    """What the service takes on; anything beyond is refused at once."""

    megabytes: Annotated[float, Bounds(above=0, most=256)] = 16
    """of a request"""
    held_megabytes: Annotated[float, Bounds(above=0, most=1 << 20)] = 512
    """of all requests that are held at once; more get 503"""
    megapixels: Annotated[float, Bounds(above=0, most=256)] = 32
    """of an image"""
    pictures: Annotated[int, Bounds(1, 10_000)] = 64
    """in a request"""
    requests: Annotated[int, Bounds(1, 100_000)] = 128
    """at once; more get 503"""
    connections: Annotated[int, Bounds(1, 1_000_000)] = 800
    """open at once, idle ones too; more get 503. The system's own limit (`ulimit -n`) must be higher"""
    waiting: Annotated[int, Bounds(1, 1_000_000)] = 512
    """images that wait to be read; more get 503"""
    upload_seconds: Annotated[float, Bounds(above=0, most=3600)] = 10
    """for a request to arrive, and for its answer to be taken"""
    decode_seconds: Annotated[float, Bounds(above=0, most=3600)] = 3
    """of a processor, for the images of a request to be decoded; then 422, and the process is killed"""
    answer_seconds: Annotated[float, Bounds(above=0, most=3600)] = 10
    """for its images to be decoded and read"""
    drain_seconds: Annotated[int, Bounds(0, 3600)] = 30
    """after SIGTERM, to finish what has begun; whatever hangs is then cut off"""

    @property
    def most_bytes(self) -> int:
        return int(self.megabytes * 1e6)

    @property
    def most_held(self) -> int:
        return int(max(self.held_megabytes, self.megabytes) * 1e6)
