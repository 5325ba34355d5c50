import re

from bench.records.checks import validation_errors
from benchmarks import records
from tests.support.varied_records import varied


def test_copies_hold_and_are_cells_and_runs_of_their_own(tmp_path):
    made = list(records.copies(varied("CPU", 1, "FP32", "Train", 1, 1), 120))
    assert [error for one in made[::40] for error in validation_errors(one)] == []
    assert len({one.record_id for one in made}) == len({str(one.series) for one in made}) == 120
    assert len({one.cell["threads_per_card"] for one in made}) == records.CELLS
    assert len({one.provenance["commit"] for one in made}) == 2  # 100 runs a day


def test_the_table_has_both_passes(tmp_path, capsys):
    path = varied("CPU", 1, "FP32", "Train", 1, 1).save(tmp_path)
    records.main(["--record", str(path), "--count", "6"])
    said = capsys.readouterr().out
    assert said.startswith("6 records of 20 cells, ")
    rows = re.findall(r"^\| (no index yet|the index is there|one more record) +\|(.*)\|$", said, re.MULTILINE)
    assert len(rows) == 3
    assert all(float(number) > 0 for _, numbers in rows for number in numbers.split("|"))
