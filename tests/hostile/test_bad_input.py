"""Input that cannot work, through the programs: one clear line each, exit code 2, nothing run that a stranger wrote."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench.errors import UserError
from models import convert, demo, test, train
from models.run import options
from models.weights import checkpoint
from tests.support import ROOT

SMALL = ["--device", "CPU", "--model.hidden", "8", "--batch-size", "16", "--min-steps", "1", "--min-seconds", "0"]


@pytest.fixture(scope="module")
def trained(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    places = ["--dataset", str(sample), "--checkpoints", str(folder / "ck"), "--results", str(folder / "runs")]
    train.main([*places, *SMALL, "--steps", "1", "--warmup-steps", "0"])
    return folder / "ck" / "CRNN_FP32_1S_1CPU_Train" / "last.pt"


@pytest.fixture
def refused(sample, tmp_path):
    """refused(program, *options): the line with which the program says no to a run on the sample."""

    def run(program, *words) -> str:
        places = ["--dataset", sample, "--results", tmp_path / "runs"]
        with pytest.raises(UserError) as caught:
            program.main([*map(str, places), *SMALL, *map(str, words)])
        assert not (tmp_path / "runs").exists()
        line = str(caught.value)
        assert "\n" not in line and len(line) < 500
        return line

    return run


def changed(trained: Path, to: Path, change) -> Path:
    """A copy of the checkpoint with its content changed."""
    content = checkpoint.read(trained)
    change(content)
    checkpoint.write(content, to)
    return to


CHANGES = {
    "a weight is missing": (lambda c: c["network"].pop("head.bias"), "Missing key.*head.bias"),
    "a weight too many": (lambda c: c["network"].update(stranger=torch.ones(1)), "Unexpected key.*stranger"),
    "a weight of another shape": (
        lambda c: c["network"].update({"head.bias": torch.ones(5)}),
        "size mismatch for head.bias",
    ),
    "no weights": (lambda c: c.pop("network"), "has no 'network'"),
    "no alphabet": (lambda c: c.pop("charset"), "has no 'charset'"),
    "weights that are a list": (lambda c: c.update(network=[1]), "its 'network' is a list, not a dict"),
    "another recipe": (lambda c: c.update(recipe="rare"), "trained with the recipe 'rare', not 'crnn'"),
    "another alphabet": (lambda c: c.update(charset="xyz"), r"another alphabet \(3 characters, 'xyz'"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_that_does_not_fit(name, trained, tmp_path, refused):
    change, reason = CHANGES[name]
    path = changed(trained, tmp_path / "changed.pt", change)
    line = refused(test, "--checkpoint", path, "--recipe", "crnn", "--data.charset", "36")
    assert line.startswith(str(path))
    with pytest.raises(UserError, match=reason):
        raise UserError(line)


@pytest.mark.parametrize("name", ["no weights", "no alphabet", "a weight is missing"])
def test_fine_tuning_and_demo_refuse_it_too(name, trained, tmp_path, refused):
    path = changed(trained, tmp_path / "changed.pt", CHANGES[name][0])
    assert str(path) in refused(train, "--start-from", path, "--steps", "1")
    Image.new("L", (100, 32)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=str(path)):
        demo.main([str(tmp_path / "a.png"), "--checkpoint", str(path)])


def test_another_recipe_and_another_alphabet_are_named(trained, refused):
    assert "recipe 'crnn', not 'crnn_variable'" in refused(test, "--recipe", "crnn_variable", "--checkpoint", trained)
    assert "pass the matching --data.charset" in refused(test, "--data.charset", "94", "--checkpoint", trained)


class Payload:
    def __reduce__(self):
        return os.system, ("touch HACKED",)


def damaged(trained: Path, folder: Path) -> dict[str, Path]:
    """Files that look like checkpoints: cut short, of another kind, empty, with code in them."""
    whole = trained.read_bytes()
    files = {"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b"", "pickle": pickle.dumps(Payload())}
    for name, content in files.items():
        (folder / f"{name}.pt").write_bytes(content)
    torch.save({"format": 1, "network": Payload()}, folder / "code.pt")
    torch.save([1, 2], folder / "list.pt")
    (folder / "cut.safetensors").write_bytes(whole[:99])
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["cut", "text", "empty", "pickle", "code", "list"])
@pytest.mark.parametrize("program, option", [(test, "--checkpoint"), (train, "--start-from")], ids=["test", "train"])
def test_a_file_that_is_no_checkpoint(name, program, option, trained, tmp_path, refused, monkeypatch):
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    damaged(trained, tmp_path / "files")
    path = tmp_path / "files" / f"{name}.pt"
    assert str(path) in refused(program, option, path)
    with pytest.raises(UserError):
        convert.main([str(path), str(tmp_path / "out.safetensors")])
    assert not (tmp_path / "HACKED").exists()


def test_what_is_not_there_or_is_a_folder(trained, tmp_path, refused):
    assert "no checkpoint at" in refused(test, "--checkpoint", tmp_path / "none.pt")
    assert str(tmp_path) in refused(test, "--checkpoint", tmp_path)
    assert "none.safetensors" in refused(test, "--checkpoint", tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(trained.read_bytes()[:99])
    assert "cut.safetensors" in refused(test, "--checkpoint", tmp_path / "cut.safetensors")


SENSELESS = {
    "too narrow": (["--data.width", "10"], "width at least 16"),
    "no such channels": (["--data.channels", "2"], "1 .*or 3.*not 2|channels are 1 or 3"),
    "too low": (["--data.height", "8"], "leaves nothing of images 8 px high"),
    "ImageNet for VGG": (["--model.pretrained", "imagenet"], "vgg has no ImageNet weights"),
    "embedding for CTC": (["--model.embedding", "8"], "the head is ctc"),
    "rank for attention": (["--model.head", "attention", "--model.head-rank", "8"], "the head is attention"),
    "negative rank": (["--model.head-rank", "-1"], "head-rank is 0 to 4096, not -1"),
    "no features": (["--model.hidden", "0"], "hidden is 1 to 4096, not 0"),
    "odd fiducials": (["--model.rectifier", "tps", "--model.fiducials", "7"], "even number of fiducial points"),
    "a share above 1": (
        ["--model.head", "attention", "--model.teacher-forcing", "2"],
        "teacher-forcing is 0 to 1, not 2.0",
    ),
    "no such part": (["--model.backbone", "vggg"], r"--model.backbone is one of vgg, .*, not 'vggg'"),
    "no such alphabet": (["--data.charset", "klingon"], "no charset 'klingon'"),
    "no such recipe": (["--recipe", "crn"], r"no recipe 'crn'.*crnn"),
    "words for numbers": (["--batch-size", "many"], "--batch-size wants a whole number, not 'many'"),
    "no images": (["--batch-size", "0"], "--batch-size is 1 to 1048576, not 0"),
}


@pytest.mark.parametrize("name", SENSELESS)
@pytest.mark.parametrize("program", [test, train], ids=["test", "train"])
def test_a_combination_without_sense(name, program, refused):
    words, reason = SENSELESS[name]
    with pytest.raises(UserError, match=reason):
        raise UserError(refused(program, *words))


RECIPES = {
    "a word for a number": ("batch_size: many\n", "wants a whole number, not 'many'"),
    "a number for a part": ("model: 3\n", "'model' holds options of its own"),
    "no such option": ("bacth_size: 3\n", r"no option 'bacth-size' \(did you mean --batch-size"),
    "not YAML": ("a: [1\n", "not YAML"),
    "a list": ("- 1\n", "want `option: value` lines"),
    "not text": ("\udcff", "not YAML"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_cannot_be_used(name, tmp_path, refused, monkeypatch):
    text, reason = RECIPES[name]
    (tmp_path / "bad.yaml").write_bytes(text.encode("utf8", "surrogateescape"))
    monkeypatch.setattr(options, "RECIPES", tmp_path)
    line = refused(train, "--recipe", "bad")
    assert line.startswith(str(tmp_path / "bad.yaml"))
    with pytest.raises(UserError, match=reason):
        raise UserError(line)


def test_the_program_says_it_in_one_line_and_ends_with_2(sample, tmp_path):
    words = ["--dataset", str(sample), "--data.width", "10", "--results", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "models.test", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr.startswith("models.test: error: ") and done.stderr.count("\n") == 1
