"""How much the service takes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from bench.options import Bounds


@dataclass(frozen=True)
class Limits:
    """What the service takes on; anything beyond is refused at once."""

    megabytes: Annotated[float, Bounds(above=0, most=4096)] = 16
    """of a request"""
    megapixels: Annotated[float, Bounds(above=0, most=4096)] = 32
    """of an image"""
    pictures: Annotated[int, Bounds(1)] = 64
    """in a request"""
    requests: Annotated[int, Bounds(1)] = 128
    """at once; more get 503"""
    connections: Annotated[int, Bounds(1)] = 800
    """open at once, idle ones too; more get 503. The system's own limit (`ulimit -n`) must be higher"""
    waiting: Annotated[int, Bounds(1)] = 512
    """images that wait to be read; more get 503"""
    upload_seconds: Annotated[float, Bounds(above=0, most=86400)] = 10
    """for a request to arrive, and for its answer to be taken"""
    answer_seconds: Annotated[float, Bounds(above=0, most=86400)] = 10
    """for its images to be decoded and read"""
    drain_seconds: Annotated[int, Bounds(0, 86400)] = 30
    """after SIGTERM, to finish what has begun"""

    @property
    def most_bytes(self) -> int:
        return int(self.megabytes * 1e6)
