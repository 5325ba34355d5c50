import pytest

from bench.errors import UserError
from models.run import options
from models.run.options import RECIPES, Common, Infer, Train, dataset_root, parse


def train(*argv):
    return parse(Train, list(argv), "models.train")


@pytest.mark.parametrize("recipe", sorted(p.stem for p in RECIPES.glob("*.yaml")))
@pytest.mark.parametrize("kind", [Train, Infer])
def test_every_recipe_is_read_by_every_program(recipe, kind):
    assert parse(kind, ["--recipe", recipe], "prog").recipe == recipe


def test_the_command_line_wins_over_the_recipe_over_the_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "RECIPES", tmp_path)
    (tmp_path / "crnn.yaml").write_text("batch_size: 7\ndata: {width: 128}\noptimizer: {lr: 0.5}\n")
    assert train().batch_size == 7
    assert train().data.width == 128
    assert train().data.height == 32
    assert train("--batch-size", "9", "--optimizer.lr=0.25").batch_size == 9
    assert parse(Infer, [], "models.test").data.width == 128  # keys only Train has do not disturb Test


def test_a_bare_flag_is_true_and_hyphens_are_underscores():
    assert train("--resume", "--log-every", "3").resume == "last"
    assert train("--log-every", "3").log_every == 3
    assert train("--resume", "false").resume is None and train("--resume", "x/last.pt").resume == "x/last.pt"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--stpes", "3"], r"^unrecognized option --stpes \(did you mean --steps\?\)$"),
        (["--data.widht", "3"], r"did you mean --data.width\?"),
        (["--batch_szie", "3"], r"did you mean --batch-size\?"),
        (["--steps", "many"], r"^--steps wants a whole number, not 'many'$"),
        (["--optimizer.lr-batch", "0"], r"^--optimizer.lr-batch is at least 1, not 0$"),
        (["--optimizer.betas", "0.9,1.5"], r"^--optimizer.betas is at least 0 and below 1, not 1.5$"),
        (["--optimizer.betas", "0.9"], r"^--optimizer.betas wants 2 numbers with commas, not '0.9'$"),
        (["--steps"], r"^--steps wants a whole number after it$"),
        (["--compile", "often"], r"^unexpected word 'often'$"),
        (["--recipe", "crn"], r"no recipe 'crn' in models/recipes; there are .*\(crnn\?\)"),
        (["--precision", "FP8"], r"^--precision is one of FP32, TF32, AMP, BF16, not 'FP8'$"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_right_one(argv, said):
    with pytest.raises(UserError, match=said):
        train(*argv)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("batch_szie: 3", r"no option 'batch-szie' \(did you mean --batch-size\?\)"),
        ("optimizer: {learning: 3}", r"no option 'optimizer.learning'"),
        ("epochs: many", r"crnn.yaml: --epochs wants a whole number, not 'many'"),
        ("epochs: 0", r"crnn.yaml: --epochs is at least 1, not 0"),
        ("epochs: [1, 2]", r"crnn.yaml: --epochs wants a whole number, not several"),
        ("optimizer: 3", r"crnn.yaml: 'optimizer' holds options of its own"),
        ("- a\n- list", "want `option: value` lines"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_recipe_is_named(text, said, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "RECIPES", tmp_path)
    (tmp_path / "crnn.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        train()


def test_a_recipe_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.setattr(options, "RECIPES", tmp_path)
    (tmp_path / "crnn.yaml").write_text("epochs: !!python/object/apply:os.system ['touch here']")
    with pytest.raises(UserError, match="not YAML"):
        train()


def test_no_dataset_is_one_line_that_says_what_to_do(monkeypatch):
    monkeypatch.delenv("PYTORCH_TRAIN_DATASET", raising=False)
    with pytest.raises(UserError, match="PYTORCH_TRAIN_DATASET is not set"):
        dataset_root(Common())
