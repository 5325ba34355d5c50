"""A file of weights that is not what was written is never read as other weights."""

from __future__ import annotations

import random
import zipfile

import pytest
import torch

from bench.errors import UserError
from models.data.charset import Charset
from models.network.model import Model
from models.weights import FOLDER, checkpoint
from models.weights.file import Weights, save_weights
from models.weights.unpickle import read_weights
from tests.support.checkpoints import LETTERS, saved

PAGE = 4096


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same small weights as a checkpoint and as .safetensors."""
    folder = tmp_path_factory.mktemp("weights")
    path = saved(folder)
    weights, charset = checkpoint.weights_of(checkpoint.read(path), path)
    save_weights(weights, charset, folder / "best.safetensors")
    return {"pt": path, "safetensors": folder / "best.safetensors"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Both kinds of file with 100 kB of weights, so that a flip often hits what is around them."""
    folder = tmp_path_factory.mktemp("small")
    state = {"a.weight": torch.randn(128, 128), "a.bias": torch.randn(128), "b.weight": torch.randn(64, 128)}
    content = {"network": state, "charset": LETTERS.characters, "recipe": "crnn", "data": {"height": 32}, "model": {}}
    checkpoint.write(content, folder / "best.pt")
    save_weights(Weights("x", state, Model(), LETTERS.classes, 1), LETTERS, folder / "best.safetensors")
    return {"pt": folder / "best.pt", "safetensors": folder / "best.safetensors"}


def spoiled(whole: bytes, kind: str, draw: random.Random) -> bytes:
    content = bytearray(whole)
    if kind == "bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        at = draw.randrange(len(content) // PAGE) * PAGE
        content[at : at + PAGE] = bytes(PAGE) if kind == "zeros" else draw.randbytes(PAGE)
    return bytes(content)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize(("kind", "times"), [("bit", 200), ("zeros", 60), ("noise", 60)])
def test_every_flipped_bit_and_every_spoiled_page_is_noticed(small, suffix, kind, times, tmp_path):
    whole, draw = small[suffix].read_bytes(), random.Random(1)
    path = tmp_path / f"spoiled.{suffix}"
    noticed = 0
    for _ in range(times):
        content = spoiled(whole, kind, draw)
        while content == whole:  # a page of zeros that was one
            content = spoiled(whole, kind, draw)
        path.write_bytes(content)
        try:
            checkpoint.read(path)
        except UserError as refusal:
            noticed += "\n" not in str(refusal)
    assert noticed == times


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_bits_of_the_checksum_itself_and_around_it_are_noticed_too(small, suffix, tmp_path):
    whole = small[suffix].read_bytes()
    about = whole.index(b"sha256") if suffix == "safetensors" else len(whole) - 110
    for at in range(about, about + 110):
        for bit in (0, 3, 6):
            content = bytearray(whole)
            content[at] ^= 1 << bit
            path = tmp_path / f"spoiled.{suffix}"
            path.write_bytes(content)
            with pytest.raises(UserError):
                checkpoint.read(path)


def test_a_checksum_that_was_cut_off_is_missed(files, tmp_path):
    """As is that of a file which another program saved again."""
    content = torch.load(files["pt"], weights_only=True)
    torch.save(content, tmp_path / "again.pt")
    with pytest.raises(UserError, match=r"damaged: it has lost the SHA-256"):
        checkpoint.read(tmp_path / "again.pt")


def test_torch_and_zip_read_the_file_as_before(files):
    assert torch.load(files["pt"], weights_only=True)["charset"] == LETTERS.characters
    assert torch.load(files["pt"], weights_only=True, mmap=True)["charset"] == LETTERS.characters
    assert zipfile.ZipFile(files["pt"]).testzip() is None
    assert read_weights(files["safetensors"]).keys() == checkpoint.read(files["pt"])["network"].keys()


