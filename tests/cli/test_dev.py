"""`sealward dev`: a first start, the next ones, and what happens to its processes."""

import contextlib
import getpass
import json
import os
import resource
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import configure, read_wishes
from tests import postgres
from tests.cli.machines import taken_port
from tests.service import Service, free_port, is_running, processes_of, sealward


def _get(url: str, ca_file: Path) -> bytes:
    context = ssl.create_default_context(cafile=str(ca_file))
    with urllib.request.urlopen(url, context=context, timeout=10) as answer:  # noqa: S310 - ours
        content: bytes = answer.read()
        return content


def _get_again(url: str, ca_file: Path) -> bytes:
    """Get it at another attempt, within a quarter of a second, when the first met a process that was just ending."""
    for _ in range(5):
        with contextlib.suppress(OSError):
            return _get(url, ca_file)
        time.sleep(0.05)
    return _get(url, ca_file)


def _wait(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.contextmanager
def _asking(service: Service) -> Iterator[list[str]]:
    """Ask for the directory all the while, on new connections; give the list of what went wrong at every attempt."""
    failures: list[str] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                _get_again(service.directory, service.ca_file)
            except OSError as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_ready_file_says_where_everything_is(service: Service) -> None:
    """`ready.json` is for the owner alone, and its URLs, which have no slash at their end, answer."""
    path = service.data / "ready.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ready = json.loads(path.read_bytes())
    assert {"address", "http_address", "ca_file", "acme_directory", "token", "pid"} <= ready.keys()
    assert not any(ready[key].endswith("/") for key in ("address", "http_address", "acme_directory"))
    assert ready["pid"] == service.pid
    directory = json.loads(_get(ready["acme_directory"], Path(ready["ca_file"])))
    assert directory["newOrder"].startswith(ready["address"])


def test_everything_in_the_folder_is_for_its_owner(service: Service) -> None:
    """PINs, token, database, keys: nothing in the folder is open to other users (A02)."""
    assert stat.S_IMODE(service.data.stat().st_mode) == 0o700
    for path in service.data.rglob("*"):
        if path != service.ca_file:
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_plain_http_serves_what_certificates_point_to_and_nothing_else(service: Service) -> None:
    """The CRL named in the server's own certificate is there; the ACME door is not."""
    pem = ssl.get_server_certificate(("127.0.0.1", int(service.address.rpartition(":")[2])))
    certificate = x509.load_pem_x509_certificate(pem.encode())
    points = certificate.extensions.get_extension_for_oid(ExtensionOID.CRL_DISTRIBUTION_POINTS).value
    assert isinstance(points, x509.CRLDistributionPoints)
    names = points[0].full_name
    assert names is not None
    url = names[0].value
    assert url.startswith(service.http_address)
    crl = x509.load_der_x509_crl(_get(url, service.ca_file))
    assert crl.issuer == certificate.issuer
    with contextlib.suppress(urllib.error.HTTPError):
        _get(service.directory.replace(service.address, service.http_address), service.ca_file)
        raise AssertionError("the ACME directory is served over plain HTTP")


def test_second_start_makes_nothing_anew_but_the_token(tmp_path: Path) -> None:
    """Root and HTTP port stay; the development token is another one; its file and `ready.json` go with a clean exit."""
    service = Service(tmp_path / "data")
    with service:
        first, root = service.ready, service.ca_file.read_bytes()
        assert Path(first["token_file"]).read_text() == f"{first['token']}\n"
    assert not (service.data / "ready.json").exists()
    assert not (service.data / "root-token").exists()
    with service:
        assert service.ca_file.read_bytes() == root
        assert service.ready["http_address"] == first["http_address"]
        assert service.ready["address"] == first["address"]
        assert service.ready["token"] != first["token"]


def test_ssh_role_for_oneself_is_made_once(tmp_path: Path) -> None:
    """Dev makes the role `me` for its user's login; what was changed of it since is not changed back."""
    service = Service(tmp_path / "data")
    with service:
        role = _ask(service, "GET", "ssh/roles/me")["data"]
        assert (role["default_user"], role["allow_user_certificates"]) == (getpass.getuser(), True)
        assert (role["ttl"], role["max_ttl"]) == (3600, 3600)
        _ask(service, "POST", "ssh/roles/me", {**role, "ttl": 60, "default_user": "deploy"})
    with service:
        assert _ask(service, "GET", "ssh/roles/me")["data"]["ttl"] == 60
        assert "log in as deploy" in service.output
        _ask(service, "DELETE", "sys/mounts/ssh")
    with service:
        assert "SSH" not in service.output


def _ask(service: Service, method: str, path: str, body: object = None) -> Any:
    """Send a request to the HTTP API with the token of the file, and return what it answers, if anything."""
    request = urllib.request.Request(  # noqa: S310 - ours
        f"{service.address}/v1/{path}", None if body is None else json.dumps(body).encode(), method=method
    )
    request.add_header("X-Vault-Token", Path(service.ready["token_file"]).read_text().strip())
    context = ssl.create_default_context(cafile=str(service.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:  # noqa: S310 - ours
        return json.loads(answer.read() or b"null")


def test_folder_may_be_moved(tmp_path: Path) -> None:
    """A moved folder works in its new place: nothing in it depends on the old one."""
    with Service(tmp_path / "data") as service:
        root = service.ca_file.read_bytes()
    service.data.rename(tmp_path / "moved")
    with Service(tmp_path / "moved", service.document) as moved:
        assert moved.ca_file.read_bytes() == root


def test_proof_obtains_and_verifies_a_certificate(tmp_path: Path) -> None:
    """A start shows a certificate by ACME with a real http-01 challenge, and openssl's word on it (F06, CA01)."""
    with Service(tmp_path / "data", arguments=()) as service:
        assert f"http-01 on port {service.http01_port} for localhost" in service.output
        assert "openssl verify says OK, with the CRLs" in service.output


def test_proof_is_left_out_when_its_port_is_taken(tmp_path: Path) -> None:
    """A taken challenge port is said in one line, and the service serves."""
    with taken_port() as port, Service(tmp_path / "data", _validating_at(port), arguments=()) as service:
        assert f"left out: port {port} of 127.0.0.1 is taken" in service.output


def test_proof_needs_no_name_when_a_resolver_is_configured(tmp_path: Path) -> None:
    """A resolver that knows nothing of localhost is not asked: the proof is for an IP address (RFC 8738)."""
    document = {"acme": {"validation": {"resolver": f"127.0.0.1:{free_port()}"}}}
    with Service(tmp_path / "data", document, arguments=()) as service:
        assert f"http-01 on port {service.http01_port} for 127.0.0.1 in" in service.output


def test_failed_proof_says_why(tmp_path: Path) -> None:
    """With loopback closed to validation there is no proof; the reason is the service's own, and it serves."""
    with Service(tmp_path / "data", {"acme": {"validation": {"allow": []}}}, arguments=()) as service:
        assert "FAILED: the challenge failed" in service.output
        assert "loopback" in service.output
        _get(service.directory, service.ca_file)


def test_doctor_examines_the_token_of_a_running_service(service: Service) -> None:
    """`hsm doctor --data` needs no configuration, and does not disturb who serves."""
    done = sealward("hsm", "doctor", "--data", service.data, "--output", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["safe"] is True
    _get(service.directory, service.ca_file)


def test_dev_serves_from_postgresql(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """[database] url takes PostgreSQL in place of the folder's SQLite, with all else the same."""
    server = postgres.server(request.config)
    url = server.create("dev").render_as_string(hide_password=False)
    try:
        with Service(tmp_path / "data", {"database": {"url": url}}, arguments=()) as service:
            assert "openssl verify says OK" in service.output
            assert not (service.data / "sealward.db").exists()
    finally:
        server.drop("dev")


def _validating_at(port: int) -> dict[str, object]:
    return {"acme": {"validation": {"http01_port": port}}}


def test_challenge_port_is_80_or_one_that_stays(tmp_path: Path) -> None:
    """Where port 80 cannot be had, a free one is chosen at the first start and kept for the next."""
    data = DataDirectory.claim(tmp_path / "data")
    with taken_port(80):
        chosen = configure(data, read_wishes(None, None)).acme.validation.http01_port
        assert chosen != 80
        assert configure(data, read_wishes(None, None)).acme.validation.http01_port == chosen


def test_configured_challenge_port_holds(tmp_path: Path) -> None:
    """[acme.validation] goes before what dev would choose."""
    file = tmp_path / "dev.toml"
    file.write_text("[acme.validation]\nhttp01_port = 5002\nallow = []\n")
    validation = configure(DataDirectory.claim(tmp_path / "data"), read_wishes(None, file)).acme.validation
    assert (validation.http01_port, validation.allow) == (5002, ())


def test_each_killed_process_is_replaced_while_the_service_goes_on(tmp_path: Path) -> None:
    """One process after the other is killed; a request that met it succeeds at once on another connection."""
    with Service(tmp_path / "data") as service:
        victims = processes_of(service.pid)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):  # its parent was killed before it
                os.kill(victim, signal.SIGKILL)
            _get_again(service.directory, service.ca_file)
            _wait(lambda victim=victim: not is_running(victim))
            _wait(lambda: len(processes_of(service.pid)) >= len(victims))
        assert not set(victims) & set(processes_of(service.pid))
        _get(service.directory, service.ca_file)


def test_sigterm_ends_everything_with_exit_code_0(tmp_path: Path) -> None:
    """A clean exit takes seconds, removes `ready.json`, and leaves no process."""
    with Service(tmp_path / "data") as service:
        processes = processes_of(service.pid)
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 10
    assert not any(map(is_running, processes))
    assert not (service.data / "ready.json").exists()


def test_sigterm_during_the_start_ends_with_exit_code_0(tmp_path: Path) -> None:
    """A start that is called off leaves what the next start completes."""
    command = [sys.executable, "-m", "cli", "dev", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    for delay in (0.6, 0.9, 1.2):
        process = subprocess.Popen(command)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in {0, -signal.SIGTERM}
    with Service(tmp_path / "data") as service:
        _get(service.directory, service.ca_file)


def test_killed_supervisor_takes_all_processes_along(tmp_path: Path) -> None:
    """SIGKILL leaves no orphan, nothing half-written, and no lock: the next start works at once."""
    with Service(tmp_path / "data") as service:
        processes, root = processes_of(service.pid), service.ca_file.read_bytes()
        assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    _wait(lambda: not any(map(is_running, processes)), 5)
    with service:
        assert service.ca_file.read_bytes() == root
        _get(service.directory, service.ca_file)


def test_kill_during_the_first_start_leaves_nothing_half_made(tmp_path: Path) -> None:
    """Killed at whatever moment of its first start, the folder is completed by the next one (A02)."""
    command = [sys.executable, "-m", "cli", "dev", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    for delay in (0.5, 0.65, 0.8, 0.95, 1.1, 1.3, 1.6):
        process = subprocess.Popen(command)
        time.sleep(delay)
        process.kill()
        process.wait()
    with Service(tmp_path / "data") as service:
        assert b"newOrder" in _get(service.directory, service.ca_file)


@contextlib.contextmanager
def _open_files(limit: int) -> Iterator[None]:
    """Let this process, and those it starts meanwhile, have that many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_shut_nobody_out(tmp_path: Path) -> None:
    """D1: 2,500 clients that shake hands and then say nothing; everybody else is served, by both workers."""
    # The service begins with what a login gets, and allows itself more; so must this test, after that.
    with _open_files(1024), Service(tmp_path / "data") as service, _open_files(8192), contextlib.ExitStack() as idle:
        context = ssl.create_default_context(cafile=str(service.ca_file))
        port = int(service.address.rpartition(":")[2])
        for _ in range(2_500):
            connection = idle.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            idle.enter_context(context.wrap_socket(connection, server_hostname="127.0.0.1"))
        for _ in range(8):
            assert b"newOrder" in _get(service.directory, service.ca_file)


def test_renewed_server_certificate_is_taken_up_while_the_service_goes_on(tmp_path: Path) -> None:
    """When server.pem changes, new connections get the new certificate, and no client is refused for long (Z-B14)."""
    with Service(tmp_path / "data") as service:
        endpoint = ("127.0.0.1", int(service.address.rpartition(":")[2]))
        first = ssl.get_server_certificate(endpoint)
        with _asking(service) as failures:
            _renew(service.data)
            _wait(lambda: all(ssl.get_server_certificate(endpoint) != first for _ in range(8)))
        assert failures == []


def _renew(data: Path) -> None:
    """Let a process of its own issue another server certificate, as the runner of duties does in time."""
    script = """
import sys
from pathlib import Path
from cli.offline.data_directory import DataDirectory
from cli.offline.dev_config import configure, read_wishes
from cli.offline.dev_token import use_token
from pki.core import open_core, server_pem
data = DataDirectory(Path(sys.argv[1]))
use_token(data)
config = configure(data, read_wishes(None, None))
core = open_core(config)
server_pem(config).rename(server_pem(config).with_name("old.pem"))
assert core.server_certificate.renew_if_due()
core.close()
"""
    subprocess.run([sys.executable, "-c", script, str(data)], check=True)


def test_restart_offers_a_refused_pin_no_more(tmp_path: Path) -> None:
    """A part that dies after the PIN was changed is started once, and no other after it: tokens lock (Z-B2)."""
    with Service(tmp_path / "data", {"server": {"workers": 1}}) as service:
        (service.data / "pin").write_text("not the PIN\n")
        leaves = [pid for pid in processes_of(service.pid) if not processes_of(pid)]
        duties = next(pid for pid in leaves if _parent(pid) == service.pid)
        os.kill(duties, signal.SIGKILL)
        _wait(lambda: "PIN" in service.output)
        time.sleep(3)
        assert service.output.count("offered once") == 1
        _get(service.directory, service.ca_file)


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_slow_clients_do_not_keep_it_from_stopping(tmp_path: Path) -> None:
    """Connections that say nothing are no reason not to end."""
    with Service(tmp_path / "data") as service, contextlib.ExitStack() as idle:
        port = int(service.address.rpartition(":")[2])
        for _ in range(4):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        begun = time.monotonic()
        assert service.stop() == 0
        assert time.monotonic() - begun < 10
