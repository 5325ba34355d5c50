"""Train crnn_small_chinese on lines that are drawn meanwhile, on a CPU in bfloat16; it goes on where it was stopped.

    python run_scripts/chinese/train.py --texts texts --faces FACES --out run --start crnn_small.safetensors

Parts of models.train_drawn, in stages by how many images were seen: short texts, then medium ones, then lines of all
lengths, since CTC learns nothing from long lines at first. OUT/state.pt is written every few minutes (the last but one
is kept as state.1.pt), and with it OUT/mean.safetensors, the moving average of weights and batch norms: what to read
with. SIGTERM and SIGINT end it after the step and a last state; the same command goes on, with other lines.
"""

from __future__ import annotations

if not __package__:  # `python run_scripts/chinese/train.py`, from any folder
    __import__("sys").path.insert(0, __file__.rsplit("/", 3)[0])

import io
import math
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.options import Bounds, Command, Metavar
from models.data.augment import augment
from models.data.charset import Charset
from models.rendering.stream import Drawing, DrawingProcesses
from models.run.options import ALL, Train
from models.train_drawn import (
    STRENGTH,
    DrawnOptions,
    ImagePool,
    Learner,
    choose_view,
    make_drawing,
    make_learner,
    save,
    views,
)
from models.training.optimizer import half_cosine

NORM_SHARE = 0.005  # of each step in the moving average of batch norms
RISE = 500  # steps in which the learning rate rises
FLAT = 0.4  # share of the images until which it stays; then half a cosine
REPORT_S = 30.0
SEEDS = 8000  # that differ by steps: larger ones, a thousand for each, do not fit the generator's key
CPU = torch.device("cpu")


@dataclass
class ChineseOptions:
    """Train crnn_small_chinese on lines that are drawn meanwhile, on a CPU; it goes on where it was stopped."""

    texts: Path
    """Folder of the stages' texts: short.txt, medium.txt and lines.txt"""
    faces: Annotated[str, Metavar("SOURCE,...")]
    """As models.render's --fonts"""
    out: Path
    """Folder for the state and the weights"""
    start: str = ""
    """Weights whose convolutions to begin with"""
    recipe: str = "crnn_small_chinese"
    style: Annotated[str, Metavar("STYLE:SHARE,...")] = "lines:0.7,signs:0.3"
    """How images are drawn"""
    images: Annotated[int, Bounds(1)] = 800_000
    """Of the whole run; the rate falls to nothing there"""
    stages: Annotated[str, Metavar("NAME:IMAGES,...")] = "short:190000,medium:330000,lines:0"
    """Files of texts, and until how many images are seen each is drawn; 0: to the end"""
    lr: Annotated[float, Bounds(0)] = 1.2e-3
    """Highest learning rate, of AdamW"""
    pixels: Annotated[int, Bounds(100)] = 10240
    """Width of all images of a step together"""
    first: Annotated[int, Bounds(256)] = 8192
    """Images to wait for before a stage begins"""
    reuse: Annotated[float, Bounds(above=0)] = 2.5
    """How often a drawn image is used"""
    capacity: Annotated[int, Bounds(10240)] = 150_000
    """Images that stay in memory; then the oldest make room"""
    workers: Annotated[int, Bounds(1, 1000)] = 1
    """Processes that draw"""
    save_every: Annotated[float, Bounds(0)] = 120.0
    """Seconds"""
    measure: str = ""
    """A command of a shell that is run on the weights, in which {} stands for their file; --images with how many were
    seen is put behind it. Its output is in OUT/measure.log"""
    measure_every: Annotated[float, Bounds(0)] = 600.0
    """Seconds"""
    seed: Annotated[int, Bounds(0, 8000)] = 1


COMMAND = Command(
    "train.py", ChineseOptions, "--texts texts --faces faces --out run", start="python run_scripts/chinese/train.py"
)


@dataclass
class Stages:
    """Names of files of texts, and until how many images each is drawn; 0: to the end."""

    until: dict[str, int]

    @classmethod
    def parse(cls, text: str) -> Stages:
        """Raises UserError."""
        try:
            pairs = [one.split(":") for one in text.split(",")]
            stages = cls({name: int(images) for name, images in pairs})
        except ValueError:
            raise UserError(f"--stages wants NAME:IMAGES,..., not '{text}'") from None
        if list(stages.until.values())[-1]:
            raise UserError(f"--stages {text}: the last stage goes to the end, NAME:0")
        return stages

    def at(self, images: int) -> str:
        return next(name for name, until in self.until.items() if not until or images < until)


