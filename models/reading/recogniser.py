"""Reading words in three lines:

    from models import Recogniser

    r = Recogniser.load()  # the weights that come with the repository; or a file: load("best.pt")
    r("word.png").text

One picture gives a Reading, a list of them a list. A picture is a path, its bytes, a uint8 array or a Pillow image,
and shows one word or one line of text.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError
from bench.machine.device import Device
from bench.machine.discovery import DEVICES, best
from bench.machine.world import World
from bench.options import check_bounds
from models import weights
from models.data.charset import Charset
from models.data.image import PADDING, Shape, resize
from models.data.opened import MOST_PIXELS, Picture, opened
from models.decoding import beam
from models.decoding.alignment import align, runs
from models.decoding.ctc import Decoded, attention_with_lexicon, best_path, on_host, raw_path
from models.decoding.decoder import Method
from models.engines.table import ENGINES, Engine, choose
from models.engines.typical import typical
from models.network.heads import Attention, pad
from models.network.model import Model
from models.network.network import Recogniser as Network
from models.network.network import build
from models.run.context import Session, normalised
from models.run.options import Common, Infer, checkpoint_root
from models.weights import checkpoint

ALTERNATIVES = 3  # texts beside the one that is read
WIDTH = 11  # prefixes that look for them: the most that the service gives, and the one that is read
KNOWS_PADDING = ("eager", "prepacked", "compile")  # engines that read pictures of several widths together

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a picture was read as.

    confidence: 0 to 1, of the text: the probability of its best path (CTC), or of its characters and its end.
    character_confidences: of each character, the highest one among its columns.
    alternatives: the most probable other texts with their probabilities, each the sum of its paths; none for attention.
    seen: (characters, T), how much each column of the picture has to do with each character, 0 to 1.
    raw: CTC's path as people print it, `a---v-a-ii-l`; empty for attention.
    """

    text: str
    confidence: float
    character_confidences: list[float]
    alternatives: list[tuple[str, float]]
    seen: np.ndarray
    raw: str

    @property
    def alignment(self) -> list[tuple[float, float]]:
        """Left and right edge of each character, as shares of the picture's width."""
        return [edges(row) for row in self.seen]


def edges(row: np.ndarray) -> tuple[float, float]:
    """Where a character is: the columns (T,) that have at least half as much to do with it as its best one."""
    columns = np.flatnonzero(row >= row.max() / 2)
    return float(columns[0] / len(row)), float((columns[-1] + 1) / len(row))


class Embedded(Session):
    """A session inside somebody's program: it logs what a run would print."""

    def say(self, *words) -> None:
        log.info(" ".join(map(str, words)))


