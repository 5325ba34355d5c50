"""What runs a network in a test, as rows of a table: torch as it is or compiled, ONNX Runtime, OpenVINO, TensorRT.

All of them compute the same weights; `fastest` lets in only those whose logits and texts agree with torch's.
"""

from __future__ import annotations

import copy
import importlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import UserError
from models.data.image import Shape
from models.decoding.ctc import decode
from models.engines.onnx_file import export
from models.engines.prepacked import prepacked
from models.engines.quantise import quantised
from models.engines.typical import varied
from models.network.network import Recogniser
from models.run.context import Session, normalised

# Of logits. Bfloat16 keeps eight bits: a trained network's are up to 0.25 away from float32's, and two ways to compute
# them 0.3 from each other.
TOLERANCE = {None: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.05}
ROUNDS = 5  # timed batches of each engine
WEIGHTY = (nn.Conv2d, nn.Linear, nn.LSTM, nn.GRU)  # what autocast computes in its own type, weights included
Run = Callable[[Tensor, Tensor | None], Tensor]


@dataclass
class Engine:
    """A recogniser that something else than its own modules may compute; reads as the network does."""

    name: str
    network: Recogniser
    run: Run

    def __call__(self, images: Tensor, widths: Tensor | None = None) -> Tensor:
        """As Recogniser's: normalised pictures -> logits (T, N, classes)."""
        return self.run(images, self.network.checked(images, widths))

    @property
    def head(self):
        return self.network.head

    def features(self, images: Tensor, widths: Tensor | None = None):
        return self.network.features(images, widths)

    def time_steps(self, widths):
        return self.network.time_steps(widths)

    def eval(self) -> Engine:
        self.network.eval()
        return self


def eager(network: Recogniser, session: Session, images: Tensor) -> Run:
    """torch as it is. The weights that autocast would cast in each call are cast here, once."""
    device = session.device
    casts = device.compute_dtype is not None and device.recurrent_dtype is None
    return cast_once(network, device.compute_dtype) if casts else network


def cast_once(network: Recogniser, dtype: torch.dtype) -> Recogniser:
    """A copy that computes the same bits under autocast."""
    copied = copy.deepcopy(network)
    for layer in copied.modules():
        if isinstance(layer, WEIGHTY):
            layer.to(dtype)
    return copied


def packed(network: Recogniser, session: Session, images: Tensor) -> Run:
    """torch on a CPU with weights laid out once. Padded pictures, whose LSTM steps differ, go the plain way."""
    if not torch.backends.mkldnn.is_available():
        raise UserError("--engine prepacked needs a torch with oneDNN; use --engine eager")
    plain = eager(network, session, images)
    whole = prepacked(plain)
    return lambda images, widths: whole(images) if widths is None else plain(images, widths)


def compiled(network: Recogniser, session: Session, images: Tensor) -> Run:
    """torch.compile for this shape; CUDA graphs on a card. Needs a C++ compiler on a CPU."""
    mode = "default" if session.device.kind.type == "cpu" else "reduce-overhead"
    return torch.compile(network, mode=mode, dynamic=False)


def in_onnxruntime(content: bytes, dtype: torch.dtype | None) -> Callable:
    """An ONNX file's bytes -> numpy pictures to logits. dtype: what to compute in; None is float32."""
    runtime = package("onnxruntime")
    if dtype is not None:
        raise UserError("--engine onnxruntime computes in float32 on a CPU: use --precision FP32, or --engine openvino")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    made = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: made.run(None, {"images": images})[0]


