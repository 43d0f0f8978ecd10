"""kill -9 of a running `sealward dev` while ACME, certificates, SSH and secrets are all at work."""

import contextlib
import dataclasses
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsm import softhsm
from tests.acme_server.validation.servers import HttpServer, running
from tests.counts import count
from tests.faults.crash_acts import Actor
from tests.faults.crash_figures import tell
from tests.faults.crash_load import Load, Wire, load_on
from tests.faults.four_kinds_api import Api
from tests.faults.four_kinds_load import Heard, Settled, asking, prepare, settle
from tests.faults.shim import Shim
from tests.faults.test_crash_service import _crowd, _kill, _kill_all, _orders_are_there, _restarts
from tests.house_fixture import BASE_URL
from tests.service import Service, free_port, is_running, processes_of
from tests.tokens import SoftToken

pytestmark = [
    # Python's ssl loses a socket whose peer is gone between connect and handshake: `wrap_socket` raises, and keeps it.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"),
]

_RESTART_SECONDS = 3.0
_WRITERS = 2


@pytest.fixture
def web() -> Iterator[HttpServer]:
    """Give the web server at which challenges are answered."""
    server = HttpServer()
    with running(server):
        yield server


@pytest.fixture
def watched(shim_library: Path, tmp_path: Path) -> Shim:
    """Give a token's shim, which notes whatever is signed; this process does not load it."""
    folder = tmp_path / "shim"
    folder.mkdir()
    return Shim(shim_library, folder, softhsm.find_module())


@pytest.fixture
def service(
    tmp_path: Path, web: HttpServer, soft_token: SoftToken, watched: Shim, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Give a running service whose challenges go to `web`, and whose token is behind `watched`."""
    for name, value in watched.environment.items():  # for the service, and for who looks into it afterwards
        monkeypatch.setenv(name, value)
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(soft_token.pin)
    document = {
        "server": {"base_url": BASE_URL, "workers": 2},
        "acme": {"validation": {"http01_port": web.port}},
        "hsm": {"module": str(watched.module), "token_label": soft_token.label, "pin_file": str(pin)},
    }
    with Service(tmp_path / "data", document, listen=f"127.0.0.1:{free_port()}") as made:
        yield made


@contextlib.contextmanager
def _four_kinds(service: Service, web: HttpServer) -> Iterator[tuple[Load, Heard]]:
    """Let clients of all four kinds ask, until the block ends."""
    port = _port(service)
    api = Api(port, service.ca_file, prepare(Api(port, service.ca_file, service.ready["token"])))
    with load_on(Wire(port, service.ca_file), web, 1) as acme, asking(api, _WRITERS) as heard:
        yield acme, heard


def _port(service: Service) -> int:
    return int(service._listen.rpartition(":")[2])


def _settle(service: Service, watched: Shim, heard: Heard) -> Settled:
    """Stop the service, and return what it has when what it left is finished; then start it again."""
    assert service.stop() == 0
    with Actor(settle, service.data, list(heard.versions), watched.signatures()) as actor:
        actor.await_ready()
        actor.go()
        settled = actor.talk.recv()
        assert actor.end() == 0
    service.start()
    assert isinstance(settled, Settled)
    return settled


def _nothing_is_lost(service: Service, watched: Shim, acme: Load, heard: Heard) -> None:
    """Compare what was acknowledged with what is there, and what was signed with what was recorded before."""
    settled = _settle(service, watched, heard)
    assert heard.failures == acme.failures == []
    assert settled.left == 0
    assert settled.wrong == []
    assert settled.unrecorded == []
    assert {*acme.certificates, *heard.certificates} <= settled.states.keys()
    assert {settled.states[certificate] for certificate in (*acme.revoked, *heard.revoked)} <= {"revoked"}
    assert set(heard.ssh) <= settled.ssh
    assert len(set(heard.certificates)) == len(heard.certificates)
    expected = {key: json.dumps({"value": value}) for key, value in heard.versions.items()}
    assert settled.values == expected
    _orders_are_there(acme)


def _tell(watched: Shim, acme: Load, heard: Heard, **more: object) -> None:
    tell(
        versions=len(heard.versions),
        signed=len(heard.certificates),
        revoked=len(heard.revoked) + len(acme.revoked),
        ssh=len(heard.ssh),
        acme=len(acme.certificates),
        signatures=len(watched.signatures()),
        lost={**heard.lost, "acme": acme.cut_off},
        refused=dict(heard.refused),
        repeated={name: number for name, number in heard.repeated.items() if number},
        **more,
    )


def _each_kind_did_something(acme: Load, heard: Heard) -> bool:
    return min(len(heard.versions), len(heard.certificates), len(heard.ssh), len(acme.certificates)) > 1


def _go_on(acme: Load, heard: Heard) -> None:
    """Wait until the service has served each kind, for it may have had no time between two kills."""
    deadline = time.monotonic() + 30
    while not _each_kind_did_something(acme, heard) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)


def test_service_killed_whole_while_all_four_kinds_work_loses_nothing(
    service: Service, web: HttpServer, watched: Shim
) -> None:
    """Z-B1 A12 A13: what was acknowledged is there, what was signed was recorded, and it is back in three seconds."""
    dice, seconds = random.Random(3), []
    with _four_kinds(service, web) as (acme, heard):
        for _ in range(count(4, 200)):
            time.sleep(dice.uniform(0.3, 1.5))
            _kill_all(service)
            seconds.append(_restarts(service))
        _go_on(acme, heard)
    _tell(watched, acme, heard, restarts=[round(item, 2) for item in sorted(seconds)])
    assert _each_kind_did_something(acme, heard)
    assert heard.lost
    _nothing_is_lost(service, watched, acme, heard)
    assert min(seconds) < _RESTART_SECONDS * _crowd()


def test_processes_killed_one_by_one_while_all_four_kinds_work_lose_nothing(
    service: Service, web: HttpServer, watched: Shim
) -> None:
    """Z-B1 A13: whichever process is killed, the others serve on, and what was not answered can be asked again."""
    dice = random.Random(4)
    with _four_kinds(service, web) as (acme, heard):
        for _ in range(count(8, 300)):
            time.sleep(dice.uniform(0.1, 1.0))
            assert is_running(service.pid)
            found = processes_of(service.pid)
            if found:  # killed faster than they can start, there may be none for a moment
                _kill(dice.choice(found))
        _go_on(acme, heard)
    _tell(watched, acme, heard)
    assert _each_kind_did_something(acme, heard)
    _nothing_is_lost(service, watched, acme, heard)


def test_a_signature_without_a_row_is_noticed(service: Service, web: HttpServer, watched: Shim) -> None:
    """Z-B1: what these tests compare can differ: the log holds each signature, and one that nobody recorded shows."""
    with _four_kinds(service, web) as (acme, heard):
        _go_on(acme, heard)
    known = watched.signatures()
    assert len(known) >= len(heard.ssh) + len(heard.certificates) + len(acme.certificates)
    heard.versions["absent", 1] = ""
    stranger = dataclasses.replace(known[-1], digest="00" * 32)
    with watched._log.open("a") as log:
        log.write(f"{stranger.at} {stranger.pid} {stranger.key_id} {stranger.digest}\n")
    settled = _settle(service, watched, heard)
    assert settled.unrecorded == [stranger]
    assert settled.values["absent", 1] == "null"
