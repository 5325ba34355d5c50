"""Layouts of weights of other projects, and how each becomes ours.

meijieru/crnn.pytorch (and projects that kept its names: Cambricon's model zoo, Holmeyoung, Sierkinhane),
GitYCC/crnn-pytorch, clovaai/deep-text-recognition-benchmark (None-VGG-BiLSTM-CTC and TPS-ResNet-BiLSTM-Attn) and the
CRNN of baudm/parseq.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from bench.errors import UserError
from models.network.model import Model
from models.weights.checksum import not_finite
from models.weights.file import Weights
from models.weights.unpickle import State


@dataclass(frozen=True)
class Peer:
    """A layout of weights: how it is recognised, how its names become ours, and the network it is for."""

    name: str
    marker: str  # a key that no other layout has
    renames: tuple[tuple[str, str], ...]  # regular expression and replacement, applied in order to every key
    model: Model
    head: str  # the key whose first dimension is the number of classes
    recurrent: str  # the key whose second dimension is `hidden`
    first: str  # the key whose second dimension is the number of channels
    adapt: Callable[[State], State] = lambda state: state
    width: int = 100  # px of the images it was trained on


def remove_start_class(state: State) -> State:
    """clovaai's attention has [GO] 0, [s] 1, characters from 2; ours the end 0, characters from 1, the start last."""
    rows = state["head.generator.weight"].shape[0]
    order = [*range(1, rows), 0]
    weight = state["head.cell.weight_ih"]
    features = weight.shape[1] - rows  # the columns before the one-hot class
    one_hot = weight[:, features:][:, order]
    return {
        **state,
        "head.cell.weight_ih": torch.cat([weight[:, :features], one_hot], dim=1),
        "head.generator.weight": state["head.generator.weight"][1:],
        "head.generator.bias": state["head.generator.bias"][1:],
    }


VGG = {0: "conv0", 3: "conv1", 6: "conv2", 8: "conv3", 11: "conv4", 12: "batchnorm4", 14: "conv5", 15: "batchnorm5"}
CLOVAAI_SEQUENCE = (
    (r"^SequenceModeling\.(\d)\.rnn\.", r"sequence.\1.rnn."),
    (r"^SequenceModeling\.(\d)\.linear\.", r"sequence.\1.embedding."),
)
PEERS = (
    Peer(
        "meijieru/crnn.pytorch",
        "rnn.1.embedding.weight",
        (),  # models/crnn.py has these very names, and networks load them
        Model(),
        head="rnn.1.embedding.weight",
        recurrent="rnn.0.rnn.weight_hh_l0",
        first="cnn.conv0.weight",
    ),
    Peer(
        "baudm/parseq CRNN",
        "rnn.1.linear.weight",
        ((r"^rnn\.(\d)\.linear\.", r"rnn.\1.embedding."),),
        Model(),
        head="rnn.1.linear.weight",
        recurrent="rnn.0.rnn.weight_hh_l0",
        first="cnn.conv0.weight",
        width=128,
    ),
    Peer(
        "GitYCC/crnn-pytorch",
        "map_to_seq.weight",
        (
            (r"^cnn\.", "backbone."),
            (r"^map_to_seq\.", "sequence.0."),
            (r"^rnn(\d)\.", r"sequence.\1.rnn."),
            (r"^dense\.", "head."),
        ),
        Model("vgg_unpadded", "bilstm_squeezed"),
        head="dense.weight",
        recurrent="rnn1.weight_hh_l0",
        first="cnn.conv0.weight",
    ),
    Peer(
        "clovaai None-VGG-BiLSTM-CTC",
        "FeatureExtraction.ConvNet.18.weight",
        (
            *(
                (rf"^FeatureExtraction\.ConvNet\.{i}\.", f"backbone.{ours}.")
                for i, ours in {**VGG, 18: "conv6"}.items()
            ),
            *CLOVAAI_SEQUENCE,
            (r"^Prediction\.", "head."),
        ),
        Model("vgg_unpadded", "bilstm_projected"),
        head="Prediction.weight",
        recurrent="SequenceModeling.0.rnn.weight_hh_l0",
        first="FeatureExtraction.ConvNet.0.weight",
    ),
    Peer(
        "clovaai TPS-ResNet-BiLSTM-Attn",
        "Transformation.LocalizationNetwork.localization_fc2.weight",
        (
            (r"^Transformation\.GridGenerator\..*", ""),  # buffers that follow from the size of the image
            (r"^Transformation\.LocalizationNetwork\.conv\.", "rectifier.localise."),
            (r"^Transformation\.LocalizationNetwork\.localization_fc1\.", "rectifier.gather."),
            (r"^Transformation\.LocalizationNetwork\.localization_fc2\.", "rectifier.points."),
            (r"^FeatureExtraction\.ConvNet\.", "backbone."),
            (r"^(backbone\.layer\d\.\d+)\.downsample\.", r"\1.shortcut."),
            (r"^(backbone\.layer\d\.\d+)\.(conv|bn)(\d)\.", r"\1.main.\2\3."),
            *CLOVAAI_SEQUENCE,
            (r"^Prediction\.attention_cell\.i2h\.", "head.column."),
            (r"^Prediction\.attention_cell\.h2h\.", "head.state."),
            (r"^Prediction\.attention_cell\.score\.", "head.score."),
            (r"^Prediction\.attention_cell\.rnn\.", "head.cell."),
            (r"^Prediction\.generator\.", "head.generator."),
        ),
        Model("resnet", "bilstm_projected", "attention", "tps"),
        head="Prediction.generator.weight",
        recurrent="SequenceModeling.0.rnn.weight_hh_l0",
        first="FeatureExtraction.ConvNet.conv0_1.weight",
        adapt=remove_start_class,
    ),
)


