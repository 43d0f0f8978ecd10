"""kill -9 of a running `sealward dev`, whole and process by process, at random moments under ACME load."""

import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acme_server.validation.servers import HttpServer, running
from tests.counts import count
from tests.faults.crash_acts import Actor, settle
from tests.faults.crash_figures import tell
from tests.faults.crash_load import Load, Wire, load_on
from tests.house_fixture import BASE_URL
from tests.service import Service, free_port, is_running, processes_of

pytestmark = [
    # Python's ssl loses a socket whose peer is gone between connect and handshake: `wrap_socket` raises, and keeps it.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]

_RESTART_SECONDS = 3.0


@pytest.fixture
def web() -> Iterator[HttpServer]:
    """Give the web server at which challenges are answered."""
    server = HttpServer()
    with running(server):
        yield server


@pytest.fixture
def port() -> int:
    """Give the service's port, the same after each restart."""
    return free_port()


@pytest.fixture
def service(tmp_path: Path, web: HttpServer, port: int) -> Iterator[Service]:
    """Give a running service whose challenges go to `web`."""
    document = {
        "server": {"base_url": BASE_URL, "workers": 2},
        "acme": {"validation": {"http01_port": web.port}},
    }
    with Service(tmp_path / "data", document, listen=f"127.0.0.1:{port}") as made:
        yield made


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_all(service: Service) -> None:
    """Kill every process of the service at once."""
    others = processes_of(service.pid)
    _kill(service.pid)
    for pid in others:
        _kill(pid)
    service.stop(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while any(map(is_running, others)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _crowd() -> float:
    """Return how many processes share a processor, 1 at least: whatever else this machine does takes its time."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def _restarts(service: Service) -> float:
    """Start the service again; return the seconds until it answered."""
    begun = time.monotonic()
    service.start()
    return time.monotonic() - begun


def _settle(service: Service, load: Load) -> None:
    """Stop the service; what it left is finished, sound, and holds all that was answered."""
    assert service.stop() == 0
    with Actor(settle, service.data) as actor:
        actor.await_ready()
        actor.go()
        heard = actor.talk.recv()
        assert actor.end() == 0
    left, wrong, states = heard
    service.start()
    assert left == 0
    assert wrong == []
    assert set(load.certificates) <= states.keys()
    assert {states[certificate] for certificate in load.revoked} == {"revoked"}
    assert load.failures == []


def _tell(load: Load) -> None:
    tell(
        certificates=len(load.certificates),
        revoked=len(load.revoked),
        orders=len(load.orders),
        cut_off=load.cut_off,
    )


def _orders_are_there(load: Load) -> None:
    """Ask for every order that was answered; none is lost, and none is stuck."""
    found = [json.loads(client.post(url).get_data())["status"] for client, url in load.orders]
    assert set(found) <= {"pending", "ready", "valid"}


def test_service_killed_whole_under_load_loses_nothing_and_is_back_in_three_seconds(
    service: Service, web: HttpServer, port: int
) -> None:
    """Z-B1 A12: accounts, orders and certificates that were answered are there after every restart."""
    dice = random.Random(1)
    seconds = []
    with load_on(Wire(port, service.ca_file), web, 3) as load:
        for _ in range(count(5, 250)):
            time.sleep(dice.uniform(0.2, 1.5))
            _kill_all(service)
            seconds.append(_restarts(service))
        time.sleep(2)
    tell(restarts=[round(item, 2) for item in sorted(seconds)])
    _tell(load)
    assert load.cut_off > 0
    assert len(load.certificates) > 5
    _settle(service, load)
    _orders_are_there(load)
    assert min(seconds) < _RESTART_SECONDS * _crowd()


def test_processes_killed_one_by_one_under_load_lose_nothing(service: Service, web: HttpServer, port: int) -> None:
    """Z-B1: whichever process of the tree is killed, the service goes on, and no answer is taken back."""
    dice = random.Random(2)
    with load_on(Wire(port, service.ca_file), web, 3) as load:
        for _ in range(count(10, 350)):
            time.sleep(dice.uniform(0.1, 1.0))
            assert is_running(service.pid)
            found = processes_of(service.pid)
            if found:  # killed faster than they can start, there may be none for a moment
                _kill(dice.choice(found))
        time.sleep(3)
    _tell(load)
    assert len(load.certificates) > 5
    _settle(service, load)
    _orders_are_there(load)
