"""What became of the mutants: `python -m tests.support.mutants mutation.md` (tests/mutation.sh calls it).

Runs where mutmut ran. mutation.md lists those that no test can kill, a row of its table for each: function, what the
changed line holds, reason.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

LEAST = 0.9  # of all mutants, those listed included
KILLED = {"killed", "timeout", "segfault"}
MUTMUT = (sys.executable, "-m", "mutmut")


def told(*words: str) -> str:
    return subprocess.run([*MUTMUT, *words], capture_output=True, text=True, check=True).stdout


def function_of(mutant: str) -> str:
    """models.data.sampler.xǁEpochSamplerǁorder__mutmut_3 -> models.data.sampler.EpochSampler.order"""
    module, _, name = mutant.rpartition("__mutmut_")[0].rpartition(".")
    return f"{module}.{name.removeprefix('x').strip('ǁ_').replace('ǁ', '.')}"


def changed_lines(mutant: str) -> str:
    """As `mutmut show` prints them, without a process for each."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    lines = get_diff_for_mutant(mutant).splitlines()
    return "\n".join(line[1:].strip() for line in lines if re.match(r"\+(?!\+\+)", line))


def rows(table: str) -> list[tuple[str, str]]:
    """(Function, part of the changed line) of every row with a reason."""
    return re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| \S.*\|$", table, re.MULTILINE)


def judge(status: dict[str, str], listed: list[tuple[str, str]]) -> tuple[list[str], bool]:
    """Lines to print, and whether the bar holds."""
    alive = [name for name, became in status.items() if became not in KILLED]
    every, left = (Counter(name.partition(".x")[0] for name in names) for names in (status, alive))
    lines = [f"{module}: {every[module] - left[module]} of {every[module]} mutants killed" for module in every]
    used, unexplained = set(), []
    for name in alive:
        function, changed = function_of(name), changed_lines(name)
        found = [row for row in listed if row[0] == function and row[1] in changed]
        used |= set(found)
        if not found:
            unexplained.append(f"{name} ({status[name]}), no reason in mutation.md:  {changed}")
    lines += unexplained
    unused = [f"{function}: {part}: listed in mutation.md, and no mutant survives" for function, part in listed]
    lines += (unused := [line for line, row in zip(unused, listed, strict=True) if row not in used])
    share = 1 - len(alive) / len(status) if status else 0.0
    lines.append(f"{share:.1%} of {len(status)} mutants are killed, {len(alive)} survive; the bar is {LEAST:.0%}")
    return lines, share >= LEAST and not unexplained and not unused


if __name__ == "__main__":
    status = dict(re.findall(r"^\s*(\S+__mutmut_\d+): (.+?)\s*$", told("results", "--all", "true"), re.MULTILINE))
    printed, holds = judge(status, rows(Path(sys.argv[1]).read_text(encoding="utf8")))
    print(*printed, sep="\n")
    sys.exit(not holds)
