"""Weights to one .safetensors file, those of the field and our own: `python -m models.convert best.pt out.safetensors`.

Known are the files of meijieru/crnn.pytorch (and of those that kept its names: Cambricon's model zoo, Holmeyoung,
Sierkinhane), GitYCC/crnn-pytorch, clovaai/deep-text-recognition-benchmark (None-VGG-BiLSTM-CTC and
TPS-ResNet-BiLSTM-Attn) and the CRNN of baudm/parseq; and the checkpoints that models.train writes, of which the network
alone is kept. They are read with `weights_only=True`: no code in them runs. What comes out holds the weights by our
names and, beside them, the alphabet and the options that build their network.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bench.errors import UserError, run_cli
from bench.options import Command, Positional
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import Recogniser, build
from models.weights.unpickle import State, read, tensors

OURS = "crnn-bench"


@dataclass(frozen=True)
class Peer:
    """A layout of weights: how it is known, how its names become ours, and what network that makes."""

    name: str
    known_by: str  # a key that no other layout has
    renames: tuple[tuple[str, str], ...]  # regular expression and replacement, applied in order to every key
    model: Model
    head: str  # the key whose first dimension is the number of classes
    recurrent: str  # the key whose second dimension is `hidden`
    first: str  # the key whose second dimension is the number of channels
    finish: Callable[[State], State] = lambda state: state
    width: int = 100  # px, at which it was trained


def without_start(state: State) -> State:
    """clovaai's attention has [GO] 0, [s] 1, characters from 2; ours the end 0, characters from 1, the start last."""
    rows = state["head.generator.weight"].shape[0]
    order = [*range(1, rows), 0]
    weight = state["head.cell.weight_ih"]
    features = weight.shape[1] - rows  # the columns before the one-hot class
    seen = weight[:, features:][:, order]
    return {
        **state,
        "head.cell.weight_ih": torch.cat([weight[:, :features], seen], dim=1),
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
        (),  # models/crnn.py has these very names, and a recogniser reads them
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
            (r"^Transformation\.GridGenerator\..*", ""),  # buffers that follow from the size of the picture
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
        finish=without_start,
    ),
)


@dataclass(frozen=True)
class Converted:
    """Weights by our names, and everything that builds the network they fill."""

    peer: str
    state: State
    model: Model
    classes: int
    channels: int
    height: int = 32  # px
    width: int = 100  # px
    keep_ratio: bool = False
    recipe: str | None = None

    def network(self) -> Recogniser:
        """The network with these weights. Raises UserError when they do not fit it."""
        network = build(self.model, self.classes, self.height, self.channels)
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"looks like a file of {self.peer} and does not fit its network: {reason[:300]}") from None
        return network


def convert(state: State) -> Converted:
    """A peer's weights to ours. Raises UserError when their layout is unknown or incomplete."""
    state = unwrapped(state)
    peer = next((peer for peer in PEERS if peer.known_by in state), None)
    if peer is None:
        raise UserError(
            f"weights of no known layout (they begin with {', '.join(list(state)[:3])}); "
            f"known are {', '.join(p.name for p in PEERS)}"
        )
    for key in (peer.head, peer.recurrent, peer.first):
        if key not in state or state[key].ndim < 2:
            raise UserError(f"looks like a file of {peer.name}, but {key} is missing, or no matrix")
    changes = {"hidden": state[peer.recurrent].shape[1]}
    if peer.model.rectifier == "tps":
        changes["fiducials"] = len(state[peer.known_by]) // 2
    classes = state[peer.head].shape[0] - (peer.model.head == "attention")  # [GO] is never written
    ours = completed(peer.finish(renamed(state, peer.renames)))
    model = dataclasses.replace(peer.model, **changes)
    made = Converted(peer.name, ours, model, classes, state[peer.first].shape[1], width=peer.width)
    made.network()  # does it fit?
    return made


def own(content: dict, path: Path) -> tuple[Converted, Charset]:
    """The network of a checkpoint of this project. Raises UserError when parts of it are missing."""
    from models.weights import checkpoint  # which knows this module

    checkpoint.checked(content, path, *checkpoint.KINDS)
    data, charset = content["data"], Charset(content["charset"])
    model = Model(**{**content["model"], "pretrained": ""})
    shape = {name: data[name] for name in ("channels", "height", "width")}
    keep_ratio, recipe = data.get("keep_ratio", False), content.get("recipe")
    made = Converted(OURS, content["network"], model, charset.classes, **shape, keep_ratio=keep_ratio, recipe=recipe)
    made.network()  # does it fit?
    return made, charset


