"""The pairs of a session as a picture: what each pair says, what they say together, and what is accepted. No torch."""

from __future__ import annotations

import numpy as np

from bench.judging.progress import pair_changes_of
from bench.judging.session import PairedSession
from bench.judging.verdict import paired_evidence
from bench.reporting.svg import Plot, padded_range, standalone


def paired_picture(session: PairedSession) -> str:
    """An SVG file: the change of each pair, run by run, of the first metric."""
    metric = next(iter(session.chosen))
    tolerance = session.chosen[metric]
    known = {run: changes for run in session.runs if (changes := pair_changes_of(session, run, metric))}
    every = [100 * change for changes in known.values() for change in changes] or [0.0]
    most = max([len(changes) for changes in known.values()] or [1])
    plot = Plot(f"{metric}: {session.title}", "pair (the last: all together)", f"{metric} better by, %",
                (0.5, most + 2.5), padded_range([*every, 0.0, -200 * tolerance.loss]))  # fmt: skip
    plot.level(0.0, "no change")
    plot.level(-100 * tolerance.loss, f"accepted: {tolerance.margin:.1%}")
    for colour, (run, changes) in enumerate(known.items()):
        for pair, change in enumerate(changes, 1):
            plot.point(pair, 100 * change, colour, f"{run}, pair {pair}: {change:+.2%}")
        if len(changes) > 1:
            found = paired_evidence(run, metric, np.array(changes), tolerance)
            half = found.bound(0.975)
            low, high = np.clip([100 * (found.estimate - half), 100 * (found.estimate + half)], *plot.y)
            plot.whisker(most + 1 + colour / 10, float(low), float(high), colour)
            plot.point(
                most + 1 + colour / 10, 100 * found.estimate, colour, f"{run}: {found.estimate:+.2%} ± {half:.2%}"
            )
        plot.name(colour, run)
    return standalone(plot)
