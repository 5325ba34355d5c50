"""Run a module of this checkout from any folder: `python run_scripts/module.py models.train --help`.

As `python -P -m` of Python 3.11 does, and on 3.10 too: the working folder is not on sys.path, so that a project's own
models/ or random.py in it is never taken for ours.
"""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parent), *(place for place in sys.path if place not in ("", str(here), str(here.parent)))]
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
