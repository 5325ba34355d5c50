"""Operators that a device has no kernel for, and that torch ran on the host instead. No torch here.

torch_mlu falls back by default, with a warning (csrc/aten/MLUFallback.cpp, r2.4); torch's own backends use the same
words. A throughput measured with one of them in the loop is in part the host's, so the record keeps their names.
"""

from __future__ import annotations

import re
import warnings
from typing import TextIO

SENTENCE = r"The operator '([\w:.]+)' is not currently supported on the \w+ backend and will fall back"


def record_fallbacks(names: list[str]) -> None:
    """From now on add to `names` each operator that torch warns of. The first warning of each is shown as ever."""
    show = warnings.showwarning

    def listen(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        found = re.match(SENTENCE, str(message))
        if found and found[1] in names:
            return
        if found:
            names.append(found[1])
        show(message, category, filename, lineno, file, line)

    warnings.filterwarnings("always", message=SENTENCE)  # even if PYTHONWARNINGS hides it
    warnings.showwarning = listen
