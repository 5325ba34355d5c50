"""Reading words in three lines:

    from models import Recogniser

    r = Recogniser.load()  # the weights that come with the repository; or a file: load("best.pt")
    r("word.png").text

One image gives a Reading, a list of them a list. An image is a path, its bytes, a uint8 array or a Pillow image,
and shows one word or one line of text.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError
from bench.machine.device import Device
from bench.machine.discovery import DEVICES, best
from bench.options import check_values
from models import weights
from models.data.charset import Charset
from models.data.image import PHOTO_PIXELS, ImageSource, Shape, load_image
from models.data.text import visual_order, visual_positions
from models.dataset import normalise, pad_batch
from models.decoding.alignment import align, character_runs
from models.decoding.beam import search_n_best
from models.decoding.ctc import Decoded, best_path, log_probabilities, raw_path
from models.decoding.decoder import Decoder
from models.engines import remembered
from models.engines.table import ENGINES, Engine, cast_for_autocast, choose_engine
from models.engines.typical import comparison_images
from models.network.heads import CTC, Attention, pad_labels
from models.network.model import Model
from models.network.network import Network, build
from models.reading.calibration import Calibration
from models.reading.views import SURE, ImageView, first_view, views_of
from models.run.options import Common, Infer, checkpoint_root, recipe_name
from models.weights import checkpoint

FEW = 4  # images that an engine is compared with torch on, where none is chosen by its rate
WIDTH = 11  # prefixes that look for them: the most that the service gives, and the one that is read
KNOWS_PADDING = ("eager", "prepacked", "compile")  # engines that read images of several widths together

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Reading:
    """What an image was read as.

    confidence: 0 to 1, of the text. Of shipped weights, read greedily: how likely it is right (calibration.py). Else
    the probability of its best path (CTC), or of its characters and its end.
    character_confidences: of each character, the highest one among its columns.
    alternatives: the most probable other texts with their probabilities, each the sum of its paths; none for attention.
    seen: (characters, T), how much each column of the image has to do with each character, 0 to 1.
    raw: CTC's path as papers print it, `a---v-a-ii-l`; empty for attention.
    turned: degrees, counter-clockwise, by which the image was turned for it; `seen` is of the turned one.
    """

    text: str
    confidence: float
    character_confidences: list[float]
    alternatives: list[tuple[str, float]]
    seen: np.ndarray
    raw: str
    turned: int = 0

    @property
    def alignment(self) -> list[tuple[float, float]]:
        """Left and right edge of each character, as shares of the image's width."""
        return [character_edges(row) for row in self.seen]


def doubtful(reading: Reading) -> bool:
    return min(reading.character_confidences, default=0.0) < SURE


def sureness(reading: Reading) -> float:
    return float(np.mean(reading.character_confidences)) if reading.text else 0.0


def character_edges(row: np.ndarray) -> tuple[float, float]:
    """Where a character is: the columns (T,) that have at least half as much to do with it as its best one."""
    columns = np.flatnonzero(row >= row.max() / 2)
    return float(columns[0] / len(row)), float((columns[-1] + 1) / len(row))


