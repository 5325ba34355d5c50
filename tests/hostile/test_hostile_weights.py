"""Checkpoints of strangers, through the programs that read them: no code runs, nothing leaves its folder, one line."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import time
import zipfile
from dataclasses import asdict

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.errors import UserError
from models import convert, demo, test, train
from models.network.model import Model
from models.network.network import ModelError, build
from models.weights import checkpoint

CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
FORGED = "\x1b[31m\nmodels.test: error: forged"


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *words):
        self.call = function, words

    def __reduce__(self):
        return self.call


PAYLOADS = {
    "os.system": Calls(os.system, "touch HACKED"),
    "eval": Calls(eval, "open('HACKED', 'w')"),
    "exec": Calls(exec, "open('HACKED', 'w')"),
    "open": Calls(open, "HACKED", "w"),
    "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
}


def content(**changes) -> dict:
    """A checkpoint that would be taken."""
    network = build(Model(hidden=8)).state_dict()
    data = {"height": 32, "width": 100, "channels": 1}
    model = asdict(Model(hidden=8))
    good = {"format": 1, "network": network, "charset": CHARACTERS, "recipe": "crnn", "data": data, "model": model}
    return {**good, **changes}


def as_zip(path, payload):
    torch.save(content(network=payload), path)


def as_legacy(path, payload):
    torch.save(content(network=payload), path, _use_new_zipfile_serialization=False)


def as_pickle(path, payload):
    path.write_bytes(pickle.dumps(payload))


def as_tar(path, payload):
    members = {"pickle": pickle.dumps(payload), "storages": pickle.dumps(1) + pickle.dumps(payload),
               "tensors": pickle.dumps(payload), "../ESCAPED": b"x"}  # fmt: skip
    with tarfile.open(path, "w") as archive:
        for name, inside in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(inside)
            archive.addfile(member, io.BytesIO(inside))


@pytest.fixture
def programs(tmp_path, sample, monkeypatch):
    """Each program that reads a checkpoint, as a function of its path."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Image.new("L", (100, 32)).save("word.png")
    run = ["--dataset", str(sample), "--device", "CPU", "--model.hidden", "8", "--results", str(tmp_path / "runs")]
    run += ["--min-steps", "1", "--min-seconds", "0", "--checkpoints", str(tmp_path / "none")]
    return {
        "demo": lambda path: demo.main(["word.png", "--checkpoint", str(path)]),
        "convert": lambda path: convert.main([str(path), "out.safetensors"]),
        "test": lambda path: test.main([*run, "--checkpoint", str(path)]),
        "train": lambda path: train.main([*run, "--steps", "1", "--start-from", str(path)]),
    }


def refused(program, path) -> str:
    with pytest.raises(UserError) as caught:
        program(path)
    return str(caught.value)


@pytest.mark.parametrize("program", ["demo", "convert", "test", "train"])
@pytest.mark.parametrize("form", [as_zip, as_legacy, as_pickle, as_tar])
@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_code_runs(payload, form, program, programs, tmp_path):
    path = tmp_path / "stranger.pt"
    form(path, PAYLOADS[payload])
    assert str(path) in refused(programs[program], path)
    assert [p.name for p in tmp_path.rglob("*") if p.name in ("HACKED", "ESCAPED", "out.safetensors")] == []


def test_a_tar_is_refused_before_torch_sees_it(programs, tmp_path, monkeypatch):
    """torch before 2.6 runs what is in it; the one here may not, and then the test above sees no difference."""
    as_tar(tmp_path / "stranger.pt", PAYLOADS["os.system"])
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch saw it"))
    assert "could run code" in refused(programs["convert"], tmp_path / "stranger.pt")


