"""Train on words or lines that are drawn meanwhile: made for minutes on a card, whose rate no data set on disk feeds.

    python -m models.train_drawn --recipes crnn_small,crnn --texts words.txt --fonts faces --out trained --seconds 400

Processes draw on all cores; what they have drawn stays on the device, where each step takes a random batch of it and
distorts it anew. Several recipes learn from the same batches. At the end, for each recipe: the moving average of its
weights, its batch norms measured again, or its last weights if these read more of the unseen drawn images, in float16
(OUT/RECIPE.safetensors), and OUT/training.json with what was seen, how fast, and how many unseen ones are read.
run_scripts/weights_gpu.sh makes weights like this.
"""

from __future__ import annotations

if not __package__:  # `python models/train_drawn.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import dataclasses
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.options import Bounds, Command, Metavar
from models.data.augment import Augment, augment
from models.data.charset import Charset
from models.network.ctc_loss import ctc_losses
from models.network.network import Network, build, count_parameters
from models.rendering import fonts, lexicon
from models.rendering.plates import dot_plates, without_dot
from models.rendering.sample import Look, PatientLook, drawable_texts
from models.rendering.stream import Bucket, Drawing, DrawingProcesses, Drawn
from models.rendering.styles import STYLES
from models.run.options import ALL, Train
from models.training.finetune import load_pretrained
from models.training.optimizer import half_cosine
from models.weights import checkpoint
from models.weights.file import Weights, halve, save_weights

WARMUP = 0.03  # share of the time in which the learning rate rises
DECAY = 0.999  # of the moving average, a step
CLIP = 5.0  # norm of the gradients
HELD = 8  # packets that are kept from training, to be read at the end
REPORT_S = 20.0
STRENGTH = Augment(rotate=2, scale=0.06, shear=0.12, shift=0.03, perspective=0.06, blur=0.6, noise=0.06,
                   brightness=0.25, contrast=0.3, invert=0.15)  # fmt: skip
NARROW, MEDIUM = 44.0, 84.0  # px at height 32: of one to three letters, and of most short words
SQUEEZED = (Bucket(NARROW, 128), Bucket(MEDIUM, 128), Bucket(float("inf"), 128))
# Share of the steps, px, and which of those buckets: words are read at 100 px, narrow ones at less besides
SQUEEZED_VIEWS = ((0.64, 100, (0, 1, 2)), (0.12, 68, (0, 1)), (0.08, 52, (0,)), (0.16, 132, (0, 1, 2)))
LINES = tuple(Bucket(most, width) for most, width in (
    (56, 48), (80, 64), (112, 96), (144, 128), (176, 160), (224, 192), (288, 256), (352, 320), (448, 384),
    (float("inf"), 512),
))  # fmt: skip


@dataclass
class DrawnOptions:
    """Train on words or lines that are drawn meanwhile."""

    texts: Path
    """File of what is drawn, one a line, plain or .xz; one that is there twice is drawn twice as often"""
    out: Path
    """Folder for the weights and training.json"""
    recipes: Annotated[str, Metavar("RECIPE,...")] = "crnn_small"
    """Recipes that learn side by side, of one alphabet and one kind of images"""
    start_from: Annotated[str, Metavar("FILE,...")] = ""
    """Weights that each begins with, in the same order; what does not fit starts anew; empty for none"""
    style: Annotated[str, Metavar("STYLE:SHARE,...")] = "street:0.6,hard:0.4"
    """How images are drawn"""
    case: str = "auto"
    """lower, title, upper, mixed, written or auto, the style's own; texts of lines are always as written"""
    fonts: Annotated[str, Metavar("SOURCE,...")] = "bundled"
    """Sources of faces, as models.render has them"""
    first: Annotated[int, Bounds(1024)] = 30_000
    """Images to wait for before training begins"""
    seconds: Annotated[float, Bounds(1)] = 400.0
    """How long to train; the learning rate rises and falls within it"""
    batch_size: Annotated[int, Bounds(8, 65536)] = 1024
    """Images of 100 px a step, or as many pixels of others"""
    lr: Annotated[float, Bounds(0)] = 1e-3
    """Highest learning rate, of AdamW"""
    workers: Annotated[int, Bounds(1, 1024)] = max((os.cpu_count() or 2) - 1, 1)
    """Processes that draw"""
    capacity: Annotated[int, Bounds(10240)] = 6_000_000
    """Images that stay on the device; then the oldest make room"""
    seed: Annotated[int, Bounds(0)] = 1
    """Of what is drawn and of how weights start"""
    device: str = "best"
    """cuda, cpu, or best: a card where there is one"""


COMMAND = Command("models.train_drawn", DrawnOptions, "--texts words.txt --out trained --seconds 400")


