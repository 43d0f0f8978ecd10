"""Fixtures of the token's tests."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hsm import Hsm, KeyAlgorithm, softhsm
from tests.hsm.interposer import Interposer
from tests.tokens import fresh_token, hsm, soft_token, token_folder

__all__ = ["hsm", "interposer", "key_ids", "keyed_hsm", "soft_token", "token_folder"]


@pytest.fixture
def interposer() -> Iterator[Interposer]:
    """Stand between the callers and SoftHSM's functions, in its own function list; step aside afterwards."""
    between = Interposer(softhsm.find_module())
    yield between
    between.restore()


@pytest.fixture(scope="session")
def keyed_hsm(token_folder: Path) -> Iterator[Hsm]:
    """A token that is shared by tests which only use its keys."""
    assert token_folder.is_dir()
    with fresh_token().open() as opened:
        yield opened


@pytest.fixture(scope="session")
def key_ids(keyed_hsm: Hsm) -> Mapping[KeyAlgorithm, bytes]:
    """One key of every algorithm in the shared token."""
    return {algorithm: keyed_hsm.generate_key(algorithm, algorithm.value) for algorithm in KeyAlgorithm}
