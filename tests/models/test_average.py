"""The mean of weights: of each of them, and of nothing that has none."""

from __future__ import annotations

import pytest
import torch

from bench.errors import UserError
from models import average
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import build
from models.reading.recogniser import Recogniser
from models.weights.file import Weights, load_weights, save_weights

THIN = Model(hidden=16)


def saved(folder, name: str, model: Model = THIN, charset: str = "36"):
    characters = Charset.named(charset)
    network = build(model, characters.classes)
    made = Weights("ours", network.state_dict(), model, characters.classes, 1, recipe="crnn")
    save_weights(made, characters, folder / name)
    return folder / name, network.state_dict()


def test_every_weight_is_the_mean_of_theirs(tmp_path, capsys):
    places, states = zip(*(saved(tmp_path, f"{n}.safetensors") for n in range(3)), strict=True)
    average.main([*map(str, places), str(tmp_path / "mean.safetensors")])
    state = load_weights(tmp_path / "mean.safetensors")["network"]
    for key in states[0]:
        expected = torch.stack([one[key].float() for one in states]).mean(0)
        assert torch.allclose(state[key].float(), expected, atol=1e-6), key
    assert Recogniser.load(tmp_path / "mean.safetensors").charset == Charset.named("36")
    assert "the mean of" in capsys.readouterr().out


@pytest.mark.parametrize("other", [{"model": Model(hidden=8)}, {"charset": "94"}])
def test_others_are_refused(other, tmp_path):
    one, two = saved(tmp_path, "one.safetensors")[0], saved(tmp_path, "two.safetensors", **other)[0]
    with pytest.raises(UserError, match=r"networks have no mean|alphabets differ"):
        average.main([str(one), str(two), str(tmp_path / "mean.safetensors")])
    assert not (tmp_path / "mean.safetensors").exists()
