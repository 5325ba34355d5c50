"""Reading with a lexicon: the right word, its probability, and a search that loses none of it."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from rapidfuzz.distance import Levenshtein

from bench.errors import UserError
from models.data.charset import Charset
from models.decoding.attention import decode_attention, decode_attention_lexicon
from models.decoding.ctc import decode_greedy
from models.decoding.decoder import load_lexicon
from models.decoding.lexicon import Lexicon, decode_lexicon, nearest_words
from models.network.model import Model
from models.network.network import build
from tests.support.ctc_paths import all_texts, log_probabilities

LETTERS = Charset("abc")
FULL = Charset()


def logits_of(texts, charset, noise=0.5, steps=26, seed=0):
    """Logits (T, N, C) of a network that reads these texts well, but not surely."""
    logits = torch.randn(steps, len(texts), charset.classes, generator=torch.Generator().manual_seed(seed)) * noise
    logits[:, :, 0] += 2
    for n, text in enumerate(texts):
        for i, c in enumerate(charset.encode(text)):
            logits[2 * i + 1, n, c] += 6
    return logits


def words(number, seed=0):
    random = np.random.default_rng(seed)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return ["".join(random.choice(letters, random.integers(3, 11))) for _ in range(number)]


def test_the_most_probable_word_wins_with_its_probability():
    logs = log_probabilities(5, 6, 4)
    lexicon = Lexicon(["a", "ab", "ca", "bb", "cab"], LETTERS)
    decoded = decode_lexicon(logs, None, LETTERS, lexicon)
    for n in range(6):
        totals = all_texts(logs[:, n])
        best = max(lexicon.words, key=lambda word: totals[tuple(LETTERS.encode(word))])
        assert decoded.texts[n] == best
        assert decoded.confidences[n] == pytest.approx(math.exp(totals[tuple(LETTERS.encode(best))]), rel=1e-4)
        assert len(decoded.character_confidences[n]) == len(best)


def test_a_large_lexicon_is_searched_near_the_text_and_loses_nothing():
    large = words(1500)
    truths = large[:10]
    logits = logits_of(truths, FULL)
    lexicon = Lexicon(large, FULL)
    near = decode_lexicon(logits, None, FULL, lexicon, most=100)
    assert near == decode_lexicon(logits, None, FULL, lexicon, most=len(lexicon))
    assert near.texts == truths


def test_a_misread_word_is_mended_by_the_lexicon():
    logits = logits_of(["hallo"], FULL, noise=0)
    assert decode_greedy(logits, None, FULL).texts == ["hallo"]
    assert decode_lexicon(logits, None, FULL, Lexicon(["hello", "world"], FULL)).texts == ["hello"]


def test_a_text_far_from_every_word_still_becomes_a_word():
    """Beyond NEAR edits of all words, the nearest are still found, however far."""
    lexicon = Lexicon([*words(300), "zzzzzaaaaa"], FULL)
    text = "zzzzz99999"  # 5 edits from the last word, more from the others
    [found] = lexicon.candidates([text], 5)
    assert lexicon.words[found[0]] == "zzzzzaaaaa"
    distances = [Levenshtein.distance(text, word) for word in lexicon.words]
    assert sorted(distances[i] for i in found) == sorted(distances)[:5]


def test_each_picture_may_have_its_own_lexicon():
    logits = logits_of(["abc", "abc"], FULL)
    lexicons = [Lexicon(["abd", "xyz"], FULL), Lexicon(["abc", "xyz"], FULL)]
    assert decode_lexicon(logits, None, FULL, lexicons).texts == ["abd", "abc"]
    with pytest.raises(UserError, match="1 lexicons for 2 images"):
        decode_lexicon(logits, None, FULL, lexicons[:1])


def test_doubled_letters_are_weighed_rightly():
    logits = logits_of(["hello"], FULL)
    assert decode_lexicon(logits, None, FULL, Lexicon(["helo", "hello"], FULL)).texts == ["hello"]


def test_words_are_folded_counted_and_refused_as_the_alphabet_demands():
    lexicon = Lexicon(["Abc", "abc", "a-b", "", "cab "], LETTERS)
    assert lexicon.words == ["abc", "cab"] and lexicon.unspellable == 1
    with pytest.raises(UserError, match="none that the alphabet can spell"):
        Lexicon(["x-ray", "!"], LETTERS)


def test_nearest_are_the_smallest_distances():
    edits = np.array([4, 1, 3, 1, 2, 4], np.uint16)
    assert nearest_words(edits, 3).tolist() == [1, 3, 4]
    assert sorted(nearest_words(edits, 6).tolist()) == list(range(6))


def test_a_word_too_long_for_its_columns_is_never_chosen():
    logits = logits_of(["abcabc"], LETTERS, steps=13)
    lexicon = Lexicon(["abcabc", "ab"], LETTERS)
    assert decode_lexicon(logits, torch.tensor([4]), LETTERS, lexicon).texts == ["ab"]


@torch.no_grad()
def test_attention_reads_with_a_lexicon_too():
    torch.manual_seed(0)
    recogniser = build(Model("vgg", "gru", "attention", hidden=16, longest=5), LETTERS.classes).eval()
    recogniser.head.generator.bias.copy_(torch.tensor([0.5, 0, 0.2, 0.1]))
    images, widths = torch.randn(3, 1, 32, 60), torch.tensor([60, 44, 60])
    lexicon = Lexicon(["a", "bb", "cab", "abcab"], LETTERS)
    decoded = decode_attention_lexicon(recogniser.head, *recogniser.features(images, widths), LETTERS, lexicon)
    for n, width in enumerate(widths):
        scores = {}
        for word in lexicon.words:
            target = torch.tensor([[*LETTERS.encode(word), 0]])
            logs = recogniser(images[n : n + 1, ..., :width], targets=target).log_softmax(-1)[:, 0]
            scores[word] = sum(logs[i, c].item() for i, c in enumerate(target[0]))
        best = max(scores, key=scores.get)
        assert decoded.texts[n] == best
        assert decoded.confidences[n] == pytest.approx(math.exp(scores[best]), rel=1e-3)
        assert len(decoded.character_confidences[n]) == len(best)


def test_attention_ends_where_it_says_so():
    probabilities = torch.tensor([[0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])
    decoded = decode_attention(probabilities.log()[:, None], Charset("ab"))
    assert decoded.texts == ["aa"], "no collapsing, nothing after the end"
    assert decoded.confidences == pytest.approx([0.8 * 0.7 * 0.9])
    assert decoded.character_confidences == [pytest.approx([0.8, 0.7])]


def test_attention_that_never_ends_is_cut_at_its_last_step():
    decoded = decode_attention(torch.eye(3)[[1, 2]][:, None] * 30, Charset("ab"))
    assert decoded.texts == ["ab"]


def test_a_penalty_keeps_texts_that_are_more_probable_by_more_than_it():
    """The exact sums over all paths decide, on both sides of the penalty; an empty text may be kept, too."""
    logs = log_probabilities(5, 6, 4)
    lexicon = Lexicon(["cab", "bb"], LETTERS)
    closed, greedy = decode_lexicon(logs, None, LETTERS, lexicon), decode_greedy(logs, None, LETTERS)
    for n in range(6):
        totals = all_texts(logs[:, n])
        word, text = (totals[tuple(LETTERS.encode(one.texts[n]))] for one in (closed, greedy))
        ahead = text - word
        for penalty in (max(ahead - 1e-3, 0), ahead + 1e-3):
            if penalty < 0:
                continue
            found = decode_lexicon(logs, None, LETTERS, lexicon, penalty=penalty)
            kept = ahead > penalty
            assert found.texts[n] == (greedy.texts[n] if kept else closed.texts[n])
            assert found.confidences[n] == pytest.approx(math.exp(text if kept else word), rel=1e-4)
            assert len(found.character_confidences[n]) == len(found.texts[n])


def test_an_attention_head_keeps_a_surer_text_by_the_same_rule():
    network = build(Model(head="attention", longest=6), LETTERS.classes, 32).eval()
    features, steps = network.features(torch.rand(3, 1, 32, 100), None)
    lexicon = Lexicon(["abcabc"], LETTERS)
    read = decode_attention_lexicon(network.head, features, steps, LETTERS, lexicon, penalty=0.0)
    own = decode_attention(network.head(features, steps), LETTERS)
    closed = decode_attention_lexicon(network.head, features, steps, LETTERS, lexicon)
    assert closed.texts == ["abcabc"] * 3
    for one, other, text in zip(read.confidences, closed.confidences, read.texts, strict=True):
        assert one >= other * (1 - 1e-4) and text in {*own.texts, "abcabc"}
    assert read.texts == own.texts


def test_the_bundled_words_have_a_name_unless_a_file_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load_lexicon(Path("english"), FULL)) == 39_561
    Path("english").write_text("mine\n")
    assert load_lexicon(Path("english"), FULL).words == ["mine"]


def test_a_line_of_a_lexicon_is_one_entry_and_what_cannot_be_spelled_is_counted(tmp_path, capsys):
    path = tmp_path / "places.txt"
    path.write_text("New York\nRome\n\u6771\u4eac\n\n")
    assert load_lexicon(path, Charset(" NYekmorwR")).words == ["New York", "Rome"]
    assert "places.txt: 1 of 3 entries cannot be spelled" in capsys.readouterr().err
    path.write_text("Rome York\n")
    assert load_lexicon(path, Charset("NYekmorwR")).words == ["Rome", "York"]
    assert not capsys.readouterr().err
