"""Where each character of a known text stands in its image: CTC's most probable path (Viterbi), batched."""

from __future__ import annotations

import numpy as np

NEVER = -1e30  # log probability of what cannot be; finite, so that no nan arises from it


def align(logs: np.ndarray, lengths: np.ndarray, texts: list[list[int]]) -> np.ndarray:
    """The best path (N, T) of classes that spells each text.

    logs (T, N, C) log probabilities; lengths (N,) time steps of each image; texts: classes without blanks. Steps beyond
    an image's length are blank. A text that its steps cannot spell gets blanks alone.
    """
    # A text is a row of states: blank, character, blank, ... A path stays in a state, moves to the next, or passes over
    # the blank between two different characters. `scores`: the best log probability of a path to each state so far.
    states, allowed, ends = lattice(texts)  # (N, S) classes: blank, first character, blank, ...
    scores = np.full(states.shape, NEVER)
    scores[:, :1] = 0  # before the first step, as if a blank had been read
    moves, steps = [], np.arange(len(logs))
    for step in steps:
        best, move = advance_states(scores, allowed)
        if step == 0:
            move[:, 1] = 1  # the first character may start at once, from the blank before it
        inside = (step < lengths)[:, None]
        emitted = np.take_along_axis(logs[step], states, axis=1)
        scores = np.where(inside, best + emitted, scores)
        moves.append(np.where(inside, move, 0))
    return trace_back(states, np.stack(moves), last_state(scores, ends), lengths)


def lattice(texts: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts with blanks around each character (N, S), where a blank may be passed over, and the last states."""
    longest = max(map(len, texts), default=0)
    states = np.zeros((len(texts), 2 * longest + 1), np.int64)
    for n, text in enumerate(texts):
        states[n, 1 : 2 * len(text) : 2] = text
    allowed = np.zeros(states.shape, bool)
    allowed[:, 2:] = (states[:, 2:] != 0) & (states[:, 2:] != states[:, :-2])
    return states, allowed, np.array([2 * len(text) for text in texts])


def advance_states(scores: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best score with which each state can be entered, and from how many states before it (0, 1 or 2)."""
    moves = np.full((3, *scores.shape), NEVER)
    moves[0] = scores
    moves[1, :, 1:] = scores[:, :-1]
    moves[2, :, 2:] = np.where(allowed[:, 2:], scores[:, :-2], NEVER)
    return moves.max(axis=0), moves.argmax(axis=0)


def last_state(scores: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """A path ends in the last character or in the blank after it."""
    rows = np.arange(len(ends))
    character = np.maximum(ends - 1, 0)
    return np.where(scores[rows, character] > scores[rows, ends], character, ends)


def trace_back(states: np.ndarray, moves: np.ndarray, state: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Follow each text's moves from its last state to the start: the classes of its path (N, T)."""
    rows, path = np.arange(len(state)), np.zeros((len(state), len(moves)), np.int64)
    for step in range(len(moves) - 1, -1, -1):
        path[:, step] = np.where(step < lengths, states[rows, state], 0)
        state = state - moves[step, rows, state]
    return path


def character_runs(path: np.ndarray) -> np.ndarray:
    """A path (T,) of classes as (characters, T): a row for each character, 1 in the columns of its run."""
    starts = (path != 0) & (path != np.r_[0, path[:-1]])
    numbers = np.cumsum(starts) * (path != 0)
    return (numbers[None] == np.arange(1, starts.sum() + 1)[:, None]).astype(float)
