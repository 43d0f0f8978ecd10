"""A real token for the tests that need one."""

from collections.abc import Iterator

import pytest

from hsm import Hsm, KeyAlgorithm
from pki.seal.kek import HsmKek
from pki.storage.guard import outside_write
from tests.tokens import fresh_token, use_token_folder


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hsm]:
    """Give an open SoftHSM token, new for the test module."""
    use_token_folder(tmp_path_factory.getbasetemp() / "softhsm")
    with fresh_token().open() as device:
        yield device


@pytest.fixture
def kek(hsm: Hsm) -> HsmKek:
    """Give a fresh KEK in that token."""
    return HsmKek(hsm, "kek1", hsm.generate_key(KeyAlgorithm.AES_256, "kek"), outside_write)
