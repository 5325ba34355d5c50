"""The benchmark's own arithmetic; what it measures is no test."""

from benchmarks.against_peers import PEERS, delays, present, rates, turns


def test_rows_take_turns_and_the_first_round_is_left_out():
    went, clock = [], iter(range(100))
    rows = {"ours": lambda: went.append("ours"), "theirs": lambda: went.append("theirs")}
    seconds = turns(rows, 2, lambda: next(clock))
    assert went == ["ours", "theirs"] * 3
    assert seconds == {"ours": [1, 1], "theirs": [1, 1]}


def test_ratios_are_of_the_same_round():
    table = rates({"ours": [1.0, 2.0, 4.0], "theirs": [2.0, 4.0, 12.0]}, 10)
    assert [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]] == [
        "theirs", "2.5", "0.8", "5.0", "2.00", "2.00", "3.00",
    ]  # fmt: skip


def test_latencies_are_compared_by_quantile():
    table = delays({"ours": [0.001] * 100, "theirs": [0.002] * 100})
    assert [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]] == [
        "theirs",
        "2.00",
        "2.00",
        "0.50",
        "0.50",
    ]


def test_missing_peers_are_named(tmp_path, capsys):
    (tmp_path / "crnn.pytorch" / "models").mkdir(parents=True)
    (tmp_path / "crnn.pytorch" / "models" / "crnn.py").touch()
    assert list(present(tmp_path)) == ["meijieru"]
    assert capsys.readouterr().out.count("missing") == len(PEERS) - 1
