"""The gate tried on sessions whose truth is known: how often it cries wolf, how often it sees one. No torch here.

A run's value is exp(session + drift + luck): luck is normal with the host's spread; now and then a run is hit by
something else on the host and is 5 to 20 % slower; the host drifts in a line and in a random walk besides. Four metrics
are judged together, as in a real session, of which one may be worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bench.judging import verdict
from bench.judging.noise import Spread
from bench.judging.pairs import run_order
from bench.judging.policy import LOOKS, TOLERANCES
from bench.judging.statistics import Floats
from bench.judging.verdict import FAIL, PASS

METRICS = 4
TOLERANCE = TOLERANCES["throughput"]
PAIRS = LOOKS[-1]


@dataclass(frozen=True)
class SimulatedHost:
    """How a host spoils measurements; shares of a value."""

    name: str
    run_sd: float
    line: float = 0.0  # drift from the first run of a session to the last
    walk: float = 0.0  # standard deviation of the step of a random walk from run to run
    hit: float = 0.0  # chance that a run is hit by a stranger

    def changes(self, random: np.random.Generator, sessions: int, change: float) -> Floats:
        """(sessions, metrics, pairs): changes of pairs run in the gate's own order; the first metric truly changed."""
        runs = 2 * PAIRS
        shape = (sessions, METRICS, runs)
        logs = random.normal(0, self.run_sd, shape) + self.line * np.arange(runs) / runs
        logs += np.cumsum(random.normal(0, self.walk, shape), axis=-1)
        logs -= (random.random(shape) < self.hit) * random.uniform(0.05, 0.20, shape)
        sides = np.array([side == "candidate" for _, side in run_order(0, PAIRS)])
        logs[:, 0, sides] += change
        two = logs.reshape(sessions, METRICS, PAIRS, 2)
        first_is_candidate = sides.reshape(PAIRS, 2)[:, 0]
        return (two[..., 1] - two[..., 0]) * np.where(first_is_candidate, -1, 1)


HOSTS = (
    SimulatedHost("quiet card", 0.005, line=-0.01, walk=0.0005),
    SimulatedHost("drifting card", 0.01, line=-0.05, walk=0.003),
    SimulatedHost("shared host", 0.02, line=-0.03, walk=0.002, hit=0.03),
    SimulatedHost("busy host", 0.04, line=0.05, walk=0.005, hit=0.05),
)


def simulate_session(changes: Floats) -> tuple[str, int]:
    """The verdict on one session's (metrics, pairs), and the pairs it took."""
    for look in LOOKS:
        evidence = [verdict.paired_evidence("cell", str(i), row[:look], TOLERANCE) for i, row in enumerate(changes)]
        said = verdict.overall(verdict.judge(evidence))
        if said in (PASS, FAIL):
            break
    return said, look


def advertised(host: SimulatedHost, random: np.random.Generator) -> float:
    """What one calibration on this host says that the gate detects, as a logarithm."""
    aa = host.changes(random, 1, 0.0)[0, 0]
    return verdict.detectable(Spread.of(aa).upper, TOLERANCE.loss, METRICS)


def run_trials(host: SimulatedHost, sessions: int, seed: int = 1) -> dict[str, float | str]:
    """Rates on one host: verdicts on identical builds, and on one that is worse by what its calibration advertises.

    Each trial of power has a calibration of its own, so that the luck of calibrating counts, too.
    """
    random = np.random.default_rng(seed)
    same = [simulate_session(one) for one in host.changes(random, sessions, 0.0)]
    sizes = [advertised(host, random) for _ in range(sessions)]
    worse = [simulate_session(host.changes(random, 1, -size)[0])[0] for size in sizes]
    return {
        "host": host.name,
        "run sd %": host.run_sd * 100,
        "false alarms %": 100 * np.mean([said == FAIL for said, _ in same]),
        "A/A passed %": 100 * np.mean([said == PASS for said, _ in same]),
        "pairs for that": np.mean([pairs for _, pairs in same]),
        "advertised loss %": 100 * (1 - np.exp(-np.median(sizes))),
        "found %": 100 * np.mean([said == FAIL for said in worse]),
        "passed though worse %": 100 * np.mean([said == PASS for said in worse]),
    }
