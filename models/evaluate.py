"""Read a whole split with a network: every picture once over all ranks, the exact denominator."""

from __future__ import annotations

import torch

from bench.meter import Meter
from models.dataset import Batch, EpochSampler, WordDataset, loader
from models.decode import Decoded, decode
from models.metrics import Score, score
from models.recogniser import Recogniser
from models.util import Session, normalised

Pairs = list[tuple[str, str]]  # (truth, what was read)


def images_of(batch: Batch) -> int:
    """Pictures that count: a rank without a share of the last batch gets a stand-in of weight 0."""
    return len(batch.texts) if batch.weight else 0


@torch.inference_mode()
def recognise(network: Recogniser, batch: Batch, session: Session) -> Decoded:
    """From uint8 pictures on the host to texts. The network is in evaluation mode."""
    with session.device.autocast():
        logits = network(normalised(batch.images, session.device.torch), batch.widths)
    return decode(logits, network.time_steps(batch.widths), session.charset, network.head.decoder)


def evaluate(
    network: Recogniser, dataset: WordDataset, session: Session, meter: Meter | None = None
) -> tuple[Score, Pairs]:
    """Score over the split, the same on every rank, and all pairs. `meter` times it, decoding included."""
    network.eval()
    world = session.world
    sampler = EpochSampler(len(dataset), session.options.batch_size, rank=world.rank, world=world.size, shuffle=False)
    batches = loader(dataset, sampler, session.workers, session.device.kind.type)
    pairs: Pairs = []
    for batch in meter.steps(batches, images=images_of) if meter else batches:
        if batch.weight:  # a rank without a share of the last batch gets a stand-in
            pairs += zip(batch.texts, recognise(network, batch, session).texts, strict=True)
    everyone = [pair for share in world.gather(pairs) for pair in share]
    return score([truth for truth, _ in everyone], [text for _, text in everyone]), everyone
