"""Ablations of a run on the small sample: each leaves out one thing and nothing else."""

import gzip
import json
from itertools import islice
from pathlib import Path

import pytest

from bench.records.checks import validation_errors
from bench.records.record import Record
from models import train
from models.data.charset import Charset
from models.data.image import Shape
from models.data.synthetic import Synthetic
from models.dataset import WordDataset
from models.training import ablation

QUICK = ["--device", "CPU", "--batch-size", "8", "--warmup-steps", "1", "--steps", "4"]


@pytest.fixture
def trained(tmp_path, sample, monkeypatch):
    """trained("--input", "memory") trains four steps and gives the record."""
    monkeypatch.delenv("PYTORCH_TRAIN_DATASET", raising=False)

    def run(*options: str, dataset=True) -> Record:
        places = ["--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]
        train.main([*QUICK, *places, *(["--dataset", str(sample)] if dataset else []), *options])
        [path] = (tmp_path / "runs").glob("*.json")
        record = Record.load(path)
        assert validation_errors(record) == []
        return record

    return run


def test_a_few_batches_come_again_and_again():
    source = iter(range(100))
    kept = ablation.RepeatBatches(source, count=3)
    assert list(islice(kept, 7)) == [0, 1, 2, 0, 1, 2, 0]
    assert list(islice(kept, 2)) == [0, 1]
    assert next(source) == 3


def test_input_from_memory_neither_validates_nor_saves_and_says_so(trained, tmp_path):
    record = trained("--input", "memory")
    assert record.cell["input"] == "memory"
    assert record.accuracy is None
    assert not list((tmp_path / "ck").rglob("*.pt"))
    assert len(record.training["loss"]) == 4


def test_synthetic_input_needs_no_data_set(trained):
    record = trained("--input", "synthetic", dataset=False)
    assert (record.dataset["name"], record.dataset["manifest_sha256"]) == ("synthetic", None)
    assert record.dataset["digest_sha256"] is None
    assert record.cell["input"] == "synthetic"


def test_loading_alone_learns_nothing(trained):
    record = trained("--without", "compute")
    assert record.training["loss"] == []
    assert record.training["steps"] == 4
    assert record.throughput["data_wait_share"] > 0.5


def test_a_profile_says_what_a_step_is_made_of_and_counts_no_steps(trained):
    record = trained("--input", "memory", "--profile-steps", "2")
    assert record.training["steps"] == len(record.series[0]["step_s"]) == 4
    assert record.breakdown["shares"]["convolution"] > record.breakdown["shares"].get("ctc", 0)
    [trace] = Path(record.options["results"]).glob("CRNN_*.trace.json.gz")
    assert [*Path(record.options["results"]).glob(f"{trace.name.removesuffix('.trace.json.gz')}.json")]
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    assert any("conv" in event.get("name", "") for event in events)


def test_synthetic_words_fit_narrow_pictures_and_are_the_same_each_time():
    charset, shape = Charset.named("36"), Shape()
    data = WordDataset(Synthetic(shape, charset), shape, charset)
    batch = data.__getitems__([0, 1, 2, 3])
    assert batch.images.shape == (4, 1, 32, 100)
    assert batch.texts == data.__getitems__([0, 1, 2, 3]).texts
    assert len(data.label_issues(26)) == 0