def test_the_same_weights_make_the_same_file_which_others_may_read(files, tmp_path):
    weights, charset = checkpoint.weights_of(checkpoint.read(files["pt"]), files["pt"])
    save_weights(weights, charset, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == files["safetensors"].read_bytes()
    (tmp_path / "plain").touch()
    assert (tmp_path / "again.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_of_an_older_release_is_read_and_said_to_carry_none(files, tmp_path, capsys):
    content = checkpoint.read(files["pt"])
    path = tmp_path / "old.pt"
    torch.save({**content, "format": 1}, path)
    for _ in range(2):
        assert checkpoint.read(path)["charset"] == LETTERS.characters
    said = "of an older release and carries no checksum; the CRC-32 of its parts hold"
    assert capsys.readouterr().err.splitlines() == [f"warning: {path}: {said}"]
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(UserError, match=r"damaged: .* in it does not have its CRC-32|not a readable checkpoint"):
        checkpoint.read(path)


def test_shipped_weights_are_checked_also_when_they_are_named_by_their_path(monkeypatch, tmp_path):
    whole = (FOLDER / "crnn_small.safetensors").read_bytes()
    monkeypatch.setattr(checkpoint, "FOLDER", tmp_path.resolve())
    (tmp_path / "crnn_small.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError, match=r"damaged or replaced .*git checkout -- models/weights"):
        checkpoint.read(tmp_path / "crnn_small.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_at_every_door(files, value, tmp_path):
    content = checkpoint.read(files["pt"])
    name = next(key for key in content["network"] if key.endswith("weight"))
    content["network"][name].view(-1)[0] = value
    checkpoint.write(content, tmp_path / "bad.pt")
    with pytest.raises(UserError, match=rf"bad.pt: 1 of the [\d,]+ numbers of {name} are not finite"):
        checkpoint.read(tmp_path / "bad.pt")
    good, charset = checkpoint.weights_of(checkpoint.read(files["pt"]), files["pt"])
    bad = Weights("x", content["network"], good.model, good.classes, good.channels)
    with pytest.raises(UserError, match=r"not written: 1 of the"):
        save_weights(bad, charset, tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    ("part", "name", "value", "said"),
    [
        ("model", "hidden", "x", "its hidden is 'x'"),
        ("model", "hidden", -1, "--hidden is 1 to 4096, not -1"),
        ("model", "nonsense", 1, "made with an option 'nonsense', which this release does not know"),
        ("model", "backbone", "of tomorrow", "made with backbone 'of tomorrow', which this release does not know"),
        ("data", "height", None, "its height is 'None'"),
        ("data", "width", 10**9, "--width is 1 to 65536"),
        ("data", "keep_ratio", "x", "its keep_ratio is 'x'"),
    ],
)
def test_options_that_are_none_are_one_line(files, part, name, value, said, tmp_path):
    content = checkpoint.read(files["pt"])
    checkpoint.write({**content, part: {**content[part], name: value}}, tmp_path / "odd.pt")
    with pytest.raises(UserError, match=f"odd.pt: .*{said}"):
        checkpoint.weights_of(checkpoint.read(tmp_path / "odd.pt"), tmp_path / "odd.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>Google Drive - Virus scan warning", "a web page"),
        (b"\n <html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a pointer of Git LFS"),
        (b"", "an empty file"),
    ],
)
def test_what_is_no_weights_at_all_is_called_what_it_is(content, said, tmp_path):
    path = tmp_path / "net.pth"
    path.write_bytes(content)
    for door in (checkpoint.read, read_weights):
        with pytest.raises(UserError, match=said):
            door(path)


def test_an_alphabet_that_is_none_is_a_short_line(files, tmp_path):
    content = {**checkpoint.read(files["pt"]), "charset": Charset().characters * 500}
    checkpoint.write(content, tmp_path / "twice.pt")
    with pytest.raises(UserError) as refusal:
        checkpoint.weights_of(checkpoint.read(tmp_path / "twice.pt"), tmp_path / "twice.pt")
    assert len(str(refusal.value)) < 400
