"""How many cases a test takes: a sample in `make test`, all of them in `make soak`."""

import os


def count(normal: int, soak: int) -> int:
    """Return `soak` when SEALWARD_SOAK=1, else `normal`."""
    return soak if os.environ.get("SEALWARD_SOAK") == "1" else normal
