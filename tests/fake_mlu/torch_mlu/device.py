"""`torch.mlu`: the names of the real module that a training program uses."""

import contextlib
import os
import time
from typing import NoReturn

import torch

from . import cards, cncl, journal, kernels, memory, runtime
from .runtime import current_device, in_bad_fork, is_initialized

_is_in_bad_fork = in_bad_fork
__all__ = ["cncl", "current_device", "is_initialized"]


def is_available() -> bool:
    """Whether a card answers; poisons fork unless PYTORCH_CNDEV_BASED_MLU_CHECK=1, as the real one does."""
    count = device_count()
    if count and os.environ.get("PYTORCH_CNDEV_BASED_MLU_CHECK") != "1":
        runtime.start()
    return count > 0


def device_count() -> int:
    return len(cards.visible_cards())


def _index(device=None) -> int:
    if device is None:
        return current_device()
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return current_device() if index is None else index


def set_device(device) -> None:
    journal.note("set_device", device=_index(device))
    runtime.set_device(_index(device))


class device(contextlib.ContextDecorator):  # noqa: N801 (torch's name)
    """Context in which another card is the current one."""

    def __init__(self, device) -> None:
        self._index = _index(device)

    def __enter__(self) -> None:
        self._previous = runtime.set_device(self._index)

    def __exit__(self, *_: object) -> None:
        runtime.set_device(self._previous)


def synchronize(device=None) -> None:
    """Wait for the card; every call is noted in the journal."""
    runtime.ensure_started(_index(device))
    journal.note("synchronize", device=_index(device))
    kernels.drain()


def get_device_properties(device=None) -> cards.Properties:
    runtime.ensure_started(_index(device))
    return cards.properties(_index(device))


def get_device_name(device=None) -> str:
    return get_device_properties(device).name


def get_device_capability(device=None) -> tuple[int, int]:
    properties = get_device_properties(device)
    return properties.major, properties.minor


def is_bf16_supported() -> bool:
    return get_device_properties().major >= 5


def is_fp8_supported() -> bool:
    return get_device_properties().major >= 6


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16]  # on every card, as in r2.4_develop


class Event:
    """A mark in the stream of a card; on the stand-in, a moment on the host's clock."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self._timed, self._seconds = enable_timing, None

    def record(self, stream=None) -> None:
        kernels.drain()
        self._seconds = time.perf_counter()

    def wait(self, stream=None) -> None: ...

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        journal.note("event_synchronize", device=current_device())

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds from this event to `end`."""
        if not (self._timed and end._timed and self._seconds and end._seconds):
            raise RuntimeError("Both events must be recorded and made with enable_timing=True")
        return (end._seconds - self._seconds) * 1e3


class Stream:
    """The one stream of a card."""

    def __init__(self, device=None, priority: int = 0) -> None:
        self.device = torch.device("mlu", _index(device))

    def synchronize(self) -> None:
        journal.note("stream_synchronize", device=self.device.index)
        kernels.drain()

    def wait_event(self, event) -> None: ...

    def wait_stream(self, stream) -> None: ...

    def record_event(self, event=None) -> Event:
        event = event or Event()
        event.record()
        return event


def current_stream(device=None) -> Stream:
    return Stream(device)


default_stream = current_stream


@contextlib.contextmanager
def stream(stream: Stream):
    yield stream


def empty_cache() -> None: ...


def ipc_collect() -> None: ...


def memory_allocated(device=None) -> int:
    return memory.allocated(_index(device))


def max_memory_allocated(device=None) -> int:
    return memory.peak(_index(device))


def reset_peak_memory_stats(device=None) -> None:
    memory.reset_peak(_index(device))


memory_reserved, max_memory_reserved = memory_allocated, max_memory_allocated
reset_max_memory_allocated = reset_peak_memory_stats


def memory_stats(device=None) -> dict[str, int]:
    return {"allocated_bytes.all.current": memory_allocated(device)}


def memory_summary(device=None, abbreviated: bool = False) -> str:
    return f"stand-in: {memory_allocated(device)} bytes"


def mem_get_info(device=None) -> tuple[int, int]:
    total = get_device_properties(device).total_memory
    return total - memory_allocated(device), total


def manual_seed(seed: int) -> None: ...  # random numbers come from the CPU's generator, which torch seeds


manual_seed_all = manual_seed


def initial_seed() -> int:
    return torch.initial_seed()


def get_rng_state(device=None) -> torch.Tensor:
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, device=None) -> None:
    torch.set_rng_state(state)


def get_rng_state_all() -> list[torch.Tensor]:
    return [get_rng_state(i) for i in range(device_count())]


def set_rng_state_all(states: list[torch.Tensor]) -> None:
    for index, state in enumerate(states):
        set_rng_state(state, index)


def is_current_stream_capturing() -> bool:
    return False


class MLUGraph:
    """Graphs need real streams."""

    def __init__(self) -> NoReturn:
        raise NotImplementedError("the stand-in records no graphs")
