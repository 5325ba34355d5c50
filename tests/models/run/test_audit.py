"""The audits of a test: a build that keeps its answers is seen, one that works is not."""

import time

import pytest
import torch

from bench.machine.device import Device
from bench.records.checks import validation_errors
from models.data.charset import Charset
from models.data.image import Shape
from models.data.synthetic import Synthetic
from models.dataset import WordDataset
from models.run.audit import AnswerAudit, audit_repeats, with_noise
from models.scoring.evaluate import Prediction
from models.weights.checksum import digest_weights
from tests.support.records import make_record

SHAPE = Shape(32, 100)


@pytest.fixture
def words():
    charset = Charset.named("36")
    return WordDataset(Synthetic(SHAPE, charset), SHAPE, charset)


def test_answers_that_are_kept_cost_less_than_new_ones(words):
    kept: dict[bytes, str] = {}

    def cheat(batch):
        images = batch.images.numpy().tobytes()
        if images not in kept:
            time.sleep(0.02)
        kept[images] = "text"

    def work(batch):
        time.sleep(0.02)

    device = Device.open("CPU")
    caught, honest = (make_record(audit=audit_repeats(one, words, device, 8)) for one in (cheat, work))
    assert any("answers are kept" in error for error in validation_errors(caught))
    assert validation_errors(honest) == []


def test_noise_is_in_the_lowest_bit_and_new_each_time(words):
    batch = words.__getitems__([0, 1])
    one, other = with_noise(batch), with_noise(batch)
    assert not torch.equal(one.images, other.images)
    assert (one.images.int() - batch.images.int()).abs().max() == 1
    assert one.texts == batch.texts


def test_other_answers_while_timed_are_counted():
    audit = AnswerAudit()
    audit.remember([Prediction(i, "a", "a", 1.0) for i in range(4000)])
    assert audit.section() == {}
    audit.compare([Prediction(i, "a", "ab"[i % 2], 1.0) for i in range(4000)])
    section = audit.section()
    assert 100 < section["timed_n"] < 320  # 5 % of 4,000
    assert section["timed_same"] / section["timed_n"] == pytest.approx(0.5, abs=0.2)


def test_weights_count_by_their_values():
    one, other, more = (torch.nn.Linear(3, 2) for _ in range(3))
    other.load_state_dict(one.state_dict())
    states = [each.state_dict() for each in (one, other, more)]
    first, second, third = map(digest_weights, states)
    assert first == second != third
    halves = {name: value.half() for name, value in states[0].items()}
    assert digest_weights(halves) == digest_weights({name: value.float() for name, value in halves.items()}) != first