@dataclass
class Recogniser:
    """A trained network with everything that turns an image into its text. For one thread at a time."""

    network: Engine
    decoder: Decoder
    device: Device
    shape: Shape
    source: Path  # of the weights
    batch_size: int = 64
    most_pixels: int = PHOTO_PIXELS
    views: bool = True  # whether doubtful images are read again, see views.py
    calibration: Calibration | None = None  # of greedy readings; None: a confidence is the probability of the path

    @classmethod
    def load(
        cls,
        source: str | Path | None = None,
        *,
        device: str | None = None,
        precision: str = "FP32",
        engine: str | None = None,
        beam: int | None = None,
        lexicon: str | Path | None = None,
        lexicon_penalty: float | None = None,
        batch_size: int = 64,
        views: bool = True,
    ) -> Recogniser:
        """From shipped weights (None, or their name in models/weights), a checkpoint, or a .safetensors file.

        device: CPU, GPU or MLU; None: the best one here. precision: FP32, TF32, AMP or BF16. engine: what computes the
        network, a row of models/engines/table.py; "auto" measures which is fastest and agrees with torch, and remembers
        it for these weights on this machine; None takes what was remembered, else torch with weights laid out once.
        beam: search with this many prefixes instead of reading greedily. lexicon: a file of words, or "english", the
        bundled ones; each text is one of them, unless it is more probable than they are by lexicon_penalty nats. views:
        read doubtful images again, narrower, wider or turned, and keep what is surest (1.7 times the work on
        photographs).
        Raises UserError with the reason when this cannot work.
        """
        check_choice("engine", engine or "auto", (*ENGINES, "auto"))
        check_choice("device", device or "CPU", tuple(DEVICES))
        check_values(Infer, batch_size=batch_size, beam=beam)
        path = find_weights(source)
        content = checkpoint.read_trained(path, "data", "model")
        charset, model, data = checkpoint.described(content, path)
        shape = Shape(data.height, data.width, data.channels, data.keep_ratio)
        decoder = Decoder.from_options(
            model, charset, beam=beam, lexicon=Path(lexicon) if lexicon else None, penalty=lexicon_penalty
        )
        place = Device.open(device or best(), precision)
        network = network_from_checkpoint(content, path, model, charset, shape, place)
        made = make_engine_for(engine, network, place, charset, shape, path)
        calibration = find_calibration(path) if decoder.method == "greedy" else None
        return cls(made, decoder, place, shape, path, batch_size, views=views, calibration=calibration)

    @property
    def charset(self) -> Charset:
        return self.decoder.charset

    @overload
    def __call__(self, images: ImageSource, alternatives: int = ...) -> Reading: ...
    @overload
    def __call__(
        self, images: list[ImageSource] | tuple[ImageSource, ...], alternatives: int = ...
    ) -> list[Reading]: ...

    def __call__(self, images, alternatives=0):
        """Read one image, or a list of them in batches. Raises UnreadableError (a UserError) naming what is wrong.

        alternatives: how many other texts to look for, which costs more than reading.
        """
        if not isinstance(images, list | tuple):
            return self.read_views([self.prepare_views(images)], alternatives)[0]
        return self.read_views([self.prepare_views(image) for image in images], alternatives)

    def prepare(self, image: ImageSource) -> np.ndarray:
        """uint8 (height, width, channels), in the shape the network was trained on."""
        return first_view(load_image(image, self.shape.channels, self.most_pixels), self.shape).image

    def prepare_views(self, image: ImageSource) -> list[ImageView]:
        """The image as the network was trained to read it, and the views of it that are read when that is doubtful."""
        views = views_of(image, self.shape, self.reads_any_width, self.most_pixels)
        return views if self.views else views[:1]

    @property
    def reads_any_width(self) -> bool:
        return isinstance(self.network.head, CTC) and self.network.network.rectifier is None

    def read_views(self, images: Sequence[Sequence[ImageView]], alternatives: int = 0) -> list[Reading]:
        """Read what `prepare_views` made: the first view of each, the others where that is doubtful; the surest counts.

        A view is as sure as its characters on average are; a text of none is not.
        """
        readings = self.read([views[0].image for views in images], alternatives)
        again = [(i, view) for i, views in enumerate(images) if doubtful(readings[i]) for view in views[1:]]
        others = self.read([view.image for _, view in again], alternatives)
        for (i, view), other in zip(again, others, strict=True):
            if sureness(other) > sureness(readings[i]):
                readings[i] = replace(other, turned=view.turned)
        if self.calibration is None:
            return readings
        return [
            replace(one, confidence=self.calibration(one.confidence, one.character_confidences)) for one in readings
        ]

    def read(self, images: Sequence[np.ndarray], alternatives: int = 0) -> list[Reading]:
        """Read what `prepare` made, in batches of images of similar widths."""
        readings: dict[int, Reading] = {}
        for indices in self.batches([image.shape[1] for image in images]):
            batch = self.read_batch([images[i] for i in indices], alternatives)
            readings.update(zip(indices, batch, strict=True))
        return [readings[i] for i in range(len(images))]

    def batches(self, widths: list[int]) -> Iterator[list[int]]:
        """Indices of images that are read together; an engine that knows no padding gets them of one width."""
        batch: list[int] = []
        for i in sorted(range(len(widths)), key=widths.__getitem__):
            mixed = self.network.name in KNOWS_PADDING and self.shape.keep_ratio
            differs = batch and not mixed and widths[i] != widths[batch[0]]
            if differs or len(batch) == self.batch_size:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    @torch.inference_mode()
    def read_batch(self, images: list[np.ndarray], alternatives: int) -> list[Reading]:
        """The pipeline of models.test with more to say: to device, forward, decode, and alignments and n-best."""
        widths = torch.tensor([image.shape[1] for image in images], dtype=torch.int32)
        batch = normalise(torch.from_numpy(pad_batch(images)), self.device.torch)
        with self.device.autocast():
            if isinstance(self.network.head, Attention):
                return read_attention(self.network, self.network.head, self.decoder, batch, widths)
            return read_ctc(self.network, self.decoder, batch, widths, alternatives)


