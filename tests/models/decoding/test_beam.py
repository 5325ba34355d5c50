"""Prefix beam search against all paths summed up, and against the textbook's own loop."""

import time
from collections import defaultdict

import numpy as np
import pytest
import torch

from models.data.charset import Charset
from models.decoding import beam
from models.decoding.beam import decode_beam
from models.decoding.ctc import decode_greedy
from tests.support.ctc_paths import all_texts, log_probabilities

AB = Charset("ab-")


def textbook(logs, width):
    """Prefix beam search of one picture as Hannun et al. write it: a table of prefixes, one step after another."""
    beams = {(): (0.0, -np.inf)}
    for step in logs.double().numpy():
        following = defaultdict(lambda: [-np.inf, -np.inf])
        for prefix, (blank, character) in beams.items():
            total = np.logaddexp(blank, character)
            following[prefix][0] = np.logaddexp(following[prefix][0], total + step[0])
            for c in range(1, len(step)):
                longer = (*prefix, c)
                if prefix and prefix[-1] == c:
                    following[prefix][1] = np.logaddexp(following[prefix][1], character + step[c])
                    following[longer][1] = np.logaddexp(following[longer][1], blank + step[c])
                else:
                    following[longer][1] = np.logaddexp(following[longer][1], total + step[c])
        best = sorted(following.items(), key=lambda item: -np.logaddexp(*item[1]))
        beams = {prefix: tuple(values) for prefix, values in best[:width]}
    prefix, values = max(beams.items(), key=lambda item: np.logaddexp(*item[1]))
    return list(prefix), np.logaddexp(*values)


def test_a_wide_beam_finds_the_most_probable_text_and_its_probability():
    logs = log_probabilities(5, 8, 4)
    texts, scores = beam.beam_search(logs, torch.full((8,), 5), 400)
    for n in range(8):
        text, score = max(all_texts(logs[:, n]).items(), key=lambda item: item[1])
        assert tuple(texts[n]) == text and scores[n].item() == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("width", [1, 2, 10])
@pytest.mark.parametrize("classes, sharpness", [(4, 0.5), (12, 2.0)])
def test_a_narrow_beam_does_what_the_textbook_does(width, classes, sharpness):
    logs = log_probabilities(14, 10, classes, sharpness=sharpness)
    texts, scores = beam.beam_search(logs, torch.full((10,), 14), width)
    for n in range(10):
        text, score = textbook(logs[:, n], width)
        assert texts[n] == text and scores[n].item() == pytest.approx(score, abs=1e-4)


def test_many_paths_outweigh_the_best_one():
    probabilities = torch.tensor([[0.6, 0.4], [0.6, 0.4]])  # blank twice 0.36; 'a' in three ways 0.64
    logits = probabilities.log()[:, None]
    assert decode_greedy(logits, None, Charset("a")).texts == [""]
    decoded = decode_beam(logits, None, Charset("a"))
    assert decoded.texts == ["a"] and decoded.confidences == pytest.approx([0.64])
    assert decoded.character_confidences == [pytest.approx([0.4])]


def test_steps_beyond_a_pictures_length_are_not_searched():
    logs = log_probabilities(9, 3, 4)
    together, _ = beam.beam_search(logs, torch.tensor([9, 4, 0]), 10)
    assert together[1] == beam.beam_search(logs[:4, 1:2], torch.tensor([4]), 10)[0][0]
    assert together[2] == []


def test_doubled_letters_and_dashes_survive_a_beam():
    path = torch.tensor([[1, 1, 0, 1, 3, 0, 3]])
    logits = torch.nn.functional.one_hot(path.T, 4).float() * 20
    assert decode_beam(logits, None, AB).texts == ["aa--"]


def test_a_batch_is_twenty_times_faster_than_one_picture_at_a_time():
    """In processor time, which a busy machine does not stretch. The field's Python takes 42 ms a picture."""
    logs = log_probabilities(26, 256, 37, sharpness=3)
    start = time.process_time()
    beam.beam_search(logs, torch.full((256,), 26), 10)
    middle = time.process_time()
    for n in range(3):
        textbook(logs[:, n], 10)
    assert (time.process_time() - middle) / 3 > 20 * (middle - start) / 256


def test_several_texts_are_distinct_sorted_and_begin_with_the_best():
    logs = torch.randn(12, 3, 5, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    lengths = torch.tensor([12, 7, 12])
    best, scores = beam.beam_search(logs, lengths, 6)
    for n, found in enumerate(beam.search_n_best(logs, lengths, 6)):
        texts, logs_of = [tuple(text) for text, _ in found], [log for _, log in found]
        assert len(set(texts)) == len(texts) == 6
        assert logs_of == sorted(logs_of, reverse=True)
        assert (list(texts[0]), logs_of[0]) == (best[n], pytest.approx(float(scores[n])))
