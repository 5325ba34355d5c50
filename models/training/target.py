"""Time to accuracy: a training that ends when a validation reaches what was asked for, and how long that took."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bench.errors import UserError
from bench.records.sections import TrainingResult


@dataclass
class Target:
    """What `--until words=80` asks for: a share of the validation's words, in percent; None asks for nothing."""

    words_percent: float | None = None
    seconds: float | None = None  # from the first batch asked for to the end of the validation that reached it
    images: int | None = None

    @classmethod
    def parse(cls, text: str | None) -> Target:
        """Raises UserError for what is no target."""
        if text is None:
            return cls()
        found = re.fullmatch(r"words=(\d+(?:\.\d+)?)", text)
        if not found or not 0 < float(found[1]) <= 100:
            raise UserError(
                f"--until {text}: it is words=PERCENT, as words=80: of the validation's words, above 0 to 100"
            )
        return cls(float(found[1]))

    def compare(self, word_accuracy: float, seconds: float, images: int) -> None:
        """Keep the time of the first validation that is good enough."""
        if self.words_percent is not None and not self.is_reached and word_accuracy * 100 >= self.words_percent:
            self.seconds, self.images = seconds, images

    @property
    def is_reached(self) -> bool:
        return self.seconds is not None

    def section(self) -> TrainingResult:
        if self.words_percent is None:
            return {}
        return {"target_words_percent": self.words_percent, "target_s": self.seconds, "target_images": self.images}