def halved(state: State) -> State:
    """Matrices and kernels in float16, half the size; biases and what norms know, a thousandth of it, as they are."""
    return {key: value.half() if value.dim() > 1 else value for key, value in state.items()}


def unwrapped(state: State) -> State:
    """Names without what DataParallel (`module.`) and Lightning (`model.`) put before them all."""
    for prefix in ("module.", "model."):
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def renamed(state: State, renames) -> State:
    for pattern, ours in renames:
        state = {re.sub(pattern, ours, key): value for key, value in state.items()}
    return {key: value for key, value in state.items() if key}


def completed(state: State) -> State:
    """With what older or thriftier files leave out and what stands for nothing.

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


ABOUT = "crnn-bench"  # the entry of a file's metadata that says what its weights are


def save(made: Converted, charset: Charset, path: Path) -> None:
    """Write weights and the options that build their network. Raises UserError when the alphabet does not fit."""
    if charset.classes != made.classes:
        raise UserError(
            f"the file has {made.classes} classes and the alphabet {charset.classes} (its characters and class 0): "
            f"pass --charset with the {made.classes - 1} characters it was trained for"
        )
    about = {
        "source": made.peer,
        "charset": charset.characters,
        "data": {name: getattr(made, name) for name in ("height", "width", "channels", "keep_ratio")},
        "model": dataclasses.asdict(made.model),
        "recipe": made.recipe,
    }
    try:
        # One entry: several come in another order each time, and the same weights would have another checksum.
        metadata = {ABOUT: json.dumps(about)}
        save_file({key: value.contiguous() for key, value in made.state.items()}, path, metadata)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write {path}: {error}") from None


def is_saved(path: Path) -> bool:
    """Whether `save` wrote it. What cannot be read is not; who reads it then says why."""
    if not path.is_file():  # a pipe would be waited for
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return ABOUT in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def load(path: Path) -> dict:
    """What `save` wrote, in the shape of a checkpoint: network, charset, data, model, recipe (None for a peer's)."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        return {"network": state, **{key: about[key] for key in ("charset", "recipe", "data", "model")}}
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    except KeyError as error:
        raise UserError(
            f"{path}: says nothing of its {error.args[0]}; was it made by `python -m models.convert`?"
        ) from None


@dataclass
class ConvertOptions:
    """Turn weights of this project or of a peer into one .safetensors file."""

    peer: Annotated[Path, Positional("PEER")]
    """The file of weights to read (.pth, .pt, .ckpt)"""
    out: Annotated[Path, Positional("OUT")]
    """The .safetensors file to write"""
    charset: str = "36"
    """A peer's: 36, 62, 94, or a file with the alphabet it knows"""
    half: bool = False
    """Matrices in float16: half the size, as those shipped"""


COMMAND = Command("models.convert", ConvertOptions, "best.pt crnn.safetensors --half")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    saved = is_saved(options.peer)
    content = load(options.peer) if saved else read(options.peer)
    if saved or (isinstance(content, dict) and "format" in content and "network" in content):
        made, charset = own(content, options.peer)
    else:
        made, charset = convert(tensors(content, options.peer)), Charset.named(options.charset)
    if options.half:
        made = dataclasses.replace(made, state=halved(made.state))
    save(made, charset, options.out)
    count = sum(p.numel() for p in made.network().parameters())
    print(f"{options.out}: {made.peer}, {count:,} parameters, {made.classes} classes, {made.channels} channel(s)")
    if made.recipe:
        print(f"as a row of models/weights: {row(made, charset, options.out)}")


def row(made: Converted, charset: Charset, path: Path) -> str:
    """What models/weights/__init__.py has to say of the file when it is shipped."""
    from models.weights import Shipped, digest

    widths = f"ratio kept, up to {made.width} px" if made.keep_ratio else f"squeezed to {made.width} px"
    return f'"{path.stem}": {Shipped(path.name, digest(path), made.recipe, charset.characters, widths)},'


if __name__ == "__main__":
    run_cli(main, "models.convert")
