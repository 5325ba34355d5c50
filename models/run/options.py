"""The options of training and testing: dataclass defaults < recipe YAML (models/recipes) < command line."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from bench.errors import UserError
from bench.options import Also, Bare, Bounds, Choices, Command, FileList, Given, Metavar
from bench.records.run_name import RunName
from models.network.model import Model

T = TypeVar("T", bound="Common")
DIFFERENCES = ("data", "shape", "model", "optimizer", "batch", "seed", "precision", "augment")
ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "models" / "recipes"


@dataclass
class Data:
    """How an image becomes an array and a text becomes classes."""

    height: Annotated[int, Bounds(1, 4096)] = 32
    """Px"""
    width: Annotated[int, Bounds(1, 65536)] = 100
    """Px; the widest with --data.keep-ratio"""
    channels: Annotated[int, Bounds(1, 3)] = 1
    """1 grey, 3 RGB"""
    keep_ratio: bool = False
    """Pad on the right instead of squeezing to `width`"""
    right_to_left: bool = False
    """Labels that are typed from right to left (Hebrew, Arabic) are learned in the order of the image's columns and
    read as they are typed"""
    charset: str = "36"
    """36, 62, 94, chinese (models/alphabets), or a UTF-8 file with one alphabet"""


@dataclass
class Optimizer:
    """How weights are updated. The rate is scaled by sqrt(global batch / lr_batch) (Malladi et al. 2022, for Adam)."""

    name: Literal["adam", "adamw", "rmsprop", "adadelta", "sgd"] = "adam"
    lr: Annotated[float, Bounds(0, 1000)] = 1e-4
    """For a global batch of --optimizer.lr-batch; the peak with one_cycle"""
    lr_batch: Annotated[int, Bounds(1)] = 32
    betas: Annotated[tuple[float, float], Bounds(0, below=1)] = (0.9, 0.999)
    eps: Annotated[float, Bounds(0, 1)] = 1e-8
    weight_decay: Annotated[float, Bounds(0, 1)] = 0.0
    schedule: Literal["constant", "one_cycle", "cosine", "exponential", "step"] = "constant"
    decay_steps: Annotated[int, Bounds(1)] = 10_000
    """step: steps after which the rate is multiplied by --optimizer.decay, again and again"""
    decay: Annotated[float, Bounds(above=0, most=1)] = 0.1
    clip: Annotated[float, Bounds(0, 1e9)] = 5.0
    """Largest norm of the gradient; 0 is off"""


ON_DEVICE = ("resident", "sharded")  # of --input: what keeps a data set in the memory of devices


@dataclass
class Exchange:
    """How ranks share their gradients."""

    gradients: Literal["float32", "bfloat16"] = "float32"
    """What travels; bfloat16 is half the bytes"""
    bucket_mb: Annotated[int, Bounds(1, 65536)] = 25
    """MiB of gradients that travel together, while others are being computed"""


@dataclass
class Common:
    """What training and testing share."""

    recipe: str = "crnn"
    """A file of --recipes or models/recipes, without .yaml; or any YAML file"""
    recipes: Path | None = None
    """Folder of recipes of one's own; default: $CRNN_RECIPES"""
    run: str | None = None
    """Requested run name (the record stores the actual one)"""
    dataset: str | None = None
    """Holds Synth90k/, LMDBs, or any format of docs/data.md; a mix is MJ:0.5,ST:0.5; default: $PYTORCH_TRAIN_DATASET"""
    image_root: str | None = None
    """Folder that the paths of a list start from and may not leave, where they do not start beside the list"""
    device: Literal["MLU", "GPU", "CPU"] | None = None
    """Default: the best one present"""
    precision: Literal["FP32", "TF32", "AMP", "BF16"] = "FP32"
    kernels: Literal["vendor", "winograd"] = "vendor"
    """Of convolutions: torch's own, or Winograd's filtering for large 3 x 3 ones (FP32 on a CPU)"""
    batch_size: Annotated[int, Bounds(1, 1 << 20)] = 32
    """Per card"""
    workers: Annotated[int, Bounds(-1, 1024)] = -1
    """Loader processes per card; -1: none on CPU, 4 on cards"""
    tolerate: Annotated[float, Bounds(0, 1)] = 0.01
    """Stop when more than this share of the last 10,000 images cannot be used (10 are always allowed)"""
    strict: bool = False
    """Refuse to run where a check before the run warns"""
    input: Literal["real", "resident", "sharded", "memory", "synthetic"] = "real"
    """resident: a packed data set whole in each device's memory; sharded: each holds its share, and trains on no other
    (models/data/sampler.py); memory: the same few batches again and again;
    synthetic: random images, no data set (models/data/synthetic.py)"""
    min_steps: Annotated[int, Bounds(0)] = 20
    """Fewest measured steps of a row that counts; testing goes over the split again until it has them"""
    min_seconds: Annotated[float, Bounds(0, 1e6)] = 10.0
    """The same, in seconds"""
    mode: Literal["exact", "ignore_case", "alphanumeric"] = "alphanumeric"
    """How texts are compared: as they are; whatever their case; whatever their case and punctuation"""
    seed: Annotated[int, Bounds(0)] = 1
    allow: Annotated[list[str], Choices(DIFFERENCES)] = field(default_factory=list)
    """In what a checkpoint may differ from the options here, to be gone on from or tested nevertheless"""
    checkpoints: Path | None = None
    """Default: $PYTORCH_TRAIN_CHECKPOINT, else checkpoints/"""
    results: Path = ROOT / "results" / "runs"
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)

    def __post_init__(self) -> None:
        if is_recipe_file(self.recipe):  # from here on it has a name, as others have
            self.recipes, self.recipe = Path(self.recipe).parent, recipe_name(self.recipe)


