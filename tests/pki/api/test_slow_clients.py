"""D1 over TLS against the whole service: slow clients delay nobody, and refusals are problem documents."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.pki.api import wire
from tests.pki.api.conftest import BODY_SECONDS
from tests.service import Service, processes_of

SLOW = 40
"""More than all threads of all workers together."""
NEW_ORDER = "/acme/default/new-order"


@contextlib.contextmanager
def _connected(service: Service) -> Iterator[socket.socket]:
    address = urlsplit(service.address)
    context = ssl.create_default_context(cafile=str(service.ca_file))
    with (
        socket.create_connection((address.hostname, address.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as connection,
    ):
        yield connection


def _ask(service: Service, octets: bytes) -> wire.Reply:
    with _connected(service) as connection:
        connection.sendall(octets)
        begun = time.monotonic()
        answer = wire.receive(connection)
        return wire.parse(answer, time.monotonic() - begun)


def _post(*lines: bytes) -> bytes:
    return wire.request(NEW_ORDER.encode(), b"POST", b"Content-Type: application/jose+json", *lines)


def _send_slowly(service: Service, replies: list[wire.Reply]) -> None:
    """Send an octet a second until the service has had enough."""
    with _connected(service) as connection:
        connection.sendall(_post(b"Content-Length: 1000"))
        connection.settimeout(1)
        answer = b""
        while not answer:
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
            if not answer:
                connection.sendall(b"x")
        replies.append(wire.parse(answer))


def test_forty_slow_bodies_delay_nobody(service: Service) -> None:
    """D1: while each sends an octet a second, others are answered as ever; at the deadline all forty get 408."""
    directory = wire.request(b"/acme/default/directory")
    assert _ask(service, directory).status == 200
    replies: list[wire.Reply] = []
    threads = [threading.Thread(target=_send_slowly, args=(service, replies)) for _ in range(SLOW)]
    for thread in threads:
        thread.start()
    delays = []
    ends = time.monotonic() + BODY_SECONDS
    while time.monotonic() < ends:
        begun = time.monotonic()
        assert _ask(service, directory).status == 200
        delays.append(time.monotonic() - begun)
    for thread in threads:
        thread.join()
    assert sorted(delays)[len(delays) // 2] < 0.5
    assert max(delays) < BODY_SECONDS * 0.75
    assert len(replies) == SLOW
    assert {(reply.status, reply.headers["content-type"]) for reply in replies} == {(408, "application/problem+json")}


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (wire.request(b"/acme/default/%2e%2e/directory"), 400),
        (wire.request(b"/acme//directory", b"POST"), 400),
        (_post(b"Content-Length: 1073741824"), 413),
        (_post(b"Transfer-Encoding: gzip, chunked"), 501),
        (_post(b"Host: other.example"), 400),
    ],
)
def test_the_front_refuses_with_problem_documents(service: Service, octets: bytes, status: int) -> None:
    """P1 D1, RFC 8555 6.7: what is refused before ACME is asked is a problem document all the same, at once."""
    reply = _ask(service, octets)
    assert (reply.status, reply.headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(reply.body)["status"] == status
    assert reply.seconds < 1


def test_nothing_that_was_sent_ended_a_process(service: Service) -> None:
    """D4: after headers and bodies beyond all limits the same processes run."""
    before = processes_of(service.pid)
    for octets in (
        wire.request(b"/", b"GET", *(b"X%d: y" % number for number in range(100_000))),
        wire.request(b"/" + b"x" * (1 << 20)),
        b"\x00" * 100_000,
    ):
        with contextlib.suppress(OSError, IndexError):  # cut off without an answer
            assert _ask(service, octets).status in {400, 414, 431}
    assert processes_of(service.pid) == before
    assert _ask(service, wire.request(b"/acme/default/directory")).status == 200
