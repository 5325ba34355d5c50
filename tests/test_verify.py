import dataclasses

import pytest
from records import make_record

from bench import verify


def spoiled(section, **changes):
    record = make_record()
    return dataclasses.replace(record, **{section: {**getattr(record, section), **changes}})


def test_an_honest_record_holds():
    assert list(verify.faults(make_record())) == []
    assert list(verify.faults(make_record(cards=4))) == []


@pytest.mark.parametrize(
    ("record", "named"),
    [
        (spoiled("throughput", images_per_s=330.0), "throughput.images_per_s is 330.0"),
        (spoiled("throughput", step_p99_ms=1.0), "throughput.step_p99_ms"),
        (spoiled("throughput", data_wait_share=None), "throughput.data_wait_share"),
        (spoiled("accuracy", word_accuracy=0.6), "accuracy.word_accuracy is 0.6, not 49 of 98"),
        (spoiled("accuracy", n=90, correct=45), "accuracy.n is 90, but the split has 100"),
        (spoiled("cell", cards=2), "cell.cards is 2, but 1 ranks"),
    ],
)
def test_an_edited_cell_is_named(record, named):
    assert any(named in fault for fault in verify.faults(record))


def test_more_waiting_than_time_is_impossible():
    record = make_record()
    record.series[0]["wait_s"][3] = 99.0
    assert any("waited longer" in fault for fault in verify.faults(record))


def test_the_command_says_what_holds_and_exits_with_1_when_something_does_not(tmp_path, capsys):
    good = make_record().save(tmp_path)
    bad = spoiled("throughput", images_per_s=1.0).save(tmp_path)
    with pytest.raises(SystemExit) as ended:
        verify.main([str(good), str(bad)])
    assert ended.value.code == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("holds")
    assert "throughput.images_per_s is 1.0" in second
