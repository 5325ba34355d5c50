"""How a person wants logits to become texts: greedily, by beam search, or by the most probable word of a lexicon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bench.errors import UserError
from models.data.charset import Charset, text_of
from models.decoding.ctc import Decoded, attention_with_lexicon, decode
from models.decoding.lexicon import Lexicon
from models.network.heads import Attention
from models.network.model import Model
from models.network.network import Recogniser

BEAM = 10  # prefixes, when nobody says how many: GitYCC's default


@dataclass(frozen=True)
class Method:
    """One way to read. `words` belong to "lexicon", `beam` to "beam"; an attention head has no beam."""

    name: str = "greedy"
    beam: int = BEAM
    words: Lexicon | None = None

    @classmethod
    def asked(
        cls,
        model: Model,
        charset: Charset,
        name: str | None = None,
        beam: int | None = None,
        lexicon: Path | None = None,
    ) -> Method:
        """The method that these options mean. Raises UserError when they contradict each other or the head."""
        name = name or ("lexicon" if lexicon else "beam" if beam is not None else "greedy")
        for wrong, reason in (
            (name == "lexicon" and not lexicon, "reading with a lexicon needs its words: --lexicon FILE"),
            (name != "lexicon" and lexicon, f"--lexicon is for --decode lexicon, not {name}"),
            (name != "beam" and beam is not None, f"--beam is for --decode beam, not {name}"),
            (name == "beam" and model.head != "ctc", "beam search is for CTC, and this head is attention: use greedy"),
            (beam is not None and beam < 1, f"--beam is a number of prefixes, 1 or more, not {beam}"),
        ):
            if wrong:
                raise UserError(reason)
        return cls(name, beam or BEAM, read_lexicon(lexicon, charset) if lexicon else None)

    def __call__(self, network: Recogniser, images: Tensor, widths: Tensor | None, charset: Charset) -> Decoded:
        """Normalised pictures (N, C, H, W) on the network's device, and their widths (N,), to texts."""
        if isinstance(network.head, Attention) and self.words:
            return attention_with_lexicon(network.head, *network.features(images, widths), charset, self.words)
        steps = None if widths is None else network.time_steps(widths)
        return self.decoded(network(images, widths), steps, charset, network.head.decoder)

    def decoded(self, logits: Tensor, steps, charset: Charset, plain: str) -> Decoded:
        """Logits (T, N, C) to texts. plain: what reads them when nothing else is asked, "greedy" or "attention"."""
        name = plain if self.name == "greedy" else self.name
        settings = {"beam": {"width": self.beam}, "lexicon": {"words": self.words}}.get(name, {})
        return decode(logits, steps, charset, name, **settings)


GREEDY = Method()


def read_lexicon(path: Path, charset: Charset) -> Lexicon:
    """The words of a text file. Raises UserError when there is none, or none that the alphabet can spell."""
    try:
        words = text_of(path).split()
    except OSError as error:
        raise UserError(f"no lexicon at {path}: {error.strerror}") from None
    try:
        return Lexicon(words, charset)
    except UserError as refusal:
        raise UserError(f"{path}: {refusal}") from None
