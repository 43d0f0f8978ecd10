"""SoftHSM tokens for tests: one token folder for the whole run, a token of its own for whoever asks.

A room's `conftest.py` imports the fixtures it wants: `from tests.tokens import token_folder, soft_token, hsm`.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsm import Hsm, softhsm

USER_PIN = "1234-user"
SO_PIN = "5678-officer"


@dataclass(frozen=True)
class SoftToken:
    """A fresh token: what `Hsm.open` needs to know of it."""

    module: Path
    label: str
    pin: str

    def open(self, *, max_sessions: int = 8, checkout_timeout: float = 5.0) -> Hsm:
        """Open the token in this process."""
        return Hsm.open(self.module, self.label, self.pin, max_sessions=max_sessions, checkout_timeout=checkout_timeout)


def use_token_folder(directory: Path) -> None:
    """Make SoftHSM keep its tokens in `directory`; call it before the module is initialised."""
    os.environ["SOFTHSM2_CONF"] = str(softhsm.write_config(directory))


def fresh_token() -> SoftToken:
    """Make a token with a label of its own in the present token folder."""
    token = SoftToken(softhsm.find_module(), f"test-{secrets.token_hex(6)}", USER_PIN)
    softhsm.init_token(token.module, token.label, SO_PIN, token.pin)
    return token


@pytest.fixture(scope="session")
def token_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all tokens of this run; the same one however many rooms import this fixture."""
    directory = tmp_path_factory.getbasetemp() / "softhsm"
    use_token_folder(directory)
    return directory


@pytest.fixture
def soft_token(token_folder: Path) -> SoftToken:
    """A fresh, empty token."""
    assert token_folder.is_dir()
    return fresh_token()


@pytest.fixture
def hsm(soft_token: SoftToken) -> Iterator[Hsm]:
    """A fresh, empty token, opened."""
    with soft_token.open() as opened:
        yield opened
