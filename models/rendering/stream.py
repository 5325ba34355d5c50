"""Words or lines that processes draw without end, for a training that takes them as they come."""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from models.data.charset import Charset
from models.data.image import resize
from models.rendering.sample import Look

AT_ONCE = 256  # images that a process hands over together
WAITING = 64  # such packets that may wait: the drawing processes stop when nobody takes them


class Bucket(NamedTuple):
    """Images of like widths, all stretched to `width` px: those whose own width at this height is up to `most` px."""

    most: float
    width: int


class Drawn(NamedTuple):
    """n images of one bucket and their texts as classes."""

    bucket: int
    images: np.ndarray  # (n, height, width) uint8
    labels: np.ndarray  # (n, longest) int32: classes of each text, then zeros
    lengths: np.ndarray  # (n,) int32


@dataclass(frozen=True)
class Drawing:
    """What is drawn: each image a text of `texts`, in one of the looks, by their weights."""

    texts: Sequence[str]
    looks: tuple[Look, ...]
    weights: tuple[float, ...]
    charset: Charset
    buckets: tuple[Bucket, ...]
    height: int = 32
    longest: int = 32  # characters; texts that are longer are not drawn
    label_of: Callable[[str], str] = str  # what a reader is to give for a text; other than the text itself for some

    def draw(self, seed: int) -> Iterator[tuple[int, np.ndarray, list[int]]]:
        """(bucket, image (height, width), classes) without end; the seed decides all of it."""
        rng = np.random.Generator(np.random.Philox(key=[seed, 0x57E4]))
        shares = np.cumsum(self.weights) / np.sum(self.weights)
        for number in range(1 << 62):
            text = self.texts[int(rng.integers(len(self.texts)))]
            look = self.looks[int(np.searchsorted(shares, rng.random(), side="right"))]
            if len(text) > self.longest:
                continue
            text, jpeg = look.jpeg(text, (seed << 40) + number)
            image = simplejpeg.decode_jpeg(jpeg, "GRAY")
            own = image.shape[1] * self.height / image.shape[0]
            place = next(i for i, bucket in enumerate(self.buckets) if own <= bucket.most)
            row = resize(image, self.height, self.buckets[place].width)
            yield place, row.reshape(self.height, -1), self.charset.encode(self.label_of(text))

    def packets(self, seed: int) -> Iterator[Drawn]:
        """The same in packets of one bucket each."""
        waiting: list[list[tuple[np.ndarray, list[int]]]] = [[] for _ in self.buckets]
        for place, image, classes in self.draw(seed):
            waiting[place].append((image, classes))
            if len(waiting[place]) == AT_ONCE:
                labels = np.zeros((AT_ONCE, self.longest), np.int32)
                for row, (_, own) in zip(labels, waiting[place], strict=True):
                    row[: len(own)] = own
                lengths = np.array([len(own) for _, own in waiting[place]], np.int32)
                yield Drawn(place, np.stack([image for image, _ in waiting[place]]), labels, lengths)
                waiting[place] = []


class DrawingProcesses:
    """Processes that draw; a context, which ends them. They are no forks of this process, whose threads hold locks."""

    def __init__(self, drawing: Drawing, processes: int, seed: int):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self.queue = context.Queue(WAITING)
        self.processes = [
            context.Process(target=draw_into, args=(drawing, self.queue, seed * 1000 + i), daemon=True)
            for i in range(processes)
        ]

    def __enter__(self) -> DrawingProcesses:
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()

    def take(self, timeout_s: float) -> Drawn | None:
        """The next packet; None when none has come by then. Raises ChildProcessError when a process has died."""
        try:
            drawn: Drawn = self.queue.get(timeout=timeout_s) if timeout_s else self.queue.get_nowait()
            return drawn
        except queue.Empty:
            ended = [process.exitcode for process in self.processes if process.exitcode is not None]
            if ended:
                raise ChildProcessError(f"a drawing process ended with exit code {ended[0]}") from None
            return None


def draw_into(drawing: Drawing, packets: multiprocessing.Queue[Drawn], seed: int) -> None:
    """What a drawing process does; it gives way to the training, which keeps the device busy."""
    cv2.setNumThreads(1)
    os.nice(5)
    for packet in drawing.packets(seed):
        packets.put(packet)
