"""What happened on the stand-in, one JSON object a line in the file FAKE_MLU_LOG names (none: nothing kept).

Tests read it to see what a timed span cannot show on a synchronous stand-in: how often the device was
drained, whether the card was chosen before the process group was made, which operators ran.
"""

import atexit
import json
import os
import time
from pathlib import Path

operators: set[str] = set()


def note(event: str, **facts) -> None:
    """Append one event with the process, its rank and a monotonic time in seconds."""
    path = os.environ.get("FAKE_MLU_LOG")
    if not path:
        return
    line = {"event": event, "pid": os.getpid(), "rank": int(os.environ.get("RANK", "0"))}
    line |= {"seconds": time.monotonic(), **facts}
    with Path(path).open("a") as journal:
        journal.write(json.dumps(line) + "\n")


@atexit.register
def _note_operators() -> None:
    if operators:
        note("operators", names=sorted(operators))
