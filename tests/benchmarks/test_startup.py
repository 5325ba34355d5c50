import pytest

from bench.errors import UserError
from benchmarks import startup


def test_stages_follow_each_other_and_end_at_the_first_batch(sample, tmp_path):
    stages = startup.started(startup.StartupOptions(str(sample)), tmp_path)
    names, walls, cpus = zip(*stages, strict=True)
    assert names[:2] == ("bash and python", "import torch")
    assert names[-1] == "first batch"
    assert {"network", "data set and its labels", "optimiser"} <= set(names)
    assert list(walls) == sorted(walls)
    assert list(cpus) == sorted(cpus)
    assert walls[0] > 0


def test_a_run_that_reaches_no_batch_is_refused_with_its_last_words(tmp_path):
    with pytest.raises(UserError, match=r"reached no batch: .*nowhere"):
        startup.started(startup.StartupOptions(str(tmp_path / "nowhere")), tmp_path)


def test_the_table_shows_what_each_stage_took():
    runs = [[("import", 1.0, 0.5), ("first batch", 3.0, 1.0)], [("import", 2.0, 0.7), ("first batch", 5.0, 1.4)]]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in startup.table(runs).splitlines() if "|" in line
    ]
    assert rows[2:] == [
        ["import", "1.50", "0.60"],
        ["first batch", "2.50", "0.60"],
        ["whole (bar 4 s)", "4.00", "1.20"],
    ]
