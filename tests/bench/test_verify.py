import dataclasses

import pytest

from bench import verify
from bench.records.checks import validation_errors
from bench.records.record import Record
from tests.support.records import make_record


def spoiled(section, **changes):
    record = make_record()
    return dataclasses.replace(record, **{section: {**getattr(record, section), **changes}})


def test_an_honest_record_holds():
    assert list(validation_errors(make_record())) == []
    assert list(validation_errors(make_record(cards=4))) == []


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (spoiled("throughput", images_per_s=330.0), "throughput.images_per_s is 330.0"),
        (spoiled("throughput", step_p99_ms=1.0), "throughput.step_p99_ms"),
        (spoiled("throughput", data_wait_share=None), "throughput.data_wait_share"),
        (spoiled("phases_s", measured_s=1.0), "phases_s.measured_s is 1.0"),
        (spoiled("efficiency", mfu_share=0.9), "efficiency.mfu_share is 0.9"),
        (spoiled("steady", verdict="not_steady"), "steady.verdict is not_steady"),
        (spoiled("cell", batch_per_card=31), "cell.global_batch is 32, not 1 x 31"),
        (spoiled("cell", colour="red"), "cell.colour is no field of this schema"),
        (dataclasses.replace(make_record(), status="not_steady"), "status is not_steady, the raw series give ok"),
        (spoiled("accuracy", word_accuracy=0.6), "accuracy.word_accuracy is 0.6, the raw series give 0.5"),
        (spoiled("accuracy", n=90, correct=45), "accuracy.n is 90, but the split has 100"),
        (spoiled("cell", cards=2), "cell.cards is 2, but 1 ranks"),
    ],
)
def test_an_edited_cell_is_named(record, named):
    assert any(named in error for error in validation_errors(record))


def test_a_simulated_card_is_held_to_no_ceiling():
    """Its cores may have been busier when the ceiling was taken; that no row is made of it is said instead."""
    record = make_record(limits=[{"forward_flops_per_image": 1e9, "gemm_flops_per_s": 2e11, "copy_bytes_per_s": 1.0}])
    assert any("above what the cards can do" in error for error in validation_errors(record))
    played = dataclasses.replace(record, cell={**record.cell, "simulated": True})
    assert not any("above what the cards can do" in error for error in validation_errors(played))


def test_more_waiting_than_time_is_impossible():
    record = make_record()
    record.series[0]["wait_s"][3] = 99.0
    assert any("waited longer" in error for error in validation_errors(record))


def test_every_derived_number_of_a_record_is_guarded():
    """Each leaf of each derived section, changed by a thousandth, is named."""
    record = make_record(cards=2)
    for section in ("throughput", "efficiency", "steady", "phases_s"):
        for field, value in getattr(record, section).items():
            raw = section == "phases_s" and field in ("init_s", "evaluation_s", "total_s")
            if isinstance(value, float) and value and not raw and abs(value) > 1e-6:
                bad = dataclasses.replace(record, **{section: getattr(record, section) | {field: value * 1.001}})
                assert any(error.startswith(f"{section}.{field} is") for error in validation_errors(bad)), field


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"limits": [{"forward_flops_per_image": 1e9, "gemm_flops_per_s": 2e11, "copy_bytes_per_s": 1.0}]},
            "above what",
        ),
        ({"phases_s": {"total_s": 0.5}}, "longer than the whole run"),
        ({"latency": [{"batch": 1, "seconds": [0.001] * 400 + [9.0]}]}, "the mean (23.4414 ms) is above the 99th"),
        ({"series": [{"step_s": [-1.0], "wait_s": [-2.0], "images": [1], "device_s": []}]}, "negative time"),
        ({"series": [{"step_s": [1.0], "wait_s": [], "images": [1], "device_s": []}]}, "different lengths"),
        ({"accuracy": {"split": "val", "n": 4, "correct": 9}}, "accuracy.correct is 9, of 4"),
    ],
)
def test_numbers_that_cannot_be_are_refused_even_when_they_were_derived(changes, named):
    """Their derived numbers follow from their raw series, and the raw series are not to be believed."""
    limited = {name: value for name, value in changes.items() if name != "series"}
    record = dataclasses.replace(make_record(**limited), **{k: v for k, v in changes.items() if k == "series"})
    assert any(named in error for error in validation_errors(record)), list(validation_errors(record))


def test_what_is_not_derived_is_guarded_by_the_seal(tmp_path):
    path = make_record().save(tmp_path)
    path.write_text(path.read_text().replace('"Test CPU"', '"Fast CPU"'))
    assert validation_errors(Record.load(path)) == ["cell.card was edited after the record was written"]


def test_a_section_of_another_shape_is_a_line_not_a_traceback():
    [error] = validation_errors(dataclasses.replace(make_record(), cell={}))
    assert "a section is not as results/README.md says" in error


def test_a_failed_run_may_have_fewer_ranks_than_cards():
    record = make_record(status="crash", status_reasons=["RuntimeError: no"], accuracy=None)
    record.cell.update(cards=2, global_batch=64)
    assert not [error for error in validation_errors(record) if "ranks were measured" in error]


def test_the_command_says_what_holds_and_exits_with_1_when_something_does_not(tmp_path, capsys):
    good = make_record().save(tmp_path)
    bad = spoiled("throughput", images_per_s=1.0).save(tmp_path)
    with pytest.raises(SystemExit) as ended:
        (tmp_path / "torn.json").write_text('{"run":')
        verify.main([str(good), str(bad), str(tmp_path / "torn.json")])
    assert ended.value.code == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.endswith("holds")
    assert "throughput.images_per_s is 1.0" in second
    assert "torn.json: not a record" in third


def test_an_emptied_list_does_not_hide_what_else_is_wrong():
    record = dataclasses.replace(make_record(minimum={"steps": 500, "seconds": 0.0}), status_reasons=[])
    record.throughput["images_per_s"] = 1.0
    errors = validation_errors(record)
    assert any(error.startswith("status_reasons is []") for error in errors)
    assert any(error.startswith("throughput.images_per_s is 1.0") for error in errors)
