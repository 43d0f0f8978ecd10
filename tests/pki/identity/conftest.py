"""Client tokens over each database, with a clock that tests move."""

from datetime import UTC, datetime, timedelta

import pytest

from pki.audit.trail import Trail
from pki.identity.tokens import Made, NewToken, Tokens
from pki.ids import Ids
from pki.storage.database import Database
from tests.clocks import FrozenClock
from tests.databases import database

__all__ = ["add", "database", "open_tokens"]


def open_tokens(database: Database, clock: FrozenClock) -> Tokens:
    """Return the room over an open database; all that are opened so share one key."""
    ids = Ids()
    return Tokens(database, clock, ids, Trail(clock, ids, timedelta(seconds=5)), b"k" * 32)


def new(**changes: object) -> NewToken:
    """Return a wanted token: that of an app which logged in, unless changed."""
    wanted: dict[str, object] = {
        "display_name": "app",
        "policies": ["reader"],
        "lifetime": None,
        "path": "auth/x/login",
    }
    return NewToken(**{**wanted, **changes})  # type: ignore[arg-type]


def add(database: Database, tokens: Tokens, **changes: object) -> Made:
    """Make a token in a transaction of its own."""
    return database.write(lambda tx: tokens.add(tx, new(**changes)))


@pytest.fixture
def clock() -> FrozenClock:
    """Give the clock."""
    return FrozenClock(datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.fixture
def tokens(database: Database, clock: FrozenClock) -> Tokens:
    """Give the room."""
    return open_tokens(database, clock)
