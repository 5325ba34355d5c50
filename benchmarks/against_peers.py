"""Ours beside the field's networks and engines: `python -m benchmarks.against_peers --peers DIR`.

DIR holds clones of meijieru/crnn.pytorch, GitYCC/crnn-pytorch and clovaai/deep-text-recognition-benchmark, whose model
classes are imported and trained as their own train.py does it: their optimiser, clipping and loss. Rows of a table take
turns, round after round, so that what else the machine does hits all of them; a ratio is the median over rounds of
ours / theirs in the same round. With --clock cpu a round counts CPU seconds: for busy
machines, with --threads 1.
The loader and the decoders have programs of their own: benchmarks/loader.py and benchmarks/decoding.py.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from tabulate import tabulate
from torch import Tensor, nn

from bench.errors import UserError, run_cli
from bench.machine.device import Device
from bench.options import Bounds, Choices, Command, Metavar
from models.data.charset import Charset
from models.engines import table as engines
from models.engines.onnx_file import OPSET, exporter_options
from models.network.model import Model
from models.network.network import build
from models.network.torchvision_schemas import import_torchvision
from models.run.options import Optimizer
from models.training.optimizer import GuardedOptimizer

HEIGHT, WIDTH, CLASSES, TEXT = 32, 100, 37, 8  # the field's yardstick; characters of a text
FORWARD_FLOP = 2 * 634e6  # of one picture's convolutions; LSTMs left out
GEMM = (2048, 2048, 2048)
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass
class PeerOptions:
    """Measure ours and theirs in turns."""

    peers: Path | None = None
    """Folder that holds clones of the peers"""
    tables: Annotated[str, Metavar("TABLE,...")] = ""
    """Some of the tables; default: all"""
    batch: Annotated[int, Bounds(1)] = 64
    rounds: Annotated[int, Bounds(1)] = 5
    calls: Annotated[int, Bounds(1)] = 100
    """Timed calls of each batch-1 row"""
    threads: Annotated[int, Bounds(0, 1024)] = 0
    """0: as many as torch takes by itself"""
    clock: Annotated[str, Choices(tuple(CLOCKS))] = "wall"
    """cpu: CPU seconds, on a busy machine"""


COMMAND = Command("benchmarks.against_peers", PeerOptions, "--peers ../peers")


@dataclass
class Batch:
    """The same pictures and texts for everybody."""

    images: Tensor
    labels: Tensor  # of all texts, one after another
    lengths: Tensor

    @classmethod
    def of(cls, size: int) -> Batch:
        torch.manual_seed(0)
        labels = torch.randint(1, CLASSES, (size * TEXT,))
        return cls(torch.rand(size, 1, HEIGHT, WIDTH) * 2 - 1, labels, torch.full((size,), TEXT))


# Peers ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Peer:
    """`make(module)` gives its network; `update(parameters)` its optimiser; clip 0 is none."""

    folder: str
    file: str
    make: Callable[[types.ModuleType], nn.Module]
    update: Callable
    clip: float = 0.0
    call: Callable = lambda network, images: network(images)  # -> (T, N, classes)


def clovaai(module) -> nn.Module:
    return module.Model(
        SimpleNamespace(Transformation="None", FeatureExtraction="VGG", SequenceModeling="BiLSTM", Prediction="CTC",
                        input_channel=1, output_channel=512, hidden_size=256, num_class=CLASSES)
    )  # fmt: skip


PEERS = {
    "meijieru": Peer(
        "crnn.pytorch", "models/crnn.py", lambda m: m.CRNN(HEIGHT, 1, CLASSES, 256),
        lambda p: torch.optim.RMSprop(p, 0.01),
    ),
    "GitYCC": Peer(
        "crnn-pytorch", "src/model.py", lambda m: m.CRNN(1, HEIGHT, WIDTH, CLASSES),
        lambda p: torch.optim.RMSprop(p, 0.0005), clip=5.0,
    ),
    "clovaai": Peer(
        "deep-text-recognition-benchmark", "model.py", clovaai,
        lambda p: torch.optim.Adadelta(p, 1, rho=0.95, eps=1e-8), clip=5.0,
        call=lambda network, images: network(images, None).transpose(0, 1),
    ),
}  # fmt: skip


def network_of(peer: Peer, peers: Path) -> nn.Module:
    folder, path = peers / peer.folder, peers / peer.folder / peer.file
    sys.path.insert(0, str(folder))  # for what it imports itself
    try:
        spec = importlib.util.spec_from_file_location(f"peer_{peer.folder}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
    torch.manual_seed(0)
    with contextlib.redirect_stdout(None):  # clovaai's says what it was made of
        return peer.make(module)


def present(peers: Path | None) -> dict[str, Peer]:
    """The peers that are there; a line names each that is not."""
    here = {name: peer for name, peer in PEERS.items() if peers and (peers / peer.folder / peer.file).is_file()}
    for name in sorted(set(PEERS) - set(here)):
        print(f"missing: {name} ({PEERS[name].folder}): clone it into --peers DIR")
    return here


def their_training(peer: Peer, peers: Path, batch: Batch) -> Callable[[], object]:
    network = network_of(peer, peers).train()
    optimizer = peer.update(network.parameters())

    def step() -> None:
        logs = peer.call(network, batch.images).log_softmax(2)
        steps = torch.full_like(batch.lengths, len(logs))
        loss = F.ctc_loss(logs, batch.labels, steps, batch.lengths, zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        if peer.clip:
            nn.utils.clip_grad_norm_(network.parameters(), peer.clip)
        optimizer.step()

    return step


def their_inference(network: nn.Module, call: Callable, images: Tensor) -> Callable[[], object]:
    network.eval()

    @torch.no_grad()
    def infer():
        return call(network, images)

    return infer


# Ours ----------------------------------------------------------------------------------------------------------------


def session(precision: str) -> SimpleNamespace:
    return SimpleNamespace(device=Device.open("CPU", precision), charset=Charset(), say=print)


def our_network() -> nn.Module:
    torch.manual_seed(0)
    return build(Model()).to(memory_format=torch.channels_last)


def our_training(precision: str, batch: Batch) -> Callable[[], object]:
    """What models.train does with a batch, the loader left out."""
    network, device = our_network().train(), Device.open("CPU", precision)
    optimizer = GuardedOptimizer(network, device, Optimizer(), 1e-4, 1 << 30)
    images = batch.images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with device.autocast():
            logits = network(images)
        steps = torch.full_like(batch.lengths, len(logits))
        optimizer.minimise(network.head.loss(logits, steps, batch.labels, batch.lengths))

    return step


def engine(name: str, precision: str, images: Tensor) -> Callable[[], object]:
    """One of our engines, on our network."""
    opened = session(precision)
    made = engines.make(name, our_network(), opened, images)
    images = images.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def infer():
        with opened.device.autocast():
            return made(images)

    return infer


def theirs_elsewhere(runtime: str, precision: str, peers: Path, images: Tensor) -> Callable[[], object]:
    """meijieru's network, exported as it is, in ONNX Runtime or OpenVINO."""
    network = network_of(PEERS["meijieru"], peers).eval()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "peer.onnx"
        torch.onnx.export(network, (images,), str(path), input_names=["images"], opset_version=OPSET,
                          **exporter_options())  # fmt: skip
        content = path.read_bytes()
    run = engines.RUNTIMES[runtime](content, {"FP32": None, "BF16": torch.bfloat16}[precision])
    pictures = images.numpy()
    return lambda: run(pictures)


