"""What training goes on from when the launcher has started it again."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench.machine.world import World
from bench.records.run_name import RunName
from models.training.snapshot import find_newest
from models.weights import checkpoint


@pytest.fixture
def newest(tmp_path, monkeypatch):
    """newest(job, resume): the step of the checkpoint a run of this job goes on from; the folder holds one of job A."""
    name = RunName.parse("CRNN_FP32_2E_2CPUs_Train")
    folder = tmp_path / str(name)
    folder.mkdir()
    checkpoint.write_last({"job": "A", "step": 7}, folder)

    def ask(job: str | None, resume: bool = False, rank: int = 0) -> int | None:
        monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
        if job:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", job)
        options = SimpleNamespace(resume="last" if resume else None)
        found = find_newest(options, World(rank=rank, size=2), name, folder)
        return found and found[0]["step"]

    return ask


def test_a_job_that_is_started_again_goes_on_from_its_own_checkpoint_only(newest):
    assert newest("A") == 7
    assert newest("B") is None
    assert newest(None) is None


def test_resume_goes_on_from_any(newest):
    assert newest("B", resume=True) == newest(None, resume=True) == 7


def test_only_the_leader_reads(newest):
    assert newest("A", rank=1) is None
