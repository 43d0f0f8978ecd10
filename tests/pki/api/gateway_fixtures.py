"""A gateway over a founded house, with the test engine mounted at `things/`; import the fixtures that are wanted."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest

from pki.api.gateway import create_gateway
from pki.audit.events import Events, Filter, Recorded
from pki.core import Core
from tests.pki.api.gateway_client import Client, Things

NewClient = Callable[..., Client]


@pytest.fixture
def things(core: Core) -> Things:
    """Give the test engine."""
    return Things(core.database)


@pytest.fixture
def house(core: Core) -> Core:
    """Give the house with the test engine mounted."""
    core.database.write(lambda tx: core.mounts.add(tx, path="things/", kind="secret", type="things"))
    return core


@pytest.fixture
def anonymous(house: Core, things: Things) -> Client:
    """Give a client without a token."""
    return Client(create_gateway(house, {"things": things}))


@pytest.fixture
def root(house: Core, anonymous: Client) -> Client:
    """Give a client that may do everything."""
    return dataclasses.replace(anonymous, token=house.tokens.make("root", ("root",), timedelta(hours=1)))


@pytest.fixture
def client_with(house: Core, anonymous: Client) -> NewClient:
    """Give a maker of clients with one policy, whose text is given."""

    def make(text: str, name: str = "tested") -> Client:
        house.database.write(lambda tx: house.policies.set(tx, name, text))
        return dataclasses.replace(anonymous, token=house.tokens.make("service", (name,), timedelta(hours=1)))

    return make


def events(house: Core, **wanted: object) -> list[Recorded]:
    """Return the events that the house has recorded."""
    return Events(house.database).find("root", Filter(**wanted))  # type: ignore[arg-type] # one of each kind
