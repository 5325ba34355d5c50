"""Train the CRNN a few steps with plain torch, once for each case named; prints one JSON line.

    PYTHONPATH=tests/fake_mlu:. python tests/fake_mlu/train.py --steps 6 cpu mlu mlu-tf32
    PYTHONPATH=tests/fake_mlu:. torchrun --nproc_per_node=2 tests/fake_mlu/train.py --steps 2 cpu mlu

Result: {case: [one object for each rank: losses, sum of weights, device]}. Run by test_fake_mlu.py.
"""

import argparse
import json
import os

import torch
import torch.distributed as dist
import torch_mlu  # noqa: F401
from torch import nn
from torch.nn.functional import ctc_loss, log_softmax

from models.crnn import CRNN

SEED, BATCH, WIDTH, LABEL_LENGTH = 7, 2, 32, 3
CASES = {  # name: device, float16 autocast, TF32 convolutions
    "cpu": ("cpu", False, False),
    "mlu": ("mlu", False, False),
    "mlu-tf32": ("mlu", False, True),
    "mlu-fp16": ("mlu", True, False),
}
BACKENDS = {"cpu": "gloo", "mlu": "cncl"}
RANK, CARD = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))


def open_device(kind: str, tf32: bool) -> torch.device:
    """The device of this process. The card is chosen before the process group is made."""
    if kind == "mlu":
        torch.backends.cnnl.allow_tf32 = tf32
        torch.mlu.set_device(CARD)
    if WORLD > 1:
        dist.init_process_group(BACKENDS[kind])
    return torch.device("cpu") if kind == "cpu" else torch.device("mlu", CARD)


def network_on(device: torch.device) -> nn.Module:
    torch.manual_seed(SEED)
    network = CRNN().to(device)
    if WORLD == 1:
        return network
    return nn.parallel.DistributedDataParallel(network, device_ids=[device] if device.type == "mlu" else None)


def batches(steps: int, device: torch.device):
    """Noise images (N, 1, 32, W) and labels (N * L,), the same on every device, different on every rank."""
    generator = torch.Generator().manual_seed(SEED + RANK)
    for _ in range(steps):
        images = torch.randn(BATCH, 1, 32, WIDTH, generator=generator)
        labels = torch.randint(1, 37, (BATCH * LABEL_LENGTH,), generator=generator)
        yield images.to(device), labels.to(device)


def train(network: nn.Module, device: torch.device, half: bool, steps: int) -> list[float]:
    """The loss of each step."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    times, lengths = (torch.full((BATCH,), n) for n in (int(CRNN.time_steps(WIDTH)), LABEL_LENGTH))
    losses = []
    for images, labels in batches(steps, device):
        with torch.autocast(device.type, torch.float16, enabled=half):
            logits = network(images)
        loss = ctc_loss(log_softmax(logits.float(), 2), labels, times, lengths, zero_infinity=True)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    return losses


def result_of(case: str, steps: int) -> list[dict]:
    """What every rank got, in rank order."""
    kind, half, tf32 = CASES[case]
    device = open_device(kind, tf32)
    network = network_on(device)
    mine = {"losses": train(network, device, half, steps), "device": str(next(network.parameters()).device)}
    mine["weights"] = sum(p.double().sum().item() for p in network.parameters())
    everyone = [mine] * WORLD
    if WORLD > 1:
        dist.all_gather_object(everyone, mine)
        dist.destroy_process_group()
    return everyone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    results = {case: result_of(case, options.steps) for case in options.cases}
    if RANK == 0:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
