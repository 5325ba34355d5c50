"""The best path that spells a text, against all paths that do."""

import itertools

import numpy as np

from models.decoding.alignment import align


def spelled_by(path):
    return [c for c, before in zip(path, (0, *path), strict=False) if c not in (0, before)]


def best_by_hand(logs, text):
    paths = [p for p in itertools.product(range(logs.shape[1]), repeat=len(logs)) if spelled_by(p) == text]
    return max((sum(logs[t, c] for t, c in enumerate(p)) for p in paths), default=None)


def test_the_best_path_of_each_text_is_found():
    random = np.random.default_rng(0)
    texts = [[], [1], [1, 2], [1, 1], [2, 1, 2], [3, 3, 3]]
    logs = np.log(random.dirichlet(np.ones(4), size=(5, len(texts))))
    paths = align(logs, np.full(len(texts), 5), texts)
    for n, text in enumerate(texts):
        assert spelled_by(paths[n].tolist()) == text
        score = logs[np.arange(5), n, paths[n]].sum()
        assert np.isclose(score, best_by_hand(logs[:, n], text))


def test_lengths_end_a_path():
    random = np.random.default_rng(1)
    logs = np.log(random.dirichlet(np.ones(4), size=(8, 1)))
    short = align(logs, np.array([3]), [[1, 2]])[0]
    assert short[3:].tolist() == [0] * 5
    assert short[:3].tolist() == align(logs[:3], np.array([3]), [[1, 2]])[0].tolist()