def product(dtype: torch.dtype) -> Callable[[], object]:
    m, k, n = GEMM
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    return lambda: a @ b


# Tables: the first row is ours ---------------------------------------------------------------------------------------

Rows = dict[str, Callable[[], object]]


def train_fp32(options: PeerOptions, peers: dict[str, Peer], batch: Batch) -> Rows:
    theirs = {name: their_training(peer, options.peers, batch) for name, peer in peers.items()}
    return {"ours": our_training("FP32", batch), **theirs}


def train_amp(options: PeerOptions, peers: dict[str, Peer], batch: Batch) -> Rows:
    return {**train_fp32(options, peers, batch), "ours": our_training("AMP", batch)}


def infer(precision: str) -> Callable[[PeerOptions, dict[str, Peer], Batch], Rows]:
    """Our engines; the peers in torch (float32: none of them has autocast), and meijieru's network in other engines."""
    ours = ("eager", "openvino", "openvino_int8") if precision == "AMP" else ("eager", "onnxruntime", "openvino")
    theirs = {"AMP": (("openvino", "BF16"),), "FP32": (("onnxruntime", "FP32"), ("openvino", "FP32"))}[precision]

    def rows(options: PeerOptions, peers: dict[str, Peer], batch: Batch) -> Rows:
        made: Rows = {"ours": engine("prepacked", precision, batch.images)}
        made |= {
            f"ours, {name}": engine(name, precision, batch.images)
            for name in ours
            if name == "eager" or has(name.partition("_")[0])
        }
        for name, peer in peers.items():
            made[name] = their_inference(network_of(peer, options.peers), peer.call, batch.images)
        for name, other in theirs:
            if "meijieru" in peers and has(name):
                made[f"meijieru in {name} {other}"] = theirs_elsewhere(name, other, options.peers, batch.images)
        return made

    return rows


