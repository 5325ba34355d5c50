"""The stand-in for torch_mlu, itself: every claim docs/mlu.md makes on the strength of it.

Each test runs in a process of its own, because a PyTorch process takes the device name "mlu" for good.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import ROOT

TRAIN = "tests/fake_mlu/train.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")

pytest.importorskip("torch", minversion="2.10")  # the stand-in needs _setup_privateuseone_for_python_backend


def environment_of(**more: str) -> dict[str, str]:
    """This process's environment with the stand-in importable and nothing left over that would change it."""
    kept = {k: v for k, v in os.environ.items() if "VISIBLE_DEVICES" not in k and not k.startswith("FAKE_")}
    return kept | {"PYTHONPATH": f"{ROOT / 'tests/fake_mlu'}:{ROOT}", "OMP_NUM_THREADS": "1"} | more


def trained(*arguments: str, launcher: tuple[str, ...] = (), **environment: str) -> dict[str, list[dict]]:
    """Case -> what each rank got."""
    command = [sys.executable, *launcher, TRAIN, *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=environment_of(**environment), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def nursery():
    """A process that has imported torch and forks a child for each snippet."""
    command, pipe = [sys.executable, "tests/fake_mlu/nursery.py"], subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment_of(), stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()


@dataclass
class Snippets:
    """Runs code on the stand-in, after `import torch, torch_mlu`, in a process of its own."""

    nursery: subprocess.Popen
    folder: Path

    def run(self, code: str, **environment: str) -> tuple[int, str, str]:
        """Exit status, stdout, stderr."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        request = {"code": f"import torch, torch_mlu\n{code}", "environment": environment, "folder": str(folder)}
        print(json.dumps(request), file=self.nursery.stdin, flush=True)
        status = int(self.nursery.stdout.readline())
        return status, (folder / "stdout").read_text(), (folder / "stderr").read_text()

    def __call__(self, code: str, **environment: str) -> str:
        """What the code prints."""
        status, stdout, stderr = self.run(code, **environment)
        assert status == 0, stderr
        return stdout.strip()

    def error(self, code: str, **environment: str) -> str:
        """The last line of the traceback the code ends in."""
        status, stdout, stderr = self.run(code, **environment)
        assert status == 1, f"no exception: {stdout}"
        return stderr.strip().splitlines()[-1]


@pytest.fixture
def on_mlu(nursery, tmp_path) -> Snippets:
    return Snippets(nursery, tmp_path)


@pytest.fixture(scope="module")
def six_steps() -> dict[str, dict]:
    results = trained("--steps", "6", "cpu", "mlu", "mlu-tf32", "mlu-fp16")
    return {case: rank for case, (rank,) in results.items()}


def test_fp32_losses_and_weights_are_the_cpus_to_the_last_bit(six_steps):
    cpu, mlu = six_steps["cpu"], six_steps["mlu"]
    assert (cpu["device"], mlu["device"]) == ("cpu", "mlu:0")
    assert len(mlu["losses"]) == 6
    assert (mlu["losses"], mlu["weights"]) == (cpu["losses"], cpu["weights"])


def test_only_convolutions_default_to_tf32(on_mlu):
    code = """
backends = torch.backends
print(backends.cnnl.allow_tf32, backends.mlu.matmul.allow_tf32, backends.mlu.custom.allow_tf32)
"""
    assert on_mlu(code) == "True False False"
    assert on_mlu(code, TORCH_ALLOW_TF32_CNMATMUL_OVERRIDE="1") == "True True False"


def test_convolutions_left_in_tf32_do_not_pass_for_fp32(six_steps):
    """What forgetting the first switch looks like."""
    cpu, tf32 = six_steps["cpu"]["losses"], six_steps["mlu-tf32"]["losses"]
    assert tf32 != cpu
    assert tf32 == pytest.approx(cpu, rel=1e-3)


def test_fp16_autocast_with_a_scaler_follows_fp32_without_equalling_it(six_steps):
    single, half = six_steps["mlu"]["losses"], six_steps["mlu-fp16"]["losses"]
    assert half[0] != single[0]
    assert half == pytest.approx(single, rel=1e-2)


def test_torch_2_1_has_only_the_devices_own_scaler(on_mlu):
    code = """
weight = torch.ones(2, device='mlu', requires_grad=True)
scaler, optimizer = torch.mlu.amp.GradScaler(init_scale=8.0), torch.optim.SGD([weight], lr=1.0)
scaler.scale(weight.sum()).backward()
print(hasattr(torch.amp, 'GradScaler'), weight.grad.tolist())
scaler.step(optimizer)
print(weight.tolist())
"""
    assert on_mlu(code, FAKE_MLU_TORCH="2.1") == "False [8.0, 8.0]\n[0.0, 0.0]"


def test_two_cards_with_cncl_train_as_two_processes_with_gloo():
    ranks = trained("--steps", "2", "cpu", "mlu", launcher=TORCHRUN, FAKE_MLU_COUNT="2")
    assert [rank.pop("device") for rank in ranks["mlu"]] == ["mlu:0", "mlu:1"]
    assert [rank.pop("device") for rank in ranks["cpu"]] == ["cpu", "cpu"]
    assert ranks["mlu"] == ranks["cpu"]
    first, second = ranks["mlu"]
    assert (first["weights"] == second["weights"], first["losses"] == second["losses"]) == (True, False)


MIXED = {
    "elementwise": "torch.ones(2, device='mlu') + torch.ones(2)",
    "linear": "torch.nn.Linear(2, 2).to('mlu')(torch.ones(1, 2))",
    "convolution": "torch.nn.Conv2d(1, 1, 1).to('mlu')(torch.ones(1, 1, 2, 2))",
    "lstm": "torch.nn.LSTM(2, 2).to('mlu')(torch.ones(3, 1, 2))",
    "two cards": "torch.ones(2, device='mlu:0') + torch.ones(2, device='mlu:1')",
}


def test_tensors_on_two_devices_are_refused(on_mlu):
    code = "import traceback\n"
    for case, expression in MIXED.items():
        code += f"try:\n {expression}\n print('{case}: accepted')\nexcept RuntimeError as error:\n pass\n"
    assert on_mlu(code, FAKE_MLU_COUNT="2") == ""


def test_host_tensors_are_accepted_where_hardware_accepts_them(on_mlu):
    code = """
x = torch.arange(6., device='mlu').reshape(3, 2)
print(x[torch.tensor([2, 0])].tolist(), (x * torch.tensor(2.)).sum().item())
"""
    assert on_mlu(code) == "[[4.0, 5.0], [0.0, 1.0]] 30.0"


def test_packed_lstm_and_gru_equal_the_cpus(on_mlu):
    code = """
from torch import nn
lengths, x = torch.tensor([5, 2]), torch.randn(5, 2, 4)
for layer in (nn.LSTM(4, 3, 2, bidirectional=True), nn.GRU(4, 3)):
    sums = []
    for device in ('cpu', 'mlu'):
        layer.zero_grad()
        layer.to(device)
        packed = nn.utils.rnn.pack_padded_sequence(x.to(device), lengths)
        total = layer(packed)[0].data.sin().sum()
        total.backward()
        sums += [(total.item(), layer.weight_hh_l0.grad.norm().item())]
    print(sums[0] == sums[1])
"""
    assert on_mlu(code) == "True\nTrue"


def test_cells_equal_the_cpus(on_mlu):
    code = """
from torch import nn
x = torch.randn(2, 4)
for cell in (nn.LSTMCell(4, 3), nn.GRUCell(4, 3), nn.RNNCell(4, 3)):
    sums = []
    for device in ('cpu', 'mlu'):
        cell.zero_grad()
        cell.to(device)
        state = cell(x.to(device))
        total = (state[0] if isinstance(state, tuple) else state).sin().sum()
        total.backward()
        sums += [(total.item(), cell.weight_ih.grad.norm().item())]
    print(sums[0] == sums[1])
"""
    assert on_mlu(code) == "True\nTrue\nTrue"


def test_a_checkpoint_moves_between_card_and_host(on_mlu):
    code = """
import copy, io
from torch import nn
network = nn.Linear(3, 2).to('mlu:1')
file = io.BytesIO()
torch.save(network.state_dict(), file)
for where in (None, 'cpu', 'mlu:0'):
    file.seek(0)
    weight = torch.load(file, map_location=where, weights_only=True)['weight']
    print(weight.device, torch.equal(weight.cpu(), network.weight.cpu()))
twin = copy.deepcopy(network)
twin.weight.data.zero_()
print(twin.weight.device, bool(network.weight.any()))
"""
    assert on_mlu(code, FAKE_MLU_COUNT="2").splitlines() == [
        "mlu:1 True",
        "cpu True",
        "mlu:0 True",
        "mlu:1 True",
    ]


def test_a_personality_decides_bfloat16(on_mlu):
    code = """
import os
for name in ('MLU590-M9', 'MLU370-X8'):
    os.environ['FAKE_MLU_NAME'] = name
    card = torch.mlu.get_device_properties(0)
    print(card.name, card.major, torch.mlu.is_bf16_supported(), card.total_memory // 2**20)
    torch.ones(2, device='mlu', dtype=torch.bfloat16) + 1
"""
    _, stdout, stderr = on_mlu.run(code)
    assert stdout.splitlines() == ["MLU590-M9 5 True 98304", "MLU370-X8 3 False 23374"]
    assert "is not implemented for 'BFloat16' on MLU370-X8" in stderr.splitlines()[-1]


def test_the_version_says_that_it_is_no_hardware(on_mlu):
    assert "+fake" in on_mlu("print(torch_mlu.__version__)")


def test_no_driver_is_no_cards_and_no_error(on_mlu):
    code = """
import os
for absence in ({'FAKE_MLU_COUNT': '0'}, {'FAKE_MLU_COUNT': '8', 'FAKE_MLU_DRIVER': 'absent'}):
    os.environ.update(absence)
    print(torch.mlu.is_available(), torch.mlu.device_count())
"""
    assert on_mlu(code) == "False 0\nFalse 0"


def test_a_driver_that_does_not_answer_fails_at_the_first_use(on_mlu):
    code = "print(torch.mlu.device_count(), flush=True); torch.ones(2, device='mlu')"
    assert "cnInit failed" in on_mlu.error(code, FAKE_MLU_DRIVER="broken")


def test_a_wheel_whose_libraries_do_not_load_raises_oserror(on_mlu):
    assert on_mlu.error("", FAKE_MLU_DRIVER="unloadable").startswith("OSError: libcndev.so")


def test_visibility_follows_the_real_priority(on_mlu):
    code = "import os\nfor hide in ({}, {'CUDA_VISIBLE_DEVICES': ''}, {'MLU_VISIBLE_DEVICES': '3,1'}):\n"
    code += " os.environ.update(hide)\n print(torch.mlu.device_count())"
    assert on_mlu(code, FAKE_MLU_COUNT="8").split() == ["8", "0", "2"]


def test_a_busy_card_is_refused_by_its_physical_number(on_mlu):
    code = "torch.ones(2, device='mlu:0')\ntorch.ones(2, device='mlu:1')"
    error = on_mlu.error(code, FAKE_MLU_COUNT="4", FAKE_MLU_BUSY="3", MLU_VISIBLE_DEVICES="0,3")
    assert "card 3 is held by another process" in error


def test_asking_the_runtime_poisons_fork_and_asking_cndev_does_not(on_mlu):
    code = """
import os
for through_cndev in ('1', '0'):
    os.environ['PYTORCH_CNDEV_BASED_MLU_CHECK'] = through_cndev
    torch.mlu.is_available()
    if not os.fork():
        print(torch.ones(1, device='mlu').item(), flush=True)
        os._exit(0)
    os.wait()
"""
    _, stdout, stderr = on_mlu.run(code)
    assert stdout == "1.0\n"
    assert "Cannot re-initialize MLU in forked subprocess" in stderr


def test_an_operator_named_in_the_environment_falls_back_once_or_not_at_all(on_mlu):
    code = """
import os
x = torch.ones(3, device='mlu')
x.nanmedian(), x.nanmedian()
os.environ['ENABLE_FALLBACK_TO_CPU'] = '0'
torch.nn.functional.softshrink(x)
"""
    _, _, stderr = on_mlu.run(code, FAKE_MLU_FALLBACK="nanmedian,softshrink")
    assert stderr.count("The operator 'aten::nanmedian' is not currently supported on the MLU backend") == 1
    assert "NotImplementedError: Could not run 'aten::softshrink'" in stderr.splitlines()[-1]


def test_only_a_drained_clock_sees_what_the_operators_owe(on_mlu):
    """Each operator owes a millisecond that is paid when the host waits, as on an asynchronous device.

    Others on the machine can only make both times longer: the drained one has no upper bound here, and of ten rounds
    the fastest shows whether queueing waits for the operators.
    """
    code = """
import time
x = torch.ones(1, device='mlu')
queued, drained = [], []
for _ in range(10):
    torch.mlu.synchronize()
    began = time.perf_counter()
    for _ in range(50):
        x.add_(1)
    queued.append(time.perf_counter() - began)
    torch.mlu.synchronize()
    drained.append(time.perf_counter() - began)
print(min(queued) < 0.05, 0.05 <= min(drained))
"""
    assert on_mlu(code, FAKE_MLU_OP_US="1000") == "True True"


def test_the_journal_keeps_drains_and_their_order(on_mlu, tmp_path):
    code = """
import torch.distributed as dist
torch.mlu.set_device(1)
dist.init_process_group('cncl', init_method='file://%s', rank=0, world_size=1)
torch.mlu.synchronize()
torch.ones(2, device='mlu').sum()
dist.destroy_process_group()
"""
    journal = tmp_path / "journal"
    on_mlu(code % (tmp_path / "rendezvous"), FAKE_MLU_LOG=str(journal), FAKE_MLU_COUNT="2")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [e["event"] for e in events] == ["set_device", "init_process_group", "synchronize", "operators"]
    assert events[1]["device"] == 1
    assert "aten::sum" in events[-1]["names"]


def test_a_pinning_loader_with_workers_feeds_a_card(on_mlu):
    code = """
from torch.utils.data import DataLoader, TensorDataset
torch.mlu.set_device(1)
loader = DataLoader(TensorDataset(torch.arange(8.)), batch_size=4, num_workers=1, pin_memory=True)
print([batch.to('mlu:1', non_blocking=True).sum().item() for batch, in loader])
"""
    assert on_mlu(code, FAKE_MLU_COUNT="2") == "[6.0, 22.0]"


WAITS_OF_A_STEP = """
from torch.utils._python_dispatch import TorchDispatchMode
from bench.machine.device import Device
from models.run.options import Optimizer
from models.training.optimizer import GuardedOptimizer

class Waits(TorchDispatchMode):
    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        Waits.count += 'local_scalar_dense' in str(function) and arguments[0].device.type == 'mlu'
        return function(*arguments, **(keywords or {}))

device = Device.open('MLU', '%s')
network = torch.nn.Linear(2, 1).to(device.torch)
step = GuardedOptimizer(network, device, Optimizer(), 1e-2, 100)
step.minimise(network(torch.ones(1, 2, device='mlu')).sum())
with Waits():
    for _ in range(3):
        step.minimise(network(torch.ones(1, 2, device='mlu')).sum())
print(step.fused, Waits.count, device.switches['fused_adam'], device.fallbacks)
"""


@pytest.mark.parametrize("precision", ["FP32", "AMP"])
def test_a_fused_update_waits_for_nothing_and_a_plain_one_once(on_mlu, precision):
    assert on_mlu(WAITS_OF_A_STEP % precision) == "True 0 True []"
    said = on_mlu(WAITS_OF_A_STEP % precision, FAKE_MLU_FALLBACK="_fused_adam_")
    assert said == "None 3 False []"  # its kernel would run on the host: torch's own choice, of several operators
