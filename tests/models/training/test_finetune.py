"""Another alphabet keeps all but the last layer, and says so."""

from dataclasses import asdict

import pytest
import torch

from bench.errors import UserError
from models.crnn import CRNN
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import build
from models.training.finetune import load_pretrained

OLD, NEW = Charset("abc"), Charset("xyzw")
HEADS = {
    "ctc": (Model(hidden=8), {"head.weight", "head.bias"}),
    "one-hot": (
        Model(head="attention", hidden=8),
        {"head.generator.weight", "head.generator.bias", "head.cell.weight_ih"},
    ),
    "embedding": (
        Model(head="attention", hidden=8, embedding=4),
        {"head.generator.weight", "head.generator.bias", "head.embedding.weight"},
    ),
}


@pytest.mark.parametrize("name", HEADS)
def test_another_alphabet_keeps_all_but_the_last_layer(name):
    model, last = HEADS[name]
    trained, fresh = build(model, OLD.classes), build(model, NEW.classes)
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    said = load_pretrained(fresh, trained.state_dict(), OLD.characters, NEW)
    for key, value in fresh.state_dict().items():
        assert torch.equal(value, before[key] if key in last else trained.state_dict()[key]), key
    assert all(key in said for key in last) and "3 characters then, 4 now" in said


@pytest.mark.parametrize("name", HEADS)
def test_the_last_layer_is_what_depends_on_the_alphabet(name):
    model, last = HEADS[name]
    few, many = (build(model, classes).state_dict() for classes in (4, 9))
    assert {key for key in few if few[key].shape != many[key].shape} == last


def test_as_many_other_characters_are_another_alphabet_too():
    trained, fresh = build(Model(hidden=8), 4), build(Model(hidden=8), 4)
    load_pretrained(fresh, trained.state_dict(), "abc", Charset("xyz"))
    assert not torch.equal(fresh.head.weight, trained.head.weight)


def test_the_same_alphabet_keeps_everything():
    crnn, fresh = CRNN(classes=4, hidden=8), build(Model(hidden=8), 4)
    assert load_pretrained(fresh, crnn.state_dict(), "abc", OLD) == "all 49 weights kept"
    assert torch.equal(fresh.head.weight, crnn.rnn[1].embedding.weight)


OTHERS = {
    "another hidden": (Model(hidden=16), OLD, {"backbone"}),
    "no recurrent layer": (Model(sequence="none"), OLD, {"backbone"}),
    "no recurrent layer, another alphabet": (Model(sequence="none", head_rank=3), NEW, {"backbone"}),
    "another head": (Model(hidden=8, head_rank=3), OLD, {"backbone", "sequence"}),
    "a rectifier more": (Model(hidden=8, rectifier="tps"), OLD, {"backbone", "sequence", "head"}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_of_another_network_the_trunk_is_kept(name):
    model, charset, parts = OTHERS[name]
    trained, fresh = build(Model(hidden=8), OLD.classes), build(model, charset.classes)
    before = {key: value.clone() for key, value in fresh.state_dict().items()}
    said = load_pretrained(fresh, trained.state_dict(), OLD.characters, charset)
    for key, value in fresh.state_dict().items():
        kept = key.split(".")[0] in parts
        assert torch.equal(value, trained.state_dict()[key] if kept else before[key]), key
    kept, _, anew = said.partition("; the network is another one (")
    count = sum(key.split(".")[0] in parts for key in before)
    assert kept.startswith(f"{count} of {len(before)} weights kept: ") and anew.endswith(" anew")
    assert all(part in kept for part in parts)
    assert not any(part in anew.rpartition("), so ")[2] for part in parts)


def test_the_convolutions_of_another_backbone_are_refused():
    with pytest.raises(UserError, match=r"of another network: .* and .* more"):
        load_pretrained(build(Model(hidden=8), 4), build(Model("vgg_separated", hidden=8), 4).state_dict(), "abc", OLD)


def test_a_checkpoint_of_this_very_network_that_lacks_a_weight_is_refused():
    weights, model = build(Model(hidden=8), 4).state_dict(), asdict(Model(hidden=8))
    del weights["head.bias"], model["head_rank"]
    with pytest.raises(UserError, match=r"not those of its network: head\.bias is missing"):
        load_pretrained(build(Model(hidden=8), 4), weights, "abc", OLD, model)
