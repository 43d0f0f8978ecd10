"""An auth house over each database."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from pki.storage.database import Database
from tests.pki.auth.house import House


@pytest.fixture
def auth(migrated_url: str) -> Iterator[House]:
    """Give a house with the mounts auth/userpass/ and auth/approle/."""
    with closing(Database.open(migrated_url)) as database:
        yield House(database).found()
