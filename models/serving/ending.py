"""The end of the service, in time."""

from __future__ import annotations

import multiprocessing
import os
import threading
from types import FrameType

import uvicorn

GRACE_S = 1  # after uvicorn's own time, which ends connections and leaves threads


class EndingServer(uvicorn.Server):
    """uvicorn's server, which ends with its time to drain even where a thread or a process hangs."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        limit = threading.Timer((self.config.timeout_graceful_shutdown or 0) + GRACE_S, end_now)
        limit.daemon = True
        limit.start()


def end_now() -> None:
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(0)