@dataclass(frozen=True)
class Unlike:
    """A published layout that no network here computes: how it is recognised, and why."""

    name: str
    markers: tuple[str, ...]  # regular expressions, one of whose keys every such file has
    reason: str


UNLIKE = (
    Unlike(
        "zhiqwang/crnn.pytorch",
        (r"^features\.\d.*\.weight$", r"^classifier\.weight$"),
        "its backbones divide the width by 8 (densenet_cifar's by 4), ours by 4, and each colour is normalised by the"
        " mean of that data set: the weights would compute something else here. Train its recipe, which has the same"
        " layers: densenet_cifar, densenet121_narrow as --model.backbone, resnet_cifar, mobilenetv2_cifar or"
        " shufflenetv2_cifar",
    ),
    Unlike(
        "bai-shang/crnn_seq2seq_ocr.Pytorch, the decoder",
        (r"^decoder\.attn\.weight$", r"^decoder\.gru\."),
        "it weighs the 71 columns of a 280 px image by their places, and its cell is a GRU; ours weighs columns by what"
        " they hold. Train the recipe seq2seq_attention",
    ),
    Unlike(
        "bai-shang/crnn_seq2seq_ocr.Pytorch, the encoder",
        (r"^cnn\.cnn\.\d+\.weight$", r"^rnn\.1\.embedding\.weight$"),
        "it is one half of a recogniser, and its other half, the decoder, has no counterpart here: that weighs the 71"
        " columns of a 280 px image by their places. Train the recipe seq2seq_attention",
    ),
)


def refuse_unlike(state: State) -> None:
    """Raises UserError with the reason for a published layout that cannot be converted."""
    for one in UNLIKE:
        if all(any(re.search(marker, key) for key in state) for marker in one.markers):
            raise UserError(f"weights of {one.name}: {one.reason}")


OTHERS = {  # by how a key begins: whose they are
    "feat_extractor.": "docTR",
    "decoder.decoder.": "MMOCR",
    "FeatureExtraction.ConvNet.": "EasyOCR or another combination of clovaai/deep-text-recognition-benchmark",
    "Student.": "PaddleOCR",
    "encoder.deit.": "TrOCR",
}


def convert_peer(state: State) -> Weights:
    """A peer's weights to ours. Raises UserError when their layout is unknown, incomplete, or of no network of ours."""
    state = remove_prefixes(state)
    refuse_unlike(state)
    if bad := not_finite(state):
        raise UserError(f"{bad}: such weights read nothing")
    peer = next((peer for peer in PEERS if peer.marker in state), None)
    if peer is None:
        whose = next((name for begin, name in OTHERS.items() if any(key.startswith(begin) for key in state)), None)
        kind = f"weights as of {whose}, which are not converted: read them there, or train on the same data here"
        raise UserError(
            f"{kind if whose else 'weights of no known layout'} (they begin with {', '.join(list(state)[:3])}); "
            f"known are {', '.join(p.name for p in PEERS)}"
        )
    for key in (peer.head, peer.recurrent, peer.first):
        if key not in state or state[key].ndim < 2:
            raise UserError(f"looks like a file of {peer.name}, but {key} is missing or not a matrix")
    model = dataclasses.replace(peer.model, hidden=state[peer.recurrent].shape[1])
    if model.rectifier == "tps":
        model = dataclasses.replace(model, fiducials=len(state[peer.marker]) // 2)
    classes = state[peer.head].shape[0] - (peer.model.head == "attention")  # [GO] is never predicted
    ours = add_missing(peer.adapt(rename(state, peer.renames)))
    weights = Weights(peer.name, ours, model, classes, state[peer.first].shape[1], width=peer.width)
    weights.network()  # raises UserError when they do not fit
    return weights


def remove_prefixes(state: State) -> State:
    """Names without the prefixes of DataParallel (`module.`) and Lightning (`model.`)."""
    for prefix in ("module.", "model."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def rename(state: State, renames: Iterable[tuple[str, str]]) -> State:
    """Apply regular expressions and their replacements to every key, in order; keys that become empty are left out."""
    for pattern, ours in renames:
        state = {re.sub(pattern, ours, key): value for key, value in state.items()}
    return {key: value for key, value in state.items() if key}


def add_missing(state: State) -> State:
    """Add weights that some files lack and whose value is known.

    Batch norms counted no batches before torch 0.4.1; a convolution before a batch norm may do without a bias.
    """
    added = {}
    for key, value in state.items():
        if key.endswith("running_mean"):
            added[key.replace("running_mean", "num_batches_tracked")] = torch.tensor(0)
        if re.search(r"^(cnn|backbone)\.conv\d\.weight$", key):
            added[key.replace("weight", "bias")] = value.new_zeros(len(value))
    if not any(re.search(r"\.conv0\.bias$", key) for key in state):  # a network whose convolutions have none at all
        added = {key: value for key, value in added.items() if not key.endswith("bias")}
    return {**added, **state}
