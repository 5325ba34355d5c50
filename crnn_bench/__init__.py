"""The door for other programs: `from crnn_bench import Recogniser`. It takes torch's seconds when that is asked for."""

from models import __all__, __getattr__  # noqa: F401
