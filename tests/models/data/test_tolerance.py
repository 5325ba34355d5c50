"""How many pictures may be missing."""

from __future__ import annotations

import pytest

from models.data.charset import Charset
from models.data.tolerance import SkipTolerance
from models.dataset import EpochSampler, Shape, TooManyMissing, make_loader, open_dataset
from tests.support.data_samples import make_store
from tests.support.images import jpeg


def counted(tolerance: SkipTolerance, missing_every: int, pictures: int) -> int | None:
    """After how many pictures, each n-th of which is missing, the tolerance is exceeded."""
    for number in range(1, pictures + 1):
        tolerance.count(number % missing_every == 0, 1)
        if tolerance.exceeded:
            return number
    return None


def test_a_share_is_exceeded_within_its_window_and_never_below_it():
    assert counted(SkipTolerance(), 1, 1000) == 101  # a disk that is gone: 1 % of ten thousand
    assert counted(SkipTolerance(), 10, 20_000) == 1010
    assert counted(SkipTolerance(), 1000, 100_000) is None
    assert counted(SkipTolerance(share=1), 1, 100_000) is None


def test_ten_of_a_small_set_are_nothing():
    assert counted(SkipTolerance(window=50), 5, 1000) is None
    assert counted(SkipTolerance(window=50), 2, 1000) == 22


def test_a_loader_stops_and_says_what_was_wrong(tmp_path):
    pictures = [jpeg(seed=0)] + [b"no picture"] * 39
    data = open_dataset(make_store(tmp_path, ["word"] * 40, pictures), "train", Shape(), Charset())
    with pytest.raises(TooManyMissing, match=r"15 of the last 16 .* --tolerate 0.01 of 40; the last: .*image-0000000"):
        list(make_loader(data, EpochSampler(40, 8, shuffle=False), 0, "cpu"))


def test_a_file_that_is_cut_under_the_run_is_told_and_not_a_bus_error(tmp_path):
    data = open_dataset(make_store(tmp_path, ["word"] * 40), "train", Shape(), Charset())
    batches = iter(make_loader(data, EpochSampler(40, 20, shuffle=False), 0, "cpu"))
    assert len(next(batches).texts) == 20
    with (tmp_path / "data.mdb").open("r+b") as file:
        file.truncate(8192)
    with pytest.raises(TooManyMissing, match=r"data\.mdb is cut short: 8,192 bytes where"):
        next(batches)
