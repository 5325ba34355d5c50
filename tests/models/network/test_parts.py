"""Shapes, sizes and the one promise of every backbone: padding does not reach a picture's own columns."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.network.backbones import BACKBONES
from models.network.heads import CTC, END, Attention, pad_labels
from models.network.imagenet import features_of
from models.network.masked import HEIGHT, MaskedSequential, zero_padding
from models.network.network import count_parameters
from models.network.recurrent import Recurrent, sequence


def settled(network: nn.Module) -> nn.Module:
    """A network as after training: batch norms that move and scale, so that a wrong column shows."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
            nn.init.normal_(layer.bias, 0, 0.3)
    return network.double().eval()


@pytest.fixture(autouse=True)
def _same_every_time():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", BACKBONES)
def test_padding_does_not_reach_a_pictures_own_columns(name):
    backbone = settled(BACKBONES[name].make(3))
    images, widths = torch.randn(2, 3, 32, 48).double(), torch.tensor([48, 29])
    with torch.no_grad():
        together, columns = backbone(images, widths)
        for i, width in enumerate(widths):
            alone, _ = backbone(images[i : i + 1, ..., :width])
            assert alone.shape[-1] == columns[i]
            torch.testing.assert_close(together[i : i + 1, ..., : columns[i]], alone, rtol=0, atol=1e-12)
        unmasked, _ = backbone(images)
        assert not torch.allclose(unmasked[1:, ..., : columns[1]], together[1:, ..., : columns[1]], atol=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("width", [37, 60])
def test_sizes_are_foretold(name, width):
    backbone = BACKBONES[name].make(1).eval()
    with torch.no_grad():
        made, _ = backbone(torch.zeros(1, 1, 32, width))
    assert made.shape == (1, BACKBONES[name].features, backbone.output_size(32, HEIGHT), backbone.output_size(width))
    assert backbone.output_size(torch.tensor([width])).tolist() == [made.shape[-1]]


@pytest.mark.parametrize("name", BACKBONES)
def test_a_column_stands_for_four_pixels(name):
    backbone = BACKBONES[name].make(1)
    assert backbone.output_size(400) - backbone.output_size(200) == 50


def test_no_columns_stay_no_columns():
    assert MaskedSequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 3, padding=1)).output_size(1) == 0


