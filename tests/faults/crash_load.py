"""ACME clients that go on asking a running service for certificates, whatever happens to its processes."""

import contextlib
import http.client
import ipaddress
import ssl
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from tests.acme_server.client import Client, OrderOf, csr_for
from tests.acme_server.validation.servers import HttpServer

_TIMEOUT = 10.0
_ADDRESS = "ip:127.0.0.1"
_REVOKED_OF = 3


class CutOffError(Exception):
    """The service did not answer: it, or the process that had the connection, is gone."""


class Wire:
    """A WSGI application that hands each request to the service at a port of this machine, over TLS."""

    def __init__(self, port: int, ca_file: Path) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=str(ca_file))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer as the service does; raise CutOffError where it does not."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {"Content-Type": environ.get("CONTENT_TYPE", "")} if body else {}
        connection = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=_TIMEOUT, context=self._context)
        with contextlib.closing(connection):
            try:
                connection.request(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise CutOffError(str(error)) from error
        start_response(f"{response.status} {response.reason}", response.getheaders())
        return [content]


@dataclass
class Load:
    """What all clients were answered: certificates (DER), some of them revoked since, and URLs of orders.

    `failures` is what should not have happened.
    """

    certificates: list[bytes] = field(default_factory=list)
    revoked: list[bytes] = field(default_factory=list)
    orders: list[tuple[Client, str]] = field(default_factory=list)
    cut_off: int = 0
    failures: list[str] = field(default_factory=list)


@contextlib.contextmanager
def load_on(wire: Wire, web: HttpServer, clients: int) -> Iterator[Load]:
    """Let so many clients ask for certificates, one after the other, until the block ends."""
    load, ended = Load(), threading.Event()

    def work() -> None:
        client = Client(wire)
        while not ended.is_set():
            try:
                _obtain(client, web, load)
            except CutOffError:
                load.cut_off += 1
                ended.wait(0.1)
            except Exception as error:  # noqa: BLE001 - told by the test
                load.failures.append(repr(error))
                ended.wait(0.5)

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _obtain(client: Client, web: HttpServer, load: Load) -> None:
    if not client.kid:
        assert client.register().status_code in {200, 201}
    order = client.order(_ADDRESS)
    load.orders.append((client, order.url))
    token = order.challenge("http-01")["token"]
    web.pages[f"/.well-known/acme-challenge/{token}"] = client.key_authorization(token).encode()
    assert order.attempt("http-01")["status"] == "valid"
    _collect(order, load)


def _collect(order: OrderOf, load: Load) -> None:
    response = order.finalize(csr_for([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]))
    assert response.status_code == 200, response.get_data(as_text=True)
    assert order.status == "valid"
    certificate = order.certificate()
    load.certificates.append(certificate)
    if len(load.certificates) % _REVOKED_OF == 0:
        assert order.client.revoke(certificate, reason=4).status_code == 200
        load.revoked.append(certificate)