@dataclass
class ChineseRun:
    """What is trained, and what of it is kept when it is stopped."""

    options: ChineseOptions
    recipe: Train
    charset: Charset
    learner: Learner
    stopped_by: list[int] = field(default_factory=list)  # signals

    def __post_init__(self) -> None:
        self.stages = Stages.parse(self.options.stages)
        buffers = self.learner.network.named_buffers()
        # Moving averages of what batch norms have measured
        self.norms = {name: value.clone() for name, value in buffers if value.is_floating_point()}

    def goes_on(self) -> bool:
        return not self.stopped_by and self.learner.images < self.options.images

    def rate(self) -> float:
        share = self.learner.images / self.options.images
        fall = 0.004 + half_cosine(max(0.0, (share - FLAT) / (1 - FLAT)))
        return self.options.lr * min(1.0, (self.learner.steps + 20) / RISE, fall)

    def follow_norms(self) -> None:
        for name, value in self.learner.network.named_buffers():
            if value.is_floating_point():
                self.norms[name].lerp_(value, NORM_SHARE)

    def save(self) -> None:
        one, out = self.learner, self.options.out
        state = {"network": one.network.state_dict(), "optimizer": one.optimizer.state_dict(), "mean": one.mean,
                 "norms": self.norms, "images": one.images, "steps": one.steps}  # fmt: skip
        torch.save(state, content := io.BytesIO())
        write_file(out / "state.pt", content.getbuffer(), previous=out / "state.1.pt")
        names = [name for name, _ in one.network.named_parameters()]
        mean: dict[str, Tensor] = {**dict(zip(names, one.mean, strict=True)), **self.norms}
        save(one, self.recipe, self.charset, out / "mean.safetensors", mean)

    def restore(self) -> None:
        """Go on from the state in OUT, if there is one."""
        for path in (self.options.out / "state.pt", self.options.out / "state.1.pt"):
            if path.exists():
                state, one = torch.load(path, weights_only=True), self.learner
                one.network.load_state_dict(state["network"])
                one.optimizer.load_state_dict(state["optimizer"])
                one.mean, one.images, one.steps, self.norms = (state[k] for k in ("mean", "images", "steps", "norms"))
                print(f"goes on from {path}: {one.images:,} images, {one.steps:,} steps", flush=True)
                return

    def train_stage(self, stage: str) -> None:
        """Until its images are seen: take in what was drawn and make a step."""
        o, learner = self.options, self.learner
        drawing = self.make_lines(o.texts / f"{stage}.txt")
        torch.manual_seed(o.seed + learner.steps)
        for number in (signal.SIGTERM, signal.SIGINT):  # as the processes inherit them: they end when told by us
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
        with DrawingProcesses(drawing, o.workers, (o.seed + learner.steps) % SEEDS) as source:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, _: self.stopped_by.append(number))
            pool = ImagePool(drawing, o.capacity, CPU)
            while not self.stopped_by and (pool.drawn < o.first or not views(pool)):
                if packet := source.take(1):
                    pool.add(packet)
            clock = StageClock(self, stage)
            while self.goes_on() and self.stages.at(learner.images) == stage:
                used = learner.images - clock.first
                while used > (pool.drawn - o.first) * o.reuse and (packet := source.take(0)):
                    pool.add(packet)
                images, labels, lengths = pool.batch(o.pixels // 100, *choose_view(pool))
                images = augment(images, STRENGTH).contiguous(memory_format=torch.channels_last)
                learner.step(images, labels, lengths, self.rate())
                self.follow_norms()
                clock.after_step(pool.drawn)
        self.save()

    def make_lines(self, texts: Path) -> Drawing:
        """The drawing of those texts that the faces have all characters of."""
        o = self.options
        drawn = DrawnOptions(texts=texts, out=o.out, style=o.style, fonts=o.faces, seed=o.seed)
        return make_drawing(drawn, self.recipe, self.charset)


class StageClock:
    """What is due now and then in a stage: to report, to save, to measure."""

    def __init__(self, run: ChineseRun, stage: str):
        self.run, self.stage, self.first = run, stage, run.learner.images
        self.begun = self.saved = self.reported = time.monotonic()
        self.losses: list[Tensor] = []
        self.copy = run.options.out / "measured.safetensors"
        # A restart or a new stage does not put the next measurement off
        ago = time.time() - self.copy.stat().st_mtime if self.copy.exists() else 0.0
        self.measured = self.begun - ago

    def after_step(self, drawn: int) -> None:
        run, now = self.run, time.monotonic()
        if run.learner.loss is not None:
            self.losses.append(run.learner.loss)
        if now - self.reported > REPORT_S:
            self.reported = now
            self.report(drawn)
        if now - self.saved > run.options.save_every:
            self.saved = now
            run.save()
        if run.options.measure and now - self.measured > run.options.measure_every:
            self.measured = now
            run.save()
            self.start_measuring()

    def report(self, drawn: int) -> None:
        """A line of progress. Raises UserError for a loss that is not finite."""
        one, loss = self.run.learner, float(torch.stack(self.losses).mean())
        self.losses.clear()
        rate = (one.images - self.first) / (time.monotonic() - self.begun)
        print(f"{time.strftime('%H:%M:%S')} {self.stage} step {one.steps:,}, {one.images:,} images ({rate:.1f}/s), "
              f"{drawn:,} drawn, loss a character {loss:.3f}, rate {self.run.rate():.1e}", flush=True)  # fmt: skip
        if not math.isfinite(loss):
            raise UserError("the loss is not finite; start again, it goes on from the last state")

    def start_measuring(self) -> None:
        """Start the command on a copy of the weights; it runs beside the training."""
        options = self.run.options
        shutil.copy(options.out / "mean.safetensors", self.copy)
        command = f"{options.measure.replace('{}', str(self.copy))} --images {self.run.learner.images}"
        with (options.out / "measure.log").open("a") as log:
            subprocess.Popen(command, shell=True, stdout=log, stderr=log)


def open_run(options: ChineseOptions) -> ChineseRun:
    """What is to be trained, as it was when it was stopped last."""
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    recipe: Any = ALL.parse(["--recipe", options.recipe])
    charset = Charset.named(recipe.data.charset)
    learner = make_learner(options.recipe, recipe, options.start, charset, CPU, options.lr, bfloat16=True)
    run = ChineseRun(options, recipe, charset, learner)
    run.restore()
    return run


def main(argv: list[str] | None = None) -> None:
    run = open_run(COMMAND.parse(argv))
    while run.goes_on():
        run.train_stage(run.stages.at(run.learner.images))
    if run.stopped_by:
        print(f"stopped after {run.learner.steps:,} steps; the same command goes on", flush=True)
    else:
        print(f"finished: {run.options.out / 'mean.safetensors'}", flush=True)


if __name__ == "__main__":
    run_cli(main, "train.py")
