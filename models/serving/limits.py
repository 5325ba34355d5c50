"""How much the service takes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the service takes on; anything beyond is refused at once."""

    megabytes: float = 16
    """of a request"""
    megapixels: float = 32
    """of an image"""
    pictures: int = 64
    """in a request"""
    requests: int = 128
    """at once; more get 503"""
    connections: int = 800
    """open at once, idle ones too; more get 503. The system's own limit (`ulimit -n`) must be higher"""
    waiting: int = 512
    """images that wait to be read; more get 503"""
    upload_seconds: float = 10
    """for a request to arrive, and for its answer to be taken"""
    answer_seconds: float = 10
    """for its images to be decoded and read"""
    drain_seconds: int = 30
    """after SIGTERM, to finish what has begun"""

    @property
    def most_bytes(self) -> int:
        return int(self.megabytes * 1e6)