def has(package: str) -> bool:
    if importlib.util.find_spec(package):
        return True
    print(f"missing: {package}: pip install -r requirements-extra.txt")
    return False


def gemm(options: PeerOptions, peers: dict[str, Peer], batch: Batch) -> Rows:
    return {"float32": product(torch.float32), "bfloat16": product(torch.bfloat16)}


TABLES: dict[str, Callable[[PeerOptions, dict[str, Peer], Batch], Rows]] = {
    "gemm": gemm,
    "train_fp32": train_fp32,
    "train_amp": train_amp,
    "infer_fp32": infer("FP32"),
    "infer_amp": infer("AMP"),
    "latency_fp32": infer("FP32"),
    "latency_amp": infer("AMP"),
}


def turns(rows: Rows, rounds: int, clock: Callable[[], float], calls: int = 1) -> dict[str, list[float]]:
    """Seconds of each call, by row, the rows taking turns. The first round warms up and is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for number in range(rounds + 1):
        for name, work in rows.items():
            for _ in range(calls):
                began = clock()
                work()
                if number:
                    seconds[name].append(clock() - began)
    return seconds


def rates(seconds: dict[str, list[float]], images: int) -> str:
    ours = next(iter(seconds.values()))
    rows = []
    for name, theirs in seconds.items():
        ratios = [them / us for us, them in zip(ours, theirs, strict=True)]
        rows.append([name, images / median(theirs), images / max(theirs), images / min(theirs),
                     median(ratios), min(ratios), max(ratios)])  # fmt: skip
    headers = ["", "images/s", "least", "most", "ours / this", "least", "most"]
    return tabulate(rows, headers, "github", floatfmt=("", ".1f", ".1f", ".1f", ".2f", ".2f", ".2f"))


def delays(seconds: dict[str, list[float]]) -> str:
    found = {name: torch.tensor(each).quantile(torch.tensor([0.5, 0.99])) * 1e3 for name, each in seconds.items()}
    ours = next(iter(found.values()))
    rows = [[name, *each.tolist(), *(ours / each).tolist()] for name, each in found.items()]
    return tabulate(rows, ["", "p50 ms", "p99 ms", "ours / this p50", "p99"], "github", floatfmt=".2f")


def flops(seconds: dict[str, list[float]]) -> str:
    m, k, n = GEMM
    rows = []
    for name, each in seconds.items():
        rate = 2 * m * k * n / median(each)
        rows.append([name, rate / 1e9, rate / FORWARD_FLOP, rate / FORWARD_FLOP / 3])
    return tabulate(rows, ["product", "GFLOP/s", "bound: infer images/s", "train"], "github", floatfmt=".0f")


def measured(table: str, options: PeerOptions, peers: dict[str, Peer]) -> str:
    kind, clock = table.partition("_")[0], CLOCKS[options.clock]
    batch = Batch.of(1 if kind == "latency" else options.batch)
    rows = TABLES[table](options, peers, batch)
    if kind == "latency":
        return delays(turns(rows, options.rounds, clock, -(-options.calls // options.rounds)))
    seconds = turns(rows, options.rounds, clock)
    return flops(seconds) if kind == "gemm" else rates(seconds, options.batch)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    tables = options.tables.split(",") if options.tables else list(TABLES)
    if wrong := set(tables) - set(TABLES):
        raise UserError(f"no table {', '.join(sorted(wrong))}; there are {', '.join(TABLES)}")
    if options.threads:
        torch.set_num_threads(options.threads)
    import_torchvision()
    peers = present(options.peers)
    print(f"{torch.get_num_threads()} threads, batch {options.batch}, {options.rounds} rounds, {options.clock} seconds")
    for table in tables:
        print(f"\n{table}\n\n{measured(table, options, peers)}", flush=True)


if __name__ == "__main__":
    run_cli(main, "benchmarks.against_peers")
