"""Decoders against hand-made paths and against every path summed up."""

import numpy as np
import pytest
import torch

from models.data.charset import Charset
from models.decoding.ctc import decode_greedy, raw_path

AB = Charset("ab-")


def certain(*paths, classes=4):
    """Logits (T, N, C) that leave no doubt about the given paths."""
    return torch.nn.functional.one_hot(torch.tensor(paths).T, classes).float() * 40


def test_doubled_letters_survive_when_a_blank_parts_them():
    assert decode_greedy(certain([1, 1, 0, 1, 2, 2], [1, 1, 1, 1, 1, 1]), None, AB).texts == ["aab", "a"]


def test_a_dash_is_a_character_and_not_the_blank():
    assert decode_greedy(certain([3, 3, 0, 3, 1, 0]), None, AB).texts == ["--a"]


def test_steps_beyond_a_pictures_length_are_not_read():
    decoded = decode_greedy(certain([1, 0, 2, 0, 1], [1, 0, 2, 0, 1]), torch.tensor([5, 2]), AB)
    assert decoded.texts == ["aba", "a"]
    assert [len(c) for c in decoded.character_confidences] == [3, 1]


def test_runs_do_not_reach_into_the_next_picture():
    assert decode_greedy(certain([0, 1], [1, 0]), None, AB).texts == ["a", "a"]


def test_confidences_are_the_paths_and_each_runs_best():
    probabilities = torch.tensor([[0.1, 0.6, 0.2, 0.1], [0.1, 0.8, 0.05, 0.05], [0.7, 0.1, 0.1, 0.1]])
    decoded = decode_greedy(probabilities.log()[:, None], None, AB)
    assert decoded.texts == ["a"]
    assert decoded.confidences == pytest.approx([0.6 * 0.8 * 0.7])
    assert decoded.character_confidences == [pytest.approx([0.8])]


def test_all_blank_is_an_empty_text():
    decoded = decode_greedy(certain([0, 0, 0]), None, AB)
    assert decoded.texts == [""] and decoded.character_confidences == [[]]


def test_half_precision_decodes_as_float_does():
    logits = torch.randn(26, 64, 37, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert decode_greedy(logits, None, Charset()).texts == decode_greedy(logits.float(), None, Charset()).texts


def test_greedy_agrees_with_collapsing_step_by_step():
    logits = torch.randn(30, 50, 4, generator=torch.Generator().manual_seed(1))
    lengths = np.random.default_rng(0).integers(0, 31, 50)
    for n, text in enumerate(decode_greedy(logits, lengths, AB).texts):
        slow, before = "", 0
        for step in logits[: lengths[n], n].argmax(-1).tolist():
            slow += AB.characters[step - 1] if step not in (0, before) else ""
            before = step
        assert text == slow


def test_the_raw_path_prints_as_the_field_knows_it():
    path = "a-----v--a-i-l-a-bb-l-ee--"
    charset = Charset()
    assert raw_path([charset.index.get(c, 0) for c in path], charset) == path


def test_a_right_to_left_text_is_read_as_it_is_typed():
    """Columns run from left to right, so the word's first letter is in the last of them; so are confidences."""
    word = "\u05e9\u05dc\u05d5\u05dd"
    charset = Charset("".join(sorted(word)), right_to_left=True)
    path = [c for one in charset.encode(word) for c in (one, 0)]
    logits = torch.full((len(path), 1, charset.classes), -9.0)
    for step, one in enumerate(path):
        logits[step, 0, one] = 1.0 + step
    decoded = decode_greedy(logits, None, charset)
    assert decoded.texts == [word]
    sure = decoded.character_confidences[0]
    assert sure == sorted(sure, reverse=True)  # the surest column is the last, which has the first letter
