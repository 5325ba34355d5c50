"""CTC loss and its gradient where they must not wait for the host (Graves et al. 2006, section 4).

torch's own loss on a card brings lengths there and back, and its kernels are chosen by them; so it cannot be part of a
recorded step. This one is plain tensor operations of fixed shapes. Forward and backward variables go through one
recursion: the latter are the former of the mirrored text in mirrored time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

NEVER = float("-inf")  # the logarithm of no probability


def ctc_losses(logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """-log p(text) of each image, (N,); 0, and no gradient, for a text too long for its columns.

    logits (T, N, C) in float32; all T columns are an image's own. labels (N, L): int64, classes of each text, then
    zeros. lengths (N,) int64. All on one device; nothing is copied off it.
    """
    losses: Tensor = CTCLosses.apply(logits, labels, lengths)  # type: ignore[no-untyped-call]  # torch has no annotations
    return losses


class CTCLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        logs = logits.log_softmax(dim=-1)
        states = labels.new_zeros(len(labels), 2 * labels.shape[1] + 1)  # a blank before, between and after
        states[:, 1::2] = labels
        places = states.expand(len(logs), -1, -1)  # (T, N, S)
        emitted = logs.gather(2, places)
        forward, backward = recursion(emitted, states, lengths)
        total = endings(forward[-1], lengths)
        possible = total != NEVER  # what is not a number stays so, and is noticed by who steps
        total = total.where(possible, 0)
        share = (forward + backward - emitted - total[:, None]).exp()  # of the paths through a state at a time
        gradient = logs.exp_().scatter_add_(2, places, -share) * possible[:, None]
        ctx.save_for_backward(gradient)
        return -total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None]:
        return ctx.saved_tensors[0] * outer[:, None], None, None


def recursion(emitted: Tensor, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of forward and backward variables, (T, N, S) each, both with what their own column emits."""
    n, size = states.shape
    both = torch.cat([emitted, emitted.flip(0, 2)], dim=1)  # (T, 2N, S)
    jump = torch.cat([jumps(states), jumps(states.flip(1))])
    rows = both.new_full((len(both), 2 * n, size + 2), NEVER)  # two columns that nothing ever comes from
    torch.add(both[0], beginnings(states, lengths), out=rows[0, :, 2:])
    for before, row, emits in zip(rows, rows[1:], both[1:], strict=False):
        came = torch.logaddexp(torch.logaddexp(before[:, 2:], before[:, 1:-1]), before[:, :-2] + jump)
        torch.add(came, emits, out=row[:, 2:])
    return rows[:, :n, 2:], rows[:, n:, 2:].flip(0, 2)


def jumps(states: Tensor) -> Tensor:
    """0 where a state may be reached past the blank before it: from another character than its own. Else NEVER."""
    allowed = torch.zeros_like(states, dtype=torch.bool)
    allowed[:, 2:] = (states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])
    return logarithm(allowed)


def beginnings(states: Tensor, lengths: Tensor) -> Tensor:
    """(2N, S): 0 where a path may begin, forwards and, in mirrored order, backwards. Padding is no beginning."""
    places, size = torch.arange(states.shape[1], device=states.device), states.shape[1]
    first = torch.cat([torch.zeros_like(lengths), size - 1 - 2 * lengths])[:, None]
    has_text = torch.cat([lengths, lengths])[:, None] > 0
    return logarithm((places == first) | ((places == first + 1) & has_text))


def endings(last: Tensor, lengths: Tensor) -> Tensor:
    """log p(text): of all paths that end in the last character or in the blank after it. last (N, S)."""
    blank = last.gather(1, 2 * lengths[:, None])
    character = last.gather(1, (2 * lengths[:, None] - 1).clamp_min(0)).where(lengths[:, None] > 0, NEVER)
    return torch.logaddexp(blank, character)[:, 0]


def logarithm(allowed: Tensor) -> Tensor:
    return torch.zeros(allowed.shape, device=allowed.device).masked_fill_(~allowed, NEVER)


def pad_labels_to(labels: Tensor, lengths: Tensor, most: int) -> Tensor:
    """Texts one after another (sum of lengths,) -> (N, most) int64, each followed by zeros. On the host.

    Of a text longer than `most`, which no image of `most` columns can hold, only the beginning is kept.
    """
    ends = lengths.long().cumsum(0)
    place = torch.arange(len(labels)) - (ends - lengths).repeat_interleave(lengths.long())
    row = torch.arange(len(lengths)).repeat_interleave(lengths.long())
    rows, inside = torch.zeros(len(lengths), most, dtype=torch.long), place < most
    rows[row[inside], place[inside]] = labels[inside].long()
    return rows
