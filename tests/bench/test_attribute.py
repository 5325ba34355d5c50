import pytest

from bench import attribute
from bench.errors import UserError
from tests.support.records import make_record


def ablation(step_s, cards=1, **changes):
    return make_record(step_s=step_s, cards=cards, **changes)


BREAKDOWN = {"shares": {"convolution": 0.75, "recurrent": 0.25}, "source": "device", "steps": 5}


def ablations(cards=1):
    records = {
        "real": [ablation(0.10, cards)],
        "memory": [ablation(0.08, cards, breakdown=BREAKDOWN)],
        "loader": [ablation(0.05, cards)],
    }
    return records | ({"no_sync": [ablation(0.06, cards)]} if cards > 1 else {})


def test_parts_add_up_to_the_step():
    rows = {row.part: row for row in attribute.step_parts(ablations())}
    assert rows["data"].ms == pytest.approx(20)
    assert rows["compute"].share == pytest.approx(0.8)
    assert rows["convolution"].ms == pytest.approx(60)
    assert "communication" not in rows
    assert sum(row.ms for row in rows.values() if row.level == 1) == pytest.approx(rows["step"].ms)
    assert sum(row.ms for row in rows.values() if row.level == 2) == pytest.approx(rows["compute"].ms)


def test_many_cards_have_communication():
    rows = {row.part: row for row in attribute.step_parts(ablations(cards=2))}
    assert rows["communication"].ms == pytest.approx(20 * 1.01)  # the second rank is 1 % slower, and sets the pace
    assert rows["compute"].ms == pytest.approx(60 * 1.01)


def test_of_several_rounds_the_median_counts():
    assert attribute.step_ms([ablation(0.1), ablation(0.9), ablation(0.2)]) == pytest.approx(200)


def test_the_table_says_what_the_loader_could_feed():
    said = attribute.breakdown_table(ablations())
    assert "it feeds at most 640 images/s" in said
    assert "· data" in said
    assert "profile of 5 steps, device time" in said


def test_each_ablation_runs_in_turn_and_one_card_needs_no_ablation_without_sync(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(
        attribute, "run_ablation", lambda run, name, rest, steps: ran.append(name) or ablations()["memory"][0]
    )
    found = attribute.run_ablations("R", [], 5, rounds=2)
    assert ran == ["real", "memory", "loader"] * 2
    assert set(found) == {"real", "memory", "loader"}


def test_a_ablation_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match=r"the ablation 'loader' failed: .*nowhere"):
        attribute.run_ablation("CRNN_FP32_1S_1CPU_Train", "loader", ["--dataset", "/nowhere"], 1)


def test_testing_has_no_ablations():
    with pytest.raises(UserError, match="name a _Train run"):
        attribute.main(["CRNN_Infer"])


@pytest.mark.slow
def test_a_real_run_is_attributed(sample, capsys):
    attribute.main(["CRNN_FP32_1S_1CPU_Train", "--twin-steps", "3", "--batch-size", "4", "--dataset", str(sample)])
    assert "convolution" in capsys.readouterr().out
