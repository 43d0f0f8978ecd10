"""What holds for every test: nothing is skipped in CI, nothing leaves this machine."""

import ipaddress
import os
import socket
import sys
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.databases import ADDRESSES, DIALECTS

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("house")


class LeftTheMachineError(Exception):
    """A test reached for an address beyond loopback; no OSError, so that nobody takes it for a dead peer."""


def _is_local(host: object) -> bool:
    if host in {"", "localhost", "0.0.0.0", "::"}:  # noqa: S104 - nothing binds here
        return True
    try:
        return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def _refuse_the_outside(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in {"socket.connect", "socket.sendto"}:
        return
    connection, address = arguments[:2]
    if event == "socket.connect" and connection.type & 0xF == socket.SOCK_DGRAM:
        return  # sends nothing: it asks the machine for a route
    if isinstance(address, tuple) and address and not _is_local(address[0]):  # a Unix socket's is no tuple
        raise LeftTheMachineError(f"a test may reach loopback alone, not {address[0]}")


sys.addaudithook(_refuse_the_outside)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where CI=true: there, whatever a test needs must have been installed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, which CI does not accept: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the databases that tests have run on."""
    for dialect, address in sorted(config.stash.get(ADDRESSES, {}).items()):
        terminalreporter.write_line(f"database: {dialect} ({address})")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a whole run in CI that did not run on both databases."""
    whole = session.config.args == session.config.getini("testpaths") and not session.config.option.collectonly
    seen = session.config.stash.get(ADDRESSES, {})
    if os.environ.get("CI") == "true" and whole and seen.keys() != set(DIALECTS):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
