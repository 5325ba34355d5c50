"""Lines of text, Chinese above all: as a printer sets them, as a page is scanned or faxed, as a photograph shows them.

Written for labels that are read as they are: nothing readable is drawn that the label does not have, but for halves of
the lines above and below. Contrast has a floor, since a character of twenty strokes is lost in noise sooner than a
letter is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.rendering.drawing import EM, draw
from models.rendering.fonts import Face
from models.rendering.hard import away, colour, dilate, paint, soften, stack
from models.rendering.street import Shares, add_surroundings, crop_sides, turn_back, turn_right
from models.rendering.texture import crop
from models.rendering.warping import View, bend, project

HEIGHT = 32  # pixels
DOT_MATRIX = {"print": 0.0, "page": 0.12, "photo": 0.06}  # how often a printer of pins wrote it
LEAST_CONTRAST = 60  # grey levels between text and ground of a sign: twenty strokes in 30 px need more than a letter
NEIGHBOURS = (0, 0.08, 0, 0.08)  # that a half line stands at the left, the top, the right, the bottom


def lines(text: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A line as it is printed, scanned or photographed: (32, W) uint8."""
    face, kind = faces[int(rng.integers(len(faces)))], choose_kind(rng)
    return print_line(set_type(text, rng, face, kind), text, rng, face, kind)