def test_the_payloads_are_real(tmp_path, monkeypatch):
    """What the test above refuses does run where pickles are believed."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "eval", "exec", "open"):
        pickle.loads(pickle.dumps(PAYLOADS[name]))
        (tmp_path / "HACKED").unlink()


def test_members_of_an_archive_stay_where_they_are(programs, tmp_path):
    path = tmp_path / "slip.pt"
    torch.save(content(), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../ESCAPED", "x")
    refused(programs["demo"], path)  # torch itself finds it odd; nothing is extracted in any case
    assert list(tmp_path.rglob("ESCAPED")) == [] and not (tmp_path.parent / "ESCAPED").exists()


@pytest.mark.parametrize("program", ["demo", "convert"])
def test_a_compressed_archive_is_not_unpacked(program, programs, tmp_path):
    torch.save(content(), tmp_path / "good.pt")
    with (
        zipfile.ZipFile(tmp_path / "good.pt") as good,
        zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in good.infolist():
            inside = good.read(member)
            bomb.writestr(member.filename, bytes(50 << 20) if member.filename.endswith("data/0") else inside)
    assert "members are compressed" in refused(programs[program], tmp_path / "bomb.pt")


def model(**changes) -> dict:
    return content(model=asdict(Model(hidden=8)) | changes)


LIES = {
    "a part that is none": model(backbone="evil"),
    "a part that is a list": model(head=[1]),
    "an option that is none": model(evil=1),
    "a size that is text": model(hidden="x"),
    "a network of terabytes": model(hidden=10**9),
    "a network of gigabytes": model(hidden=60_000),
    "a rectifier without bounds": model(rectifier="tps", fiducials=10**5),
    "a rectifier as wide as the sea": model(rectifier="tps", rectified_width=10**7),
    "no size": content(data={}),
    "a size of words": content(data={"height": "x", "width": 100, "channels": 1}),
    "images of terabytes": content(data={"height": 10**6, "width": 10**6, "channels": 1}),
    "weights without names": content(network={1: torch.ones(1)}),
    "weights that are words": content(network={"head.bias": "x"}),
    "a weight larger than it is": content(network={"head.bias": torch.zeros(1).expand(10**10)}),
    "an alphabet with a letter twice": content(charset="\x1b[31maa"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_checkpoint_that_lies_is_one_line(lie, programs, tmp_path):
    torch.save(LIES[lie], tmp_path / "lie.pt")
    assert "Traceback" not in refused(programs["demo"], tmp_path / "lie.pt")


@pytest.mark.parametrize("program", ["test", "train"])
def test_weights_without_names_are_refused_everywhere(program, programs, tmp_path):
    torch.save(LIES["weights without names"], tmp_path / "lie.pt")
    assert "names that are no strings" in refused(programs[program], tmp_path / "lie.pt")


def tensors(header, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADERS = {
    "longer than the file": struct.pack("<Q", 2**63) + b"{}",
    "much longer than the file": struct.pack("<Q", 2**40) + b"{}",
    "a tensor that is not there": tensors({"a": F32 | {"shape": [10**10], "data_offsets": [0, 4 * 10**10]}}),
    "tensors over each other": tensors({"a": F32, "b": F32}, bytes(4)),
    "a shape that overflows": tensors({"a": F32 | {"shape": [2**62, 4], "data_offsets": [0, 0]}}),
    "nested without end": tensors(b"[" * 100_000),
}


@pytest.mark.parametrize("program", ["demo", "convert", "test", "train"])
@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_lies(header, program, programs, tmp_path):
    (tmp_path / "lie.safetensors").write_bytes(HEADERS[header])
    assert "not a readable" in refused(programs[program], tmp_path / "lie.safetensors")


@pytest.mark.parametrize("change", [{"model": "[" * 100_000}, {"model": "null"}, {"data": '{"height": 1e400}'}])
def test_options_beside_the_weights_that_are_none(change, programs, tmp_path):
    whole = content()
    about = {"charset": CHARACTERS, "data": json.dumps(whole["data"]), "model": json.dumps(whole["model"])} | change
    save_file({k: v.contiguous() for k, v in whole["network"].items()}, tmp_path / "x.safetensors", about)
    refused(programs["demo"], tmp_path / "x.safetensors")


@pytest.mark.parametrize("shapes", [(240_000, 60_000), (5,), ()])
def test_a_peer_with_weights_of_strange_shapes(shapes, programs, tmp_path):
    recurrent = torch.zeros(1).expand(shapes) if shapes else torch.zeros(())
    state = {"rnn.1.embedding.weight": torch.zeros(37, 16), "rnn.0.rnn.weight_hh_l0": recurrent}
    torch.save(state | {"cnn.conv0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "peer.pth")
    refused(programs["convert"], tmp_path / "peer.pth")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_not_waited_for(make, programs, tmp_path):
    make(tmp_path / "x.pt")
    for program in programs.values():
        assert "x.pt" in refused(program, tmp_path / "x.pt")


def test_names_in_it_forge_no_line(programs, tmp_path, capsys, monkeypatch):
    from bench.errors import run_cli

    torch.save(content(recipe=FORGED), tmp_path / "recipe.pt")
    torch.save({FORGED: torch.zeros(1)}, tmp_path / "peer.pth")
    for program, name in (("test", "recipe.pt"), ("convert", "peer.pth")):
        with pytest.raises(SystemExit):
            run_cli(lambda program=program, name=name: programs[program](tmp_path / name), "models.x")
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if not line.startswith("warning: ")]  # it carries no checksum
    assert "\x1b" not in said and len(lines) == said.count("models.x: error:") == 2


def test_an_alphabet_cannot_drive_the_terminal(programs, tmp_path, capsys):
    odd = "\x1b\x07\n\r\u202e" + CHARACTERS[5:]
    torch.manual_seed(3)
    network = build(Model(hidden=8)).state_dict()
    network["head.bias"] = torch.tensor([0.0, 50.0] + [0.0] * 35)  # always reads the first character
    torch.save(content(charset=odd, network=network), tmp_path / "odd.pt")
    programs["demo"](tmp_path / "odd.pt")
    said = capsys.readouterr().out
    assert "\x1b" not in said and said.count("\n") == 1


def test_a_storage_of_millions_is_not_printed(programs, tmp_path):
    """Torch's own message would hold them all: 20 s for 16 MB, with hours and all memory a few digits away."""
    path = tmp_path / "old.pt"
    torch.save({"a": torch.zeros(4_000_000)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    start, begin, end = (whole.index(mark) for mark in (b"ctorch._utils\n", b"((X\x07", b"tq\x07Q"))
    # Instead of torch's function that builds the tensor, its storage is called.
    path.write_bytes(whole[:start] + whole[begin + 1 : end + 4] + b")R." + whole[start:])
    began = time.perf_counter()
    refused(programs["demo"], path)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("seed", range(3))
def test_spoiled_files_are_refused_or_read(seed, tmp_path):
    """No other exception, whichever byte is wrong."""
    draw = torch.Generator().manual_seed(seed)
    small = content(network={"a": torch.zeros(3), "b": torch.zeros(4, 5)})
    torch.save(small, tmp_path / "zip.pt")
    torch.save(small, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("zip.pt", "old.pt"):
        whole = (tmp_path / name).read_bytes()
        head = min(len(whole), 6000)
        for _ in range(60):
            spoiled = bytearray(whole)
            for place in torch.randint(head, (4,), generator=draw).tolist():
                spoiled[place] = int(torch.randint(256, (1,), generator=draw))
            (tmp_path / "spoiled.pt").write_bytes(spoiled)
            try:
                checkpoint.read(tmp_path / "spoiled.pt")
            except UserError as refusal:
                assert "\n" not in str(refusal)


def test_a_network_too_large_is_refused_by_options_too():
    with pytest.raises(ModelError, match="hidden is 1 to 4096, not"):
        build(Model(hidden=5000))
