"""The house that the door's tests run on, and a small world around it: a DNS server, a web server, clients."""

import dataclasses
import ipaddress
from collections.abc import Callable, Iterator

import pytest

from acme_server.application import serve
from acme_server.door import Door, open_door
from acme_server.validation import ValidationSettings
from pki.api.front import WsgiApplication
from pki.core import Core
from tests.acme_server.client import Client, OrderOf, csr_for
from tests.acme_server.validation.servers import DnsServer, HttpServer, running
from tests.databases import dialect, migrated_url
from tests.house_fixture import core, house_clock, house_config, house_rows, house_token
from tests.tokens import token_folder

__all__ = [
    "core",
    "dialect",
    "house_clock",
    "house_config",
    "house_rows",
    "house_token",
    "migrated_url",
    "token_folder",
]

LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@pytest.fixture
def nameserver() -> Iterator[DnsServer]:
    """Give a DNS server for which every name is on this machine."""
    server = DnsServer()
    server.wildcard_address = "127.0.0.1"
    with running(server):
        yield server


@pytest.fixture
def web() -> Iterator[HttpServer]:
    """Give the web server of every name."""
    server = HttpServer()
    with running(server):
        yield server


@pytest.fixture
def door(core: Core, nameserver: DnsServer, web: HttpServer) -> Iterator[Door]:
    """Give the door, which validates against that little world."""
    settings = ValidationSettings(
        resolver=nameserver.address, http01_port=web.port, tlsalpn01_port=web.port, allow=LOOPBACK, deadline=2.0
    )
    opened = dataclasses.replace(open_door(core), validation=settings)
    yield opened
    opened.close()


@pytest.fixture
def application(door: Door) -> WsgiApplication:
    """Give the application over the door."""
    return serve(door)


@pytest.fixture
def client(application: WsgiApplication) -> Client:
    """Give a client with an account."""
    made = Client(application)
    assert made.register(contact=["mailto:admin@example.com"]).status_code == 201
    return made


@pytest.fixture
def another(application: WsgiApplication) -> Client:
    """Give another client, with another account."""
    made = Client(application)
    assert made.register().status_code == 201
    return made


Prove = Callable[..., OrderOf]


@pytest.fixture
def prove(web: HttpServer) -> Prove:
    """Give a function that makes an order ready by http-01: (client, *names)."""

    def make(client: Client, *names: str) -> OrderOf:
        order = client.order(*names)
        for index in range(len(order.document["authorizations"])):
            token = order.challenge("http-01", index)["token"]
            web.pages[f"/.well-known/acme-challenge/{token}"] = f"{token}.{client.thumbprint}".encode()
            assert order.attempt("http-01", index)["status"] == "valid"
        assert order.status == "ready"
        return order

    return make


@pytest.fixture
def issue(prove: Prove) -> Callable[..., OrderOf]:
    """Give a function that brings an order to its certificate: (client, *names, key=...)."""

    def make(client: Client, *names: str, key: object = None) -> OrderOf:
        order = prove(client, *names)
        response = order.finalize(csr_for(names, key))  # type: ignore[arg-type]
        assert response.status_code == 200, response.get_data(as_text=True)
        assert order.status == "valid"
        return order

    return make