def read_ctc(network: Engine, decoder: Decoder, images: Tensor, widths: Tensor, alternatives: int) -> list[Reading]:
    """Normalised images (N, C, H, W) and their widths (N,) to readings."""
    charset, time_steps, logits = decoder.charset, network.time_steps(widths), network(images, widths)
    decoded = decoder(logits, time_steps)
    paths = best_path(logits, time_steps)[0]
    logs, lengths = log_probabilities(logits, time_steps)
    aligned = paths if decoder.method == "greedy" else align_texts(logs, lengths, decoded.texts, charset)
    others = n_best(logs, lengths, decoded.texts, alternatives, charset)
    return [
        Reading(*text, other, typed_rows(character_runs(path[:n]), text[0], charset), raw_path(raw[:n], charset))
        for text, other, path, raw, n in zip(unzip(decoded), others, aligned, paths, lengths.tolist(), strict=True)
    ]


def typed_rows(rows: np.ndarray, text: str, charset: Charset) -> np.ndarray:
    """Rows (characters, T) in the order of the image's columns, in the order in which the text is typed."""
    return rows[visual_positions(visual_order(text))] if charset.right_to_left else rows


def align_texts(logs: Tensor, lengths: Tensor, texts: list[str], charset: Charset) -> np.ndarray:
    """The most probable path (N, T) of each text."""
    return align(logs.numpy(), lengths.numpy(), [charset.classes_of(text) for text in texts])


def n_best(
    logs: Tensor, lengths: Tensor, texts: list[str], most: int, charset: Charset
) -> list[list[tuple[str, float]]]:
    """For each image the most probable texts that are not the one read, with their probabilities.

    The width of the search decides the probabilities, so it does not depend on `most`.
    """
    if not most:
        return [[] for _ in texts]
    rows = search_n_best(logs, lengths, max(most + 1, WIDTH))
    spelled = [[(charset.decode(label), float(np.exp(score))) for label, score in row] for row in rows]
    return [[one for one in row if one[0] != text][:most] for row, text in zip(spelled, texts, strict=True)]


def read_attention(network: Engine, head: Attention, decoder: Decoder, images: Tensor, widths: Tensor) -> list[Reading]:
    """As read_ctc; the weights with which the head attended to each column are the alignment. No alternatives."""
    features, time_steps = network.features(images, widths)
    if decoder.needs_features:
        decoded = decoder.decode_features(head, features, time_steps)
        targets = targets_from_texts(decoded.texts, decoder.charset, features.device)
        attended = head.write(features, time_steps, targets)[1]  # (S, N, T)
    else:
        logits, attended = head.write(features, time_steps)  # (S, N, C), (S, N, T)
        decoded = decoder(logits)
    lengths = [attended.shape[2]] * len(images) if time_steps is None else time_steps.tolist()
    seen = attended.float().cpu().numpy()
    rows = [
        typed_rows(seen[: len(text), i, : lengths[i]], text, decoder.charset) for i, text in enumerate(decoded.texts)
    ]
    return [Reading(*text, [], seen_by, "") for text, seen_by in zip(unzip(decoded), rows, strict=True)]


