"""The running service: its parts are started, watched, and given a renewed certificate without a pause."""

import functools
import http.client
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from cli.offline.listeners import address_of, check_port_free, run_duties, run_http, run_https
from cli.offline.processes import Supervisor
from pki.config import Config, Endpoint
from pki.core import server_pem
from pki.errors import SealwardError

_HTTPS = "the TLS listener"
_START_SECONDS = 60.0
_ANSWER_SECONDS = 10.0


def check_ports(config: Config) -> None:
    """Refuse addresses that cannot be bound.

    Raises:
        Misconfigured: one is in use, not of this machine, or needs more rights.
    """
    check_port_free(config.server.listen, "[server] listen")
    check_port_free(config.http.listen, "[http] listen")


def start(supervisor: Supervisor, config: Config) -> None:
    """Start every part; return when every listener answers.

    Raises:
        SealwardError: a part does not start; the lines before it say why.
    """
    for _ in range(config.server.workers):
        supervisor.start(_HTTPS, functools.partial(run_https, config), _START_SECONDS)
    supervisor.start("the HTTP listener", functools.partial(run_http, config), _START_SECONDS)
    supervisor.start("the runner of duties", functools.partial(run_duties, config), _START_SECONDS)
    _wait_answer(config.server.listen, tls=True)
    _wait_answer(config.http.listen, tls=False)


def watch(supervisor: Supervisor, config: Config) -> None:
    """Keep the service up for ever, and let the TLS listener take up its certificate whenever the file changes.

    The server library reads the file when a worker starts, and never again: each worker gets a successor, and stops
    when that one listens. It cuts connections that are in their handshake at that moment (measured: one in some
    thousands, under full load); their clients succeed when they try again.
    """
    renewal = Watched(server_pem(config), lambda: supervisor.replace(_HTTPS))
    supervisor.watch(renewal.look)


class Watched:
    """Calls `changed` when another file has been renamed to `path`."""

    def __init__(self, path: Path, changed: Callable[[], None]) -> None:
        self._path = path
        self._changed = changed
        self._seen = self._identity()

    def look(self) -> None:
        """Compare the file with the one seen last."""
        now = self._identity()
        if now is not None and now != self._seen:
            self._seen = now
            self._changed()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns


def _wait_answer(endpoint: Endpoint, *, tls: bool) -> None:
    """Return when a request is answered, whatever the answer.

    Raises:
        SealwardError: not within ten seconds.
    """
    deadline = time.monotonic() + _ANSWER_SECONDS
    while not _answers(endpoint, tls=tls):
        if time.monotonic() > deadline:
            raise SealwardError(f"{endpoint} does not answer", advice="is a packet filter in the way?")
        time.sleep(0.05)


def _answers(endpoint: Endpoint, *, tls: bool) -> bool:
    host = _own_address(address_of(endpoint))
    connection = http.client.HTTPConnection(host, endpoint.port, timeout=_ANSWER_SECONDS)
    try:
        if tls:
            # Whether it answers is asked here, not who it is: the certificate may be for names of the outside.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            raw = socket.create_connection((host, endpoint.port), _ANSWER_SECONDS)
            connection.sock = context.wrap_socket(raw)
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _own_address(address: str) -> str:
    """Return an address at which this machine reaches a listener bound to `address`."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared, not bound
