"""A test without a checkpoint reads with the weights that come with the repository, for their recipe alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.errors import UserError
from models import demo, export, weights
from models.data.charset import Charset
from models.network.model import Model
from models.run.options import Infer, parse
from models.run.trained import choose_trained, find_shipped, parse_by_weights
from models.test import COMMAND
from models.weights import checkpoint
from tests.support.checkpoints import saved

SHIPPED = {name: checkpoint.read(weights.path(name)) for name in weights.SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_serve_their_recipe(name):
    """Also after the network has got an option that their file does not know."""
    recipe, charset = SHIPPED[name]["recipe"], Charset(SHIPPED[name]["charset"])
    options = parse(Infer, ["--recipe", recipe], "models.test")
    assert find_shipped(options, charset) == weights.path(name)


def test_shipped_weights_do_not_serve_another_network_or_shape():
    charset = Charset(SHIPPED["crnn_small"]["charset"])
    options = parse(Infer, ["--recipe", "crnn_small"], "models.test")
    for other in (
        replace(options, model=replace(options.model, hidden=8)),
        replace(options, model=replace(options.model, head_rank=3)),
        replace(options, data=replace(options.data, width=128)),
    ):
        assert find_shipped(other, charset) is None


@pytest.fixture
def wide(tmp_path):
    """A checkpoint of recipe crnn_small for 160 px, ratio kept, and the alphabet abc."""
    path = saved(tmp_path, Model(hidden=8, backbone="vgg_separated", sequence="none"), width=160, keep_ratio=True)
    checkpoint.write({**checkpoint.read(path), "recipe": "crnn_small"}, path)
    return path


def asked(path, *words):
    """What is tested, after these words: options, alphabet."""
    named = ["--checkpoint", str(path), *words]
    options, charset, trained = choose_trained(*parse_by_weights(COMMAND, named, lambda options: options.checkpoint))
    assert trained.path == path
    return options, charset


def test_shape_recipe_network_and_alphabet_are_the_files_own(wide):
    options, charset = asked(wide)
    assert (options.recipe, options.data.width, options.data.keep_ratio) == ("crnn_small", 160, True)
    assert (options.model.hidden, options.model.sequence, charset.characters) == (8, "none", "abc")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data.width", "100"], r"--data.width 160, not 100: leave that out.*--allow shape"),
        (["--data.keep-ratio", "false"], r"--data.keep-ratio True, not False"),
        (["--model.hidden", "9"], r"--model.hidden 8, not 9: leave that out, it is in the file$"),
        (["--data.charset", "36"], r"trained for another alphabet \(3 characters, 'abc'\.\.\.\)"),
        (["--recipe", "crnn"], r"trained with the recipe 'crnn_small', not 'crnn'"),
    ],
)
def test_an_option_that_contradicts_the_file_is_named(wide, words, said):
    with pytest.raises(UserError, match=said):
        asked(wide, *words)


def test_an_option_that_says_the_same_is_no_contradiction(wide):
    assert asked(wide, "--data.width", "160", "--recipe", "crnn_small", "--model.hidden", "8")


def test_a_recipe_or_a_file_of_options_alone_contradicts_nothing_unless_it_was_given(wide, tmp_path):
    """The recipe's own 100 px are what is used where nothing else is said; --config is as good as typed."""
    assert asked(wide, "--recipe", "crnn_small")[0].data.width == 160
    (tmp_path / "own.yaml").write_text("data:\n  width: 100\n")
    with pytest.raises(UserError, match=r"--data.width 160, not 100"):
        asked(wide, "--config", str(tmp_path / "own.yaml"))


def test_another_shape_can_be_asked_for_by_name(wide):
    options, _ = asked(wide, "--data.width", "100", "--allow", "shape")
    assert (options.data.width, options.data.keep_ratio) == (100, True)


def test_a_checkpoint_folder_that_is_a_file_gives_the_recipe_too(wide, monkeypatch):
    """As PYTORCH_TRAIN_CHECKPOINT may be."""
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", str(wide))
    options, given = parse_by_weights(COMMAND, [], lambda options: options.checkpoint)
    assert choose_trained(options, given)[0].recipe == "crnn_small"


@pytest.mark.parametrize("program", [demo, export])
def test_demo_and_export_name_a_recipe_that_is_not_the_files(wide, program):
    words = ["x.png"] if program is demo else []
    with pytest.raises(UserError, match=r"trained with the recipe 'crnn_small', not 'rare'"):
        program.main([*words, "--checkpoint", str(wide), "--recipe", "rare"])
