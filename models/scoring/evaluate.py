"""Read a whole split: every image once over all ranks, the exact denominator."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import NamedTuple

from bench.machine.device import Device
from bench.machine.meter import Meter
from bench.machine.world import World
from models.dataset import Batch
from models.decoding.ctc import Decoded
from models.scoring.metrics import Score, score

Recognise = Callable[[Batch], Decoded]  # from uint8 images on the host to texts


class Prediction(NamedTuple):
    """What one image of a data set was read as."""

    number: int  # of the sample, in the source
    truth: str
    text: str
    confidence: float


def count_images(batch: Batch) -> int:
    """Images that count: a rank without a share of the last batch gets a placeholder of weight 0."""
    return len(batch.texts) if batch.weight else 0


def count_pair(pair: tuple[Batch, bool]) -> int:
    return count_images(pair[0])


def predict(
    recognise: Recognise, batches: Iterable[Batch], device: Device, engine: str = "eager", meter: Meter | None = None
) -> list[Prediction]:
    """Read every image of these batches; a `meter` times it, decoding included. engine: what computes the network."""
    predictions: list[Prediction] = []
    with InFlight(recognise, device, engine) as in_flight:
        pairs = with_last(batches)
        for batch, is_last in meter.steps(pairs, images=count_pair) if meter else pairs:
            if batch.weight:
                in_flight.submit(batch)
            for done, decoded in in_flight.finished(everything=is_last):
                predictions += map(Prediction, done.numbers, done.texts, decoded.texts, decoded.confidences)
    return predictions


@cache
def reading_threads(set_device: Callable[[int], None], index: int, size: int) -> ThreadPoolExecutor:
    """The threads that read, one pool a run: new ones would let cuDNN choose its kernels again in every pass."""
    return ThreadPoolExecutor(size, initializer=set_device, initargs=(index,))  # the current card is each thread's own


class InFlight:
    """Batches being recognised: two on a GPU, so that decoding on the host overlaps inference; else one."""

    def __init__(self, recognise: Recognise, device: Device, engine: str = "eager"):
        self.recognise = recognise
        # A CPU's cores are all in use, and a compiled network's CUDA graphs belong to the thread that made them.
        self.size = device.kind.in_flight if engine != "compile" else 1
        self.pending: deque[tuple[Batch, Future[Decoded] | Decoded]] = deque()
        self.pool = reading_threads(device.module.set_device, device.index, self.size) if self.size > 1 else None

    def __enter__(self) -> InFlight:
        return self

    def __exit__(self, *failure) -> None:
        for _, decoded in self.pending:  # after a failure only
            if isinstance(decoded, Future):
                decoded.cancel()

    def warm(self, batches: Iterable[Batch]) -> None:
        """Recognise each batch once in every thread, before anything is timed: cuDNN keeps its plans by thread."""
        for batch in batches:
            if self.pool is None:
                self.recognise(batch)
                continue
            together = Barrier(self.size)  # so that no thread takes two and none takes none
            started = [self.pool.submit(self.recognise_together, batch, together) for _ in range(self.size)]
            for one in started:
                one.result()

    def recognise_together(self, batch: Batch, together: Barrier) -> None:
        together.wait()
        self.recognise(batch)

    def submit(self, batch: Batch) -> None:
        self.pending.append((batch, self.pool.submit(self.recognise, batch) if self.pool else self.recognise(batch)))

    def finished(self, everything: bool) -> Iterator[tuple[Batch, Decoded]]:
        """The oldest, in order, until fewer than `size` are in flight, or none."""
        while self.pending and (everything or len(self.pending) >= self.size):
            batch, decoded = self.pending.popleft()
            yield batch, decoded.result() if isinstance(decoded, Future) else decoded


def with_last(batches: Iterable[Batch]) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the last."""
    iterator = iter(batches)
    batch = next(iterator, None)
    while batch is not None:
        following = next(iterator, None)
        yield batch, following is None
        batch = following


def gather_score(predictions: list[Prediction], world: World, mode: str) -> tuple[Score, list[Prediction]]:
    """The score over all ranks, and the predictions of all, in the order of the data set; the same on every rank."""
    everything = sorted(one for share in world.gather(predictions) for one in share)
    return score([one.truth for one in everything], [one.text for one in everything], mode), everything
