"""The model of many cards, by arithmetic that a person can follow."""

import subprocess
import sys

import pytest

from bench import project
from bench.errors import UserError
from bench.project import Link, Work, buckets, compute_seconds
from tests.support.records import make_record

MB = 2**20


def test_a_ring_moves_twice_the_bytes_however_many_cards():
    link = Link(1e6, 0.0)
    assert link.ring(1e6, 2) == pytest.approx(1.0)
    assert link.ring(1e6, 4) == pytest.approx(1.5)
    assert link.ring(1e6, 1024) == pytest.approx(2.0, rel=1e-2)


def test_latency_counts_once_a_round():
    assert Link(1e30, 1e-3).ring(1e6, 5) == pytest.approx(8e-3)


def test_buckets_are_torchs():
    assert list(buckets(60 * MB)) == [1 * MB, 25 * MB, 25 * MB, 9 * MB]
    assert list(buckets(0.5 * MB)) == [0.5 * MB]


def test_one_bucket_waits_for_the_end_of_the_backward_pass():
    work = Work(1.0, (1e6,))
    assert work.step_s(2, Link(1e7, 0.0)) == pytest.approx(1.1)


def test_a_bucket_goes_while_the_next_is_being_computed():
    """Ready at 2/3 and 1 s; the first takes 0.2 s of the third of a second between, so only the second shows."""
    work = Work(1.0, (1e6, 1e6))
    assert work.step_s(2, Link(5e6, 0.0)) == pytest.approx(1.2)


def test_a_slow_link_sends_one_bucket_after_another():
    """The first is ready at 2/3 s and both take a second each."""
    assert Work(1.0, (1e6, 1e6)).step_s(2, Link(1e6, 0.0)) == pytest.approx(2 / 3 + 2)


def test_more_cards_are_never_more_efficient_and_one_is_alone():
    work, link = Work(0.1, tuple(buckets(33e6))), Link(1e9, 1e-5)
    shares = [work.efficiency(cards, link) for cards in (1, *project.CARDS)]
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)


def test_waiting_for_data_is_not_computing():
    record = make_record(step_s=0.1)
    assert compute_seconds(record) == pytest.approx(0.1 * (1 - record.throughput["data_wait_share"]), rel=1e-3)


@pytest.mark.parametrize("changes, message", [({"cards": 2}, "on one card"), ({"task": "Infer"}, "on one card")])
def test_a_record_that_tells_nothing_of_it_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        compute_seconds(make_record(**changes))


def test_the_command_predicts_every_number_of_cards(tmp_path, capsys):
    path = make_record(step_s=0.1).save(tmp_path)
    project.main([str(path), "--bandwidth-gbit", "1", "--latency-us", "20"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    assert [int(row[0]) for row in rows] == [1, *project.CARDS]
    project.main([str(path), "--bandwidth-gbit", "1", "--gradient-bytes", "2", "--cards", "8"])
    [*_, half] = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert float(half[2]) > float(rows[1][2])


def test_no_torch():
    assert (
        subprocess.run([sys.executable, "-c", "import sys, bench.project; sys.exit('torch' in sys.modules)"]).returncode
        == 0
    )
