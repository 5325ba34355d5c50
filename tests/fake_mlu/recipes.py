"""Train a step of every recipe, one after the other in this process; records go to a folder.

    PYTHONPATH=tests/fake_mlu:. python tests/fake_mlu/recipes.py FOLDER [OPTION of models.train...]

Random images, two a batch: what is asked is whether every layer, loss and optimiser finds its operators on the card.
"""

import sys
from pathlib import Path

from bench.machine import ceilings
from models import train
from models.run.options import RECIPES

QUICK = ["--device=MLU", "--batch-size=2", "--steps=1", "--warmup-steps=0", "--workers=0", "--input=synthetic"]


def main(folder: Path, *options: str) -> None:
    ceilings.SLICE_S, ceilings.COPY_BYTES_CARD = 1e-4, 1 << 16  # ceilings of a stand-in are of no interest
    for recipe in sorted(path.stem for path in RECIPES.glob("*.yaml")):
        train.main([f"--recipe={recipe}", *QUICK, f"--results={folder}", f"--checkpoints={folder}", *options])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
