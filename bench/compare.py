"""Is the candidate worse than the base? `bash run_scripts/compare.sh BASE CANDIDATE RUN_NAME... [-- OPTIONS]`.

Fresh processes in pairs of random order, a canary before and after, pairs added while the verdict is open. Exit code 0
PASS, 1 FAIL, 3 AMBIGUOUS, 4 INCOMPLETE, 2 misuse. Options after `--` go to every run. No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/compare.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from bench.errors import UserError, run_cli
from bench.files import ROOT, read_regular, write_file
from bench.judging import ci, noise, progress, verdict
from bench.judging.outcome import Outcome
from bench.judging.pairs import Build, RunFailed, check_out, container_image
from bench.judging.policy import CANARY_MOVED, LOOKS, TOLERANCES, tolerances
from bench.judging.session import SIDES, STATE, PairedSession
from bench.judging.verdict import AMBIGUOUS, EXIT, FAIL
from bench.machine.processes import last_line
from bench.options import Bounds, Choices, Command, Metavar, Positional
from bench.records import cells
from bench.records.run_name import RunName
from bench.reporting.paired import paired_picture

# An image has a canary of its own, where it was when the image was built.
IN_IMAGE = (
    "for name in bench.canary bench.machine.canary bench.judging.canary; do"
    ' [[ ! -f ${name//.//}.py ]] || exec python -m $name "$0"; done'
)


def time_canary(build: Build, run: str, folder: Path) -> dict[str, float]:
    """Milliseconds of the fixed works on the device of the run: this checkout's canary, in a container the image's."""
    device = os.environ.get("DEVICE") or RunName.parse(run).device or "best"
    environment = build.environment(run, folder)
    command = build.shell("bash", "-c", IN_IMAGE, device)
    if not build.image:
        command, environment["PYTHONPATH"] = [sys.executable, "-m", "bench.canary", device], str(ROOT)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"the canary did not run: {last_line(done.stderr)}")
    times: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return times


def largest_shift(before: dict[str, float], after: dict[str, float]) -> tuple[float, str]:
    """The largest relative change of a work's time, positive is slower, and which work it was."""
    return max(((after[name] / before[name] - 1, name) for name in before), key=lambda change: abs(change[0]))


def calibrate(session: PairedSession, folder: Path) -> None:
    """Keep what this A/A session shows of the noise, and print what the gate can see with it."""
    evidence, _ = session.evidence()
    for run, sides in session.records.items():
        first = sides["base"][0]
        mine = {e.metric: e for e in evidence if e.cell == run and e.df == e.n - 1}
        spreads = {name: noise.Spread(e.error * e.n**0.5, e.n) for name, e in mine.items()}
        path = noise.store_noise(first.cell["card"], cells.key(first), run, spreads, folder)
        for name, spread in spreads.items():
            size = spread.detects(mine[name].tolerance, len(evidence))
            print(f"  {run} {name}: pairs spread by {spread.sd:.2%}; a loss of {size:.2%} is found in 9 of 10 sessions")
    print(f"noise model: {path}")


def advertise(session: PairedSession) -> list[str]:
    """What the stored noise model of this card promises for these cells."""
    lines, tests = [], len(session.runs) * len(session.chosen)
    for run, sides in session.records.items():
        first = sides["base"][0]
        known = noise.load_noise(first.cell["card"]).get(cells.key(first), {})
        lines += [
            f"{run} {name}: detects {spread.detects(session.chosen[name], tests):.2%}"
            for name, spread in known.items()
            if name in session.chosen
        ]
    return lines or ["this card and cell were never calibrated: compare.sh --calibrate says what can be detected"]


def judge_session(session: PairedSession, most: int = len(LOOKS)) -> Outcome:
    """The whole session: canary, pairs, canary, verdict. A PASS needs a canary that stood still, a FAIL does not."""
    base, run = session.builds["base"], session.runs[0]
    before = time_canary(base, run, session.folder)
    print(f"  canary: {', '.join(f'{name} {ms:.3g} ms' for name, ms in before.items())}", flush=True)
    try:
        findings = session.run_pairs(most, lambda found: print(progress.look_report(session, found), flush=True))
    except RunFailed as failure:
        session.store(FAIL)
        return Outcome(session.title, FAIL, [], [f"the candidate does not run: {failure}"])
    shift, work = largest_shift(before, time_canary(base, run, session.folder))
    notes = [f"the canary moved by {shift:+.1%} ({work})", *advertise(session)]
    if missing := session.unmeasured_metrics():
        notes.append(f"not measured on either side, so nothing is said of it: {', '.join(missing)}")
    records = session.every_record
    if unsteady := sum(record.status != "ok" for record in records):
        notes.append(f"{unsteady} of {len(records)} runs did not end with status ok; they are counted")
    if session.spent:
        notes.append(f"earlier sessions of these builds took {session.spent} looks: this one's bounds are wider for it")
    if abs(shift) > CANARY_MOVED:
        notes[0] += f", more than {CANARY_MOVED:.0%}: the host or the card changed; nothing passes"
        findings = verdict.withdraw_passes(findings, "the canary moved")
    outcome = Outcome(session.title, verdict.overall(findings), findings, notes)
    session.store(outcome.verdict)
    return outcome


