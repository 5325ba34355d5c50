"""Which weights a test reads with."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models import weights
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import Network
from models.run.context import Context
from models.run.options import Infer, checkpoint_root
from models.weights import checkpoint


def load_trained(network: Network, options: Infer, context: Context, charset: Charset) -> Path | None:
    """Load --checkpoint, the newest best one, or shipped weights, and return their path. None: they stay random."""
    path = options.checkpoint or checkpoint.newest_best(checkpoint_root(options), options.recipe)
    path = path or find_shipped(options, charset)
    if path:
        checkpoint.restore_weights(network, checkpoint.read(path), path, charset.characters, options.recipe)
        shipped = ", which come with the repository" if path.parent == weights.FOLDER else ""
        context.say(f"  weights: {path}{shipped}")
    else:
        context.say(
            "  no trained checkpoint: random weights, so this measures speed only and accuracy stays empty.\n"
            "  Train one with `bash run_scripts/quickstart.sh`, or pass --checkpoint FILE."
        )
    return path


def digest_weights(network: Network) -> str:
    """sha256 over the weights as they were loaded: whatever file, or format of file, they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def find_shipped(options: Infer, charset: Charset) -> Path | None:
    """The weights that come with the repository, when they are for this recipe, alphabet, network and shape."""
    name = weights.of_recipe(options.recipe, charset.characters)
    if name is None:
        return None
    path = weights.path(name)
    content = checkpoint.read(path)
    data = {key: getattr(options.data, key) for key in content["data"]}
    model = Model(**content["model"])  # an option younger than the weights is at its default
    wanted = (charset.characters, options.model, data)
    return path if wanted == (content["charset"], model, content["data"]) else None
