"""All-reduce between two processes, and its bandwidths as nccl-tests count them."""

import re

import pytest

from bench.errors import UserError
from benchmarks import allreduce


@pytest.mark.parametrize(("cards", "factor"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_what_the_link_carries_is_nccl_tests_factor(cards, factor):
    assert allreduce.bus_bandwidth(10.0, cards) == 10.0 * factor


def test_two_processes_leave_a_row_a_size_and_what_the_projection_wants(capfd):
    allreduce.main(["--cards", "2", "--kib", "4,256", "--seconds", "0.02"])
    said = capfd.readouterr().out
    assert said.startswith("gloo, 2 x CPU, float32")
    rows = [line.split("|") for line in said.splitlines() if re.match(r"\| +\d", line)]
    assert [int(row[1]) for row in rows] == [4, 256]
    assert all(float(row[2].replace(",", "")) > 1 for row in rows)
    assert re.search(r"bench.project RECORD --bandwidth-gbit [\d.e+-]+ --latency-us [\d.e+-]+$", said.strip())


def test_cards_that_are_not_there_are_one_line():
    with pytest.raises(UserError, match="9 GPU asked for"):
        allreduce.main(["--device", "GPU", "--cards", "9"])
