import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from records import make_record

from bench.record import SCHEMA_VERSION, Record
from bench.refusal import Refusal


def test_what_is_saved_is_loaded(tmp_path):
    record = make_record()
    path = record.save(tmp_path)
    assert Record.load(path) == record
    assert path.name.startswith("CRNN_FP32_30E_1CPU_Train.")


def test_a_hundred_writers_leave_a_hundred_valid_records(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(lambda _: make_record().save(tmp_path), range(100)))
    assert len(paths) == len(list(tmp_path.iterdir())) == 100
    assert all(Record.load(path) for path in paths)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c | {"schema_version": SCHEMA_VERSION + 1}, "schema"),
        (lambda c: c | {"images_per_s": 1}, "unknown or missing fields: images_per_s"),
        (lambda c: {k: v for k, v in c.items() if k != "series"}, "unknown or missing fields: series"),
        (lambda c: [c], "not a record"),
    ],
)
def test_what_is_no_record_of_this_schema_is_refused(spoil, said, tmp_path):
    path = make_record().save(tmp_path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(Refusal, match=said):
        Record.load(path)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "\x00\x01"])
def test_rubbish_is_one_line_that_names_the_file(text, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(Refusal, match=r"bad\.json: not a record"):
        Record.load(path)
