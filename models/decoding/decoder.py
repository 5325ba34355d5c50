"""One decoder for every way of reading: greedy, CTC's beam search, the words of a lexicon, an attention head's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from bench.errors import UserError
from bench.files import warn
from models.data.charset import Charset, text_of
from models.decoding.attention import decode_attention, decode_attention_lexicon
from models.decoding.beam import decode_beam
from models.decoding.ctc import Decoded, decode_greedy
from models.decoding.lexicon import Lexicon, Lexicons, decode_lexicon
from models.network.heads import CTC, Attention
from models.network.model import Model
from models.rendering.lexicon import read_words

BEAM = 10  # prefixes, by default: GitYCC's
ENGLISH = "english"  # --lexicon of this name: the bundled words of 2of12, where no file is called so


@dataclass(frozen=True)
class Decoder:
    """Turns the output of a head into texts.

    head: "ctc" or "attention". method: "greedy", "beam" (CTC: `beam` prefixes) or "lexicon" (one of its words; a text
    outside it where that is more probable by more than `penalty` nats). own_lexicon: the lexicon of the image with a
    number in its data set, where each has one; `for_images` takes those of a batch.
    """

    charset: Charset
    head: str = "ctc"
    method: str = "greedy"
    beam: int = BEAM
    lexicon: Lexicons | None = None
    penalty: float = math.inf
    own_lexicon: Callable[[int], Lexicon] | None = None

    @classmethod
    def from_options(
        cls,
        model: Model,
        charset: Charset,
        method: str | None = None,
        beam: int | None = None,
        lexicon: Path | None = None,
        penalty: float | None = None,
        own_lexicon: Callable[[int], Lexicon] | None = None,
    ) -> Decoder:
        """The decoder that these options describe. Raises UserError when they contradict each other or the head."""
        words = lexicon or own_lexicon
        method = method or ("lexicon" if words else "beam" if beam is not None else "greedy")
        for wrong, reason in (
            (
                lexicon and own_lexicon,
                "--lexicon is for all images, --lexicon-column for each its own: give one of them",
            ),
            (method == "lexicon" and not words, "reading with a lexicon needs its words: --lexicon FILE"),
            (method != "lexicon" and words, f"--lexicon is for --decode lexicon, not {method}"),
            (penalty is not None and not words, "--lexicon-penalty is for reading with a lexicon: --lexicon FILE"),
            (penalty is not None and not penalty >= 0, f"--lexicon-penalty is 0 or more nats, not {penalty}"),
            (method != "beam" and beam is not None, f"--beam is for --decode beam, not {method}"),
            (
                method == "beam" and model.head != "ctc",
                "beam search is for CTC, and this head is attention: use greedy",
            ),
            (beam is not None and beam < 1, f"--beam is a number of prefixes, 1 or more, not {beam}"),
        ):
            if wrong:
                raise UserError(reason)
        found = load_lexicon(lexicon, charset) if lexicon else None
        return cls(
            charset, model.head, method, beam or BEAM, found, math.inf if penalty is None else penalty, own_lexicon
        )

    def for_images(self, numbers: Sequence[int]) -> Decoder:
        """The decoder of a batch of images with these numbers: with their own lexicons, where each has one."""
        return replace(self, lexicon=list(map(self.own_lexicon, numbers))) if self.own_lexicon else self

    def __call__(self, logits: Tensor, time_steps: Sequence[int] | Tensor | None = None) -> Decoded:
        """Logits (T, N, C) to texts. time_steps (N,): those that are an image's own, for CTC; None: all."""
        if self.head == "attention":
            return decode_attention(logits, self.charset)
        if self.method == "beam":
            return decode_beam(logits, time_steps, self.charset, self.beam)
        if self.lexicon is not None:
            return decode_lexicon(logits, time_steps, self.charset, self.lexicon, penalty=self.penalty)
        return decode_greedy(logits, time_steps, self.charset)

    @property
    def needs_features(self) -> bool:
        """Whether logits do not suffice: an attention head scores the words of a lexicon by writing each of them."""
        return self.head == "attention" and self.lexicon is not None

    def decode_features(self, head: CTC | Attention, features: Tensor, time_steps: Tensor | None) -> Decoded:
        """Features (T, N, F) to texts, where `needs_features`."""
        assert isinstance(head, Attention) and self.lexicon is not None
        return decode_attention_lexicon(head, features, time_steps, self.charset, self.lexicon, penalty=self.penalty)


def load_lexicon(path: Path, charset: Charset) -> Lexicon:
    """The lines of a text file (`New York` is one entry), or the words of its only line; ENGLISH: the bundled ones.

    Raises UserError: no such file, or no word in it that the alphabet can spell.
    """
    if is_bundled(path):
        return Lexicon(read_words(), charset)
    lines = text_of(path).splitlines()
    try:
        lexicon = Lexicon(lines if len(lines) > 1 else " ".join(lines).split(), charset)
    except UserError as refusal:
        raise UserError(f"{path}: {refusal}") from None
    if left_out := lexicon.unspellable:
        warn(f"{path}: {left_out:,} of {left_out + len(lexicon):,} entries cannot be spelled, and are never read")
    return lexicon


def is_bundled(lexicon: Path) -> bool:
    """Whether it is the name of the bundled words."""
    return str(lexicon) == ENGLISH and not lexicon.exists()
