"""The tables that compare recipes and starts say what the records say, and nothing nobody measured."""

import json

import pytest

from benchmarks import recipes, start
from benchmarks.recipes import RecipesOptions, short_words


@pytest.fixture
def measured(tmp_path):
    """measured(folder, recipe, ...) leaves a record there."""

    def write(folder: str, recipe: str, status: str = "ok", rate: float = 1.0, correct: int | None = None) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        accuracy = None if correct is None else {"correct": correct, "n": 600, "word_accuracy": correct / 600}
        record = {"recipe": {"name": recipe}, "status": status, "throughput": {"images_per_s": rate}}
        number = len(list((tmp_path / folder).iterdir()))
        (tmp_path / folder / f"{number}.json").write_text(json.dumps({**record, "accuracy": accuracy}))

    return write


def cells(text: str, recipe: str) -> list[str]:
    [line] = [line for line in text.splitlines() if line.startswith(f"| {recipe} ")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_is_the_median_of_its_good_records_and_the_accuracy_with_its_interval(measured, tmp_path):
    for rate in (40, 50, 90):
        measured("trained", "crnn", rate=rate)
    measured("trained", "crnn", status="crash", rate=1000)
    measured("tested", "crnn", status="too_short", rate=200)
    measured("learned", "crnn", correct=480)
    text = recipes.table(RecipesOptions(out=tmp_path))
    assert cells(text, "crnn") == [
        "crnn", "8,331,301", "1.41", "26", "50.0", "~200.0", "80.0% (76.6 to 83.0)",
    ]  # fmt: skip
    assert cells(text, "rare")[4:] == ["", "", ""]


def test_all_recipes_unless_some_are_named():
    assert len(RecipesOptions().names) == 12
    assert RecipesOptions(recipes="rare,crnn").names == ["rare", "crnn"]


def test_words_are_short(tmp_path):
    words = short_words(tmp_path).read_text().split()
    assert len(words) > 5000 and {len(word) for word in words} == {3, 4, 5}


def test_starts_are_shown_by_the_steps_before_each_row():
    falling = [float(208 - i) for i in range(208)]
    rows = start.table({"torch": [falling, falling], "ours": [[1.0] * 208]}).splitlines()
    assert rows[2].split("|")[1:4] == [" 16     ", " 200.50, 200.50 ", " 1.00   "]
    assert rows[-1].split("|")[2].strip() == "8.50, 8.50"