def test_blank_keeps_a_pictures_own_columns():
    x = torch.ones(2, 1, 1, 3)
    assert zero_padding(x, torch.tensor([3, 1])).flatten().tolist() == [1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("name", ["bilstm", "bilstm_projected", "bilstm_squeezed", "gru", "none"])
def test_sequences_of_unequal_length_are_read_as_if_alone(name):
    layers = sequence(name, 12, 8).double()
    x, lengths = torch.randn(9, 3, 12).double(), torch.tensor([9, 4, 6])
    together = layers(x, lengths)
    assert together.shape == (9, 3, layers.features)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(together[:length, i], layers(x[:length, i : i + 1])[:, 0])


def test_the_recurrent_type_is_kept_under_autocast():
    layer = Recurrent("lstm", 4, 4, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(torch.randn(3, 1, 4)).dtype == torch.bfloat16
        layer.dtype = torch.float32
        assert layer(torch.randn(3, 1, 4).bfloat16()).dtype == torch.float32


def test_attention_looks_only_at_a_pictures_own_columns():
    head = Attention(6, 5, 4).double()
    features, lengths = torch.randn(7, 2, 6).double(), torch.tensor([7, 3])
    logits, weights = head.write(features, lengths)
    assert logits.shape == (26, 2, 4) and weights.shape == (26, 2, 7)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(26, 2).double())
    assert (weights[:, 1, 3:] == 0).all()
    torch.testing.assert_close(logits[:, 1:], head(features[:3, 1:]))


def test_teacher_forcing_is_a_ratio_for_each_step_and_picture():
    head, true, logits = Attention(6, 5, 50), torch.full((4000,), 7), torch.zeros(4000, 50)  # its own is class 0
    for head.teacher_forcing in (0.0, 0.3, 1.0):
        taught = (head.previous(logits, true) == 7).float().mean()
        assert taught == pytest.approx(head.teacher_forcing, abs=0.05 * (0 < head.teacher_forcing < 1))
    head.eval().teacher_forcing = 0.3
    assert (head.previous(logits, true) == 7).all(), "texts that are scored are always read as given"


def test_a_step_reads_the_true_character_before_it():
    head = Attention(6, 5, 4).double()
    features = torch.randn(7, 1, 6).double()
    taught = head(features, targets=torch.tensor([[1, 2, 0]]))
    other = head(features, targets=torch.tensor([[1, 3, 0]]))
    torch.testing.assert_close(taught[:2], other[:2])  # steps 0 and 1 read the start and a 1
    assert not torch.allclose(taught[2], other[2])


def test_labels_are_padded_with_their_end():
    padded = pad_labels(torch.tensor([5, 6, 7]), torch.tensor([2, 0, 1]))
    assert padded.tolist() == [[5, 6, END], [END, END, END], [7, END, END]]


def test_attention_loss_counts_the_text_and_one_end():
    logits = torch.randn(3, 2, 5)
    lengths = torch.tensor([2, 1])
    logs = logits.log_softmax(-1)
    first, second = logs[0, 0, 1] + logs[1, 0, 2] + logs[2, 0, 0], logs[0, 1, 3] + logs[1, 1, 0]
    by_hand = -(first + second) / 2
    torch.testing.assert_close(Attention(1, 1, 5).loss(logits, None, torch.tensor([1, 2, 3]), lengths), by_hand)


def test_ctc_loss_forgives_a_text_too_long_for_its_columns():
    logits = torch.randn(3, 2, 5, requires_grad=True)
    loss = CTC(1, 5).loss(logits, torch.tensor([3, 3]), torch.tensor([1, 1, 1, 2]), torch.tensor([3, 1]))
    loss.backward()
    assert loss.isfinite() and (logits.grad[:, 0] == 0).all() and (logits.grad[:, 1] != 0).any()


def test_a_head_of_low_rank_has_few_weights_and_as_many_classes():
    whole, low = CTC(512, 6000), CTC(512, 6000, rank=96)
    features = torch.randn(3, 2, 512)
    assert whole(features).shape == low(features).shape == (3, 2, 6000)
    product = features @ (low.weight @ low.squeeze.weight).T + low.bias
    torch.testing.assert_close(low(features), product, atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in low.parameters()) == 96 * (512 + 6000) + 6000


@pytest.mark.parametrize("name, theirs", [("densenet121", "densenet121"), ("mobilenetv2_cifar", "mobilenet_v2")])
def test_torchvisions_weights_fit(name, theirs):
    from models.network.torchvision_schemas import import_torchvision

    import_torchvision()
    from torchvision import models

    peer = getattr(models, theirs)(weights=None)
    ours = BACKBONES[name].make(3)
    ours.load_state_dict(features_of(peer.state_dict()))
    assert count_parameters(ours) == count_parameters(peer.features)


def test_old_names_in_torchvisions_files_are_understood():
    old = {
        "features.denseblock1.denselayer2.norm.1.weight": 1,
        "features.norm5.bias": 2,
        "classifier.bias": 3,
    }
    assert features_of(old) == {"denseblock1.denselayer2.norm1.weight": 1, "norm5.bias": 2}


class Operators(TorchDispatchMode):
    """Counts operators: on a card each is a launch or more."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.names.append(str(function))
        return function(*arguments, **(keywords or {}))


@pytest.mark.parametrize("n", [3, 512])
def test_an_attention_loss_of_staged_targets_takes_as_many_operators_for_any_batch_and_waits_for_none(n):
    """It was 4,105 launches and a blocking copy at a batch of 2,048: texts were padded one by one, on the card."""
    torch.manual_seed(0)
    lengths = torch.randint(1, 9, (n,))
    labels = torch.randint(1, 11, (int(lengths.sum()),))
    targets, head = pad_labels(labels, lengths), Attention(8, 8, 11)
    logits = torch.randn(n, targets.shape[1], 11).transpose(0, 1)
    with Operators() as staged:
        loss = head.loss(logits, None, targets, lengths)
    assert len(staged.names) < 20
    assert not [name for name in staged.names if "local_scalar" in name or "split" in name]
    torch.testing.assert_close(loss, head.loss(logits, None, labels, lengths))