def stored_sessions(place: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Sessions in the folders below, newest first; a file that is none is passed over."""
    found = []
    for file in sorted(place.glob(f"*/{STATE}"), reverse=True):
        try:
            found.append((file.parent, json.loads(read_regular(file))))
        except ValueError:
            print(f"{file}: not a session; it is left out", file=sys.stderr)
    return found


def take_up(session: PairedSession, options: CompareOptions) -> int:
    """Go on with a stored AMBIGUOUS session of the same builds, or pay for it (--anew). How many looks are allowed."""
    mine = json.loads(json.dumps(session.identity()))
    same = [(folder, state) for folder, state in stored_sessions(session.folder.parent) if state["identity"] == mine]
    is_open = [(folder, state) for folder, state in same if state["verdict"] == AMBIGUOUS]
    if options.calibrate:
        session.looks = len(LOOKS) - 1  # the spread is wanted, and no verdict before all pairs
    if options.calibrate or not same:
        return len(LOOKS)
    if options.anew or not is_open:
        session.spent = max(state["spent"] + state["looks"] for _, state in same)
        return len(LOOKS)
    session.folder, state = is_open[0]
    session.resume(state)
    print(f"goes on with {session.folder}: {session.pairs} pairs, {session.looks} looks (--anew begins another)")
    return session.looks + 1 if session.looks >= len(LOOKS) else len(LOOKS)


def seconds_before(session: PairedSession) -> float | None:
    """What a side of a pair took the last time that these runs were compared with these options."""
    for _, state in stored_sessions(session.folder.parent):
        known = state["identity"]
        if (known["runs"], known["options"]) == (session.runs, session.options) and state.get("each_s"):
            return float(state["each_s"])
    return None


@dataclass
class CompareOptions(ci.CiOptions):
    """Is the candidate worse than the base? Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS, 4 INCOMPLETE, 2 misuse.

    The same command again goes on with a session that ended AMBIGUOUS.

    Options after `--` go to every run.
    """

    base: Annotated[str, Positional("BASE")]
    """A git revision; `.` is this checkout as it stands; with --images an image"""
    candidate: Annotated[str, Positional("CANDIDATE")]
    """The same; with --calibrate left out: the base against itself"""
    runs: Annotated[list[str], Positional("RUN_NAME")] = field(default_factory=list)
    """Such as CRNN_FP32_60S_1CPU_Train"""
    images: bool = False
    """BASE and CANDIDATE are container images"""
    calibrate: bool = False
    """A/A: BASE RUN_NAME...; keep this card's noise model"""
    metrics: Annotated[list[str] | None, Choices(tuple(TOLERANCES)), Metavar("METRIC")] = None
    """Judge by these only"""
    margin: Annotated[list[str], Metavar("METRIC=SHARE")] = field(default_factory=list)
    """A loss that is accepted"""
    timeout: Annotated[float, Bounds(above=0, most=30 * 86400)] = 3600
    """Seconds for one run"""
    keep: Annotated[Path | None, Metavar("FOLDER")] = None
    """Folder for the records; default: .cache/compare/<time>"""
    anew: bool = False
    """Begin again instead of going on; looks that were taken count"""
    picture: Annotated[Path | None, Metavar("FILE")] = None
    """Draw every pair, as SVG"""


COMMAND = Command(
    "compare.sh",
    CompareOptions,
    "main . CRNN_FP32_60S_1CPU_Train -- --batch-size 16",
    start="bash run_scripts/compare.sh",
    rest="--",
)


def parse_comparison(argv: list[str] | None) -> tuple[CompareOptions, list[str]]:
    """Our own words, and those after `--`, which go to every run."""
    options, passed_on = COMMAND.parse_known(argv)
    if options.calibrate:
        options.runs, options.candidate = [options.candidate, *options.runs], options.base
    if not options.runs:
        raise UserError("want BASE CANDIDATE RUN_NAME")
    return options, passed_on


def main(argv: list[str] | None = None) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # worktrees are removed on the way out
    options, passed_on = parse_comparison(argv)
    runs = list(dict.fromkeys(str(RunName.parse(run)) for run in options.runs))
    chosen = tolerances(options.metrics, options.margin)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
    folder = (options.keep or ROOT / ".cache" / "compare" / stamp).resolve()
    build = container_image if options.images else check_out
    with ExitStack() as stack:
        builds = {side: stack.enter_context(build(getattr(options, side))) for side in SIDES}
        session = PairedSession(
            builds, runs, chosen, folder, passed_on, options.timeout, bool(options.metrics), told=progress.told_run
        )
        most = open_folder(session, options)
        print(progress.session_plan(session, most, seconds_before(session)), flush=True)
        try:
            outcome = judge_session(session, most)
        except KeyboardInterrupt:
            print(f"\nstopped after {session.pairs} pairs: the same command goes on with {session.folder}")
            sys.exit(128 + signal.SIGINT)
    finish(session, outcome, options)
    sys.exit(EXIT[outcome.verdict])


def open_folder(session: PairedSession, options: CompareOptions) -> int:
    """How many looks are allowed, in the folder that the records go to. Raises UserError for another's folder."""
    folder, state = session.folder, session.folder / STATE
    if state.exists():
        known = json.loads(read_regular(state))
        if known["identity"] == json.loads(json.dumps(session.identity())) and not options.anew:
            session.resume(known)
            return session.looks + 1 if session.looks >= len(LOOKS) else len(LOOKS)
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"--keep {folder}: it holds another session's records; name an empty folder")
    return take_up(session, options)


def finish(session: PairedSession, outcome: Outcome, options: CompareOptions) -> None:
    """The verdict, on the terminal and wherever it is wanted."""
    print(progress.draw_pairs(session))
    print(outcome.console())
    if options.calibrate and outcome.findings:
        calibrate(session, noise.BASELINES)
    print(f"records: {session.folder}")
    if options.picture:
        write_file(options.picture, paired_picture(session))
    ci.publish(outcome, options)


if __name__ == "__main__":
    run_cli(main, "compare.sh")
