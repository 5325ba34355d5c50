"""Full shared memory and hosts with different data are named before they cost a run."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from bench.errors import UserError
from bench.machine.world import World
from models.run import context
from models.run.context import refuse_other_data, refuse_small_shm


def test_shared_memory_without_room_is_named_with_the_remedy(tmp_path, monkeypatch):
    """Docker's 64 MB, and batches of 256 images of 32 x 1000 px: two a process, four processes, and one in use."""
    usage = SimpleNamespace(total=64 << 20, used=0, free=64 << 20)
    monkeypatch.setattr(context.shutil, "disk_usage", lambda place: usage)
    batch = 256 * 32 * 1000
    with pytest.raises(UserError, match=r"67.1 MB of 67.1 MB are free, and 4 loader.* need 73.7 MB.*--shm-size=8g"):
        refuse_small_shm(4, batch, 1, tmp_path)
    refuse_small_shm(3, batch, 1, tmp_path)
    with pytest.raises(UserError, match="--workers"):
        refuse_small_shm(3, batch, 2, tmp_path)  # ranks of this host


def test_where_there_is_no_such_folder_nothing_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", None)
    refuse_small_shm(4, 1 << 40, 1, tmp_path / "none")


@dataclass(frozen=True)
class TwoHosts(World):
    """Rank 0 of two hosts with two ranks each; the others' values are known."""

    others: tuple[Any, ...] = ()
    rank: int = 0
    size: int = 4
    local_size: int = 2

    def gather(self, value: Any) -> list[Any]:
        return [value, *self.others]


def data_set(count: int, digest: str) -> SimpleNamespace:
    return SimpleNamespace(source=range(count), digest=SimpleNamespace(hex=digest))


@pytest.mark.parametrize("other", [(300, "b" * 64), (200, "a" * 64)], ids=["other labels or images", "fewer samples"])
def test_hosts_with_different_data_do_not_train_together(other):
    mine = data_set(300, "a" * 64)
    refuse_other_data(TwoHosts(others=(None, (300, "a" * 64), None)), mine, "train")
    reason = (
        rf"hosts do not hold the same train data \(host 0: 300 .*host 1: {other[0]} samples, digest {other[1][:12]}"
    )
    with pytest.raises(UserError, match=reason):
        refuse_other_data(TwoHosts(others=(None, other, None)), mine, "train")


def test_one_host_reads_nothing_for_a_comparison():
    refuse_other_data(World(), SimpleNamespace(), "train")