def targets_from_texts(texts: list[str], charset: Charset, device: torch.device) -> Tensor:
    """Targets (N, S) with which an attention head writes these texts and not its own."""
    labels, lengths = charset.encode_all(texts)
    return pad_labels(torch.from_numpy(labels), torch.from_numpy(lengths)).to(device)


def unzip(decoded: Decoded) -> Iterator[tuple[str, float, list[float]]]:
    """Text, confidence and confidences of its characters, image by image."""
    return zip(decoded.texts, decoded.confidences, decoded.character_confidences, strict=True)


def find_trained(recipe: str, root: Path | None = None) -> Path:
    """The newest best checkpoint of a recipe, else its shipped weights. Raises UserError when there are neither."""
    root, recipe = checkpoint_root(Common(checkpoints=root)), recipe_name(recipe)
    if path := checkpoint.newest_best(root, recipe):
        return path
    if name := weights.of_recipe(recipe):
        return weights.path(name)
    raise UserError(f"no trained checkpoint of '{recipe}' below {root}: train one, or pass --checkpoint FILE")


def refuse_other_recipe(path: Path | None, recipe: str, given: Collection[str]) -> None:
    """Raises UserError where --checkpoint and --recipe were both given, and the file is of another recipe."""
    if (
        path
        and "recipe" in given
        and (theirs := checkpoint.read(find_weights(path)).get("recipe")) not in (None, recipe_name(recipe))
    ):
        raise UserError(f"{path}: trained with the recipe {theirs!r}, not '{recipe}': leave one of the options out")


def check_choice(kind: str, name: str, choices: tuple[str, ...]) -> None:
    """Raises UserError when there is no such choice."""
    if name not in choices:
        raise UserError(f"no {kind} {name!r}; there are {', '.join(choices)}")


def find_calibration(path: Path) -> Calibration | None:
    """What models.calibrate found for these weights: in the manifest of shipped ones, or beside the file."""
    numbers = None
    if name := weights.shipped_name(path):
        numbers = weights.confidence(name)
    elif calibration_file(path).is_file():
        try:
            numbers = json.loads(calibration_file(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{calibration_file(path)}: not what models.calibrate writes ({error})") from None
    if numbers is None:
        return None
    try:
        return Calibration(*map(float, numbers))
    except (TypeError, ValueError):
        raise UserError(
            f"{calibration_file(path)}: a calibration has four numbers; models.calibrate writes them"
        ) from None


def calibration_file(path: Path) -> Path:
    """Where a calibration lies beside weights."""
    return path.with_name(f"{path.name}.confidence.json")


def find_weights(source: str | Path | None) -> Path:
    """The file of shipped weights (None, or their name), or the path that `source` is."""
    return weights.path() if source is None else weights.find(Path(source))


def network_from_checkpoint(
    content: dict, path: Path, model: Model, charset: Charset, shape: Shape, device: Device
) -> Network:
    """The network with its weights, on the device, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # the weights it begins with must not change what the caller draws
        network = build(model, charset.classes, shape.height, shape.channels)
    checkpoint.restore_weights(network, content, path, charset.characters)
    network.recur_in(device.recurrent_dtype)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it
    return network.to(device.torch).eval()


def make_engine_for(
    name: str | None, network: Network, device: Device, charset: Charset, shape: Shape, weights_file: Path
) -> Engine:
    """The engine of that name; one that is not torch's own is first compared with it on drawn words.

    None: the one that `auto` once found fastest for these weights here; else prepacked on a CPU, eager on a card.
    """
    attends = isinstance(network.head, Attention)
    if attends and name not in (None, "eager", "auto"):
        raise UserError(
            f"engine {name}: an attention head is read by torch here, where its weights are seen: use eager"
        )
    key = remembered.make_key(weights_file, device)
    if name is None and not attends:
        name = remembered.recall(key) or ("prepacked" if device.kind.type == "cpu" else "eager")
    if attends or name == "eager":
        return Engine("eager", network, cast_for_autocast(network, device))
    drawn = comparison_images(shape) if name == "auto" else comparison_images(shape, FEW)
    images = normalise(torch.from_numpy(drawn), device.torch)
    engine = choose_engine(name or "eager", network, device, charset, images, lambda message: log.info("%s", message))
    if name == "auto":
        remembered.remember(key, engine.name)
    return engine
