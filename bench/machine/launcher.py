"""Start one process a card under torchrun, on this host or together with others, and say in one line how it ended."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Mapping, MutableMapping

import psutil
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousError,
    RendezvousTimeoutError,
)
from torch.distributed.run import main as torchrun

from bench.errors import UserError
from bench.files import ROOT
from bench.machine import hosts
from bench.machine.hosts import Meeting, Place

# As `python -m`, without the working folder on sys.path, which Python 3.10 cannot leave out by itself.
RUN_MODULE = str(ROOT / "run_scripts" / "module.py")
RESTARTS_OF_MANY_HOSTS = 3
# What torchrun raises when hosts lose each other, and what that means to a person.
LOST = (
    (RendezvousTimeoutError, "the hosts did not meet again within {timeout:g} s of a failure; lost: {others}"),
    (RendezvousClosedError, "another host has ended the run; its own output says why"),
    (RendezvousConnectionError, "host 0 is lost"),
    (RendezvousError, "the hosts lost each other"),
)
GO_ON = "start every host again with --resume to go on from the last checkpoint"


def restarts_allowed(environment: Mapping[str, str], place: Place) -> int:
    """How often failed processes are started again: MAX_RESTARTS, else never on one host, 3 times on several."""
    value = environment.get("MAX_RESTARTS") or str(RESTARTS_OF_MANY_HOSTS if place.hosts > 1 else 0)
    if not value.isdecimal():
        raise UserError(f"MAX_RESTARTS={value} is not a number of 0 or more")
    return int(value)


def standalone_arguments() -> list[str]:
    """torchrun's arguments for one host. The address needs no name service: a container may have none."""
    return ["--standalone", "--local-addr=localhost"]


def rendezvous_arguments(meeting: Meeting) -> list[str]:
    """torchrun's arguments for hosts that have met.

    Its c10d rendezvous numbers hosts by sorting their addresses, and uses only the first one's as an address: the
    others sign with a label that sorts behind any address, in the order of NODE_RANK, so that host 0 has rank 0.
    """
    place = meeting.place
    settings = {"is_host": int(place.leads), "join_timeout": int(hosts.JOIN_TIMEOUT_S), "read_timeout": 60}
    return [
        f"--nnodes={place.hosts}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={place.endpoint}",
        f"--rdzv-id={meeting.job}",
        f"--rdzv-conf={','.join(f'{key}={value}' for key, value in settings.items())}",
        f"--local-addr={meeting.address if place.leads else f'~{place.rank:05}'}",
    ]


def set_environment(environment: MutableMapping[str, str], meeting: Meeting | None, cards: int) -> None:
    """Settings that the processes inherit."""
    # torchrun would set one thread a process; the cores are shared out instead.
    environment.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // cards)))
    environment["CRNN_LAUNCHER"] = str(os.getpid())
    # A store of its own for every start: keys of the one before are not read as news (torch 2.4 shares one).
    environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    if meeting and meeting.interface:
        # gloo would listen where the host's own name leads, on many systems 127.0.1.1.
        environment.setdefault("GLOO_SOCKET_IFNAME", meeting.interface)


def give_up(sentence: str) -> None:
    """End this host's part from any thread, even while the main thread waits."""
    print(f"{sentence}; {GO_ON}", file=sys.stderr, flush=True)
    for child in psutil.Process().children(recursive=True):
        child.kill()
    os._exit(1)


def exit_refused(*_: object) -> None:
    """A rank has refused and said why: starting it again would not mend that."""
    sys.exit(2)


def explain_failure(failure: ChildFailedError, place: Place) -> int:
    """Say which rank failed; the exit code to end with."""
    rank, first = failure.get_first_failure()
    if first.exitcode == 2:  # a refusal has said its line already
        return 2
    where = f" on host {place.rank}" if place.hosts > 1 else ""
    print(
        f"rank {rank}{where} {describe_exit(first.exitcode)}; the run is over; start it again with --resume to go on",
        file=sys.stderr,
    )
    return first.exitcode if first.exitcode > 0 else 1


def describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed (SIGKILL): by hand, or by the kernel when memory runs out, as `dmesg` tells"
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def launch(program: str, cards: int, words: list[str], place: Place) -> None:
    """Run `python -m program words...` in `cards` processes on each host. Returns when all have ended well."""
    times = restarts_allowed(os.environ, place)
    meeting = hosts.meet(place, hosts.sign_in_facts([program, *words], cards)) if place.hosts > 1 else None
    set_environment(os.environ, meeting, cards)
    signal.signal(signal.SIGUSR1, exit_refused)
    if meeting:
        hosts.watch_first_host(place, give_up)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the lines below say it better
    where = rendezvous_arguments(meeting) if meeting else standalone_arguments()
    try:
        # Without the "--" torchrun would take --run for an abbreviation of its own --run-path.
        torchrun([*where, f"--max-restarts={times}", f"--nproc-per-node={cards}", "--", RUN_MODULE, program, *words])
    except ChildFailedError as failure:
        sys.exit(explain_failure(failure, place))
    except SignalException as stop:
        print(f"stopped by {stop.sigval.name}", file=sys.stderr)
        sys.exit(128 + stop.sigval)
    except RendezvousError as failure:
        sentence = next(text for kind, text in LOST if isinstance(failure, kind))
        others = meeting.others() if meeting else ""
        print(f"{sentence.format(timeout=hosts.JOIN_TIMEOUT_S, others=others)}; {GO_ON}", file=sys.stderr)
        sys.exit(1)