def vertical(text: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A line whose characters stand below one another, turned as tall images are before they are read: (32, W) uint8.

    The first character is at the left; each lies on its side, its top to the left.
    """
    face, kind = faces[int(rng.integers(len(faces)))], choose_kind(rng)
    gap = round(max(rng.normal(0.08, 0.06), 0) * EM)
    characters = [draw(character, face, box=True) for character in text if character != " "]
    width = max(one.shape[1] for one in characters)
    cells = [np.pad(one, ((0, gap), sides(width - one.shape[1]))) for one in characters]
    column: np.ndarray = np.rot90(np.concatenate(cells))
    return print_line(np.ascontiguousarray(column), text, rng, face, kind)


def sides(room: int) -> tuple[int, int]:
    """Room at the left and at the right of what is centred."""
    return room // 2, room - room // 2


def choose_kind(rng: np.random.Generator) -> str:
    return ("print", "page", "photo")[rng.choice(3, p=(0.4, 0.3, 0.3))]


def print_line(mask: np.ndarray, text: str, rng: np.random.Generator, face: Face, kind: str) -> np.ndarray:
    """What was set, with what a page has besides, printed, scanned or photographed: (32, W) uint8."""
    mask = add_rules(mask, rng)
    mask, cut = add_neighbours(mask, text, rng, face)
    if rng.random() < DOT_MATRIX[kind]:
        mask = dot_matrix(mask, rng)
    height = round(HEIGHT / (1 - cut[1] - cut[3]))
    seen = crop_sides(project(Image.fromarray(mask), view(mask, rng, kind, any(cut)), height), cut)
    seen = np.asarray(Image.fromarray(seen).resize((seen.shape[1], HEIGHT), Image.Resampling.BILINEAR))
    return photograph(seen, rng, kind)


def signs(text: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A line on a sign, with the borders, shadows and grounds of `hard`, seen from further aside: (32, W) uint8."""
    face = faces[int(rng.integers(len(faces)))]
    mask, cut = add_neighbours(set_type(text, rng, face, "photo"), text, rng, face)
    height = round(HEIGHT / (1 - cut[1] - cut[3]))
    layers = stack(mask, rng)
    seen = crop_sides(project(layers, view_aside(mask, rng, any(cut)), height), cut)
    seen = np.asarray(Image.fromarray(seen).resize((seen.shape[1], HEIGHT), Image.Resampling.BILINEAR))
    image = soften(colour(seen, rng, LEAST_CONTRAST), rng)
    image = downsample_line(blur_line(image, rng, "photo"), rng, "photo")
    image += crop("grain", image.shape, rng) * np.float32(min(rng.exponential(1.5), 6))
    drawn: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def set_type(text: str, rng: np.random.Generator, face: Face, kind: str) -> np.ndarray:
    """The line's mask: spacing, weight and, on photographs, a curve."""
    chance = rng.random()
    spacing = rng.normal(0, 0.02) if chance < 0.7 else rng.uniform(0, 0.25)
    if chance > 0.94 and len(text) < 9:
        spacing = rng.uniform(0.25, 0.8)
    mask = draw(text, face, spacing * EM, box=True)
    if rng.random() < 0.15:
        mask = dilate(mask, 1)
    if kind == "photo" and rng.random() < 0.15 and len(text) > 2:
        mask = bend(mask, rng.normal(0, 0.15) * EM)
    return mask


def add_rules(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Now and then a rule under or over the line, or the sides of a table's cell."""
    if rng.random() < 0.12:
        side = 3 if rng.random() < 0.7 else 1
        mask = turn_back(add_bar(turn_right(mask, side), rng), side)
    for side in (0, 2):
        if rng.random() < 0.05:
            mask = turn_back(add_bar(turn_right(mask, side), rng, least=4), side)
    return mask


def add_bar(mask: np.ndarray, rng: np.random.Generator, least: int = 1) -> np.ndarray:
    """The mask with a bar at its right."""
    gap, bar = int(rng.integers(least, least + 5)), int(rng.integers(1, 4))
    return np.pad(np.pad(mask, ((0, 0), (0, gap))), ((0, 0), (0, bar)), constant_values=255)


def add_neighbours(mask: np.ndarray, text: str, rng: np.random.Generator, face: Face) -> tuple[np.ndarray, Shares]:
    """The mask with parts of the lines above and below, of which most is cut off; their text is this one's, mixed."""

    def other(word: str, rng: np.random.Generator, face: Face, side: int) -> np.ndarray:
        return draw("".join(rng.permutation(list(word * 2))).strip() or word, face)

    return add_surroundings(mask, text, rng, face, NEIGHBOURS, other, (0.65, 0.95))


def dot_matrix(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As a dot-matrix printer prints: rows, now and then columns too, of gaps."""
    mask, period = mask.copy(), int(rng.integers(3, 5))
    mask[rng.integers(period) :: period] //= 3
    if rng.random() < 0.4:
        mask[:, rng.integers(period) :: period] //= 3
    return mask


def view(mask: np.ndarray, rng: np.random.Generator, kind: str, close: bool) -> View:
    """From where the line is seen: its ends rise or fall by a few pixels, however long it is."""
    width = HEIGHT * mask.shape[1] / mask.shape[0]
    strong = 2.0 if kind == "photo" else 0.7
    turn = np.clip(rng.normal(0, strong) / max(width, HEIGHT), -0.08, 0.08)
    stretch = np.exp(rng.normal(-0.05, 0.1) if rng.random() < 0.75 else rng.uniform(-0.6, 0.3))
    slant = rng.normal(0, 0.04 * strong) + (0.2 if rng.random() < 0.04 else 0)
    left, right = rng.uniform(0, 8, 2)
    if rng.random() < 0.15:
        right += rng.uniform(0, 60)
    top, bottom = (0, 0) if close else rng.uniform(-0.5, 5, 2)
    return View(stretch, slant, np.exp(rng.normal(0, 0.015 * strong)), turn, (left, top, right, bottom))


def view_aside(mask: np.ndarray, rng: np.random.Generator, close: bool) -> View:
    """As `view` of a photograph; a third are turned, slanted or nearer at one end, by less the longer they are."""
    seen, ratio = view(mask, rng, "photo", close), mask.shape[1] / mask.shape[0]
    if rng.random() > 0.35:
        return seen
    most = 0.3 / max(ratio, 1.5)  # a third of the height is lost to it
    near = float(np.exp(np.clip(rng.normal(0, 0.15), -0.3, 0.3)))
    return seen._replace(turn=rng.uniform(-most, most), slant=seen.slant + rng.normal(0, 0.15), near=near)


def photograph(seen: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Grey levels, blur, few pixels and noise."""
    ground, text = line_levels(rng, kind)
    contrast = abs(text - ground)
    image: np.ndarray = np.full(seen.shape, ground, np.float32)
    if kind != "page" or rng.random() < 0.2:
        surface = "scene" if kind == "photo" and rng.random() < 0.5 else "surface"
        image += crop(surface, seen.shape, rng) * np.float32(min(rng.exponential(6), 0.22 * contrast))
        if rng.random() < 0.25:
            image += security_print(seen.shape, rng) * np.float32(rng.uniform(0.03, 0.15) * contrast)
    paint(image, seen * np.float32(1 / 255), text)
    if kind == "page" and rng.random() < 0.06:
        image = stamp(image, rng)
    image = downsample_line(blur_line(image, rng, kind), rng, kind)
    most = contrast / 7
    strength = min(rng.exponential(1.2) if rng.random() < 0.8 else rng.uniform(3, 10), most)
    image += crop("grain", image.shape, rng) * np.float32(strength)
    if kind == "page" and rng.random() < 0.12:
        image = fax(image, ground, text, rng)
    printed: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return printed


def security_print(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Fine parallel lines, straight or wavy, as certificates and tickets have them; -1 to 1."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(2.5, 8)
    across = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(0, 3) * np.sin(x * np.float32(rng.uniform(0.05, 0.4)))
    printed: np.ndarray = np.sin(across * np.float32(2 * np.pi / period)).astype(np.float32)
    return printed


def stamp(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Part of a round seal's ring over the line, half transparent, as red ones are in grey; it has no letters here."""
    height, width = image.shape
    seal = Image.new("L", (width, height))
    radius, thick = rng.uniform(1.2, 3) * height, int(rng.integers(2, 5))
    x, y = rng.uniform(0, width), rng.uniform(-0.8, 0.8) * radius + height / 2
    ImageDraw.Draw(seal).ellipse((x - radius, y - radius, x + radius, y + radius), outline=255, width=thick)
    ink = np.asarray(seal.filter(ImageFilter.GaussianBlur(0.5)), np.float32) / 255
    sealed: np.ndarray = image - ink * np.float32(rng.uniform(0.15, 0.45)) * image
    return sealed


def line_levels(rng: np.random.Generator, kind: str) -> tuple[float, float]:
    """Grey levels of ground and text."""
    if kind == "page":
        ground, text = rng.uniform(215, 255), rng.uniform(0, 120)
        return (text, ground) if rng.random() < 0.1 else (ground, text)
    ground = rng.uniform(60, 255) if rng.random() < 0.8 else rng.uniform(0, 255)
    least = 55 if kind == "print" else 65
    contrast = rng.uniform(least, 220)
    text = away(ground, contrast, rng) if rng.random() < 0.25 or ground < contrast else ground - contrast
    return (ground, text) if abs(text - ground) >= least else (max(ground, 255 - ground), 40.0)


def blur_line(image: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    if rng.random() < 0.35:
        return image
    source = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    radius = rng.uniform(0.2, {"print": 1.0, "page": 0.7, "photo": 1.15}[kind])
    return np.asarray(source.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def downsample_line(image: np.ndarray, rng: np.random.Generator, kind: str) -> np.ndarray:
    """With fewer pixels, and those enlarged: a crop of 18 px is common."""
    if rng.random() > 0.3:
        return image
    source, share = Image.fromarray(image), rng.uniform(0.5, 0.9)
    small = source.resize([max(round(size * share), 1) for size in source.size], Image.Resampling.BILINEAR)
    way = Image.Resampling.NEAREST if kind == "page" and rng.random() < 0.1 else Image.Resampling.BICUBIC
    return np.array(small.resize(source.size, way))


def fax(image: np.ndarray, ground: float, text: float, rng: np.random.Generator) -> np.ndarray:
    """Black and white alone, with a few specks."""
    black = np.abs(image - text) < np.abs(image - ground) * rng.uniform(0.95, 1.6)  # thin strokes stay
    specks = rng.random(image.shape) < rng.uniform(0, 0.012)
    sent: np.ndarray = np.where(black ^ specks, np.float32(text), np.float32(ground))
    return sent
