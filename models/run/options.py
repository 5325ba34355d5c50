"""The options of training and testing: dataclass defaults < recipe YAML (models/recipes) < command line."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeVar

import yaml

from bench import options as command_line
from bench.errors import UserError
from bench.options import Parser, tidy
from models.network.model import Model

T = TypeVar("T", bound="Common")
ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "models" / "recipes"


@dataclass
class Data:
    """How a picture becomes an array and a text becomes classes."""

    height: int = 32
    """Px"""
    width: int = 100
    """Px; the widest with keep_ratio"""
    channels: int = 1
    """1 grey, 3 RGB"""
    keep_ratio: bool = False
    """Pad on the right instead of squeezing to `width`"""
    charset: str = "36"
    """36, 62, 94, chinese (models/alphabets), or a UTF-8 file with one alphabet"""


@dataclass
class Optimizer:
    """How weights are updated. The rate is scaled by sqrt(global batch / lr_batch) (Malladi et al. 2022, for Adam)."""

    name: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adam"
    lr: float = 1e-4
    """For a global batch of lr_batch; the peak with one_cycle"""
    lr_batch: int = 32
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "one_cycle", "cosine", "exponential"] = "constant"
    clip: float = 5.0
    """Largest norm of the gradient; 0 is off"""


@dataclass
class Exchange:
    """How ranks share their gradients."""

    gradients: Literal["float32", "bfloat16"] = "float32"
    """What travels; bfloat16 is half the bytes"""
    bucket_mb: int = 25
    """MiB of gradients that travel together, while others are being computed"""


@dataclass
class Common:
    """What training and testing share."""

    recipe: str = "crnn"
    """A file of models/recipes, without .yaml"""
    run: str | None = None
    """The name asked for; the record carries the name of what really ran"""
    dataset: str | None = None
    """Holds Synth90k/, LMDBs, or any format of docs/data.md; a mix is MJ:0.5,ST:0.5; default: $PYTORCH_TRAIN_DATASET"""
    device: Literal["MLU", "GPU", "CPU"] | None = None
    """Default: the best one present"""
    precision: Literal["FP32", "TF32", "AMP", "BF16"] = "FP32"
    batch_size: int = 32
    """Per card"""
    workers: int = -1
    """Loader processes per card; -1: none on CPU, 4 on cards"""
    tolerate: float = 0.01
    """Share of unusable pictures (of 10,000, or of a smaller set; ten always pass) above which the run stops"""
    strict: bool = False
    """Refuse to run where a check before the run warns"""
    input: Literal["real", "resident", "memory", "synthetic"] = "real"
    """resident: a packed data set whole in the device's memory; memory: the same few batches again and again;
    synthetic: random pictures, no data set (training/twins.py)"""
    min_steps: int = 20
    """Fewest measured steps of a row that counts; testing goes over the split again until it has them"""
    min_seconds: float = 10.0
    """The same, in seconds"""
    mode: Literal["exact", "ignore_case", "alphanumeric"] = "alphanumeric"
    """How texts are compared: as they are; whatever their case; whatever their case and punctuation"""
    seed: int = 1
    checkpoints: Path | None = None
    """Default: $PYTORCH_TRAIN_CHECKPOINT, else checkpoints/"""
    results: Path = ROOT / "results" / "runs"
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)


@dataclass
class Train(Common):
    """Train a recogniser; write checkpoints and one record."""

    epochs: int = 30
    steps: int | None = None
    """Stop after so many steps, instead of epochs"""
    compile: bool = False
    """torch.compile the network: kernels of its own, after a minute of making them"""
    graph: bool = False
    """Replay the whole step as one CUDA graph: GPU, one card, pictures of one width"""
    augment: bool = False
    """Distort training pictures on the device: geometry, blur, noise, light (models/data/augment.py)"""
    start_from: Path | None = None
    """A checkpoint to start from (fine-tuning); with another alphabet all but the last layer is kept, of another
    network its convolutions"""
    test_only: bool = False
    """Do not train: test --start-from, or the newest best checkpoint, as models.test does but for latency"""
    resume: bool = False
    """Go on from the last checkpoint of this run"""
    without: Literal["validation", "compute", "sync"] | None = None
    """Leave out validation and checkpoints, all work but loading, or the exchange of gradients (training/twins.py)"""
    profile_steps: int = 0
    """After training, profile so many steps: which kinds of operation take the time"""
    warmup_steps: int = 20
    """Left out of throughput"""
    log_every: int = 50
    """Steps between readings of the loss"""
    save_every: int = 2000
    """Steps between checkpoints inside an epoch"""
    optimizer: Optimizer = field(default_factory=Optimizer)
    exchange: Exchange = field(default_factory=Exchange)


@dataclass
class Infer(Common):
    """Test a recogniser: accuracy on a whole split, throughput, latency; write one record."""

    checkpoint: Path | None = None
    """Default: the newest best.pt of this recipe below --checkpoints, else its shipped weights"""
    split: Literal["train", "val", "test"] = "test"
    sets: list[str] = field(default_factory=list)
    """Instead of --dataset: several sets, each DIR, FILE or NAME=PATH; a row for each and their weighted mean"""
    decode: Literal["greedy", "beam", "lexicon"] | None = None
    """How texts are found; default: by lexicon with --lexicon, by beam with --beam, else greedy"""
    beam: int | None = None
    """CTC: prefixes that a beam search keeps; 10 with --decode beam alone"""
    lexicon: Path | None = None
    """A UTF-8 file of words, one of which each text is"""
    mistakes: Path | None = None
    """Write an HTML page of the worst mistakes, with their pictures"""
    warmup_steps: int = 2
    """Batches left out of throughput"""
    engine: Literal["eager", "prepacked", "compile", "onnxruntime", "openvino", "openvino_int8", "tensorrt", "auto"] = (
        "eager"
    )
    """What computes the network; auto: the fastest here that agrees with eager"""
    latency_runs: int = 100
    """Timed batches for each latency; 0 is off"""


LEAST = {
    "batch_size": 1, "epochs": 1, "steps": 1, "log_every": 1, "save_every": 1, "warmup_steps": 0, "latency_runs": 0,
    "tolerate": 0,
}  # fmt: skip


def refuse_too_small(options: Common) -> None:
    for name, least in LEAST.items():
        value = getattr(options, name, None)
        if value is not None and value < least:
            raise UserError(f"--{name} is at least {least}, not {value}")


def flatten(tree: dict, prefix: str = "") -> dict:
    """{'data': {'width': 100}} -> {'data.width': 100}"""
    flat = {}
    for key, value in tree.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def recipe_path(name: str) -> Path:
    path = RECIPES / f"{name}.yaml"
    if "/" not in name and path.is_file():
        return path
    known = sorted(p.stem for p in RECIPES.glob("*.yaml"))
    close = difflib.get_close_matches(name, known, n=1)
    raise UserError(
        f"no recipe '{name}' in models/recipes; there are {', '.join(known)}" + "".join(f" ({one}?)" for one in close)
    )


def asked_recipe(argv: list[str], default: str) -> str:
    """The last value of --recipe, needed before the other options can be read."""
    names = [after for word, after in pairwise(argv) if word == "--recipe"]
    names += [word.partition("=")[2] for word in argv if word.startswith("--recipe=")]
    return names[-1] if names else default


def read_recipe(parser: Parser, words: list[str]) -> None:
    """Make the recipe's values the parser's defaults. Keys only another program has are left out, others refused."""
    path = recipe_path(asked_recipe(words, "crnn"))
    try:
        values = flatten(yaml.safe_load(path.read_text(encoding="utf8")) or {})
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise UserError(f"{path}: not a recipe: {tidy(str(error))}") from None
    everything = command_line.build_parser(Train, "").names
    for key, value in values.items():
        if any(name.startswith(f"{key}.") for name in everything):
            raise UserError(f"{path}: '{key}' holds options of its own, one a line, and not {value!r}")
        if key not in everything:
            raise UserError(f"{path}: no option '{key}'{parser.nearest(repr(key))}")
    mine = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in parser.names}
    try:
        parser.parse_object(mine)  # defaults are not checked for their types, objects are
    except UserError as refusal:
        raise UserError(f"{path}: {refusal}") from None
    parser.set_defaults(mine)


def parse(kind: type[T], argv: list[str] | None, prog: str, example: str = "") -> T:
    """Read `kind` from its recipe and the command line. Raises UserError."""
    options = command_line.parse(kind, argv, prog, example, defaults=read_recipe)
    refuse_too_small(options)
    return options


def dataset_root(options: Common) -> str:
    """Where the data is: --dataset, else $PYTORCH_TRAIN_DATASET. Raises UserError when neither is there."""
    root = options.dataset or os.environ.get("PYTORCH_TRAIN_DATASET")
    if not root:
        raise UserError(
            "PYTORCH_TRAIN_DATASET is not set: set it to the folder that holds Synth90k/, "
            "or make a sample with `python -m models.render --out data/sample`"
        )
    return root


def checkpoint_root(options: Common) -> Path:
    return Path(options.checkpoints or os.environ.get("PYTORCH_TRAIN_CHECKPOINT") or ROOT / "checkpoints")
