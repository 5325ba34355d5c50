import os
import pickle
import subprocess
import sys

import pytest
import torch

from bench.errors import UserError
from bench.machine.device import Device
from bench.records.run_name import RunName
from models.crnn import CRNN
from models.weights import checkpoint
from tests.support import ROOT


def test_what_is_written_is_read_back(tmp_path):
    checkpoint.write({"weights": torch.arange(3.0)}, tmp_path / "a" / "last.pt")
    assert checkpoint.read(tmp_path / "a" / "last.pt")["weights"].tolist() == [0, 1, 2]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    checkpoint.write({"step": 1}, path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        UserError, match=r"No space left on device: [\d,]+ bytes are needed in .*, .* are free; the checkp"
    ):
        checkpoint.write_last({"step": 2}, tmp_path)
    assert checkpoint.read(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", b"not a zip at all"])
def test_a_damaged_newest_falls_back_to_the_one_before(tmp_path, damage, capsys):
    checkpoint.write_last({"step": 1}, tmp_path)
    checkpoint.write_last({"step": 2}, tmp_path)
    (tmp_path / "last.pt").write_bytes(damage)
    content, path = checkpoint.read_last(tmp_path)
    assert (content["step"], path.name) == (1, "previous.pt")
    assert "last.pt: not a readable checkpoint" in capsys.readouterr().out
    checkpoint.write_last({"step": 3}, tmp_path)
    assert checkpoint.read(tmp_path / "previous.pt")["step"] == 1  # the damaged one did not become it


def test_when_none_can_be_read_the_run_does_not_quietly_begin_again(tmp_path):
    checkpoint.write_last({"step": 1}, tmp_path)
    (tmp_path / "last.pt").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"no checkpoint there can be read \(last.damaged\); start again without --resume"
    ):
        checkpoint.read_last(tmp_path)


def test_a_folder_is_trained_in_by_one_process_and_cleared_of_what_a_killed_one_left(tmp_path):
    (tmp_path / "last.partial77").write_bytes(b"half")
    checkpoint.claim(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]
    other = f"import pathlib; from models.weights import checkpoint; checkpoint.claim(pathlib.Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", other], cwd=ROOT, capture_output=True, text=True)
    assert "another process trains there" in done.stderr


def test_the_folders_of_a_run_are_found_whatever_its_number_of_cards_and_its_length(tmp_path):
    name = RunName.parse("CRNN_FP32_2E_2CPUs_Train")
    own = tmp_path / str(name)
    assert checkpoint.folders_of(name, own, any_length=True) == []
    runs = [
        str(name), "CRNN_FP32_2E_4CPUs_Train", "CRNN_FP32_3E_1CPU_Train", "CRNN_FP32_9S_1CPU_Train",
        "CRNN_AMP_2E_1CPU_Train", "CRNN_SMALL_FP32_2E_2CPUs_Train",
    ]  # fmt: skip
    for i, run in enumerate(runs):
        checkpoint.write({}, tmp_path / run / "last.pt")
        os.utime(tmp_path / run / "last.pt", (i, i))
    same = [tmp_path / runs[1], tmp_path / runs[0]]
    assert checkpoint.folders_of(name, own, any_length=False) == same
    assert checkpoint.folders_of(name, own, any_length=True) == [*same, tmp_path / runs[3], tmp_path / runs[2]]


def test_a_truncated_checkpoint_is_one_line(tmp_path):
    path = tmp_path / "last.pt"
    checkpoint.write({"weights": torch.zeros(10_000)}, path)
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checkpoint.read(path)


class Payload:
    def __reduce__(self):
        return os.system, ("touch HACKED",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path, save in (("a.pt", torch.save), ("b.pt", lambda o, p: (tmp_path / p).write_bytes(pickle.dumps(o)))):
        save({"format": 1, "network": Payload()}, path)
        with pytest.raises(UserError, match="not a readable checkpoint"):
            checkpoint.read(tmp_path / path)
    assert not (tmp_path / "HACKED").exists()


def test_another_alphabet_and_another_network_are_refused(tmp_path):
    network = CRNN(classes=11)
    content = {"network": network.state_dict(), "charset": "0123456789", "recipe": "crnn"}
    checkpoint.restore_weights(CRNN(classes=11), content, tmp_path / "x.pt", "0123456789", "crnn")
    with pytest.raises(UserError, match="trained with the recipe 'crnn', not 'rare'"):
        checkpoint.restore_weights(CRNN(classes=11), content, tmp_path / "x.pt", "0123456789", "rare")
    with pytest.raises(UserError, match="trained for another alphabet"):
        checkpoint.restore_weights(CRNN(), content, tmp_path / "x.pt", "0123456789abcdefghijklmnopqrstuvwxyz", "crnn")
    with pytest.raises(UserError, match=r"of another network.*rnn\.0"):
        checkpoint.restore_weights(CRNN(classes=11, hidden=8), content, tmp_path / "x.pt", "0123456789", "crnn")


def test_generators_go_on_where_they_were():
    import random

    device = Device.open("CPU")
    state = checkpoint.random_state(device)
    first = random.random(), torch.rand(1).item()
    checkpoint.restore_random_state(state, device)
    assert (random.random(), torch.rand(1).item()) == first


def test_the_newest_best_of_the_recipe_is_found(tmp_path):
    for i, run in enumerate(["CRNN_FP32_1E_1CPU_Train", "CRNN_AMP_2E_1CPU_Train", "CRNN_VARIABLE_FP32_1E_1CPU_Train"]):
        checkpoint.write({}, tmp_path / run / "best.pt")
        os.utime(tmp_path / run / "best.pt", (i, i))
    assert checkpoint.newest_best(tmp_path, "crnn").parent.name == "CRNN_AMP_2E_1CPU_Train"
    assert checkpoint.newest_best(tmp_path, "nothing") is None
    one = tmp_path / "CRNN_FP32_1E_1CPU_Train" / "best.pt"
    assert checkpoint.newest_best(one, "crnn") == one
