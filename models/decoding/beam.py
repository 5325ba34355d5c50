"""CTC prefix beam search (Graves 2006; Hannun et al. 2014, arXiv 1408.2873), all images of a batch at once.

A greedy path is the most probable path, and many paths spell a text. Here the `width` most probable prefixes of each
image are kept, each with the probability of all its paths found so far: of those that end in a blank and of those
that end in its last character. A prefix is known by a number, so that a prefix reached again is found by comparing
numbers; the texts are read off at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.data.charset import Charset
from models.decoding.ctc import Decoded, decoded_from_labels, log_probabilities

NEVER = float("-inf")
MULTIPLIER = 6364136223846793005  # Knuth's MMIX: prefixes are numbered modulo 2 ** 64


@dataclass
class Beams:
    """`width` prefixes of N images, each tensor (N, width)."""

    number: Tensor  # of the prefix; negative where there is none yet
    parent: Tensor  # number of the prefix without its last character
    last: Tensor  # its last class, 0 for the empty prefix
    blank: Tensor  # log probability of its paths that end in a blank
    character: Tensor  # and of those that end in its last character

    @classmethod
    def empty(cls, images: int, width: int) -> Beams:
        blank = torch.full((images, width), NEVER)
        blank[:, 0] = 0.0
        number = torch.where(blank == 0, 1, vacant(width))
        nothing = torch.zeros_like(number)
        return cls(number, nothing, nothing, blank, torch.full_like(blank, NEVER))

    @property
    def total(self) -> Tensor:
        return torch.logaddexp(self.blank, self.character)

    def where(self, inside: Tensor, other: Beams) -> Beams:
        """These for images that are `inside` (N, 1), the other ones elsewhere."""
        return Beams(**{k: torch.where(inside, v, getattr(other, k)) for k, v in vars(self).items()})


def vacant(width: int) -> Tensor:
    """Numbers of beams that hold no prefix: no prefix has them, nor have two of them the same."""
    return -1 - torch.arange(width)


def decode_beam(
    logits: Tensor, time_steps: Sequence[int] | Tensor | None, charset: Charset, width: int = 10
) -> Decoded:
    """The most probable text among the `width` most probable prefixes of each time step, all their paths summed."""
    logs, own = log_probabilities(logits, time_steps)
    labels, scores = beam_search(logs, own, width)
    return decoded_from_labels(labels, scores.tolist(), logs, own, charset)


def beam_search(logs: Tensor, lengths: Tensor, width: int) -> tuple[list[list[int]], Tensor]:
    """The best text of each image as classes, and its log probability (N,).

    logs (T, N, C): log probabilities on the host, class 0 the blank. lengths (N,): time steps of each image.
    """
    beams, history = explore(logs, lengths, width)
    best = beams.total.max(dim=1)
    return read_back(history, best.indices), best.values


def search_n_best(logs: Tensor, lengths: Tensor, width: int) -> list[list[tuple[list[int], float]]]:
    """For each image the texts that a search ends with, at most `width`, and their log probabilities; best first."""
    beams, history = explore(logs, lengths, width)
    ranked = beams.total.sort(dim=1, descending=True)
    columns = [read_back(history, place) for place in ranked.indices.T]
    rows = zip(zip(*columns, strict=True), ranked.values.tolist(), strict=True)
    return [[(text, log) for text, log in zip(*row, strict=True) if log > NEVER] for row in rows]


def explore(logs: Tensor, lengths: Tensor, width: int) -> tuple[Beams, list[tuple[Tensor, Tensor]]]:
    """The last beams, and for every step the beam that each came from and the class it wrote."""
    candidates = min(width + 1, logs.shape[-1] - 1)  # more can never be among the best
    likeliest = logs[..., 1:].topk(candidates, dim=-1)
    beams, history = Beams.empty(logs.shape[1], width), []
    for step in range(len(logs)):
        inside = (step < lengths)[:, None]
        moved, came, written = advance_beams(beams, logs[step], likeliest.values[step], likeliest.indices[step] + 1)
        beams = moved.where(inside, beams)
        stay = torch.arange(width).expand_as(came)
        history.append((torch.where(inside, came, stay), written * inside))
    return beams, history


def advance_beams(beams: Beams, logs: Tensor, values: Tensor, classes: Tensor) -> tuple[Beams, Tensor, Tensor]:
    """One step: the next beams, the beam that each came from, and the class it wrote (0: none), each (N, width).

    logs (N, C); values and classes (N, M): the likeliest characters of this step.
    """
    # A prefix stays as it is, by a blank or by its last character again, or grows by a character. A prefix that grows
    # into one which is among the beams already adds its probability there, and does not count as a candidate too.
    total, width = beams.total, beams.number.shape[1]
    stay_blank = total + logs[:, :1]
    repeated = logs.gather(1, beams.last)
    repeats = classes[:, None] == beams.last[..., None]  # (N, width, M): needs a blank between
    grown = torch.where(repeats, beams.blank[..., None], total[..., None]) + values[:, None]
    owner, reached = reached_again(beams)
    joined = torch.where(
        beams.last == beams.last.gather(1, owner), beams.blank.gather(1, owner), total.gather(1, owner)
    )
    joined = torch.where(reached, joined, NEVER) + repeated
    stay_character = torch.logaddexp(beams.character + repeated, joined)
    grown = mask_duplicates(grown, owner, reached, classes, beams.last)
    scores = torch.cat([torch.logaddexp(stay_blank, stay_character), grown.flatten(1)], dim=1)
    chosen = scores.topk(width, dim=1)
    return select_beams(beams, chosen, stay_blank, stay_character, classes)


def reached_again(beams: Beams) -> tuple[Tensor, Tensor]:
    """For each prefix the beam that holds it without its last character, and whether there is one, each (N, width)."""
    same = beams.parent[..., None] == beams.number[:, None]  # (N, width, width)
    return same.int().argmax(dim=-1), same.any(dim=-1)


def mask_duplicates(grown: Tensor, owner: Tensor, reached: Tensor, classes: Tensor, last: Tensor) -> Tensor:
    """Growth that makes a prefix which is among the beams already is counted there, and here no more."""
    images, width, candidates = grown.shape
    place = (classes[:, None] == last[..., None]).int()  # (N, width, M): where a beam's last character is
    found = place.any(dim=-1) & reached
    sink = torch.where(found, owner * candidates + place.argmax(dim=-1), width * candidates)
    padded = torch.cat([grown.flatten(1), grown.new_zeros(images, 1)], dim=1)
    return padded.scatter(1, sink, NEVER)[:, :-1].view_as(grown)


def select_beams(
    beams: Beams, chosen: torch.return_types.topk, stay_blank: Tensor, stay_character: Tensor, classes: Tensor
) -> tuple[Beams, Tensor, Tensor]:
    """The candidates with these indices as beams, where each came from, and the class it wrote."""
    width, candidates = beams.number.shape[1], classes.shape[1]
    stays, grown = chosen.indices < width, (chosen.indices - width).clamp(min=0)
    came = torch.where(stays, chosen.indices, grown // candidates)
    written = torch.where(stays, 0, classes.gather(1, grown % candidates))
    number, last = beams.number.gather(1, came), beams.last.gather(1, came)
    next_number = torch.where(stays, number, number * MULTIPLIER + written)
    moved = Beams(
        number=torch.where(chosen.values > NEVER, next_number, vacant(width)),
        parent=torch.where(stays, beams.parent.gather(1, came), number),
        last=torch.where(stays, last, written),
        blank=torch.where(stays, stay_blank.gather(1, came), NEVER),
        character=torch.where(stays, stay_character.gather(1, came), chosen.values),
    )
    return moved, came, written


def read_back(history: list[tuple[Tensor, Tensor]], beam: Tensor) -> list[list[int]]:
    """Follow each image's best beam to its start and collect what was written on the way."""
    rows, steps = torch.arange(len(beam)), []
    for came, written in reversed(history):
        steps.append(written[rows, beam])
        beam = came[rows, beam]
    texts = torch.stack(steps[::-1], dim=1).tolist() if steps else [[] for _ in rows]
    return [[c for c in text if c] for text in texts]
