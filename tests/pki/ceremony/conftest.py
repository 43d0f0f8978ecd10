"""A stage with a token of its own, for each test; the shim is for those whose token fails."""

from pathlib import Path

import pytest

from tests.faults.shim import shim_library
from tests.faults.token_house import faults, shim
from tests.pki.ceremony.stage import Stage
from tests.tokens import SoftToken

__all__ = ["faults", "shim", "shim_library", "stage"]


@pytest.fixture
def stage(tmp_path: Path, soft_token: SoftToken) -> Stage:
    """Give an offline machine on which nothing was held, and whose script nobody has signed."""
    made = Stage(tmp_path, soft_token)
    made.prepare()
    made.write()
    return made
