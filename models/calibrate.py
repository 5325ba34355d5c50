"""Fit the confidence of a recogniser to how often it is right: `python -m models.calibrate crnn_small`.

Words are drawn that its training did not see, or come from a data set of one's own, and are read as
`Recogniser.load` reads them. Prints the four numbers for models/weights/manifest.json; with --write they are written
beside a file of weights, where `Recogniser.load` finds them.
"""

from __future__ import annotations

if not __package__:  # `python models/calibrate.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.options import Bounds, Command, Metavar, Positional
from models.data.opening import open_source
from models.reading.calibration import calibration_error, fit_calibration
from models.reading.recogniser import Recogniser, calibration_file
from models.rendering import fonts, lexicon
from models.rendering.sample import Look, PatientLook, drawable_texts
from models.rendering.styles import STYLES
from models.scoring.metrics import make_fold

FEWEST = 100  # words that four numbers are fitted to


@dataclass
class CalibrateOptions:
    """Fit the confidence of a recogniser to how often it is right."""

    weights: Annotated[str, Positional("WEIGHTS")]
    """A name of shipped weights, a checkpoint or a .safetensors file"""
    dataset: str | None = None
    """Fit to these images, as models.prepare wrote them, in place of drawn ones: at least 100 in the split"""
    split: Literal["val", "test"] = "val"
    """With --dataset: which of it; not one that weights were trained on"""
    count: Annotated[int, Bounds(FEWEST)] = 2500
    """Words to draw"""
    styles: Annotated[str, Metavar("STYLE,...")] = "street,street,street,hard,hard"
    """How they are drawn, in turn"""
    fonts: Annotated[str, Metavar("SOURCE,...")] = "bundled"
    """Sources of faces, as models.render has them"""
    texts: Path | None = None
    """File of texts to draw; default: the bundled English words"""
    seed: Annotated[int, Bounds(0)] = 991
    """Of what is drawn"""
    mode: str = "alphanumeric"
    """How texts are compared: exact, ignore_case or alphanumeric"""
    write: bool = False
    """Write the numbers beside WEIGHTS, where Recogniser.load looks for them"""


COMMAND = Command("models.calibrate", CalibrateOptions, "crnn_small --count 2500")


def draw_words(options: CalibrateOptions) -> Iterator[tuple[str, bytes]]:
    """Texts and their images, encoded. Texts of --texts are drawn as they are written, by faces that have them."""
    weights = fonts.weighted_faces(options.fonts)
    looks: list[Look] = []
    for style in options.styles.split(","):
        if style not in STYLES:
            raise UserError(f"no style {style!r}; there are {', '.join(STYLES)}")
        wanted = STYLES[style].marks | (set() if options.texts else set("aA0"))
        faces = STYLES[style].faces(tuple(face for face in weights if face.covers(wanted)))
        if options.texts:
            looks.append(PatientLook(faces, options.seed, style, "written", tuple(weights[face] for face in faces)))
        else:
            looks.append(Look(faces, options.seed, style, STYLES[style].case))
    texts = lexicon.read_words()
    if options.texts:
        texts = drawable_texts(lexicon.read_texts(options.texts), looks, options.texts)
    for number in range(options.count):
        yield looks[number % len(looks)].jpeg(texts[number * 7919 % len(texts)], number)


def own_words(dataset: str, split: str) -> Iterator[tuple[str, bytes]]:
    """Texts and encoded images of a split. Raises UserError where they are fewer than FEWEST, too few to fit to."""
    source = open_source(dataset, split)
    if len(source) < FEWEST:
        raise UserError(f"{dataset}: {len(source)} images in {split}, want {FEWEST} to fit four numbers to; leave "
                        "--dataset out to fit them to drawn words")  # fmt: skip
    for index in range(len(source)):
        yield source.label(index), bytes(source.encoded(index))


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    fold = make_fold(options.mode)
    reader = dataclasses.replace(Recogniser.load(options.weights), calibration=None)
    own = options.dataset
    drawn = list(own_words(own, options.split) if own else draw_words(options))
    readings = reader([image for _, image in drawn], alternatives=0)
    right = [fold(text) == fold(reading.text) for (text, _), reading in zip(drawn, readings, strict=True)]
    raw, characters = [r.confidence for r in readings], [r.character_confidences for r in readings]
    fitted = fit_calibration(raw, characters, right)
    after = [fitted(*pair) for pair in zip(raw, characters, strict=True)]
    numbers = [round(value, 4) for value in dataclasses.astuple(fitted)]
    kind = "words" if own else "drawn words"
    print(f"{sum(right):,} of {len(right):,} {kind} right; ECE {calibration_error(raw, right):.3f} before, "
          f"{calibration_error(after, right):.3f} after on the same words")  # fmt: skip
    print(f'"confidence": {numbers}')
    if options.write:
        print(write_file(calibration_file(reader.source), json.dumps(numbers) + "\n"))


if __name__ == "__main__":
    run_cli(main, "models.calibrate")
