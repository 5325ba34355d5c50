"""Read a whole split with a network: every picture once over all ranks, the exact denominator."""

from __future__ import annotations

from typing import NamedTuple

import torch

from bench.meter import Meter
from models.dataset import Batch, EpochSampler, WordDataset, loader
from models.decode import Decoded
from models.metrics import Score, score
from models.recogniser import Recogniser
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


def evaluate(
    network: Recogniser, dataset: WordDataset, session: Session, meter: Meter | None = None
) -> tuple[Score, list[Read]]:
    """Score over the split, the same on every rank, and every reading. `meter` times it, decoding included."""
    network.eval()
    world = session.world
    sampler = EpochSampler(len(dataset), session.options.batch_size, rank=world.rank, world=world.size, shuffle=False)
    batches = loader(dataset, sampler, session.workers, session.device.kind.type)
    found: list[Read] = []
    for batch in meter.steps(batches, images=images_of) if meter else batches:
        if batch.weight:  # a rank without a share of the last batch gets a stand-in
            read = recognise(network, batch, session)
            found += map(Read, batch.numbers, batch.texts, read.texts, read.confidences)
    everyone = sorted(one for share in world.gather(found) for one in share)
    return score([one.truth for one in everyone], [one.text for one in everyone], session.options.mode), everyone
