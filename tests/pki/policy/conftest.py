"""A real OpenBao for the tests of one module."""

from collections.abc import Iterator

import pytest

from tests.pki.policy.openbao import OpenBao, openbao


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """Give a running server."""
    with openbao(tmp_path_factory.mktemp("openbao")) as server:
        yield server
