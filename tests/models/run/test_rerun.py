"""Every run leaves its options beside its record, and --config runs it again; recipes of one's own are found."""

from __future__ import annotations

import json

import pytest

from bench.errors import UserError
from models import demo, test, train
from models.run import options
from models.run.options import Infer, Train, parse, recipe_path
from models.weights import checkpoint

QUICK = ["--device", "CPU", "--batch-size", "8", "--log-every", "1", "--warmup-steps", "1"]
OWN = (options.RECIPES / "crnn.yaml").read_text().replace("hidden: 256", "hidden: 8")


def run_of(folder):
    [record] = sorted(folder.glob("*.json"))
    return json.loads(record.read_text()), record.with_suffix(".yaml")


def test_a_run_can_be_run_again_from_the_file_beside_its_record(sample, tmp_path, monkeypatch, capsys):
    """Of another folder, without $PYTORCH_TRAIN_DATASET: the same losses, the same answers."""
    (tmp_path / "small.yaml").write_text(OWN)
    monkeypatch.setenv("PYTORCH_TRAIN_DATASET", str(sample))
    words = ["--recipe", str(tmp_path / "small.yaml"), *QUICK, "--steps", "3", "--optimizer.lr", "3e-4", "--augment"]
    words += ["--mode", "exact", "--optimizer.betas", "0.8,0.99", "--allow", "batch,seed"]
    train.main([*words, "--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "first")])
    first, config = run_of(tmp_path / "first")
    said = capsys.readouterr().out
    assert f"again: --config {config}" in said
    assert f"{first['throughput']['images_per_s']:,.1f} images/s, too_short (" in said
    monkeypatch.delenv("PYTORCH_TRAIN_DATASET")
    monkeypatch.chdir("/")
    again = ["--config", str(config), "--results", str(tmp_path / "again"), "--checkpoints", str(tmp_path / "ck2")]
    train.main(again)
    second, _ = run_of(tmp_path / "again")
    assert second["training"]["loss"] == first["training"]["loss"]
    places = {"dataset", "results", "checkpoints", "recipes"}
    kept = [{name: value for name, value in run["options"].items() if name not in places} for run in (first, second)]
    assert kept[0] == kept[1]
    assert (tmp_path / "ck" / "SMALL_FP32_3S_1CPU_Train" / "run.yaml").is_file()

    short = ["--latency-runs", "0", "--min-seconds", "0", "--min-steps", "1"]
    test.main(["--checkpoint", str(tmp_path / "ck"/"SMALL_FP32_3S_1CPU_Train"/"best.pt"), *QUICK[:4], *short,
               "--dataset", str(sample), "--results", str(tmp_path / "tested")])  # fmt: skip
    tested, config = run_of(tmp_path / "tested")
    test.main(["--config", str(config), "--results", str(tmp_path / "tested-again")])
    assert run_of(tmp_path / "tested-again")[0]["accuracy"] == tested["accuracy"]


def test_a_recipe_of_ones_own_is_found_by_its_file_its_folder_and_the_environment(tmp_path, monkeypatch):
    (tmp_path / "my_words.yaml").write_text(OWN)
    for words in (["--recipe", str(tmp_path / "my_words.yaml")], ["--recipe", "my_words", "--recipes", str(tmp_path)]):
        found = parse(Train, words, "prog")
        assert (found.recipe, found.model.hidden) == ("my_words", 8)
        assert parse(Infer, words, "prog").model.hidden == 8
    with pytest.raises(UserError, match=r"no recipe 'my_words'.*--recipes FOLDER, or CRNN_RECIPES"):
        parse(Train, ["--recipe", "my_words"], "prog")
    monkeypatch.setenv("CRNN_RECIPES", str(tmp_path))
    assert parse(Train, ["--recipe", "my_words"], "prog").model.hidden == 8
    assert parse(Train, ["--recipe", "rare"], "prog").model.head == "attention"  # those of the house are there too
    with pytest.raises(UserError, match=r"there are .*my_words.*\(my_words\?\)"):
        parse(Train, ["--recipe", "my_word"], "prog")


@pytest.mark.parametrize("name", ["My Words", "2024", "a_1", "x/../y"])
def test_a_recipe_that_no_run_could_be_called_after_is_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"a recipe's name is that of its runs|no such recipe"):
        recipe_path(str(tmp_path / f"{name}.yaml"))


def test_a_recipe_cannot_take_the_name_of_one_of_the_house(tmp_path):
    """Its rows would stand among those of the other one."""
    (tmp_path / "crnn.yaml").write_text(OWN)
    for words in (["--recipe", str(tmp_path / "crnn.yaml")], ["--recipe", "crnn", "--recipes", str(tmp_path)]):
        with pytest.raises(UserError, match="models/recipes has a 'crnn' already"):
            parse(Train, words, "prog")
    assert parse(Train, ["--recipe", str(options.RECIPES / "crnn.yaml")], "prog").recipe == "crnn"


def test_the_demo_knows_recipes_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "my_words.yaml").write_text(OWN)
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", str(tmp_path / "empty"))
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no trained checkpoint of 'my_words'"):
        demo.main([str(tmp_path / "a.png"), "--recipe", str(tmp_path / "my_words.yaml")])
    assert checkpoint.newest_best(tmp_path / "empty", "my_words") is None
