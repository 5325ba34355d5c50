"""Time to accuracy: when a training ends, and what its record says it took."""

import pytest

from bench.errors import UserError
from bench.records.checks import validation_errors
from bench.records.record import Record
from bench.reporting.rows import cell_values, make_rows
from models import train
from models.training.target import Target


@pytest.mark.parametrize("text", ["80", "words=0", "words=101", "words=-3", "words=nan", "chars=80", "words="])
def test_what_is_no_target_is_one_line(text):
    with pytest.raises(UserError, match="it is words=PERCENT"):
        Target.parse(text)


def test_the_first_validation_that_is_good_enough_counts():
    target = Target.parse("words=80")
    target.compare(0.7999, 10.0, 640)
    assert not target.is_reached
    assert target.section() == {"target_words_percent": 80.0, "target_s": None, "target_images": None}
    target.compare(0.8, 20.0, 1280)
    target.compare(0.9, 30.0, 1920)
    assert target.is_reached
    assert target.section() == {"target_words_percent": 80.0, "target_s": 20.0, "target_images": 1280}


def test_without_a_target_none_is_reached():
    target = Target.parse(None)
    target.compare(1.0, 1.0, 1)
    assert not target.is_reached and target.section() == {}


@pytest.fixture
def trained(tmp_path, sample):
    def run(*options):
        places = ["--checkpoints", tmp_path / "ck", "--results", tmp_path / "runs", "--dataset", sample]
        words = [
            "--device",
            "CPU",
            "--recipe",
            "crnn_small",
            "--batch-size",
            "40",
            "--epochs",
            "2",
            "--warmup-steps",
            "1",
        ]
        train.main(list(map(str, [*words, *places, *options])))
        [path] = (tmp_path / "runs").glob("*.json")
        return Record.load(path)

    return run


def test_a_validation_within_an_epoch_counts_the_images_of_its_own_step(trained):
    from models import weights

    start = ["--start-from", weights.path("crnn_small"), "--optimizer.lr", "1e-7", "--validate-every", "2"]
    record = trained("--until", "words=10", *start)
    assert record.training["steps"] == 2 and record.training["target_images"] == 80


def test_a_training_ends_with_the_validation_that_reaches_it(trained, monkeypatch):
    """The shipped weights read most of the sample after an epoch of almost nothing."""
    from models import weights

    record = trained("--until", "words=10", "--start-from", weights.path("crnn_small"), "--optimizer.lr", "1e-7")
    assert record.training["steps"] == 3 and record.training["total_steps"] == 6
    assert record.training["target_images"] == 120
    measured = sum(record.series[0]["step_s"])
    assert measured < record.training["target_s"] < record.phases_s["total_s"]
    assert validation_errors(record) == []
    assert cell_values(make_rows([record])[0])["to target s"] == pytest.approx(record.training["target_s"])


def test_one_that_never_does_trains_to_its_end_and_says_null(trained):
    record = trained("--until", "words=100")
    assert record.training["steps"] == 6
    assert record.training["target_s"] is None and record.training["target_words_percent"] == 100
