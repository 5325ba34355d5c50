"""What computes a network when it reads, as a table: torch as it is or compiled, ONNX Runtime, OpenVINO, TensorRT.

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
from bench.machine.device import Device
from models.data.charset import Charset
from models.data.image import Shape
from models.dataset import normalise
from models.decoding.decoder import Decoder
from models.engines.onnx_file import export
from models.engines.prepacked import prepack
from models.engines.quantise import quantise
from models.engines.typical import calibration_images
from models.network.network import Network

# Of logits. Bfloat16 keeps eight bits: a trained network's are up to 0.25 away from float32's, and two ways to compute
# them 0.3 from each other.
TOLERANCE = {None: 1e-3, torch.bfloat16: 0.5, torch.float16: 0.05}
ROUNDS = 5  # timed batches of each engine
WEIGHTY = (nn.Conv2d, nn.Linear, nn.LSTM, nn.GRU)  # what autocast computes in its own type, weights included
Forward = Callable[[Tensor, Tensor | None], Tensor]  # images and their widths, or None, to logits


EngineMaker = Callable[[Network, Device, Charset, Tensor], Forward]  # from a network, and normalised images to try


@dataclass
class Engine:
    """A network that something other than its own modules may compute; called as the network is."""

    name: str
    network: Network
    forward: Forward

    def __call__(self, images: Tensor, widths: Tensor | None = None) -> Tensor:
        """As Network's: normalised images -> logits (T, N, classes)."""
        return self.forward(images, self.network.check_images(images, widths))

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


