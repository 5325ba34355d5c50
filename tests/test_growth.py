from benchmarks.growth import Options, Point, grown, points


def test_one_axis_moves_and_the_others_stay():
    sizes = points("width", Options(batch=8))
    assert [point.width for point in sizes] == [32, 100, 200, 400, 800]
    assert {(point.batch, point.classes) for point in sizes} == {(8, 37)}


def test_batches_larger_than_asked_are_left_out():
    assert [point.batch for point in points("batch", Options(most=16))] == [1, 4, 16]


def test_a_row_has_a_rate_for_training_and_for_reading(monkeypatch):
    monkeypatch.setattr("benchmarks.growth.points", lambda axis, options: [Point(batch=1, width=32)])
    [[size, train, infer]] = grown("width", Options(rounds=1))
    assert size == 32
    assert train > 0
    assert infer > 0