def in_openvino(content: bytes, dtype: torch.dtype | None) -> Callable:
    """As in_onnxruntime."""
    core = package("openvino").Core()
    hints = {
        "INFERENCE_PRECISION_HINT": {None: "f32", torch.bfloat16: "bf16"}[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    made = core.compile_model(core.read_model(content, b""), "CPU", hints)
    return lambda images: made([images])[0]


RUNTIMES = {"onnxruntime": in_onnxruntime, "openvino": in_openvino}


def elsewhere(runtime: str) -> Callable[[Recogniser, Session], Run]:
    def run(network: Recogniser, session: Session, images: Tensor) -> Run:
        return alone_in_width(RUNTIMES[runtime](exported(network, session), session.device.compute_dtype))

    return run


def openvino_int8(network: Recogniser, session: Session, images: Tensor) -> Run:
    """Convolutions in INT8, their ranges those of `images` and of drawn words; the rest in the session's precision."""
    drawn = varied(Shape(*images.shape[2:], images.shape[1]))
    seen = torch.cat([images, normalised(torch.from_numpy(drawn), images.device)])
    content = quantised(network, seen, session.charset.characters)
    return alone_in_width(in_openvino(content, session.device.compute_dtype))


def tensorrt(network: Recogniser, session: Session, images: Tensor) -> Run:
    """ONNX Runtime's TensorRT provider, which builds the engine; float16 where the precision asks for it."""
    runtime = package("onnxruntime")
    if "TensorrtExecutionProvider" not in runtime.get_available_providers():
        raise UserError("--engine tensorrt needs onnxruntime-gpu and TensorRT on an NVIDIA card")
    half = {"trt_fp16_enable": session.device.compute_dtype is not None}
    made = runtime.InferenceSession(
        exported(network, session), providers=[("TensorrtExecutionProvider", half), "CUDAExecutionProvider"]
    )
    return alone_in_width(lambda x: made.run(None, {"images": x})[0])


ENGINES: dict[str, Callable[[Recogniser, Session, Tensor], Run]] = {
    "eager": eager,
    "prepacked": packed,
    "compile": compiled,
    **{name: elsewhere(name) for name in RUNTIMES},
    "openvino_int8": openvino_int8,
    "tensorrt": tensorrt,
}
ON_HOST = (*RUNTIMES, "prepacked", "openvino_int8")
LOSSY = ("openvino_int8",)  # never chosen by `auto`; the accuracy in the record says what they lose


def package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"--engine {name} needs the package {name}: pip install -r requirements-extra.txt") from None


def exported(network: Recogniser, session: Session) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export(network, Path(folder) / "network.onnx", session.charset.characters).read_bytes()


def alone_in_width(run: Callable) -> Run:
    """The exported graph knows no padding, so all pictures of a batch have to be of one width."""

    def logits(images: Tensor, widths: Tensor | None) -> Tensor:
        if widths is not None:
            raise UserError("this engine reads pictures of one width: use --engine eager with data.keep_ratio")
        return torch.from_numpy(run(images.contiguous().cpu().numpy())).to(images.device)

    return logits


def make(name: str, network: Recogniser, session: Session, images: Tensor) -> Engine:
    """The engine of that name. UserError says what it lacks here."""
    if name in ON_HOST and session.device.kind.type != "cpu":
        raise UserError(f"--engine {name} runs on the CPU here; use --engine eager, compile or tensorrt")
    return Engine(name, network, ENGINES[name](network.eval(), session, images))


@torch.inference_mode()
def choose(name: str, network: Recogniser, session: Session, images: Tensor) -> Engine:
    """The engine asked for, or with `auto` the fastest that agrees on `images` (N, C, H, W), normalised.

    UserError when the one asked for is not here, or computes something else than torch.
    """
    if name == "auto":
        candidates = [
            engine for engine in (tried(row, network, session, images) for row in ENGINES if row not in LOSSY) if engine
        ]
        return min(candidates, key=lambda engine: seconds(engine, session, images))
    engine = make(name, network, session, images)
    if engine.run is network or name in LOSSY:
        return engine
    if wrong := disagreement(engine, network, session, images):
        raise UserError(f"--engine {name} does not compute what torch does here: {wrong}; use --engine eager")
    return engine


def tried(name: str, network: Recogniser, session: Session, images: Tensor) -> Engine | None:
    """The engine, or None when it is missing or computes something else; a line says which."""
    try:
        engine = make(name, network, session, images)
        wrong = disagreement(engine, network, session, images)
    except (UserError, RuntimeError) as error:  # a compiler that is not there is a RuntimeError
        wrong = str(error).partition("\n")[0]
    session.say(f"  engine {name}: {wrong or 'agrees'}")
    return None if wrong else engine


def disagreement(engine: Engine, network: Recogniser, session: Session, images: Tensor) -> str:
    """What the engine computes otherwise than torch, on these pictures and on the first alone; empty when nothing."""
    for some in (images, images[:1]):
        with session.device.autocast():
            expected, found = network(some).float(), engine(some).float()
        difference = float((expected - found).abs().max()) if expected.shape == found.shape else float("inf")
        if not difference <= TOLERANCE[session.device.compute_dtype]:
            return f"logits differ by {difference:.2g}"
        texts = [decode(y, None, session.charset, network.head.decoder).texts for y in (expected, found)]
        if session.device.compute_dtype is None and texts[0] != texts[1]:
            return "texts differ"
    return ""


def seconds(engine: Engine, session: Session, images: Tensor) -> float:
    """Least time of a batch, of ROUNDS."""
    times = []
    for _ in range(ROUNDS):
        session.device.synchronize()
        began = time.perf_counter()
        with session.device.autocast():
            engine(images)
        session.device.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