@dataclass
class Train(Common):
    """Train a recogniser; write checkpoints and one record."""

    epochs: Annotated[int, Bounds(1)] = 30
    steps: Annotated[int | None, Bounds(1)] = None
    """Stop after this many steps, instead of --epochs"""
    until: str | None = None
    """words=80: stop once a validation reads 80 % of its words; the record has the seconds and images that took"""
    compile: bool = False
    """torch.compile the network: kernels of its own, after a minute of making them"""
    graph: bool = False
    """Replay the step as a CUDA graph; on several cards as two, gradients exchanged between: GPU, one width"""
    accumulate: Annotated[int, Bounds(1, 1 << 16)] = 1
    """Batches per card before an update: the global batch is that many times larger, the memory is not"""
    ema: Annotated[float | None, Bounds(0, below=1), Bare("0.999")] = None
    """Keep a moving average of the weights with this decay, validate it and write it as best.pt; alone: 0.999"""
    freeze: Literal["backbone"] | None = None
    """Fine-tuning: what keeps the weights and statistics that training begins with"""
    nonfinite: Literal["skip", "zero"] = "skip"
    """What becomes of a step with gradients that are not finite: it is skipped, or they are set to 0"""
    augment: bool = False
    """Distort training images on the device: geometry, blur, noise, light (models/data/augment.py)"""
    start_from: Path | None = None
    """A checkpoint, a .safetensors file or the name of shipped weights to start from (fine-tuning); with another
    alphabet all but the last layer is kept, of another network its convolutions"""
    test_only: bool = False
    """Do not train: test --start-from, or the newest best checkpoint, as models.test does but for latency"""
    resume: Annotated[str | None, Bare("last"), Metavar("FILE")] = None
    """Go on from the last checkpoint of this run, on whatever cards and of whatever length, or from FILE; auto: from
    this very run's where it has one, else from the start"""
    overwrite: bool = False
    """Replace the checkpoints that this run's folder holds"""
    without: Literal["validation", "compute", "sync"] | None = None
    """Leave out validation and checkpoints, all but loading, or the exchange of gradients (training/ablation.py)"""
    profile_steps: Annotated[int, Bounds(0)] = 0
    """After training, profile this many steps: which kinds of operation take the time; and a trace beside the record"""
    warmup_steps: Annotated[int, Bounds(0)] = 20
    """Left out of throughput"""
    log_every: Annotated[int, Bounds(1)] = 50
    """Steps between readings of the loss"""
    save_every: Annotated[int, Bounds(1)] = 2000
    """Steps between checkpoints inside an epoch"""
    val_dataset: str | None = None
    """Validate on this data set: its val split, or all of it; default: the val split of --dataset"""
    validate_every: Annotated[int | None, Bounds(1)] = None
    """Steps between validations inside an epoch; there is one at the end of each anyway"""
    validate_samples: Annotated[int | None, Bounds(1)] = None
    """Most images of a validation, the same ones every time, from all over the split; default: all of it"""
    validate_shown: Annotated[int, Bounds(0, 100)] = 3
    """Readings beside their truths in the log of a validation"""
    curves: Annotated[Path | None, Metavar("FILE.png")] = None
    """Draw loss, rate and what validations found there, anew after each validation (TensorBoard has the same curves)"""
    early_stop: Annotated[int, Bounds(0)] = 0
    """Stop after this many validations in a row that brought nothing better; 0 is off"""
    optimizer: Optimizer = field(default_factory=Optimizer)
    exchange: Exchange = field(default_factory=Exchange)