def eager(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
    """torch as it is."""
    return cast_for_autocast(network, device)


def cast_for_autocast(network: Network, device: Device) -> Network:
    """The network, or a copy whose weights are cast once to the type that autocast would cast them to in each call."""
    if device.compute_dtype is None or device.recurrent_dtype not in (None, device.compute_dtype):
        return network
    return cast_once(network, device.compute_dtype)


def cast_once(network: Network, dtype: torch.dtype) -> Network:
    """A copy that computes the same bits under autocast."""
    copied = copy.deepcopy(network)
    for layer in copied.modules():
        if isinstance(layer, WEIGHTY):
            layer.to(dtype)
    return copied


def prepacked(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
    """torch on a CPU with weights laid out once. Padded images, whose LSTM steps differ, take the plain way."""
    if not torch.backends.mkldnn.is_available():
        raise UserError("--engine prepacked needs a torch with oneDNN; use --engine eager")
    plain = cast_for_autocast(network, device)
    whole = prepack(plain)
    return lambda images, widths: whole(images) if widths is None else plain(images, widths)


def compiled(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
    """torch.compile for this shape; CUDA graphs on a card. Needs a C++ compiler on a CPU."""
    mode = "default" if device.kind.type == "cpu" else "reduce-overhead"
    return torch.compile(network, mode=mode, dynamic=False)


def load_onnxruntime(content: bytes, dtype: torch.dtype | None) -> Callable:
    """An ONNX file's bytes -> numpy images to logits. dtype: what to compute in; None is float32."""
    runtime = import_package("onnxruntime")
    if dtype is not None:
        raise UserError("--engine onnxruntime computes in float32 on a CPU: use --precision FP32, or --engine openvino")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    made = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda images: made.run(None, {"images": images})[0]


def load_openvino(content: bytes, dtype: torch.dtype | None) -> Callable:
    """As load_onnxruntime."""
    core = import_package("openvino").Core()
    hints = {
        "INFERENCE_PRECISION_HINT": {None: "f32", torch.bfloat16: "bf16"}[dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    made = core.compile_model(core.read_model(content, b""), "CPU", hints)
    return lambda images: made([images])[0]


RUNTIMES = {"onnxruntime": load_onnxruntime, "openvino": load_openvino}


def in_runtime(runtime: str) -> EngineMaker:
    def make(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
        return one_width(RUNTIMES[runtime](export_bytes(network, charset), device.compute_dtype))

    return make


def openvino_int8(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
    """Convolutions in INT8, their ranges those of `images` and of drawn words; the rest in the device's precision."""
    _, channels, height, width = images.shape
    drawn = calibration_images(Shape(height, width, channels))
    seen = torch.cat([images, normalise(torch.from_numpy(drawn), images.device)])
    content = quantise(network, seen, charset.characters)
    return one_width(load_openvino(content, device.compute_dtype))


def tensorrt(network: Network, device: Device, charset: Charset, images: Tensor) -> Forward:
    """ONNX Runtime's TensorRT provider, which builds the engine; float16 where the precision asks for it."""
    runtime = import_package("onnxruntime")
    if "TensorrtExecutionProvider" not in runtime.get_available_providers():
        raise UserError("--engine tensorrt needs onnxruntime-gpu and TensorRT on an NVIDIA card")
    half = {"trt_fp16_enable": device.compute_dtype is not None}
    made = runtime.InferenceSession(
        export_bytes(network, charset), providers=[("TensorrtExecutionProvider", half), "CUDAExecutionProvider"]
    )
    if "TensorrtExecutionProvider" not in made.get_providers():  # what the wheel was built with need not start here
        raise UserError(f"--engine tensorrt: ONNX Runtime fell back to {', '.join(made.get_providers())} here")
    return one_width(lambda x: made.run(None, {"images": x})[0])


ENGINES: dict[str, EngineMaker] = {
    "eager": eager,
    "prepacked": prepacked,
    "compile": compiled,
    **{name: in_runtime(name) for name in RUNTIMES},
    "openvino_int8": openvino_int8,
    "tensorrt": tensorrt,
}
ON_HOST = (*RUNTIMES, "prepacked", "openvino_int8")
LOSSY = ("openvino_int8",)  # never chosen by `auto`; the accuracy in the record says what they lose


def import_package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"--engine {name} needs the package {name}: pip install -r requirements-extra.txt") from None


def export_bytes(network: Network, charset: Charset) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export(network, Path(folder) / "network.onnx", charset.characters).read_bytes()


def one_width(run: Callable) -> Forward:
    """The exported graph knows no padding, so all images of a batch must have one width."""

    def logits(images: Tensor, widths: Tensor | None) -> Tensor:
        if widths is not None:
            raise UserError("this engine reads images of one width: use --engine eager with data.keep_ratio")
        return torch.from_numpy(run(images.contiguous().cpu().numpy())).to(images.device)

    return logits


def make_engine(name: str, network: Network, device: Device, charset: Charset, images: Tensor) -> Engine:
    """The engine of that name. UserError says what it lacks here."""
    if name in ON_HOST and device.kind.type != "cpu":
        raise UserError(f"--engine {name} runs on the CPU here; use --engine eager, compile or tensorrt")
    return Engine(name, network, ENGINES[name](network.eval(), device, charset, images))


@torch.inference_mode()
def choose_engine(
    name: str, network: Network, device: Device, charset: Charset, images: Tensor, say: Callable[..., object]
) -> Engine:
    """The engine of that name, or with `auto` the fastest that agrees on `images` (N, C, H, W), normalised.

    `say` hears what became of each. UserError: the engine is not installed, or computes something else than torch.
    """
    if name == "auto":
        tried = (try_engine(row, network, device, charset, images, say) for row in ENGINES if row not in LOSSY)
        return min((engine for engine in tried if engine), key=lambda engine: time_engine(engine, device, images))
    engine = make_engine(name, network, device, charset, images)
    if engine.forward is network or name in LOSSY:
        return engine
    if wrong := disagreement(engine, network, device, charset, images):
        raise UserError(f"--engine {name} does not compute what torch does here: {wrong}; use --engine eager")
    return engine


def try_engine(
    name: str, network: Network, device: Device, charset: Charset, images: Tensor, say: Callable[..., object]
) -> Engine | None:
    """The engine, or None when it is missing or computes something else; a line says which."""
    try:
        engine = make_engine(name, network, device, charset, images)
        wrong = disagreement(engine, network, device, charset, images)
    except (UserError, RuntimeError) as error:  # a compiler that is not there is a RuntimeError
        wrong = str(error).partition("\n")[0]
    say(f"  engine {name}: {wrong or 'agrees'}")
    return None if wrong else engine


def disagreement(engine: Engine, network: Network, device: Device, charset: Charset, images: Tensor) -> str:
    """How the engine differs from torch, on these images and on the first alone; empty when it does not."""
    for some in (images, images[:1]):
        with device.autocast():
            expected, found = network(some).float(), engine(some).float()
        difference = float((expected - found).abs().max()) if expected.shape == found.shape else float("inf")
        if not difference <= TOLERANCE[device.compute_dtype]:
            return f"logits differ by {difference:.2g}"
        texts = [Decoder(charset, network.model.head)(logits).texts for logits in (expected, found)]
        if device.compute_dtype is None and texts[0] != texts[1]:
            return "texts differ"
    return ""


def time_engine(engine: Engine, device: Device, images: Tensor) -> float:
    """Seconds of a batch: the least of ROUNDS."""
    times = []
    for _ in range(ROUNDS):
        device.synchronize()
        began = time.perf_counter()
        with device.autocast():
            engine(images)
        device.synchronize()
        times.append(time.perf_counter() - began)
    return min(times)
