"""A trained recogniser made small gives up what it has to and nothing else; made large, it reads as before."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d

from bench.errors import UserError
from bench.records.record import Record
from models import resize, train, weights
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import build
from models.network.vgg import RANKS
from models.weights.file import Weights, load_weights

KEPT = 192  # of 256 units


def test_two_thin_convolutions_are_the_whole_one_when_they_are_thick_enough():
    weight, x = torch.randn(6, 5, 3, 3), torch.randn(2, 5, 9, 11)
    down, across = resize.separate(weight, 15)
    assert torch.allclose(conv2d(conv2d(x, down), across), conv2d(x, weight), atol=1e-4)


def test_thinner_ones_are_the_nearest_there_are():
    weight = torch.randn(6, 5, 3, 3)
    down, across = resize.separate(weight, 4)
    found = resize.merge(down, across)
    values = torch.linalg.svdvals(weight.permute(1, 2, 0, 3).reshape(15, 18))
    assert float((found - weight).norm()) == pytest.approx(float(values[4:].norm()), rel=1e-4)


def converted(network, recipe: str = "crnn") -> Weights:
    return Weights("ours", network.state_dict(), network.model, 37, 1, recipe=recipe)


def with_much_that_does_nothing():
    """A big recogniser that loses nothing: convolutions of the small one's rank, and in each layer 64 silent units."""
    network = build(Model()).eval()
    state = network.state_dict()
    for i, rank in enumerate(RANKS):
        if rank:
            down, across = resize.separate(state[f"backbone.conv{i}.weight"], rank)
            state[f"backbone.conv{i}.weight"].copy_(resize.merge(down, across))
    silent = {name: torch.randperm(256)[KEPT:] for name in (0, 1, "middle")}
    for way, suffix in enumerate(("", "_reverse")):
        for layer, onwards in (("0", "sequence.0.embedding.weight"), ("1", "head.weight")):
            state[f"sequence.{layer}.rnn.weight_hh_l0{suffix}"][:, silent[way]] = 0
            state[onwards][:, silent[way] + way * 256] = 0
        state[f"sequence.1.rnn.weight_ih_l0{suffix}"][:, silent["middle"]] = 0
    return network


def test_what_does_nothing_is_what_goes():
    big = with_much_that_does_nothing()
    small = resize.change_size(converted(big)).network().eval()
    pictures = torch.randn(3, 1, 32, 100)
    with torch.inference_mode():
        assert torch.allclose(small(pictures), big(pictures), atol=1e-3)


def test_a_large_one_reads_as_the_small_one_and_has_room_to_learn():
    small = build(Model(backbone="vgg_separated", hidden=KEPT)).eval()
    grown = resize.change_size(converted(small, "crnn_small"))
    assert grown.recipe == "crnn"
    large, pictures = grown.network().eval(), torch.randn(3, 1, 32, 100)
    with torch.inference_mode():
        assert torch.allclose(large(pictures), small(pictures), atol=1e-4)
    large(pictures).square().sum().backward()
    assert float(large.head.weight.grad[:, KEPT:256].abs().min()) > 0  # the new features are not dead


def test_other_recognisers_are_refused():
    with pytest.raises(UserError, match="only recipes crnn and crnn_small"):
        resize.change_size(converted(build(Model(sequence="gru"))))


def test_training_goes_on_from_the_small_file(sample, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    resize.main([str(weights.path("crnn")), str(small)])
    assert "2,813,285 parameters, made of 8,331,301" in capsys.readouterr().out
    places = ["--results", str(tmp_path / "runs"), "--checkpoints", str(tmp_path / "ck"), "--device", "CPU"]
    asked = ["--recipe", "crnn_small", "--start-from", str(small), "--dataset", str(sample), "--steps", "1"]
    train.main([*asked, *places, "--batch-size", "8"])
    assert "weights kept" in capsys.readouterr().out
    [record] = (tmp_path / "runs").glob("*.json")
    assert Record.load(record).recipe["name"] == "crnn_small"
    assert Charset(load_weights(small)["charset"]) == Charset.named("36")
