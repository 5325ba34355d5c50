"""Read a whole split with a network: every picture once over all ranks, the exact denominator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch

from bench.meter import Meter
from models.dataset import Batch, EpochSampler, Loader, WordDataset, loader
from models.decode import Decoded
from models.recogniser import Recogniser
from models.scoring.metrics import Score, score
from models.util import Session, normalised


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


def batches_of(dataset: WordDataset, session: Session) -> Loader:
    """The split in its order, this rank's share of it; may be gone over again and again."""
    world = session.world
    sampler = EpochSampler(len(dataset), session.options.batch_size, rank=world.rank, world=world.size, shuffle=False)
    return loader(dataset, sampler, session.workers, session.device.kind.type)


def read(network: Recogniser, batches: Iterable[Batch], session: Session, meter: Meter | None = None) -> list[Read]:
    """Read every picture of these batches. `meter` times it, decoding included."""
    found: list[Read] = []
    for batch in meter.steps(batches, images=images_of) if meter else batches:
        if batch.weight:  # a rank without a share of the last batch gets a stand-in
            decoded = recognise(network, batch, session)
            found += map(Read, batch.numbers, batch.texts, decoded.texts, decoded.confidences)
    return found


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
