"""A word as people photograph it: what `hard` draws, and what a crop of a street or a page has besides the word.

Quotes, prices and apostrophes, letters of the neighbours at the sides, lines cut off above and below, edges that
cut the word, letters set wide, on arcs and on waves, letters with sides, tubes of light, signs seen askew, a lens out
of focus, few pixels. The label stays the word: the rest is drawn so that it is learned to be ignored, which is wrong
for labels of all characters: those have the style `signs`. Chosen by looking at what a recogniser trained on `hard`
alone misread in IIIT5K-train and SVT-train, the edges by what is misread in Synth90k's own images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageFilter

from models.rendering.drawing import EM, draw
from models.rendering.fonts import Face
from models.rendering.hard import HEIGHT, colour, dilate, letter, look, paste, soften, stack
from models.rendering.texture import crop
from models.rendering.warping import View, bend, project, wave

AROUND = (
    *("{}.", "{},", "{}!", "{}?", "{}:", "{};", "{}...", '"{}"', '"{}', '{}"', "'{}'"),
    *("({})", "({}", "{})", "-{}-", "*{}"),
)
AROUND_NUMBERS = ("${}", "${}", "{}%", "#{}", "{}.", "({})", "-{}", "{}:", "+{}")
INSIDE, INSIDE_NUMBERS = "''--.&", "..,-:/"
MARKS = frozenset("".join(AROUND + AROUND_NUMBERS) + INSIDE + INSIDE_NUMBERS) - set("{}")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
OFTEN = (0.12, 0.06, 0.16, 0.08)  # that something stands at the left, the top, the right, the bottom
CLIPPED = (0.16, 0.1, 0.16, 0.1)  # that the word itself is cut there: about a fifth of what was misread in Synth90k
DIRECTIONS = tuple((x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y)
LEAST_CONTRAST, LEAST_OF_DECORATED = 48, 75  # grey levels between text and ground: below them a person guesses
LEAST_LETTER = 6  # pixels: what is narrower is not read
LOST = (0.4, 0.95)  # least and most of what stands at a side that the image's edge cuts off
Shares = tuple[float, float, float, float]  # of an image, at its four sides in that order
Other = Callable[[str, np.random.Generator, Face, int], np.ndarray]  # draws what stands at a side


def street(word: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A word as a photograph shows it: (H, W) uint8, H near 31."""
    face = faces[int(rng.integers(len(faces)))]
    mask, cut = add_surroundings(typeset(add_marks(word, rng), rng, face), word, rng, face)
    view, letter_width = viewpoint(mask, rng), mask.shape[1] / len(word) * HEIGHT / len(mask)
    view = view._replace(margins=clip_margins(view.margins, cut, letter_width, rng))
    decorated = decorate(mask, rng)
    seen = project(decorated or stack(mask, rng), view, round(HEIGHT / (1 - cut[1] - cut[3])))
    image = soften(colour(crop_sides(seen, cut), rng, LEAST_OF_DECORATED if decorated else LEAST_CONTRAST), rng)
    ratio = mask.shape[1] / len(mask) * view.stretch
    letter_width *= view.stretch / (1 + ratio * abs(view.turn))  # what is turned becomes smaller to fit
    image = downsample(out_of_focus(image, rng, letter_width), rng, letter_width)
    strength = rng.exponential(0.65) if rng.random() < 0.85 else rng.uniform(2, 6)
    image += crop("grain", image.shape, rng) * strength
    drawn: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def add_marks(word: str, rng: np.random.Generator) -> str:
    """The word with marks around it or in it, now and then."""
    kind = rng.random()
    if kind > 0.25:
        return word
    around, inside = (AROUND_NUMBERS, INSIDE_NUMBERS) if word.isdigit() else (AROUND, INSIDE)
    if kind > 0.06 or len(word) < 3:
        return around[rng.integers(len(around))].format(word)
    place = rng.integers(1, len(word))
    return word[:place] + inside[rng.integers(len(inside))] + word[place:]


