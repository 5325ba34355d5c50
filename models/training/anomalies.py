"""Notices training that goes wrong without failing: the loss climbs, steps are skipped, nothing but blanks is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import nn

WINDOW = 50  # steps whose mean loss is compared
CLIMB, SLACK = 2.0, 0.5  # times the lowest mean so far, and above it: what overfits moves from 0.01 to 0.02 unharmed


@dataclass
class AnomalyMonitor:
    """Messages by their kind; the latest of each is in the record."""

    noticed: dict[str, str] = field(default_factory=dict)
    lowest: float = math.inf  # mean loss of a window
    seen: int = 0  # losses looked at
    skipped: int = 0
    zeroed: int = 0
    climbing: bool = False

    def check_losses(self, losses: list[float], skipped: int) -> str | None:
        """Look at the losses since the last call, in whole windows, and at the count of skipped steps."""
        message = None
        if skipped > self.skipped:
            self.skipped = skipped
            message = self.notice(
                "skipped", f"skipped so far, for a loss or gradient that is not finite: {skipped} steps"
            )
        while self.seen + WINDOW <= len(losses):
            self.seen += WINDOW
            message = (
                self.check_window([loss for loss in losses[self.seen - WINDOW : self.seen] if math.isfinite(loss)])
                or message
            )
        return message

    def check_zeroed(self, zeroed: int) -> str | None:
        """Look at the count of steps whose bad gradients were set to 0."""
        was, self.zeroed = self.zeroed, zeroed
        sentence = f"set to 0 so far, gradients that are not finite: in {zeroed} steps"
        return self.notice("zeroed", sentence) if zeroed > was else None

    def check_window(self, losses: list[float]) -> str | None:
        mean = fmean(losses) if losses else math.inf
        was, self.climbing = self.climbing, mean > CLIMB * self.lowest + SLACK
        if self.climbing and not was:
            return self.notice(
                "diverging",
                f"the loss has climbed from {self.lowest:.3g} to {mean:.3g} (means of {WINDOW} steps):"
                " training diverges; lower --optimizer.lr",
            )
        self.lowest = min(self.lowest, mean)
        return None

    def check_texts(self, texts: list[str]) -> str | None:
        """Look at what a validation has read."""
        if any(texts) or not texts:
            return None
        return self.notice(
            "blank",
            f"all {len(texts):,} validation words are read as empty; usual early in training,"
            " but when it stays so the network has collapsed to blanks: lower --optimizer.lr",
        )

    def reset_statistics(self, network: nn.Module) -> str | None:
        """Reset running statistics that are not finite: one bad batch would spoil every later validation."""
        layers = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
        bad = [layer for layer in layers if not all(torch.isfinite(buffer).all() for buffer in layer.buffers())]
        for layer in bad:
            layer.reset_running_stats()
        sentence = f"the running statistics of {len(bad)} layers of batch norm were not finite and were reset"
        return self.notice("statistics", sentence) if bad else None

    def notice(self, kind: str, sentence: str) -> str:
        self.noticed[kind] = sentence
        return sentence
