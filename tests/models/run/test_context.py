"""Full shared memory is named before a loader process finds it; hosts that read different data are."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest

from bench.errors import UserError
from models.data.charset import Charset
from models.dataset import Shape, open_dataset
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


def test_hosts_with_other_data_are_refused(sample):
    """Two hosts of two ranks: the first rank of each has looked at its copy."""
    dataset = open_dataset(sample, "val", Shape(), Charset())
    said = []

    def gather(own):
        said.append(own)
        return [own, "", own, ""]

    world = SimpleNamespace(hosts=2, local_size=2, local_rank=0, gather=gather)
    refuse_other_data(world, dataset, "val")
    assert said == [f"40 samples, digest {dataset.digest.hex[:16]}"]
    world.gather = lambda own: [own, "", own.replace("40", "41"), ""]
    with pytest.raises(UserError, match=r"different data: val of host 0 is 40 .* of host 1 it is 41 samples.*copy"):
        refuse_other_data(world, dataset, "val")
    world.local_rank, world.gather = 1, lambda own: [own] * 4
    refuse_other_data(world, dataset, "val")