@dataclass
class Infer(Common):
    """Test a recogniser: accuracy on a whole split, throughput, latency; write one record."""

    checkpoint: Annotated[Path | None, Also("weights")] = None
    """Default: the newest best.pt of this recipe below --checkpoints, else its shipped weights"""
    split: Literal["train", "val", "test"] = "test"
    sets: Annotated[list[str], FileList(), Metavar("SET")] = field(default_factory=list)
    """Instead of --dataset: several sets, a word each, DIR, FILE or NAME=PATH: a row for each and their mean"""
    decode: Literal["greedy", "beam", "lexicon"] | None = None
    """How texts are found; default: by lexicon with --lexicon, by beam with --beam, else greedy"""
    beam: Annotated[int | None, Bounds(1, 1000)] = None
    """CTC: prefixes that a beam search keeps; 10 with --decode beam alone"""
    lexicon: Path | None = None
    """A UTF-8 file of words, one of which each text is; "english": 39,561 that come with the repository"""
    lexicon_column: str | None = None
    """Each image's own words: the column of that name in a table, or the keys NAME-000000001 of an LMDB"""
    lexicon_penalty: Annotated[float | None, Bounds(0)] = None
    """Nats by which a text outside the lexicon must be more probable to be kept; default: every text is a word of it"""
    mistakes: Path | None = None
    """Write an HTML page of the worst mistakes, with their images"""
    warmup_steps: Annotated[int, Bounds(0)] = 2
    """Batches left out of throughput"""
    engine: Literal["eager", "prepacked", "compile", "onnxruntime", "openvino", "openvino_int8", "tensorrt", "auto"] = (
        "eager"
    )
    """What computes the network; auto: the fastest here that agrees with eager"""
    latency_runs: Annotated[int, Bounds(0)] = 100
    """Timed batches for each latency; 0 is off"""


def images_per_step(options: Common, ranks: int) -> int:
    """Of all ranks together: the global batch."""
    return options.batch_size * ranks * getattr(options, "accumulate", 1)


def is_recipe_file(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


def recipe_name(text: str) -> str:
    """Of a recipe that is given by its name or its file. Raises UserError where a run could not be called so."""
    if not is_recipe_file(text):
        return text
    name = Path(text).stem
    try:
        valid = RunName.parse(f"{name.upper()}_Train").recipe == name
    except UserError:
        valid = False
    if not valid:
        raise UserError(f"{text}: a recipe's name is that of its runs: small letters, digits and _, each word of it"
                        " beginning with a letter, as my_words.yaml")  # fmt: skip
    return name


def recipe_path(recipe: str, own: str | Path | None = None) -> Path:
    """The file of a recipe: in the folder `own`, else in $CRNN_RECIPES, else in models/recipes; or that file itself.

    Raises UserError where there is none, or one's own recipe is called as one of models/recipes, which it is not.
    """
    name, folder = recipe_name(recipe), own or os.environ.get("CRNN_RECIPES")
    if is_recipe_file(recipe) and not Path(recipe).is_file():
        raise UserError(f"{recipe}: no such recipe")
    places = [Path(recipe).parent] if is_recipe_file(recipe) else [Path(folder)] if folder else []
    for path in (place / f"{name}{end}" for place in places for end in (".yaml", ".yml")):
        if path.is_file():
            shipped = RECIPES / f"{name}.yaml"
            if shipped.is_file() and not shipped.samefile(path):
                raise UserError(
                    f"{path}: models/recipes has a '{name}' already; call it otherwise, and its runs are too"
                )
            return path
    path = RECIPES / f"{name}.yaml"
    if "/" not in name and path.is_file():
        return path
    known = sorted({p.stem for place in (RECIPES, *places) for p in place.glob("*.yaml")})
    close = difflib.get_close_matches(name, known, n=1)
    raise UserError(
        f"no recipe '{name}' in models/recipes{f' or {folder}' if folder else ''}; there are {', '.join(known)}"
        + "".join(f" ({one}?)" for one in close)
        + ("" if places else "; those of your own: --recipes FOLDER, or CRNN_RECIPES")
    )


def read_recipe(command: Command, given: Mapping[str, Given]) -> dict[str, Given]:
    """The recipe's options. Keys that only another program has are left out, others refused. Raises UserError."""
    name = given["recipe"].words[-1] if "recipe" in given else command.options["recipe"].default
    path = recipe_path(name, given["recipes"].words[-1] if "recipes" in given else None)
    values = ALL.read_file(path)
    return {key: value for key, value in values.items() if key in command.options}


def recipe_command(prog: str, kind: type[T], example: str = "") -> Command[T]:
    """A program's command line, whose defaults are those of its recipe."""
    return Command(prog, kind, example, below=read_recipe)


ALL = recipe_command("models.train", Train)  # whose options a recipe may set


def parse(kind: type[T], argv: Sequence[str] | None, prog: str) -> T:
    """Read `kind` from its recipe and the command line. Raises UserError."""
    return recipe_command(prog, kind).parse(argv)


def dataset_root(options: Common, split: str = "") -> str:
    """Where the data is: --dataset, else $PYTORCH_TRAIN_DATASET; of the validation --val-dataset, where it is given.

    Raises UserError when nothing says it.
    """
    named = getattr(options, "val_dataset", None) if split == "val" else None
    root = named or options.dataset or os.environ.get("PYTORCH_TRAIN_DATASET")
    if not root:
        raise UserError(
            "PYTORCH_TRAIN_DATASET is not set: set it to the folder that holds Synth90k/, "
            "or make a sample with `python -m models.render --out data/sample`"
        )
    return root


def checkpoint_root(options: Common) -> Path:
    return Path(options.checkpoints or os.environ.get("PYTORCH_TRAIN_CHECKPOINT") or ROOT / "checkpoints")
