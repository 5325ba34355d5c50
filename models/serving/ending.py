"""The end of the service, in time."""

from __future__ import annotations

import multiprocessing
import os
import threading
from types import FrameType

import uvicorn

SHARE = 0.9  # of the time: what uvicorn has to answer what has begun; the rest is for connections and threads to end


class EndingServer(uvicorn.Server):
    """uvicorn's server, which has ended so many seconds after a signal even where a thread or a process hangs."""

    def __init__(self, config: uvicorn.Config, seconds: float):
        super().__init__(config)
        self.seconds = seconds
        config.timeout_graceful_shutdown = SHARE * seconds  # type: ignore[assignment]  # asyncio takes parts of one

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        limit = threading.Timer(self.seconds, end_now)
        limit.daemon = True
        limit.start()


def end_now() -> None:
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(0)