def typeset(text: str, rng: np.random.Generator, face: Face) -> np.ndarray:
    """The text's mask; now and then set as wide as signs set it, on an arc as logos have it, or on a wave."""
    chance = rng.random()
    if chance < 0.06:
        return draw(text, face, rng.uniform(0.3, 0.9) * EM)
    if chance < 0.16 and len(text) > 3:
        mask = draw(text, face, rng.uniform(0, 0.15) * EM)
        height = rng.uniform(0.25, 0.8) * EM * rng.choice((-1, 1))
        return bend(mask, height) if chance < 0.13 else wave(mask, height / 3, rng)
    return letter(text, rng, (face,))


def decorate(mask: np.ndarray, rng: np.random.Generator) -> Image.Image | None:
    """Now and then letters in three dimensions, or tubes of light, in three bands as `stack` has them; mostly None."""
    chance = rng.random()
    if chance < 0.05:
        return extrude(mask, int(rng.integers(3, 8)), *DIRECTIONS[rng.integers(len(DIRECTIONS))])
    if chance < 0.1:
        return light(mask, float(rng.uniform(1.5, 4)), hollow=rng.random() < 0.5)
    return None


def extrude(mask: np.ndarray, depth: int, dx: int, dy: int) -> Image.Image:
    """Letters cut from a board `depth` pixels thick and seen from (dx, dy); their sides are the third band."""
    layers = np.zeros((mask.shape[0] + 2 * depth, mask.shape[1] + 2 * depth, 3), np.uint8)
    for step in range(depth + 1):
        y, x = depth + step * dy, depth + step * dx
        side = layers[y : y + mask.shape[0], x : x + mask.shape[1], 2]
        np.maximum(side, mask, out=side)
    paste(layers[..., 0], mask, depth, depth)
    return Image.fromarray(layers)


def light(mask: np.ndarray, radius: float, hollow: bool) -> Image.Image:
    """Letters, or tubes along their edges; the light around them, fading in `radius` pixels, is the second band."""
    pad = round(3 * radius)
    tube = np.pad(dilate(mask, 1), pad)
    if hollow:
        tube = tube - np.pad(mask, pad + 1)
    around = np.asarray(Image.fromarray(tube).filter(ImageFilter.GaussianBlur(radius)), np.float32)
    layers = np.zeros((*tube.shape, 3), np.uint8)
    layers[..., 0], layers[..., 1] = tube, np.minimum(around * 1.6, 255)
    return Image.fromarray(layers)


def viewpoint(mask: np.ndarray, rng: np.random.Generator) -> View:
    """As `look`, and some from further aside: turned by up to 20 degrees, seen askew, narrow or stretched."""
    view = look(rng)
    turn, near, slant, stretch = view.turn * 1.5, view.near, view.slant, view.stretch
    kinds = rng.random(3)
    if kinds[0] < 0.14 and mask.shape[1] > mask.shape[0]:  # a letter or two that are turned may be others: N, Z
        turn = rng.uniform(0.08, 0.35) * rng.choice((-1, 1))
    if kinds[1] < 0.12:
        near, slant = np.exp(rng.normal(0, 0.3)), slant + rng.normal(0, 0.25)
    if kinds[2] < 0.2:
        stretch = np.exp(rng.uniform(-0.75, 0.5))
    return view._replace(turn=turn, near=near, slant=slant, stretch=stretch)


def add_surroundings(
    mask: np.ndarray,
    word: str,
    rng: np.random.Generator,
    face: Face,
    chances: Shares = OFTEN,
    draws: Other | None = None,
    lost: tuple[float, float] = LOST,
) -> tuple[np.ndarray, Shares]:
    """The mask with letters beside it and lines above and below it, and how much of each side is to be cut off.

    chances: that something stands at each side, as `draws` (else `other`) draws it. lost: share of it that is cut off.
    """
    cut = [0.0, 0.0, 0.0, 0.0]
    for side, often in enumerate(chances):
        if rng.random() < often:
            mask, new, gone = attach(mask, (draws or other)(word, rng, face, side), side, rng, lost)
            cut[side ^ 2] *= 1 - new  # the opposite side's share is one of a larger mask now
            cut[side] = gone
    left, top, right, bottom = cut
    return mask, (left, top, right, bottom)