@dataclass
class Recogniser:
    """A trained network with everything that turns a picture into its text. For one thread at a time."""

    session: Session
    network: Engine
    shape: Shape
    method: Method
    source: Path  # of the weights
    most_pixels: int = MOST_PIXELS

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "FP32",
        engine: str = "eager",
        beam: int | None = None,
        lexicon: Path | None = None,
        batch_size: int = 64,
    ) -> Recogniser:
        """From shipped weights (None, or their name in models/weights), a checkpoint, or a .safetensors file.

        device: CPU, GPU or MLU; None: the best one here. precision: FP32, TF32, AMP or BF16. engine: what computes the
        network, a row of models/engines/table.py, "auto" for the fastest that agrees with torch. beam: search with so
        many prefixes instead of reading greedily; lexicon: a file of words, one of which each text then is.
        Raises UserError with the reason when this cannot work.
        """
        refuse_unknown("engine", engine, (*ENGINES, "auto"))
        refuse_unknown("device", device or "CPU", tuple(DEVICES))
        path = located(source)
        content = checkpoint.trained(path, "data", "model")
        try:
            charset, shape = Charset(content["charset"]), shape_of(content["data"])
            model = Model(**{**content["model"], "pretrained": ""})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path}: not a trained recogniser: {type(error).__name__} {error}") from None
        method = Method.asked(model, charset, beam=beam, lexicon=lexicon)
        session = opened_session(
            Infer(batch_size=batch_size, beam=beam, engine=engine, model=model), device, precision, charset
        )
        network = filled(content, path, session, shape)
        return cls(session, started(network, session, shape), shape, method, path)

    @property
    def charset(self) -> Charset:
        return self.session.charset

    @overload
    def __call__(self, pictures: Picture, alternatives: int = ...) -> Reading: ...
    @overload
    def __call__(self, pictures: Sequence[Picture], alternatives: int = ...) -> list[Reading]: ...

    def __call__(self, pictures, alternatives=ALTERNATIVES):
        """Read one picture, or a list of them in batches. Raises UnreadableError (a UserError) naming what is wrong.

        alternatives: how many other texts to look for; 0 is fastest.
        """
        if not isinstance(pictures, list | tuple):
            return self.read([self.picture(pictures)], alternatives)[0]
        return self.read([self.picture(one) for one in pictures], alternatives)

    def picture(self, picture: Picture) -> np.ndarray:
        """uint8 (height, width, channels), as the network was trained on."""
        found = opened(picture, self.shape.channels, self.most_pixels)
        width = self.shape.fitted(*found.shape[:2])
        return resize(found, self.shape.height, width).reshape(self.shape.height, width, -1)

    def read(self, pictures: Sequence[np.ndarray], alternatives: int = ALTERNATIVES) -> list[Reading]:
        """Read what `picture` made, in batches of pictures that are about equally wide."""
        found: dict[int, Reading] = {}
        for places in self.batches([one.shape[1] for one in pictures]):
            some = self.read_batch([pictures[place] for place in places], alternatives)
            found.update(zip(places, some, strict=True))
        return [found[place] for place in range(len(pictures))]

    def batches(self, widths: list[int]) -> Iterator[list[int]]:
        """Places of pictures that are read together; an engine that knows no padding gets them of one width."""
        batch: list[int] = []
        for place in sorted(range(len(widths)), key=widths.__getitem__):
            differs = batch and self.network.name not in KNOWS_PADDING and widths[place] != widths[batch[0]]
            if differs or len(batch) == self.session.options.batch_size:
                yield batch
                batch = []
            batch.append(place)
        if batch:
            yield batch

    @torch.inference_mode()
    def read_batch(self, pictures: list[np.ndarray], alternatives: int) -> list[Reading]:
        images, widths = stacked(pictures)
        images = normalised(images, self.session.device.torch)
        with self.session.device.autocast():
            read = attended if isinstance(self.network.head, Attention) else collapsed
            return read(self, images, widths, alternatives)


def trained(recipe: str, root: Path | None = None) -> Path:
    """The newest best checkpoint of a recipe, else its shipped weights. Raises UserError when there are neither."""
    root = checkpoint_root(Common(checkpoints=root))
    if found := checkpoint.newest_best(root, recipe):
        return found
    if name := weights.of_recipe(recipe):
        return weights.path(name)
    raise UserError(f"no trained checkpoint of '{recipe}' below {root}: train one, or pass --checkpoint FILE")


