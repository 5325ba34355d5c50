"""The model of links beside training over real ones: with -m slow, as root."""

import os
import shutil

import pytest

from bench.errors import UserError
from benchmarks import links
from benchmarks.links import PAYLOAD, LinkOptions


def test_half_the_bytes_take_half_the_time_on_a_slow_link():
    found = {"alone_s": 0.0, "hop_s": 0.0}
    whole, half = (links.predicted(found, 2, 100, kind) for kind in ("float32", "bfloat16"))
    assert whole == pytest.approx(8_331_301 * 4 * 8 / (PAYLOAD * 100e6))
    assert half == pytest.approx(whole / 2)


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UserError, match="need root"):
        links.main([])


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("tc"), reason="network namespaces need root, ip and tc")
def test_the_prediction_is_near_what_two_processes_measure():
    with links.hosts(2) as names:
        cards, *_, share = links.row(names, 200, LinkOptions(batch=1, steps=3))
    assert cards == 2
    assert share == pytest.approx(1, abs=0.2)