def is_line(side: int) -> bool:
    """Above and below stands a whole line, at the sides a letter."""
    return side % 2 == 1


def other(word: str, rng: np.random.Generator, face: Face, side: int) -> np.ndarray:
    """The mask of what stands at a side."""
    letters = "".join(LETTERS[i] for i in rng.integers(len(LETTERS), size=len(word) + 2 if is_line(side) else 1))
    return draw(letters.upper() if word.isupper() else letters, face)


def attach(
    mask: np.ndarray, ink: np.ndarray, side: int, rng: np.random.Generator, share: tuple[float, float] = LOST
) -> tuple[np.ndarray, float, float]:
    """Both masks in one, `ink` at the side, which share of it is new, and which the image's edge cuts off."""
    mask, ink = turn_right(mask, side), turn_right(ink, side)
    gap = round((rng.uniform(0.08, 0.3) if is_line(side) else rng.uniform(0.3, 0.7)) * EM)
    along = -int(rng.integers(max(len(ink) - len(mask), 0) + 1)) if is_line(side) else int(rng.integers(-4, 5))
    strip = np.zeros((len(mask), gap + ink.shape[1]), np.uint8)
    first, last = max(along, 0), min(along + len(ink), len(mask))
    strip[first:last, gap:] = ink[first - along : last - along]
    joined = np.concatenate([mask, strip], axis=1)
    lost = rng.uniform(*share) * ink.shape[1]
    return turn_back(joined, side), strip.shape[1] / joined.shape[1], lost / joined.shape[1]


def turn_right(mask: np.ndarray, side: int) -> np.ndarray:
    """The mask with its `side` at the right, so that one piece of code serves all four."""
    mask = mask.T if is_line(side) else mask
    return mask[:, ::-1] if side < 2 else mask


def turn_back(mask: np.ndarray, side: int) -> np.ndarray:
    mask = mask[:, ::-1] if side < 2 else mask
    return mask.T if is_line(side) else mask


def clip_margins(margins: Shares, cut: Shares, letter_width: float, rng: np.random.Generator) -> Shares:
    """The margins, in pixels, some negative: up to two fifths of a letter are lost, where no neighbour is."""
    most = (0.4 * letter_width, 0.12 * HEIGHT) * 2
    often = np.where(cut, 0, CLIPPED)
    left, top, right, bottom = np.where(rng.random(4) < often, -rng.random(4) * most, margins)
    return left, top, right, bottom


def crop_sides(seen: np.ndarray, cut: Shares) -> np.ndarray:
    """The projected mask without these shares of its sides."""
    height, width = seen.shape[:2]
    left, top, right, bottom = (round(share * size) for share, size in zip(cut, (width, height) * 2, strict=True))
    return seen[top : height - bottom, left : max(width - right, left + 1)]


def out_of_focus(image: np.ndarray, rng: np.random.Generator, letter_width: float) -> np.ndarray:
    """Blurred by at most a tenth of a letter's width in pixels: a person still reads it."""
    if rng.random() > 0.35:
        return image
    source = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    radius = min(rng.uniform(0.5, 1.8), 0.1 * float(letter_width))
    return np.asarray(source.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def downsample(image: np.ndarray, rng: np.random.Generator, letter_width: float) -> np.ndarray:
    """As a camera far away takes it: with fewer pixels, and those enlarged; LEAST_LETTER of a letter's width remain."""
    if rng.random() > 0.25:
        return image
    source, share = Image.fromarray(image), max(rng.uniform(0.45, 0.85), LEAST_LETTER / letter_width)
    if share >= 1:
        return image
    small = source.resize([max(round(size * share), 1) for size in source.size], Image.Resampling.BILINEAR)
    return np.array(small.resize(source.size, Image.Resampling.BICUBIC))
