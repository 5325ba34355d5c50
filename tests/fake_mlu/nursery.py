"""Run snippets of Python in forked children of one process that has imported torch: a fork is cheap, an import is not.

Reads one JSON object a line, {"code", "environment", "folder"}; the child's stdout and stderr go to files in `folder`,
its exit status comes back as a line. The child imports the stand-in itself, so its environment decides everything.
"""

import json
import os
import sys
from pathlib import Path

import torch  # noqa: F401 (what the children need not import again)


def become(request: dict) -> None:
    """Turn this child into the process that was asked for."""
    os.environ.update(request["environment"])
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(Path(request["folder"], name), os.O_WRONLY | os.O_CREAT), descriptor)
    exec(request["code"], {"__name__": "__main__"})


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            become(json.loads(line))
            return  # through the interpreter's own exit, so that a stand-in which crashes there is seen
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