class Packet(NamedTuple):
    """As Drawn, on the device."""

    bucket: int
    images: Tensor
    labels: Tensor
    lengths: Tensor


class ImagePool:
    """Drawn images on the device, by bucket: (capacity, height, width) uint8 each, with their texts."""

    def __init__(self, drawing: Drawing, capacity: int, device: torch.device):
        self.drawing, self.device, self.drawn = drawing, device, 0
        self.capacity = capacity // len(drawing.buckets) // 256 * 256 + 256
        self.parts: list[list[Packet]] = [[] for _ in drawing.buckets]  # as they came
        self.held: list[Packet] = []
        self.squeezed = drawing.buckets == SQUEEZED  # all words to one width, not lines whose ratio is kept

    def add(self, packet: Drawn) -> None:
        there = self.send(packet)
        if len(self.held) < HELD and len(self.held) % len(self.drawing.buckets) <= packet.bucket:
            self.held.append(there)
            return
        part = self.parts[packet.bucket]
        if len(part) * len(packet.images) < self.capacity:
            part.append(there)
        else:
            part[self.drawn // len(packet.images) % len(part)] = there
        self.drawn += len(packet.images)

    def send(self, packet: Drawn) -> Packet:
        images, labels, lengths = map(torch.from_numpy, packet[1:])
        return Packet(packet.bucket, images.to(self.device), labels.to(self.device), lengths.to(self.device))

    def size(self, buckets: tuple[int, ...]) -> int:
        return sum(len(self.parts[bucket]) for bucket in buckets)

    def batch(self, count: int, width: int, buckets: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """Random images (n, 1, height, width) of these buckets in -1..1, labels (n, longest) and lengths (n,).

        As many pixels as `count` images of 100 px have, of 32 random packets: as good as single images, and few copies.
        """
        packets = [packet for bucket in buckets for packet in self.parts[bucket]]
        chosen = [packets[i] for i in torch.randint(len(packets), (32,)).tolist()]
        each = max(count * 100 // width // len(chosen), 1)
        rows = [torch.randint(len(packet.images), (each,), device=self.device) for packet in chosen]
        pairs = list(zip(chosen, rows, strict=True))
        images = torch.cat([packet.images[row] for packet, row in pairs])
        labels = torch.cat([packet.labels[row] for packet, row in pairs]).long()
        lengths = torch.cat([packet.lengths[row] for packet, row in pairs]).long()
        return stretch_to(to_float(images), width), labels, lengths


def to_float(images: Tensor) -> Tensor:
    return (images.float() / 127.5 - 1)[:, None]


@dataclass
class Learner:
    """A recipe's network, its optimiser and the moving average of its weights."""

    recipe: str
    network: Network
    optimizer: torch.optim.Optimizer
    mean: list[Tensor]
    bfloat16: bool = False  # its forward pass, by autocast; else float32
    images: int = 0
    steps: int = 0
    loss: Tensor | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def step(self, images: Tensor, labels: Tensor, lengths: Tensor, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bfloat16):
            logits = self.network(images)
        loss = (ctc_losses(logits.float(), labels, lengths) / lengths.clamp_min(1)).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.network.parameters())
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        fused: Any = self.optimizer  # whose kernel reads two attributes that torch does not declare
        fused.grad_scale, fused.found_inf = None, (~torch.isfinite(norm)).float()
        self.optimizer.step()
        self.steps += 1
        self.images += len(images)
        decay = min(DECAY, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [p.detach() for p in parameters], 1 - decay)
        self.loss = loss.detach()


def make_learner(
    recipe: str,
    options: Train,
    start: str,
    charset: Charset,
    device: torch.device,
    lr: float,
    bfloat16: bool | None = None,
) -> Learner:
    """A recipe's network, beginning with weights of `start`. bfloat16: None: on a card; a CPU rehearses in float32."""
    network = build(options.model, charset.classes, options.data.height, options.data.channels)
    if start:
        content = checkpoint.read_trained(Path(start))
        print(f"{recipe}: {load_pretrained(network, content['network'], content['charset'], charset)}", flush=True)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    network = network.to(device).train()
    network.recur_in(torch.float32)  # an LSTM under autocast on CUDA is float16, without loss scaling
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=1e-4, fused=True)
    print(f"{recipe}: {count_parameters(network):,} parameters", flush=True)
    mean = [p.detach().clone() for p in network.parameters()]
    return Learner(recipe, network, optimizer, mean, device.type == "cuda" if bfloat16 is None else bfloat16)


def learning_rate(peak: float, share: float) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if share < WARMUP:
        return peak * (share / WARMUP * 0.95 + 0.05)
    return peak * (0.01 + 0.99 * half_cosine((share - WARMUP) / (1 - WARMUP)))


def views(pool: ImagePool) -> list[tuple[float, int, tuple[int, ...]]]:
    """(share of the steps, px, buckets) of which each step takes one; those that have images by now."""
    if pool.squeezed:
        return [view for view in SQUEEZED_VIEWS if pool.size(view[2]) > 3]
    buckets = pool.drawing.buckets
    # As many steps a bucket as it has pixels, since a step is so many pixels: each image comes as often as others
    return [
        (pool.size((i,)) * bucket.width, bucket.width, (i,)) for i, bucket in enumerate(buckets) if pool.size((i,)) > 3
    ]


def choose_view(pool: ImagePool) -> tuple[int, tuple[int, ...]]:
    """The width in px and the buckets of a step, at random."""
    there = views(pool)
    return there[int(torch.multinomial(torch.tensor([float(share) for share, *_ in there]), 1))][1:]


def stretch_to(images: Tensor, width: int) -> Tensor:
    if images.shape[-1] == width:
        return images
    return nn.functional.interpolate(images, (images.shape[2], width), mode="bilinear", antialias=True)


def train(pool: ImagePool, source: DrawingProcesses, learners: list[Learner], options: DrawnOptions):
    """Until the time is over: take in what was drawn, make a step of every learner with the same batch."""
    while pool.drawn < options.first or not views(pool):
        if packet := source.take(1):
            pool.add(packet)
    print(f"{pool.drawn:,} images are drawn, training begins", flush=True)
    started = reported = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < options.seconds:
        while packet := source.take(0):
            pool.add(packet)
        images, labels, lengths = pool.batch(options.batch_size, *choose_view(pool))
        images = augment(images, STRENGTH).contiguous(memory_format=torch.channels_last)
        lr = learning_rate(options.lr, elapsed / options.seconds)
        for learner in learners:
            learner.step(images, labels, lengths, lr)
        if time.perf_counter() - reported > REPORT_S:
            reported = time.perf_counter()
            report_progress(learners, pool, reported - started, lr)


def report_progress(learners: list[Learner], pool: ImagePool, elapsed: float, lr: float) -> None:
    for learner in learners:
        loss = float(learner.loss) if learner.loss is not None else float("nan")
        row = {"s": round(elapsed, 1), "steps": learner.steps, "images": learner.images, "loss": round(loss, 4),
               "drawn": pool.drawn}  # fmt: skip
        learner.history.append(row)
        print(f"{elapsed:5.0f} s  {learner.recipe}: step {learner.steps}, {learner.images:,} images "
              f"({learner.images / elapsed:,.0f}/s), {pool.drawn:,} drawn ({pool.drawn / elapsed:,.0f}/s), "
              f"loss a character {loss:.3f}, rate {lr:.1e}", flush=True)  # fmt: skip


@torch.no_grad()
def average(learner: Learner, pool: ImagePool, count: int, batches: int = 40) -> None:
    """Put the moving average into the network and measure its batch norms again, as they are in reading."""
    learner.network.train()
    for parameter, mean in zip(learner.network.parameters(), learner.mean, strict=True):
        parameter.copy_(mean)
    norms = [layer for layer in learner.network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what comes
    for _ in range(batches):
        view = (100, (0, 1, 2)) if pool.squeezed else choose_view(pool)
        images = pool.batch(count, *view)[0]
        learner.network(images.contiguous(memory_format=torch.channels_last))


@torch.inference_mode()
def read_held(learner: Learner, pool: ImagePool) -> tuple[int, int]:
    """How many of the images kept from training are read right, and how many there are."""
    learner.network.eval()
    right = count = 0
    for packet in pool.held:
        images = to_float(packet.images)
        best = learner.network(stretch_to(images, 100 if pool.squeezed else images.shape[-1])).argmax(-1).T.cpu()
        for path, label, length in zip(best, packet.labels.tolist(), packet.lengths.tolist(), strict=True):
            right += [c for c in torch.unique_consecutive(path).tolist() if c] == label[:length]
            count += 1
    return right, count


def save(
    learner: Learner, recipe: Train, charset: Charset, path: Path, changed: dict[str, Tensor] | None = None
) -> None:
    """Write its network's weights; `changed`: others in place of some of them, its moving average."""
    data, own = recipe.data, {**learner.network.state_dict(), **(changed or {})}
    state = {key: value.detach().cpu() for key, value in own.items()}
    weights = Weights(checkpoint.OURS, halve(state), dataclasses.replace(recipe.model, pretrained=""), charset.classes,
                      data.channels, data.height, data.width, data.keep_ratio, learner.recipe)  # fmt: skip
    save_weights(weights, charset, path)


def make_drawing(options: DrawnOptions, recipe: Train, charset: Charset) -> Drawing:
    texts = [text for text in lexicon.read_lines(options.texts) if text]
    if not texts:
        raise UserError(f"{options.texts}: no texts in it; give one a line")
    lines, every = recipe.data.keep_ratio, fonts.weighted_faces(options.fonts)
    looks, shares = [], []
    for name in options.style.split(","):
        style, _, share = name.partition(":")
        if style not in STYLES:
            raise UserError(f"no style {style!r}; there are {', '.join(STYLES)}")
        if lines and STYLES[style].marks & set(charset.characters):
            raise UserError(f"--style {style} draws marks to be ignored, which labels of {options.recipes} have: "
                            "lines and signs draw what the label has alone")  # fmt: skip
        faces = tuple(face for face in every if face.covers(STYLES[style].marks | set("0aA")))
        if not faces:
            raise UserError(f"{options.fonts}: none of its {len(every)} faces has the characters of the style {style}")
        case = "written" if lines else STYLES[style].case if options.case == "auto" else options.case
        weights = tuple(every[face] for face in faces) if lines else None  # words: any face, alike
        looks.append((PatientLook if lines else Look)(faces, options.seed, style, case, weights))
        shares.append(float(share or 1))
    print(f"{options.texts}: {len(texts):,} texts; {', '.join(f'{len(o.faces)} faces {o.style}' for o in looks)}")
    if not lines:
        return Drawing(texts, tuple(looks), tuple(shares), charset, SQUEEZED, recipe.data.height)
    texts = dot_plates(drawable_texts(texts, looks, options.texts))
    return Drawing(texts, tuple(looks), tuple(shares), charset, LINES, recipe.data.height, label_of=without_dot)


def read_recipes(options: DrawnOptions) -> tuple[list[str], list[Train], list[str]]:
    """Names, options and the weights that each begins with. Raises UserError when they cannot learn side by side."""
    names = options.recipes.split(",")
    starts = options.start_from.split(",") if options.start_from else [""] * len(names)
    if len(starts) != len(names):
        raise UserError(f"--start-from names {len(starts)} files for {len(names)} recipes")
    recipes = [ALL.parse(["--recipe", name]) for name in names]
    if any(other.data != recipes[0].data for other in recipes):
        raise UserError("recipes that learn side by side have one alphabet and one kind of images (data.*)")
    return [recipe.recipe for recipe in recipes], recipes, starts


def open_device(options: DrawnOptions) -> torch.device:
    torch.manual_seed(options.seed)
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = True, 4
    torch.set_float32_matmul_precision("high")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(best if options.device == "best" else options.device)


def save_learner(learner: Learner, recipe: Train, charset: Charset, pool: ImagePool, options: DrawnOptions) -> dict:
    """Write the moving average of its weights, or the last ones if they read more; what training.json says of it."""
    path = options.out / f"{learner.recipe}.safetensors"
    read, kept = {}, ""
    for kind in ("last", "mean"):
        if kind == "mean":
            average(learner, pool, options.batch_size)
        right, count = read_held(learner, pool)
        read[kind] = {"right": right, "of": count}
        if kind == "last" or right >= read["last"]["right"]:
            save(learner, recipe, charset, path)
            kept = kind
        print(f"{path}, {kind}: {learner.images:,} images, {learner.steps:,} steps; "
              f"{right:,} of {count:,} unseen ones read")  # fmt: skip
    return {"images": learner.images, "steps": learner.steps, "unseen": read, "kept": kept, "history": learner.history}


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    names, recipes, starts = read_recipes(options)
    charset = Charset.named(recipes[0].data.charset)
    options.out.mkdir(parents=True, exist_ok=True)
    drawing, started = make_drawing(options, recipes[0], charset), time.perf_counter()
    with DrawingProcesses(drawing, options.workers, options.seed) as source:
        device = open_device(options)
        learners = [
            make_learner(*each, charset, device, options.lr) for each in zip(names, recipes, starts, strict=True)
        ]
        pool = ImagePool(drawing, options.capacity, device)
        print(f"ready after {time.perf_counter() - started:.1f} s", flush=True)
        train(pool, source, learners, options)
    about: dict[str, Any] = {
        "options": {key: str(value) for key, value in dataclasses.asdict(options).items()},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "CPU", "torch": torch.__version__,
        "drawn": pool.drawn, "faces": len(drawing.looks[0].faces), "texts": len(drawing.texts),
    }  # fmt: skip
    about["recipes"] = {
        learner.recipe: save_learner(learner, recipe, charset, pool, options)
        for learner, recipe in zip(learners, recipes, strict=True)
    }
    write_file(options.out / "training.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    run_cli(main, "models.train_drawn")