def refuse_unknown(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise UserError(f"no {kind} {name!r}; there are {', '.join(known)}")


def located(source: str | Path | None) -> Path:
    if source is None or source in weights.TABLE:
        return weights.path(source)
    return Path(source)


def shape_of(data: dict) -> Shape:
    return Shape(data["height"], data["width"], data["channels"], data.get("keep_ratio", False))


def opened_session(options: Infer, device: str | None, precision: str, charset: Charset) -> Session:
    check_bounds(options)
    return Embedded(options, Device.open(device or best(), precision), World(), charset)


def filled(content: dict, path: Path, session: Session, shape: Shape) -> Network:
    """The network with its weights, on the device, in evaluation mode."""
    model = session.options.model
    with torch.random.fork_rng(devices=[]):  # the weights it begins with must not change what the caller draws
        network = build(model, session.charset.classes, shape.height, shape.channels)
    checkpoint.load_network(network, content, path, session.charset.characters)
    network.recur_in(session.device.recurrent_dtype)
    return network.to(session.device.torch, memory_format=torch.channels_last).eval()


def started(network: Network, session: Session, shape: Shape) -> Engine:
    """The network as its engine computes it; any but torch's own is first compared with that on drawn words."""
    name = session.options.engine
    if name == "eager" or isinstance(network.head, Attention):
        refuse_elsewhere(name, network)
        return Engine("eager", network, ENGINES["eager"](network, session, None))
    images = normalised(torch.from_numpy(typical(shape)), session.device.torch)
    return choose(name, network, session, images)


def refuse_elsewhere(name: str, network: Network) -> None:
    if name not in ("eager", "auto"):
        raise UserError(
            f"engine {name}: an attention head is read by torch here, where its weights are seen: use eager"
        )


def stacked(pictures: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """uint8 (N, C, H, W), padded on the right with grey to the widest, and widths (N,)."""
    widths = torch.tensor([one.shape[1] for one in pictures], dtype=torch.int32)
    height, _, channels = pictures[0].shape
    batch = np.full((len(pictures), height, int(widths.max()), channels), PADDING, np.uint8)
    for row, one in zip(batch, pictures, strict=True):
        row[:, : one.shape[1]] = one
    return torch.from_numpy(batch).permute(0, 3, 1, 2), widths


def collapsed(reader: Recogniser, images: Tensor, widths: Tensor, alternatives: int) -> list[Reading]:
    """Read with CTC."""
    charset, network = reader.charset, reader.network
    steps, logits = network.time_steps(widths), network(images, widths)
    decoded = reader.method.decoded(logits, steps, charset, network.head.decoder)
    paths = best_path(logits, steps)[0]
    logs, lengths = on_host(logits, steps)
    spelled = paths if reader.method.name == "greedy" else aligned(logs, lengths, decoded.texts, charset)
    others = alternative(logs, lengths, decoded.texts, alternatives, charset)
    return [
        Reading(*said, other, runs(path[:n]), raw_path(raw[:n], charset))
        for said, other, path, raw, n in zip(
            rows_of(decoded), others, spelled, paths, lengths.tolist(), strict=True
        )
    ]  # fmt: skip


def aligned(logs: Tensor, lengths: Tensor, texts: list[str], charset: Charset) -> np.ndarray:
    return align(logs.numpy(), lengths.numpy(), [[charset.index[c] for c in text] for text in texts])


def alternative(logs: Tensor, lengths: Tensor, texts: list[str], most: int, charset: Charset) -> list[list]:
    """For each picture the most probable texts that are not the one read, with their probabilities.

    The width decides the probabilities, so it is the same whatever others of the batch ask for.
    """
    if not most:
        return [[] for _ in texts]
    found = beam.several(logs, lengths, max(most + 1, WIDTH))
    spelled = [[(charset.decode(label), float(np.exp(score))) for label, score in row] for row in found]
    return [[one for one in row if one[0] != text][:most] for row, text in zip(spelled, texts, strict=True)]


def attended(reader: Recogniser, images: Tensor, widths: Tensor, alternatives: int) -> list[Reading]:
    """Read with attention: where the decoder looked while it wrote is the alignment."""
    head, charset, words = reader.network.head, reader.charset, reader.method.words
    features, steps = reader.network.features(images, widths)
    if words:
        decoded = attention_with_lexicon(head, features, steps, charset, words)
        looked = head.write(features, steps, dictated(decoded.texts, charset, features.device))[1]  # (S, N, T)
    else:
        logits, looked = head.write(features, steps)  # (S, N, C), (S, N, T)
        decoded = reader.method.decoded(logits, steps, charset, head.decoder)
    lengths = [looked.shape[2]] * len(images) if steps is None else steps.tolist()
    looked = looked.float().cpu().numpy()
    return [
        Reading(*said, [], looked[: len(said[0]), place, : lengths[place]], "")
        for place, said in enumerate(rows_of(decoded))
    ]


def dictated(texts: list[str], charset: Charset, device: torch.device) -> Tensor:
    """Targets (N, S) with which a decoder writes these texts and not its own."""
    return pad(*map(torch.from_numpy, charset.encode_all(texts))).to(device)


def rows_of(decoded: Decoded) -> Iterator[tuple[str, float, list[float]]]:
    return zip(*(getattr(decoded, field.name) for field in dataclasses.fields(decoded)), strict=True)
