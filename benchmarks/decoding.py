"""Time to decode one image of a batch: `python -m benchmarks.decoding [lexicon.txt]`.

26 steps, 37 classes, batch 256, one thread. The peer is GitYCC/crnn-pytorch, whose README gives 0.444 ms for greedy,
6.912 ms for beam search and 42.598 ms for prefix beam search, both of width 10, in Python, one image at a time.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from tabulate import tabulate

from bench.errors import run_cli
from bench.options import Command, Positional
from models.data.charset import Charset
from models.decoding.decoder import Decoder
from models.decoding.lexicon import Lexicon

STEPS, BATCH, REPEATS = 26, 256, 5
PEER_MS = {"greedy": 0.444, "beam 10": 42.598}


def logits_of(words: list[str], charset: Charset) -> torch.Tensor:
    """Logits (T, N, C) of a network that misreads about one word in seven."""
    random, noise = np.random.default_rng(0), torch.Generator().manual_seed(0)
    logits = torch.randn(STEPS, len(words), charset.classes, generator=noise)
    logits[:, :, 0] += 5
    for n, word in enumerate(words):
        for i, c in enumerate(charset.encode(word)):
            logits[2 * i + 1, n, c] += random.uniform(8, 14)
    return logits


def made_up_words(number: int) -> list[str]:
    random = np.random.default_rng(1)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    return sorted({"".join(random.choice(letters, random.integers(3, 12))) for _ in range(number)})


def milliseconds(decoder: Decoder, logits: torch.Tensor) -> float:
    """Median time an image."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        decoder(logits)
        times.append((time.perf_counter() - start) * 1e3 / logits.shape[1])
    return statistics.median(times)


@dataclass
class DecodingOptions:
    """Time to decode one image of a batch."""

    lexicon: Annotated[Path | None, Positional("LEXICON")] = None
    """A file of words; default: 88,172 made-up ones"""


COMMAND = Command("benchmarks.decoding", DecodingOptions, "lexicon.txt")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    torch.set_num_threads(1)
    charset = Charset()
    words = options.lexicon.read_text(encoding="utf8").split() if options.lexicon else made_up_words(88172)
    short = [word for word in words if len(word) <= 12]
    random = np.random.default_rng(2)
    logits = logits_of([str(word) for word in random.choice(short, BATCH)], charset)
    runs = {"greedy": Decoder(charset), "beam 10": Decoder(charset, method="beam", beam=10)}
    for size in (50, 1000, len(words)):
        some = Lexicon([str(word) for word in random.choice(words, size, replace=False)], charset)
        runs[f"lexicon {size:,}"] = Decoder(charset, method="lexicon", lexicon=some)
    rows = []
    for name, decoder in runs.items():
        ours, peer = milliseconds(decoder, logits), PEER_MS.get(name)
        rows.append((name, f"{ours:.3f}", peer and f"{peer:.3f}", peer and f"{peer / ours:.0f}x"))
    print(tabulate(rows, ("decoder", "ms an image", "peer", "peer / ours"), "github", disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "benchmarks.decoding")
