from benchmarks import end_to_end


def test_a_share_is_of_the_network_in_the_same_round():
    seconds = {"network alone": [1.0, 2.0, 4.0], "LMDB to text": [2.0, 2.0, 5.0]}
    [alone, whole] = [line.split("|")[1:-1] for line in end_to_end.table(seconds, 100).splitlines()[2:]]
    assert [float(cell) for cell in alone[1:]] == [50, 1, 1, 1]
    assert [float(cell) for cell in whole[1:]] == [50, 0.8, 0.5, 1]


def test_every_row_is_measured(sample, capsys):
    words = ["--pictures", "4", "--batch", "2", "--rounds", "1", "--engine", "eager", "--split", "val"]
    end_to_end.main(["--dataset", str(sample), *words])
    said = capsys.readouterr().out
    assert all(name in said for name in ("network alone", "memory to text", "LMDB to text, a thread ahead"))
