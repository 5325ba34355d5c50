import pytest
import torch

from bench.errors import UserError
from bench.machine import device, discovery
from bench.machine.device import Device
from bench.machine.discovery import DEVICES, DeviceKind


def test_the_table_has_the_three_devices_in_order_of_preference():
    assert list(DEVICES) == ["MLU", "GPU", "CPU"]
    assert [k.backend for k in DEVICES.values()] == ["cncl", "nccl", "gloo"]


@pytest.mark.parametrize(
    ("here", "best"), [({"MLU": 4, "GPU": 8}, "MLU"), ({"MLU": 0, "GPU": 1}, "GPU"), ({"MLU": 0, "GPU": 0}, "CPU")]
)
def test_the_best_device_is_mlu_then_gpu_then_cpu(here, best, monkeypatch):
    monkeypatch.setattr(discovery, "present", lambda name: here.get(name, 1))
    assert discovery.best() == best


def test_cards_that_are_not_there_are_refused_with_what_is(monkeypatch):
    here = {"MLU": (2, "two are hidden"), "GPU": (0, ""), "CPU": (1, "")}
    monkeypatch.setattr(discovery, "count_cards", lambda kind: here[kind.name])
    discovery.require("MLU", 2)
    discovery.require("CPU", 64)
    with pytest.raises(
        UserError, match=r"4 MLU asked for; found 2 MLU, 0 GPU and \d+ CPU cores. two are hidden. Try X"
    ):
        discovery.require("MLU", 4, hint="Try X")


@pytest.mark.parametrize(("precision", "dtype"), [("FP32", None), ("AMP", torch.bfloat16), ("BF16", torch.bfloat16)])
def test_autocast_computes_in_what_the_precision_says(precision, dtype):
    opened = Device.open("CPU", precision)
    with opened.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (dtype or torch.float32)
    assert opened.switches["autocast_dtype"] == str(product.dtype).removeprefix("torch.")


def test_fp32_sets_the_switches_off_and_reads_them_back(monkeypatch):
    """On this machine with the CUDA switches: they exist in every build of torch."""
    gpu = DEVICES["GPU"]
    torch.backends.cudnn.allow_tf32 = True
    opened = Device(gpu, "FP32")
    opened.set_switches()
    assert opened.switches["backends.cudnn.allow_tf32"] is False
    assert opened.switches["backends.cuda.matmul.allow_tf32"] is False
    assert opened.switches["float32_matmul_precision"] == "highest"
    Device(gpu, "TF32").set_switches()
    assert torch.backends.cudnn.allow_tf32
    opened.set_switches()


def test_a_switch_this_torch_lacks_is_left_out():
    assert device.find_switch("backends.nonexistent.allow_tf32") is None


def test_tf32_on_a_cpu_and_bf16_on_a_card_without_it_are_refused(monkeypatch):
    with pytest.raises(UserError, match="TF32 is a mode of GPU and MLU"):
        Device.open("CPU", "TF32")

    class Old:
        is_bf16_supported = staticmethod(lambda: False)
        get_device_name = staticmethod(lambda i: "MLU370-X8")

    monkeypatch.setattr(torch, "mlu", Old, raising=False)
    with pytest.raises(UserError, match="MLU370-X8 has no bfloat16"):
        Device(DEVICES["MLU"], "BF16").check_precision()


def test_bfloat16_that_is_only_emulated_is_refused(monkeypatch):
    """As torch.cuda answers on a V100: yes, by emulation."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Tesla V100-SXM2-16GB")
    with pytest.raises(UserError, match="Tesla V100-SXM2-16GB has no bfloat16; use FP32 or AMP"):
        Device(DEVICES["GPU"], "BF16").check_precision()


def test_loss_scaling_only_where_float16_is_used():
    assert not Device.open("CPU", "AMP").gradient_scaler().is_enabled()
    if not hasattr(torch.amp, "GradScaler"):
        pytest.skip("torch before 2.3 scales on cards only; tests/system/test_mlu_runs.py has that path")
    scaled = DeviceKind("X", "cpu", "gloo", torch.float16, scaled=True)
    assert Device(scaled, "AMP").gradient_scaler().is_enabled()
    assert not Device(scaled, "FP32").gradient_scaler().is_enabled()


def test_peak_memory_of_a_cpu_run_is_the_process():
    assert 50e6 < Device.open("CPU").peak_memory_bytes() < 64e9


def test_bfloat16_recurrent_layers_of_a_gpu_are_cast_where_torch_has_them_and_float32_where_not():
    """torch's autocast would compute them in float16, without loss scaling, and the record said bfloat16."""
    gpu = DEVICES["GPU"]
    assert Device(gpu, "BF16", has_bf16_cells=True).recurrent_dtype is torch.bfloat16
    assert Device(gpu, "BF16").recurrent_dtype is torch.float32
    assert Device(gpu, "AMP").recurrent_dtype is Device(gpu, "FP32").recurrent_dtype is None
    opened = Device(gpu, "BF16")
    opened.set_switches()
    assert (opened.switches["autocast_dtype"], opened.switches["recurrent_dtype"]) == ("bfloat16", "float32")


def test_whether_there_are_bfloat16_recurrent_layers_is_asked_of_the_library(monkeypatch):
    """torch 2.1 and 2.2 refuse them on a GPU in these words."""
    opened = Device(DEVICES["CPU"], "BF16")
    opened.find_bf16_cells()
    assert opened.has_bf16_cells and opened.switches["bfloat16_recurrent_kernels"] is None  # of a GPU's kernels none

    def refuse(self, x):
        raise RuntimeError("\"_thnn_fused_lstm_cell_cuda\" not implemented for 'BFloat16'")

    monkeypatch.setattr(torch.nn.LSTM, "forward", refuse)
    opened.find_bf16_cells()
    assert not opened.has_bf16_cells
