"""Read a whole split with a network: every picture once over all ranks, the exact denominator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch

from bench.machine.meter import Meter
from models.dataset import Batch, EpochSampler, WordDataset
from models.decoding.ctc import Decoded
from models.network.network import Recogniser
from models.run.context import Session, normalised
from models.scoring.metrics import Score, score


class Read(NamedTuple):
    """One picture of a data set, read."""

    number: int  # of the sample, in the source
    truth: str
    text: str
    confidence: float


def images_of(batch: Batch) -> int:
    """Pictures that count: a rank without a share of the last batch gets a stand-in of weight 0."""
    return len(batch.texts) if batch.weight else 0


@torch.inference_mode()
def recognise(network: Recogniser, batch: Batch, session: Session) -> Decoded:
    """From uint8 pictures on the host to texts. The network is in evaluation mode."""
    with session.device.autocast():
        return session.method(network, normalised(batch.images, session.device.torch), batch.widths, session.charset)


def batches_of(dataset: WordDataset, session: Session) -> Iterable[Batch]:
    """The split in its order, this rank's share of it; may be gone over again and again."""
    world = session.world
    sampler = EpochSampler(len(dataset), session.options.batch_size, rank=world.rank, world=world.size, shuffle=False)
    return session.batches(dataset, sampler)


def read(network: Recogniser, batches: Iterable[Batch], session: Session, meter: Meter | None = None) -> list[Read]:
    """Read every picture of these batches. `meter` times it, decoding included."""
    found: list[Read] = []
    with InHand(lambda batch: recognise(network, batch, session), session) as hand:
        whole = with_end(batches)
        for batch, is_last in meter.steps(whole, images=lambda pair: images_of(pair[0])) if meter else whole:
            if batch.weight:  # a rank without a share of the last batch gets a stand-in
                hand.take(batch)
            for done, decoded in hand.finished(everything=is_last):
                found += map(Read, done.numbers, done.texts, decoded.texts, decoded.confidences)
    return found


class InHand:
    """Batches being recognised: on a card two at a time, so that it computes one while the host spells the other."""

    def __init__(self, recognise: Callable[[Batch], Decoded], session: Session):
        self.recognise, self.pending, device = recognise, deque(), session.device
        # A CPU's cores are all in use, and a compiled network's CUDA graphs belong to the thread that made them.
        self.most = 2 if device.kind.type == "cuda" and session.engine != "compile" else 1
        self.pool = None
        if self.most > 1:  # a card is chosen anew in every thread
            self.pool = ThreadPoolExecutor(self.most, initializer=device.module.set_device, initargs=(device.index,))

    def __enter__(self) -> InHand:
        return self

    def __exit__(self, *failure) -> None:
        if self.pool:
            self.pool.shutdown(cancel_futures=True)

    def take(self, batch: Batch) -> None:
        self.pending.append((batch, self.pool.submit(self.recognise, batch) if self.pool else self.recognise(batch)))

    def finished(self, everything: bool) -> Iterator[tuple[Batch, Decoded]]:
        """The oldest, in order, until fewer than `most` are in hand, or none."""
        while self.pending and (everything or len(self.pending) >= self.most):
            batch, decoded = self.pending.popleft()
            yield batch, decoded.result() if self.pool else decoded


def with_end(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last."""
    batches = iter(batches)
    batch = next(batches, None)
    while batch is not None:
        following = next(batches, None)
        yield batch, following is None
        batch = following


def evaluate(
    network: Recogniser,
    dataset: WordDataset,
    session: Session,
    meter: Meter | None = None,
    batches: Iterable[Batch] | None = None,
) -> tuple[Score, list[Read]]:
    """Score over the split, the same on every rank, and every reading. `batches` are the split's, where they exist."""
    network.eval()
    found = read(network, batches_of(dataset, session) if batches is None else batches, session, meter)
    everyone = sorted(one for share in session.world.gather(found) for one in share)
    return score([one.truth for one in everyone], [one.text for one in everyone], session.options.mode), everyone
