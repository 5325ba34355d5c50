import pytest

from bench import attribute
from bench.errors import UserError
from tests.support.records import make_record


def twin(step_s, cards=1, **changes):
    return make_record(step_s=step_s, cards=cards, **changes)


BREAKDOWN = {"shares": {"convolution": 0.75, "recurrent": 0.25}, "source": "device", "steps": 5}


def twins(cards=1):
    records = {
        "real": [twin(0.10, cards)],
        "memory": [twin(0.08, cards, breakdown=BREAKDOWN)],
        "loader": [twin(0.05, cards)],
    }
    return records | ({"no_sync": [twin(0.06, cards)]} if cards > 1 else {})


def test_parts_add_up_to_the_step():
    rows = {row.part: row for row in attribute.rows(twins())}
    assert rows["data"].ms == pytest.approx(20)
    assert rows["compute"].share == pytest.approx(0.8)
    assert rows["convolution"].ms == pytest.approx(60)
    assert "communication" not in rows
    assert sum(row.ms for row in rows.values() if row.level == 1) == pytest.approx(rows["step"].ms)
    assert sum(row.ms for row in rows.values() if row.level == 2) == pytest.approx(rows["compute"].ms)


def test_many_cards_have_communication():
    rows = {row.part: row for row in attribute.rows(twins(cards=2))}
    assert rows["communication"].ms == pytest.approx(20 * 1.01)  # the second rank is 1 % slower, and sets the pace
    assert rows["compute"].ms == pytest.approx(60 * 1.01)


def test_of_several_rounds_the_median_counts():
    assert attribute.step_ms([twin(0.1), twin(0.9), twin(0.2)]) == pytest.approx(200)


def test_the_table_says_what_the_loader_could_feed():
    said = attribute.text(twins())
    assert "it feeds at most 640 images/s" in said
    assert "· data" in said
    assert "profile of 5 steps, device time" in said


def test_each_twin_runs_in_turn_and_one_card_needs_no_twin_without_sync(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(attribute, "run_twin", lambda run, twin, rest, steps: ran.append(twin) or twins()["memory"][0])
    found = attribute.measured("R", [], 5, rounds=2)
    assert ran == ["real", "memory", "loader"] * 2
    assert set(found) == {"real", "memory", "loader"}


def test_a_twin_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match=r"the twin 'loader' failed: .*nowhere"):
        attribute.run_twin("CRNN_FP32_1S_1CPU_Train", "loader", ["--dataset", "/nowhere"], 1)


def test_testing_has_no_twins():
    with pytest.raises(UserError, match="name a _Train run"):
        attribute.main(["CRNN_Infer"])


@pytest.mark.slow
def test_a_real_run_is_attributed(sample, capsys):
    attribute.main(["CRNN_FP32_1S_1CPU_Train", "--twin-steps", "3", "--batch-size", "4", "--dataset", str(sample)])
    assert "convolution" in capsys.readouterr().out
