"""Records of schema 3, written on 2026-11-20, are read and verified as then."""

import json
from pathlib import Path

import pytest

from bench import verify
from bench.records.cells import key
from bench.records.checks import allowed_over_roof, validation_errors
from bench.records.record import Record

FILES = sorted((Path(__file__).parents[1] / "data").glob("*.json"))
KEYS = {"d74a9978": "c5525673132f", "99e8e8c0": "d0df14336d33", "5fb111ed": "b67876059e38"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name[:16])
def test_an_old_record_holds_and_keeps_every_byte_and_its_key(path):
    content = json.loads(path.read_text(encoding="utf8"))
    record = Record.load(path)
    assert record.schema_version == 3
    assert validation_errors(record) == []
    del content["seal"]
    assert json.dumps(record.body()) == json.dumps(content)  # the order and the absence of fields, too
    assert key(record) == KEYS[record.record_id[:8]]
    assert allowed_over_roof(record) == 2.25


def test_the_command_believes_them(capsys):
    with pytest.raises(SystemExit) as ended:
        verify.main([str(path) for path in FILES])
    assert ended.value.code == 0
    assert capsys.readouterr().out.count(": holds") == len(FILES) == 3
